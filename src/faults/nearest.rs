//! The known name that a mistyped one most likely meant.

/// Longer names are not compared: none of ours is so long, and the work grows with the square.
const COMPARED_BYTES_MAX: usize = 64;

/// The one of `known` that is nearest to `name`, where one is near enough to be worth suggesting.
#[must_use]
pub fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    if name.len() > COMPARED_BYTES_MAX {
        return None;
    }
    // Case and the kind of dash are the commonest slips, so these cost nothing.
    let plain = |name: &str| name.to_ascii_lowercase().replace('-', "_");
    let (edits, best) = known.iter().map(|known| (edits(&plain(name), &plain(known)), *known)).min()?;
    let allowed = (best.chars().count() / 3).max(1);
    (edits <= allowed).then_some(best)
}

/// How many characters must be put in, left out, replaced or swapped with their neighbour to make `b` out of `a`.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised_and_a_stranger_is_not() {
        let known = ["price_cents", "stock", "sku_id", "title"];
        for (name, expected) in [
            ("price_cent", Some("price_cents")),
            ("Price-Cents", Some("price_cents")),
            ("stcok", Some("stock")),
            ("sku", None),
            ("skuid", Some("sku_id")),
            ("tilte", Some("title")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, &known), expected, "{name:?}");
        }
        assert_eq!(nearest(&"x".repeat(65), &known), None);
        assert_eq!(nearest("stock", &[]), None);
    }
}
