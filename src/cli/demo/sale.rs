//! The demo's flash sale: a crowd buys out a thousand phones and pays, and an operator reconciles.

use loadtest::{Pay, Plan};

use super::{Tokens, payments_secret};
use crate::cli::scene::Scene;
use crate::config::Config;

pub(super) const ACTIVITY: u64 = 1001;
pub(super) const CATALOG: &str = include_str!("../../../samples/catalog/1001.toml");
pub(super) const OPENING: &str = "with a sale of 1,000 phones";
const SKU: &str = "2001";

pub(super) fn tell_crowd(attempts: u64) {
    println!(
        "2. A crowd: {attempts} shoppers, some of whom click twice, repeat themselves or come late. Winners pay, some"
    );
    println!("   twice, wrongly or not at all; an operator pays back what is owed.\n");
}

pub(super) fn plan(scene: &Scene, config: &Config, plan: Plan) -> anyhow::Result<Plan> {
    let pay = Pay { operator: scene.operator, ..Pay::new(payments_secret(config)?) };
    Ok(Plan { pay: Some(pay), ..plan })
}

pub(super) fn print_lines(scene: &Scene, config: &Config, Tokens { you, operator }: &Tokens) -> anyhow::Result<()> {
    let Scene { shopper, operator: desk, .. } = scene;
    let secret = payments_secret(config)?;
    println!(
        "\
API pages   http://{desk}/docs/
Metrics     http://{desk}/metrics
Ready?      http://{shopper}/readyz

SHOPPER={you}
OPERATOR={operator}
PROVIDER={secret}

# what is on sale, and what is left
curl -sw '\\n' -H \"Authorization: Bearer $SHOPPER\" http://{shopper}/v1/activities/{ACTIVITY}
# one unit more, live
curl -sw '\\n' -H \"Authorization: Bearer $OPERATOR\" -H 'Content-Type: application/json' \\
  -d '{{\"sku_id\":\"{SKU}\",\"add\":1}}' http://{desk}/admin/v1/activities/{ACTIVITY}/stock
# buy it; send the same line again, and the same order comes back
curl -sw '\\n' -H \"Authorization: Bearer $SHOPPER\" -H 'Content-Type: application/json' -H 'Idempotency-Key: mine-1' \\
  -d '{{\"sku_id\":\"{SKU}\",\"quantity\":1,\"ref\":\"demo\"}}' http://{shopper}/v1/flash-sales/{ACTIVITY}/orders
# pay it, as the payment provider says so: a signed callback; send the lines again, and nothing more happens
ORDER=$(curl -s -H \"Authorization: Bearer $SHOPPER\" 'http://{shopper}/v1/flash-sales/{ACTIVITY}/result?sku_id={SKU}' | sed 's/.*\"order_id\":\"//;s/\".*//')
BODY='{{\"payment_id\":\"mine-1\",\"order_id\":\"'$ORDER'\",\"amount_cents\":199900,\"currency\":\"CNY\",\"status\":\"paid\"}}'; T=$(date +%s)
V1=$(printf %s \"$T.$BODY\" | openssl dgst -sha256 -hmac \"$PROVIDER\" | sed 's/.* //')
curl -sw '\\n' -H \"Doorbuster-Signature: t=$T,v1=$V1\" -H 'Content-Type: application/json' -d \"$BODY\" http://{shopper}/v1/payments/callback
# take it back, with the unit; then it is among what is owed back
curl -sw '\\n' -H \"Authorization: Bearer $OPERATOR\" -H 'Content-Type: application/json' -d '{{\"restock\":true}}' http://{desk}/admin/v1/orders/$ORDER/refund
curl -sw '\\n' -H \"Authorization: Bearer $OPERATOR\" 'http://{desk}/admin/v1/refunds?state=refund_due&limit=5'
# the sale's numbers
curl -sw '\\n' -H \"Authorization: Bearer $OPERATOR\" http://{desk}/admin/v1/activities/{ACTIVITY}/stats
"
    );
    Ok(())
}
