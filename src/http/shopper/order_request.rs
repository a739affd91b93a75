//! What a shopper sends to buy, and how it becomes a command.

use std::borrow::Cow;

use serde::Deserialize;

use crate::domain::command::PlaceOrder;
use crate::http::key::is_visible_ascii;
use crate::http::problem::Problem;
use crate::http::query::id;
use crate::http::whole::whole;
use crate::ids::{KeyDigest, UserId};

/// The longest `ref` of an order.
const REFERENCE_BYTES_MAX: usize = 64;

/// What a shopper sends to buy. Other fields are ignored.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = OrderRequest)]
pub struct OrderRequest<'a> {
    /// Of which SKU.
    #[serde(borrow)]
    #[schema(value_type = String, example = "2001")]
    sku_id: Cow<'a, str>,
    /// How many units: an integer.
    #[serde(deserialize_with = "whole")]
    #[schema(minimum = 1, example = 1)]
    quantity: i64,
    /// The caller's own reference: at most 64 visible ASCII characters, kept and returned.
    #[serde(rename = "ref", borrow, default)]
    #[schema(value_type = Option<String>, max_length = 64, example = "cart-7")]
    reference: Option<Cow<'a, str>>,
}

impl OrderRequest<'_> {
    /// The command of a user's request.
    ///
    /// # Errors
    /// `malformed_request` where `ref` or `sku_id` is none.
    pub fn into_command(self, user: UserId, key: Option<KeyDigest>) -> Result<PlaceOrder, Problem> {
        let fits = |text: &str| text.len() <= REFERENCE_BYTES_MAX && is_visible_ascii(text);
        if !self.reference.as_deref().is_none_or(fits) {
            return Err(Problem::malformed("ref is at most 64 visible ASCII characters"));
        }
        Ok(PlaceOrder {
            user,
            sku: id("sku_id", &self.sku_id)?,
            quantity: self.quantity,
            key,
            reference: self.reference.map(|text| text.into_owned().into_boxed_str()),
        })
    }
}
