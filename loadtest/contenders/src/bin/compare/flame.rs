//! The flame graph: each function a bar as wide as its part of the samples, upon the one that called it. A pointer that
//! rests on a bar is told its whole name and its part.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::stacks::Stacks;

const WIDTH: f64 = 1600.0;
const MARGIN: f64 = 10.0;
const HEAD: f64 = 40.0;
const BAR: f64 = 17.0;
/// What is narrower cannot be seen.
const NARROWEST: f64 = 0.3;
/// A letter's width at the size that is written.
const LETTER: f64 = 6.6;

/// A function, and what it called.
#[derive(Default)]
struct Frame<'a> {
    samples: u64,
    called: BTreeMap<&'a str, Frame<'a>>,
}

/// The graph as SVG.
pub(crate) fn svg(stacks: &Stacks, title: &str) -> String {
    let mut all = Frame::default();
    for (stack, samples) in stacks {
        let mut frame = &mut all;
        frame.samples += samples;
        for function in stack {
            frame = frame.called.entry(function).or_default();
            frame.samples += samples;
        }
    }
    let Some(unit) = per_sample(&all) else { return String::new() };
    let height = HEAD + BAR * count(1 + depth(&all, unit)) + MARGIN;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" font-family=\"monospace\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{MARGIN}\" y=\"24\" font-size=\"15\">{}</text>\n",
        escaped(title)
    );
    let mut drawing = Drawing { samples: all.samples, unit, into: &mut text };
    drawing.bars("all", &all, MARGIN, height - MARGIN - BAR);
    text + "</svg>\n"
}

/// How wide a sample is; `None` where there is none.
fn per_sample(all: &Frame<'_>) -> Option<f64> {
    (all.samples > 0).then(|| (WIDTH - 2.0 * MARGIN) / count(all.samples))
}

/// How many bars stand on a frame's.
fn depth(frame: &Frame<'_>, unit: f64) -> u64 {
    let seen = frame.called.values().filter(|called| count(called.samples) * unit >= NARROWEST);
    seen.map(|called| 1 + depth(called, unit)).max().unwrap_or(0)
}

/// What each bar is drawn with.
struct Drawing<'t> {
    samples: u64,
    unit: f64,
    into: &'t mut String,
}

impl Drawing<'_> {
    /// A function's bar, and upon it those of what it called.
    fn bars(&mut self, name: &str, frame: &Frame<'_>, x: f64, y: f64) {
        let width = count(frame.samples) * self.unit;
        if width < NARROWEST {
            return;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "letters that fit a bar")]
        let letters = (width / LETTER) as usize;
        let label = if letters < 4 { String::new() } else { name.chars().take(letters - 1).collect() };
        let part = 100.0 * count(frame.samples) / count(self.samples);
        let _ = writeln!(
            self.into,
            "<g><title>{} ({} samples, {part:.2} %)</title><rect x=\"{x:.2}\" y=\"{y:.1}\" width=\"{width:.2}\" \
             height=\"{:.1}\" fill=\"{}\"/><text x=\"{:.2}\" y=\"{:.1}\">{}</text></g>",
            escaped(name),
            frame.samples,
            BAR - 1.0,
            colour(name),
            x + 2.0,
            y + BAR - 5.0,
            escaped(&label)
        );
        let mut x = x;
        for (name, called) in &frame.called {
            self.bars(name, called, x, y - BAR);
            x += count(called.samples) * self.unit;
        }
    }
}

/// Ours, the kernel's, and everybody else's.
fn colour(name: &str) -> &'static str {
    if name.ends_with("_[k]") {
        "#e69f00"
    } else if name.contains("doorbuster") {
        "#56b4e9"
    } else {
        "#cccccc"
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[expect(clippy::cast_precision_loss, reason = "samples of some seconds")]
fn count(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_wide_as_its_part() {
        let stack = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        let stacks = Stacks::from([(stack(["a", "b<c>"]), 3), (stack(["a", "d"]), 1)]);
        let svg = svg(&stacks, "t");
        assert!(svg.contains("<title>b&lt;c&gt; (3 samples, 75.00 %)</title><rect x=\"10.00\""), "{svg}");
        assert!(svg.contains("<title>d (1 samples, 25.00 %)</title><rect x=\"1195.00\""), "{svg}");
    }
}
