//! The chart: for each kind of work a bar a contender, its ratio to the ceiling of the same round, with the least and
//! the most of all rounds.

use std::fmt::Write;

use contenders::Work;

use crate::results::{Results, Spread};
use crate::standing::Contender;

const WIDTH: f64 = 900.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 160.0;
const TOP: f64 = 64.0;
const BAR: f64 = 18.0;
const STEP: f64 = 26.0;
const GAP: f64 = 46.0;

/// The chart as SVG.
pub(crate) fn svg(results: &Results) -> String {
    let ratio =
        |contender: Contender, work: Work| results.contenders.get(contender.name())?.get(work.name())?.of_ceiling;
    let all = Work::ALL.into_iter().flat_map(|work| Contender::ALL.map(|contender| ratio(contender, work)));
    let most = all.flatten().map(|spread| spread.max).fold(1.0, f64::max);
    let x = |ratio: f64| LEFT + ratio / most * (WIDTH - LEFT - RIGHT);

    let (mut body, mut y) = (String::new(), TOP);
    for work in Work::ALL {
        let begun = y;
        text(&mut body, LEFT, y - 8.0, "start", 13, &format!("<tspan font-weight=\"bold\">{}</tspan>", work.name()));
        for contender in Contender::ALL {
            let Some(spread) = ratio(contender, work) else { continue };
            bar(&mut body, contender, spread, y, &x);
            y += STEP;
        }
        let _ = writeln!(
            body,
            "<line x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{begun:.1}\" y2=\"{y:.1}\" stroke=\"#888\" stroke-dasharray=\"3 3\"/>",
            x(1.0)
        );
        y += GAP;
    }
    let height = y - GAP + 30.0;
    let mut head = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" font-family=\"sans-serif\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>"
    );
    let title = "Requests a second, as a ratio to the ceiling: the same front that decides nothing";
    text(&mut head, 20.0, 26.0, "start", 15, title);
    let foot = format!(
        "medians of {} rounds of {} s; the lines are the least and the most; commit {}",
        results.rounds, results.seconds, results.commit
    );
    text(&mut body, 20.0, height - 10.0, "start", 11, &foot);
    format!("{head}{body}</svg>\n")
}

fn bar(body: &mut String, contender: Contender, spread: Spread, y: f64, x: &impl Fn(f64) -> f64) {
    let middle = y + BAR / 2.0;
    let fill = match contender {
        Contender::Ceiling => "#bbbbbb",
        Contender::OursFsync | Contender::OursFsync4Shards | Contender::OursFsyncMysql => "#0072b2",
        Contender::RedisEverysec | Contender::RedisAlways => "#d55e00",
        Contender::Mysql => "#e69f00",
    };
    text(body, LEFT - 8.0, middle + 4.0, "end", 12, contender.name());
    let _ = writeln!(
        body,
        "<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR:.1}\" fill=\"{fill}\"/>",
        LEFT,
        x(spread.median) - LEFT
    );
    if contender != Contender::Ceiling {
        let (low, high) = (x(spread.min), x(spread.max));
        let _ = writeln!(
            body,
            "<path d=\"M{low:.1} {middle:.1}H{high:.1}M{low:.1} {0:.1}V{1:.1}M{high:.1} {0:.1}V{1:.1}\" \
             stroke=\"#222\" fill=\"none\"/>",
            middle - 4.0,
            middle + 4.0
        );
    }
    let label = format!("{:.2} ({:.2}-{:.2})", spread.median, spread.min, spread.max);
    text(body, x(spread.max.max(1.0)) + 8.0, middle + 4.0, "start", 11, &label);
}

fn text(into: &mut String, x: f64, y: f64, anchor: &str, size: u32, what: &str) {
    let _ = writeln!(
        into,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\" fill=\"#222\">{what}</text>"
    );
}
