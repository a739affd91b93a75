//! Hooks that see a run as it goes: nothing, or a bar on the terminal.

use std::sync::Arc;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::tally::Snapshot;

/// Called about ten times a second from a thread of the crowd's own, and once at the end. Must not block.
pub type Progress = Arc<dyn Fn(&Snapshot) + Send + Sync>;

/// A hook that does nothing.
#[must_use]
pub fn silent() -> Progress {
    Arc::new(|_| {})
}

/// A bar on standard error; nothing where that is not a terminal.
#[must_use]
pub fn bar() -> Progress {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template(
        "{bar:30} {human_pos}/{human_len} shoppers  {msg}  {elapsed_precise} (about {eta_precise} left)",
    );
    if let Ok(style) = style {
        bar.set_style(style);
    }
    Arc::new(move |now: &Snapshot| {
        bar.set_length(now.shoppers);
        bar.set_position(now.shoppers_done);
        let errors = match now.transport_errors {
            0 => String::new(),
            errors => format!(", {errors} connection errors"),
        };
        bar.set_message(format!("{} accepted, {} refused{errors}", now.accepted, now.refused));
        if now.shoppers_done >= now.shoppers {
            bar.finish_and_clear();
        }
    })
}
