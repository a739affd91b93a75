//! The demo's red packets: a crowd under a rain of five thousand, which starts at one instant and ends by the clock; then
//! its seed is public, and everybody can work out what each packet held.

use loadtest::{Plan, Rain};

use super::Tokens;
use crate::catalog::rfc3339;
use crate::cli::scene::Scene;
use crate::ids::UnixMillis;

pub(super) const ACTIVITY: u64 = 1002;
pub(super) const OPENING: &str = "with 5,000 red packets, which start to rain in a moment";
const CATALOG: &str = include_str!("../../../samples/rain/1002.toml");
/// When the sample's first round starts, and when it ends and the second one starts.
const FIRST: &str = "2025-01-01T00:00:00+08:00";
const SECOND: &str = "2030-01-01T00:00:00+08:00";
/// The server and the crowd's connections are there by then.
const STARTS_IN_MS: u64 = 3_000;
const LASTS_MS: u64 = 10_000;

/// The sample, with its first round about to start; the second is for you.
pub(super) fn catalog(now: UnixMillis) -> String {
    let at = |later_ms: u64| rfc3339(UnixMillis(now.0 + later_ms));
    CATALOG.replace(FIRST, &at(STARTS_IN_MS)).replace(SECOND, &at(STARTS_IN_MS + LASTS_MS))
}

pub(super) fn tell_crowd(attempts: u64) {
    println!(
        "2. A crowd: {attempts} users ask at the round's first instant, some of them twice. When the round is over, what"
    );
    println!(
        "   nobody grabbed is refunded, and its seed is public: the crowd works out each packet's amount again.\n"
    );
}

pub(super) fn plan(scene: &Scene, plan: Plan) -> Plan {
    Plan { rain: Some(Rain { operator: scene.operator, close: false }), ..plan }
}

pub(super) fn print_lines(scene: &Scene, Tokens { you, operator }: &Tokens) -> anyhow::Result<()> {
    let Scene { shopper, operator: desk, .. } = scene;
    let program = std::env::current_exe()?;
    println!(
        "\
API pages   http://{desk}/docs/
Metrics     http://{desk}/metrics
Ready?      http://{shopper}/readyz

SHOPPER={you}
OPERATOR={operator}

# the rounds: the first is over, so its seed is public; the second runs
curl -sw '\\n' -H \"Authorization: Bearer $SHOPPER\" http://{shopper}/v1/activities/{ACTIVITY}
# grab a packet; send the same line again, and the same packet comes back
curl -sw '\\n' -X POST -H \"Authorization: Bearer $SHOPPER\" -H 'Idempotency-Key: mine-1' http://{shopper}/v1/red-packets/{ACTIVITY}/grabs
# another one, without the key: limit_reached, with the packet that you have
curl -sw '\\n' -X POST -H \"Authorization: Bearer $SHOPPER\" http://{shopper}/v1/red-packets/{ACTIVITY}/grabs
# your packets
curl -sw '\\n' -H \"Authorization: Bearer $SHOPPER\" http://{shopper}/v1/red-packets/{ACTIVITY}/grabs
# what each packet of the first round held, worked out from what is public; its commitment stood before it started
curl -s -H \"Authorization: Bearer $SHOPPER\" http://{shopper}/v1/activities/{ACTIVITY} | {} verify-split --activity - --round 0 | tail -3
# the rounds' numbers: granted, remaining, refunded
curl -sw '\\n' -H \"Authorization: Bearer $OPERATOR\" http://{desk}/admin/v1/activities/{ACTIVITY}/stats
# end it for good: what is left is refunded, and the second seed is public too
curl -sw '\\n' -X POST -H \"Authorization: Bearer $OPERATOR\" http://{desk}/admin/v1/activities/{ACTIVITY}/close
",
        program.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_s_rounds_are_moved() {
        let text = catalog(UnixMillis(1_800_000_000_000));
        assert!(!text.contains(FIRST) && !text.contains(SECOND), "{text}");
        assert_eq!(text.matches("2027-01-15T08:00:13Z").count(), 2, "{text}");
    }
}
