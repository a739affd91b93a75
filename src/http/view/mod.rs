//! The JSON that goes out. Ids are strings, instants are integers named `…_ms`, money is integer cents.

mod activity;
mod change;
mod grab;
mod order;
mod payment;
mod shop_packet;
mod stats;

use std::fmt::Display;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::{Serialize, Serializer};

use crate::ids::UserId;

pub use activity::{Activities, ActivityDetail, ActivityLine, Standing, StandingPage};
pub use change::{ChangeReport, EntryFault, ReloadReport};
pub use grab::{Grab, Grabs};
pub use order::{Order, Orders, Outcome};
pub use payment::{OrderPayment, PaymentAnswer, Refund, Refunds};
pub use shop_packet::{ShopLine, ShopPacket};
pub use stats::Stats;

/// An id as a string.
fn text<S: Serializer, T: Display>(id: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(id)
}

/// Whose something is, as a string, where that is told.
fn maybe_text<S: Serializer>(id: &Option<UserId>, to: S) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => to.collect_str(id),
        None => to.serialize_none(),
    }
}

/// A response with a JSON body.
pub fn reply(status: StatusCode, body: &impl Serialize) -> HttpResponse {
    let body = serde_json::to_vec(body).expect("our own views are serializable");
    HttpResponse::build(status).content_type("application/json").body(body)
}
