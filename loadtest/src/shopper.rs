//! One shopper: who they are and what they want. Everything follows from the plan's seed and the shopper's number, so a
//! shopper who comes back is the same one, key and all, and two runs with one seed ask the same.

use anyhow::Result;

use crate::desk::Sale;
use crate::request::{self, From, Purchase};

/// A distinct user with a token and a wish.
pub(crate) struct Shopper {
    pub(crate) index: u64,
    pub(crate) user_id: u64,
    /// The SKU's place in the sale's list.
    pub(crate) sku: usize,
    pub(crate) quantity: u32,
    pub(crate) key: Option<String>,
    pub(crate) reference: Option<String>,
    /// The first request, ready to send; a repeat sends the same bytes.
    pub(crate) request: Vec<u8>,
    token: String,
    dice: fastrand::Rng,
}

impl Shopper {
    /// The `index`-th shopper of a sale.
    pub(crate) fn new(sale: &Sale, index: u64) -> Result<Self> {
        let plan = &sale.plan;
        // An odd multiplier spreads neighbours over the generator's whole state.
        let seed = plan.seed ^ index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut dice = fastrand::Rng::with_seed(seed);
        let user_id = plan.first_user_id() + index;
        let sku = dice.usize(0..sale.skus.len().max(1));
        let quantity = weighted(&mut dice, &plan.quantities);
        let key = (dice.f64() < plan.shares.key).then(|| format!("{:x}-{user_id}", plan.seed));
        let reference = dice.bool().then(|| format!("cart-{user_id}"));
        let token = sale.mint.token(user_id)?;
        let mut shopper = Self { index, user_id, sku, quantity, key, reference, request: Vec::new(), token, dice };
        shopper.request = shopper.wish(sale, shopper.key.as_deref());
        Ok(shopper)
    }

    /// Rolls whether something with this share happens.
    pub(crate) fn rolls(&mut self, share: f64) -> bool {
        share > 0.0 && self.dice.f64() < share
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// The same wish without the key.
    pub(crate) fn without_key(&self, sale: &Sale) -> Vec<u8> {
        self.wish(sale, None)
    }

    /// A look at one's own grabs.
    pub(crate) fn own_grabs(&self, sale: &Sale) -> Vec<u8> {
        request::own_grabs(self.from(sale), sale.plan.activity_id)
    }

    fn wish(&self, sale: &Sale, key: Option<&str>) -> Vec<u8> {
        match sale.rain {
            None => request::order(self.from(sale), self.purchase(sale), key),
            Some(_) => request::grab(self.from(sale), sale.plan.activity_id, key),
        }
    }

    /// Another wish under the same key.
    pub(crate) fn other_body(&self, sale: &Sale) -> Vec<u8> {
        let other = Purchase { quantity: self.quantity + 1, ..self.purchase(sale) };
        request::order(self.from(sale), other, self.key.as_deref())
    }

    pub(crate) fn poll(&self, sale: &Sale) -> Vec<u8> {
        request::poll(self.from(sale), sale.plan.activity_id, &sale.skus[self.sku].sku_id)
    }

    pub(crate) fn cancel(&self, sale: &Sale, order_id: u64) -> Vec<u8> {
        request::cancel(self.from(sale), order_id)
    }

    fn from(&self, sale: &Sale) -> From<'_> {
        From { target: sale.plan.target, token: &self.token }
    }

    fn purchase<'a>(&'a self, sale: &'a Sale) -> Purchase<'a> {
        Purchase {
            activity_id: sale.plan.activity_id,
            sku_id: &sale.skus[self.sku].sku_id,
            quantity: self.quantity,
            reference: self.reference.as_deref(),
        }
    }
}

fn weighted(dice: &mut fastrand::Rng, quantities: &[(u32, u32)]) -> u32 {
    let total: u64 = quantities.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let mut left = dice.u64(0..total.max(1));
    for (quantity, weight) in quantities {
        if left < u64::from(*weight) {
            return *quantity;
        }
        left -= u64::from(*weight);
    }
    1
}
