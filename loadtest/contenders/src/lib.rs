//! What the contenders and the benchmark agree on: who signs the tokens, what is on sale, and the work that is done.

/// The secret that signs the shoppers' tokens.
pub const SECRET: &str = "a-secret-of-the-comparison-of-at-least-32-bytes";
/// The tokens' `iss`, and their `aud`.
pub const ISSUER: &str = "doorbuster";
/// What every order is for, where there is enough of it.
pub const SKU: &str = "2001";
/// What is gone before the first order comes.
pub const SKU_GONE: &str = "2002";
/// The price of either.
pub const PRICE_CENTS: u64 = 199_900;
/// Units of [`SKU`] in each activity: more than any run asks for.
pub const STOCK: u32 = 10_000_000;
/// Units that one user may hold in one activity.
pub const PER_USER_LIMIT: u32 = 1;
/// How long an unpaid order is held: longer than any run.
pub const PAYMENT_WINDOW_S: u64 = 3_600;
/// The path of an activity's orders, around its number.
pub const ORDERS_PATH: (&str, &str) = ("/v1/flash-sales/", "/orders");

/// The work that every contender does, each with an activity of its own, so that one crowd of users serves for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Every order is accepted.
    Accepted,
    /// Every order is refused, since nothing is left.
    SoldOut,
    /// One order in a hundred is accepted, evenly over the run; the others come too late.
    OnePercent,
}

impl Work {
    /// All of it, in the order in which it is done.
    pub const ALL: [Self; 3] = [Self::Accepted, Self::SoldOut, Self::OnePercent];

    /// Its name in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::SoldOut => "sold_out",
            Self::OnePercent => "one_percent",
        }
    }

    /// The activity in which it is done.
    #[must_use]
    pub fn activity(self) -> u64 {
        match self {
            Self::Accepted => 1001,
            Self::SoldOut => 1002,
            Self::OnePercent => 1003,
        }
    }

    /// Every how many orders one is for what is still there; 0 for none of them.
    #[must_use]
    pub fn one_accepted_in(self) -> u64 {
        match self {
            Self::Accepted => 1,
            Self::SoldOut => 0,
            Self::OnePercent => 100,
        }
    }
}
