//! The payment provider's callback.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;

use crate::actors::Answer;
use crate::actors::router::Notice;
use crate::domain::payment::{PAYMENT_TEXT_BYTES_MAX, Why};
use crate::http::body::parse_object;
use crate::http::key::is_visible_ascii;
use crate::http::problem::Problem;
use crate::http::route::{Reply, refusal};
use crate::http::signature;
use crate::http::state::State;
use crate::http::view::{PaymentAnswer, reply};
use crate::http::whole::whole;
use crate::ids::{Cents, JSON_INTEGER_MAX};
use crate::telemetry::PaymentLabel;

/// What the payment provider sends. Other fields are ignored.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct PaymentNotice {
    /// The provider's own id: 1 to 64 visible ASCII characters. It is received once; again, it is only answered.
    #[schema(example = "pay-7f3a")]
    payment_id: String,
    /// The order that was paid.
    #[schema(example = "68719476737")]
    order_id: String,
    #[serde(deserialize_with = "whole")]
    #[schema(minimum = 0, example = 199_900)]
    amount_cents: i64,
    #[schema(example = "CNY")]
    currency: String,
    /// `paid`: what failed is not told here.
    #[schema(value_type = String, example = "paid")]
    status: Paid,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Paid {
    Paid,
}

impl PaymentNotice {
    fn into_notice(self) -> Result<Notice, Problem> {
        let Self { payment_id, order_id, amount_cents, currency, status: Paid::Paid } = self;
        let text = |name: &str, text: String| {
            if (1..=PAYMENT_TEXT_BYTES_MAX).contains(&text.len()) && is_visible_ascii(&text) {
                Ok(text.into_boxed_str())
            } else {
                Err(Problem::malformed(format!("{name} is 1 to {PAYMENT_TEXT_BYTES_MAX} visible ASCII characters")))
            }
        };
        let cents = u64::try_from(amount_cents).ok().filter(|cents| *cents <= JSON_INTEGER_MAX);
        let cents = cents.ok_or_else(|| Problem::malformed("amount_cents is from 0 to 9007199254740991"))?;
        Ok(Notice {
            payment_id: text("payment_id", payment_id)?,
            named: text("order_id", order_id)?,
            amount_cents: Cents(cents),
            currency: text("currency", currency)?,
        })
    }
}

/// A payment came in
///
/// Signed, and without a token: `Doorbuster-Signature: t=<unix seconds>,v1=<hex>`, where `v1` is HMAC-SHA256 of
/// `<t>.<raw body>` by the secret of `[payments]`. Every authentic payment is recorded, whatever it names, before this is
/// answered. The same `payment_id` again gives the same answer and has no second effect. What is answered 401, 408, 429 or
/// 5xx, or not at all, should be sent again, with a fresh `t`.
#[utoipa::path(post, path = "/v1/payments/callback", tag = "payments",
    params(("Doorbuster-Signature" = String, Header, example = "t=1794355500,v1=5f…")),
    request_body = PaymentNotice,
    responses((status = 200, body = PaymentAnswer, description = "it is recorded: `applied`, or `refund_due` where the \
            order had expired and could not have fresh units, was cancelled, paid by another payment, or refunded"),
        (status = 400, description = "`malformed_request`; nothing is recorded"),
        (status = 401, description = "`bad_signature`: also one that is too old"),
        (status = 404, description = "`order_not_found`: there is no such order; the payment is recorded and owed back. \
            `not_found`: the server has no `[payments]`"),
        (status = 408, description = "`request_timeout`"),
        (status = 413, description = "`payload_too_large`"),
        (status = 415, description = "`unsupported_media_type`"),
        (status = 422, description = "`payment_mismatch`: another amount or currency than the order's; the payment is \
            recorded and owed back, the order as it was. Also where the `payment_id` came before with another content; \
            then nothing is recorded")))]
pub async fn callback(request: HttpRequest, payload: Payload, state: Data<State>) -> Reply {
    let Some(payments) = state.payments() else {
        return Err(Problem::not_found("this server takes no payments: its configuration has no [payments]"));
    };
    let body = state.shopper_bytes(&request, payload).await?;
    let router = state.router()?;
    // By the wall's clock, as the provider's: the process clock follows a correction of the wall's only slowly.
    let wall_ms = router.now_ms().0.saturating_add_signed(router.clock_gap_ms());
    signature::check(&request, &body, payments, wall_ms / 1000)?;
    let notice = parse_object::<PaymentNotice>(&body)?.into_notice()?;
    match router.pay(notice).await {
        Answer::Payment { payment, order, replayed } => {
            if !replayed {
                let label = PaymentLabel { payment_state: payment.state.as_str() };
                state.metrics.payments.get_or_create(&label).inc();
            }
            let answer = PaymentAnswer::new(&payment, order);
            match payment.why {
                Some(Why::UnknownOrder) => Err(Problem::payment_of_no_order(&answer)),
                Some(Why::Mismatch) => Err(Problem::payment_mismatch(&answer)),
                _ => Ok::<HttpResponse, Problem>(reply(StatusCode::OK, &answer)),
            }
        }
        other => Err(refusal(other)),
    }
}
