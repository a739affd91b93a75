//! `compare --rain`: grabbing red packets beside buying, on the same server, in rounds in which each has a turn. Every
//! grab gets a packet, as every order of `accepted` gets its unit.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use contenders::Work;

use crate::crowd::Crowd;
use crate::ours::Ours;
use crate::results::Spread;
use crate::wrk::Wrk;

/// The activity of red packets.
const RAIN: u64 = 1004;
/// Its packets: more than any run grabs.
const PACKETS: u32 = 1_000_000;

/// Prints each round, and the ratio over all of them.
pub(crate) fn run(rounds: usize, wrk: &Wrk, crowd: &Crowd, dir: &Path) -> Result<()> {
    let (mut rates, mut processor) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let dir = dir.join(format!("rain-{round}"));
        fs::create_dir(&dir)?;
        let ours = Ours::start(&dir, 1, None, Some((RAIN, &definition())))?;
        let turn = |rain: bool| -> Result<(f64, f64)> {
            let before = ours.process.cpu()?;
            let (measured, _) = if rain {
                wrk.send(crowd, grabs(), 1, ours.shopper, &dir)?
            } else {
                wrk.run(crowd, Work::Accepted, ours.shopper, &dir)?
            };
            ensure!(measured.refused == 0, "{} were refused: {measured:?}", measured.refused);
            let took = ours.process.cpu()?.saturating_sub(before);
            #[expect(clippy::cast_precision_loss, reason = "requests of some seconds")]
            let cpu_us = took.as_secs_f64() * 1e6 / measured.requests as f64;
            Ok((measured.per_second(measured.requests), cpu_us))
        };
        // Who comes first has the fresher journal.
        let (sale, rain) = if round % 2 == 0 {
            let sale = turn(false)?;
            (sale, turn(true)?)
        } else {
            let rain = turn(true)?;
            (turn(false)?, rain)
        };
        println!(
            "round {:>2}  orders {:.0}/s {:.1} us  grabs {:.0}/s {:.1} us",
            round + 1,
            sale.0,
            sale.1,
            rain.0,
            rain.1
        );
        rates.push(rain.0 / sale.0);
        processor.push(rain.1 / sale.1);
        drop(ours);
        fs::remove_dir_all(&dir)?;
    }
    for (what, ratios) in [("grabs a second", rates), ("processor time a request", processor)] {
        if let Some(Spread { median, min, max }) = Spread::of(ratios) {
            println!("{what}, of orders: {median:.2} ({min:.2}-{max:.2})");
        }
    }
    Ok(())
}

fn definition() -> String {
    format!(
        "kind = \"red_packet\"\ntitle = \"Rain\"\nsplit = \"random\"\nmin_cents = 1\nmax_cents = 20000\n[[rounds]]\n\
         starts_at = \"2025-01-01T00:00:00+08:00\"\nends_at = \"2095-01-01T00:00:00+08:00\"\ntotal_cents = {}\n\
         packets = {PACKETS}\n",
        200 * u64::from(PACKETS)
    )
}

/// A request to grab, around its token.
fn grabs() -> [String; 3] {
    let head = format!(
        "POST /v1/red-packets/{RAIN}/grabs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nAuthorization: Bearer "
    );
    [head, "\r\n\r\n".to_owned(), "\r\n\r\n".to_owned()]
}
