//! Stacks: what `perf script` prints of each sample, folded to a line a stack, as all programs that draw flames read it.

use std::collections::BTreeMap;

/// How often each stack was seen: its thread's name, then its functions from the outermost in.
pub(crate) type Stacks = BTreeMap<Vec<String>, u64>;

/// Folds what `perf script -F comm,ip,sym,dso` printed: for each sample the thread's name, then a line a function from the
/// innermost out, then an empty line.
pub(crate) fn stacks(text: &str) -> Stacks {
    let mut stacks = Stacks::new();
    for sample in text.split("\n\n") {
        let mut lines = sample.lines().filter(|line| !line.trim().is_empty());
        let Some(thread) = lines.next() else { continue };
        let mut stack: Vec<String> = lines.filter_map(function).collect();
        stack.push(thread.trim().replace(';', ","));
        stack.reverse();
        *stacks.entry(stack).or_default() += 1;
    }
    stacks
}

/// A line a stack: the functions with semicolons between, a blank, and how often.
pub(crate) fn folded(stacks: &Stacks) -> String {
    stacks.iter().map(|(stack, count)| format!("{} {count}\n", stack.join(";"))).collect()
}

/// A function's name, of a line such as `  55d0 doorbuster::main::h0123456789abcdef (/path/doorbuster)`; what is of the kernel
/// is marked as others mark it.
fn function(line: &str) -> Option<String> {
    let (_, rest) = line.trim().split_once(' ')?;
    let (name, place) = rest.rsplit_once(" (").unwrap_or((rest, ""));
    let name = match name.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => name,
        _ => name,
    };
    let mark = if place.starts_with("[kernel") { "_[k]" } else { "" };
    Some(format!("{}{mark}", name.replace(';', ",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_stacks_are_one_line() {
        let sample = "journal \n\tffff do_fsync ([kernel.kallsyms])\n\t  55d0 doorbuster::run::h0123456789abcdef (/x/doorbuster)\n\
                      \t  7f00 [unknown] (/x/libc.so.6)\n";
        let other = "journal \n\t  55d0 <[u8; 4] as core::fmt::Debug>::fmt (/x/doorbuster)\n";
        let stacks = stacks(&format!("{sample}\n{other}\n{sample}\n"));
        let wanted = "journal;<[u8, 4] as core::fmt::Debug>::fmt 1\njournal;[unknown];doorbuster::run;do_fsync_[k] 2\n";
        assert_eq!(folded(&stacks), wanted);
    }
}
