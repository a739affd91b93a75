//! The results for people: one table for each kind of work, the open loop, the aims.

use comfy_table::{CellAlignment, Table, presets};
use contenders::Work;

use crate::results::{Figures, Results};
use crate::standing::Contender;

/// All of it, as Markdown.
pub(crate) fn text(results: &Results) -> String {
    let mut text = format!(
        "# Side by side\n\nCommit {}. {} rounds of {} s, {} connections, medians of the rounds; in braces the least and \
         the most.\n\n{}\n",
        results.commit,
        results.rounds,
        results.seconds,
        results.connections,
        results.machine.in_words()
    );
    for work in Work::ALL {
        text += &format!("\n## {}\n\n{}\n", work.name(), of_work(results, work));
    }
    if !results.open_loop.is_empty() {
        let mut table = plain(&["", "orders/s", "p50 ms", "p99 ms", "journal's p99 ms"]);
        for (name, open) in &results.open_loop {
            let journal = open.journal_p99_ms.map(|ms| format!("{ms:.2}")).unwrap_or_default();
            let row =
                [format!("{:.0}", open.rate), format!("{:.2}", open.p50_ms), format!("{:.2}", open.p99_ms), journal];
            table.add_row([(*name).to_owned()].into_iter().chain(row));
        }
        text += &format!("\n## accepted, open loop at half of ours_fsync's peak\n\n{table}\n");
    }
    if !results.aims.is_empty() {
        let mut table = plain(&["", "aim", "measured", "met"]);
        for aim in &results.aims {
            let met = if aim.met { "yes" } else { "no" };
            table.add_row([aim.what.clone(), aim.aim.clone(), format!("{:.2}", aim.measured), met.to_owned()]);
        }
        text += &format!("\n## Aims\n\n{table}\n");
    }
    text
}

fn of_work(results: &Results, work: Work) -> Table {
    let mut table = plain(&[
        "",
        "decided/s",
        "of the ceiling",
        "durable/s",
        "in MySQL/s",
        "p50 ms",
        "p99 ms",
        "CPU us/request",
        "of it the store",
    ]);
    for contender in Contender::ALL {
        let Some(figures) = results.contenders.get(contender.name()).and_then(|works| works.get(work.name())) else {
            continue;
        };
        table.add_row([contender.name().to_owned()].into_iter().chain(row(figures)));
    }
    table
}

fn row(figures: &Figures) -> [String; 8] {
    let maybe = |figure: Option<f64>, digits: usize| figure.map(|figure| format!("{figure:.digits$}"));
    let Figures { rps_median, rps_min, rps_max, .. } = figures;
    [
        format!("{rps_median:.0} ({rps_min:.0}-{rps_max:.0})"),
        figures.of_ceiling.map(|r| format!("{:.2} ({:.2}-{:.2})", r.median, r.min, r.max)).unwrap_or_default(),
        maybe(figures.durable_per_s, 0).unwrap_or_default(),
        maybe(figures.in_mysql_per_s, 0).unwrap_or_default(),
        format!("{:.2}", figures.p50_ms),
        format!("{:.2}", figures.p99_ms),
        format!("{:.1}", figures.server_cpu_us),
        maybe(figures.store_cpu_us, 1).unwrap_or_default(),
    ]
}

fn plain(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
