//! The bugs that can be planted in the shop.

/// What is wrong with the shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    None,
    /// A slot is not taken off the shelf.
    SlotTwice,
    /// Every order has the same id.
    OrderIdTwice,
    /// A repeat of a key makes a new order.
    KeyForgotten,
    /// A repeat of a key names another order.
    ReplayNamesAnother,
    /// A used key with another body is accepted as a replay.
    ReuseAccepted,
    /// The per-user limit is not looked at.
    LimitForgotten,
    /// Newcomers are told that they reached the limit.
    LimitForEveryone,
    /// The poll never finds an order.
    PollForgets,
    /// Every tenth order is answered 500.
    InternalError,
    /// Ids are JSON numbers.
    NumericId,
    /// `sold_out` comes as plain JSON.
    NotAProblem,
    /// One cent too much.
    WrongAmount,
    /// Cancelling leaves the order held.
    CancelForgotten,
    /// Every seventh order request is decided and then the connection is closed without a reply.
    LosesReplies,
    /// At the hundredth order request the shop dies with all its connections, and comes back remembering everything.
    CrashesOnce,
    /// It says that it has ended and sells on.
    SellsAfterTheEnd,
    /// It has half of the stock that it sells.
    Oversells,
    /// The repeat of an accepted key is refused.
    ReplayRefused,
    /// Another SKU than the one asked for.
    WrongSku,
    /// An order is paid the moment it is accepted.
    NewOrderPaid,
    /// The last grab is not in the numbers.
    GrabLost,
    /// Nobody's own grabs are shown.
    GrabForgotten,
    /// Two users are granted one packet.
    PacketTwice,
    /// A packet holds more than any may.
    HugeAmount,
    /// `sold_out` while there is one packet left.
    SoldOutEarly,
    /// `limit_reached` does not say by what.
    LimitNamesNothing,
    /// The seed that is shown at the end is not the one that was promised.
    AnotherSeed,
    /// What is left at the end stays there.
    NeverRefunds,
    /// What is left at the end is nowhere.
    RefundForgotten,
    /// Any signature will do.
    BelievesEverybody,
    /// A signature of long ago is still good.
    ForgetsTheTime,
    /// A second payment of an order is applied too.
    PaidTwice,
    /// A payment that is sent again is owed back.
    RepeatIsDueBack,
    /// A payment's id is taken with another content.
    PaymentIdReused,
    /// A payment of no order is answered 200.
    PaysForNothing,
    /// Amount and currency are not looked at.
    AnyAmountWillDo,
    /// A payment of another amount is not recorded.
    MismatchForgotten,
    /// A cancelled order is paid.
    CancelledIsPaid,
    /// A paid order is cancelled.
    CancelsWhatIsPaid,
    /// An order does not show its first payment.
    HidesPayments,
    /// The counts have one sold unit too few.
    SoldForgotten,
    /// What was paid back is still owed.
    DoneForgotten,
    /// The repeat of an operator's request is no repeat.
    DoneAgain,
    /// The payment of a refunded order is not owed back.
    RefundOwesNothing,
}
