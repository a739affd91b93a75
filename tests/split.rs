//! Splitting a budget: exact to the cent, within its bounds, the same for good, and nobody's place is better.

use doorbuster::domain::split::{PACKET_CENTS_MAX, PACKETS_MAX, Seed, Split, Terms, Unsplittable};
use proptest::prelude::*;

/// The largest count; without optimization a tenth of it, which takes a minute less.
const MANY: u32 = if cfg!(debug_assertions) { PACKETS_MAX / 10 } else { PACKETS_MAX };

fn seed(number: u64) -> Seed {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    Seed(seed)
}

fn terms(split: Split, packets: u32, total_cents: u64, min_cents: u64, max_cents: u64) -> Terms {
    Terms { split, packets, total_cents, min_cents, max_cents }
}

fn check(terms: Terms, amounts: &[u32]) {
    assert_eq!(amounts.len(), terms.packets as usize);
    assert_eq!(amounts.iter().map(|cents| u64::from(*cents)).sum::<u64>(), terms.total_cents, "{terms:?}");
    let within = |cents: &u32| (terms.min_cents..=terms.max_cents).contains(&u64::from(*cents));
    assert!(amounts.iter().all(within), "{terms:?}: {amounts:?}");
    if terms.split == Split::Equal {
        let (least, most) = (amounts.iter().min().expect("one"), amounts.iter().max().expect("one"));
        assert!(most - least <= 1, "{terms:?}");
    }
}

#[test]
fn every_small_budget_is_split_or_refused() {
    for packets in 1..=5 {
        for (min, max) in (1..=4).flat_map(|min| (min..=5).map(move |max| (min, max))) {
            for total in 0..=26 {
                for split in [Split::Random, Split::Equal] {
                    let terms = terms(split, packets, total, min, max);
                    let fits = (u64::from(packets) * min..=u64::from(packets) * max).contains(&total);
                    for number in 0..20 {
                        match terms.split(seed(number)) {
                            Ok(amounts) => check(terms, &amounts),
                            Err(_) => assert!(!fits),
                        }
                    }
                    assert_eq!(terms.check().is_ok(), fits, "{terms:?}");
                }
            }
        }
    }
}

#[test]
fn the_edges() {
    for (packets, total, min, max) in [
        (1, 1, 1, 1),
        (1, 77, 1, 100),
        (7, 7, 1, 20_000),
        (7, 140_000, 1, 20_000),
        (7, 139_999, 1, 20_000),
        (7, 8, 1, 20_000),
        (3, 3 * PACKET_CENTS_MAX, 1, PACKET_CENTS_MAX),
        (3, 3 * PACKET_CENTS_MAX - 1, PACKET_CENTS_MAX - 1, PACKET_CENTS_MAX),
        (MANY, u64::from(MANY), 1, 1),
        (MANY, u64::from(MANY) * 200, 1, 20_000),
    ] {
        for split in [Split::Random, Split::Equal] {
            let terms = terms(split, packets, total, min, max);
            check(terms, &terms.split(seed(9)).expect("it fits"));
        }
    }
    let random = |packets, total, min, max| terms(Split::Random, packets, total, min, max).check();
    assert_eq!(random(10, 9, 1, 5), Err(Unsplittable::TooLittle { least: 10 }));
    assert_eq!(random(10, 51, 1, 5), Err(Unsplittable::TooMuch { most: 50 }));
    assert_eq!(random(0, 0, 1, 5), Err(Unsplittable::Packets));
    assert_eq!(random(PACKETS_MAX + 1, 1 << 40, 1, 5), Err(Unsplittable::Packets));
    for (min, max) in [(0, 5), (6, 5), (1, PACKET_CENTS_MAX + 1), (u64::MAX, u64::MAX)] {
        assert_eq!(random(1, 5, min, max), Err(Unsplittable::Bounds));
    }
}

proptest! {
    #[test]
    fn whatever_fits_is_split_exactly(
        packets in 1u32..400, min in 1u64..1_000, span in 0u64..50_000, part in 0u64..=1_000, number: u64, even: bool,
    ) {
        let max = min + span;
        let (least, most) = (u64::from(packets) * min, u64::from(packets) * max);
        let total = least + (most - least) * part / 1_000;
        let terms = terms(if even { Split::Equal } else { Split::Random }, packets, total, min, max);
        let amounts = terms.split(seed(number)).expect("it fits");
        check(terms, &amounts);
        prop_assert_eq!(terms.split(seed(number)).expect("it fits"), amounts, "a replay never draws again otherwise");
    }
}

/// What was promised stands for good. The amounts are those of another program, written in Python from the description in
/// docs/split.md alone; the commitment is what anybody gets who types
/// `printf 'doorbuster-split-1\n01%062d\nrandom\n10\n1000\n1\n500\n' 0 | sha256sum`.
#[test]
fn version_one_stays_what_it_is() {
    let random = terms(Split::Random, 10, 1_000, 1, 500);
    assert_eq!(random.split(seed(1)).expect("it fits"), [42, 123, 45, 170, 104, 97, 148, 88, 77, 106]);
    assert_eq!(random.commitment(seed(1)), "6543bec1c1a54d04737955ba52b389db7ceadbb56331d381cd024b6746ec0853");
    let tight = terms(Split::Random, 12, 5_000, 1, 500);
    let amounts = [486, 353, 483, 426, 453, 299, 420, 435, 403, 355, 457, 430];
    assert_eq!(tight.split(seed(1)).expect("it fits"), amounts);
    let equal = terms(Split::Equal, 7, 100, 1, 500);
    assert_eq!(equal.split(seed(1)).expect("it fits"), [15, 14, 14, 14, 15, 14, 14]);
}

/// "Who comes first gets more": over many splits every place has the same mean, within five standard errors, and about as
/// many of the largest packets.
#[test]
fn no_place_is_better_than_another() {
    const SPLITS: u64 = 20_000;
    for (packets, total, min, max) in
        [(10_u32, 1_000, 1, 500), (10, 4_500, 1, 500), (3, 10, 1, 8), (20, 2_001, 100, 20_000)]
    {
        let terms = terms(Split::Random, packets, total, min, max);
        let places = packets as usize;
        let (mut sums, mut squares, mut luckiest) = (vec![0.0; places], vec![0.0; places], vec![0_u32; places]);
        for number in 0..SPLITS {
            let amounts = terms.split(seed(number)).expect("it fits");
            for (place, amount) in amounts.iter().map(|cents| f64::from(*cents)).enumerate() {
                sums[place] += amount;
                squares[place] += amount * amount;
            }
            let best = (0..places).max_by_key(|place| amounts[*place]).expect("one");
            luckiest[best] += 1;
        }
        let (n, expected) = (SPLITS as f64, total as f64 / f64::from(packets));
        for place in 0..places {
            let mean = sums[place] / n;
            let error = ((squares[place] / n - mean * mean) / n).sqrt();
            assert!(
                (mean - expected).abs() <= 5.0 * error + 1e-9,
                "place {place} of {terms:?}: {mean}, not {expected}"
            );
        }
        let equal = n / f64::from(packets);
        // Ties go to the last of them, so few cents make it uneven.
        if total > 100 {
            for (place, times) in luckiest.iter().enumerate() {
                let off = (f64::from(*times) - equal).abs() / equal.sqrt();
                assert!(off < 6.0, "place {place} of {terms:?} is luckiest {times} times, not {equal}");
            }
        }
    }
}

/// Draws docs/split-by-index.svg: `cargo test --test split -- --ignored`. Each place's mean, and its deviation above and
/// below, over 100,000 splits; the same numbers give the same picture.
#[test]
#[ignore = "it writes a picture into docs/"]
fn draw_what_each_place_gets() {
    const SPLITS: u64 = 100_000;
    const PLACES: u32 = 20;
    const TOTAL: u64 = 2_000;
    let terms = terms(Split::Random, PLACES, TOTAL, 1, 500);
    let (mut sums, mut squares) = ([0.0; PLACES as usize], [0.0; PLACES as usize]);
    for number in 0..SPLITS {
        for (place, cents) in terms.split(seed(number)).expect("it fits").into_iter().map(f64::from).enumerate() {
            (sums[place], squares[place]) = (sums[place] + cents, squares[place] + cents * cents);
        }
    }
    let n = SPLITS as f64;
    let deviation = |place: usize| (squares[place] / n - (sums[place] / n).powi(2)).sqrt();
    let (x, y) = (|place: usize| 70.0 + 30.0 * place as f64, |cents: f64| 330.0 - 1.5 * cents);
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 700 400\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"700\" height=\"400\" fill=\"white\"/>\n",
    );
    let title = format!(
        "{TOTAL} cents in {PLACES} packets of 1 to 500, {SPLITS} splits: mean (dot) and standard deviation (bar) by index"
    );
    svg += &format!("<text x=\"50\" y=\"22\">{title}</text>\n");
    for cents in [0.0, 50.0, 100.0, 150.0, 200.0] {
        let at = y(cents);
        svg += &format!("<path d=\"M50 {at}H660\" stroke=\"#ddd\"/><text x=\"20\" y=\"{}\">{cents}</text>\n", at + 4.0);
    }
    for (place, sum) in sums.iter().enumerate() {
        let (mean, deviation, x) = (sum / n, deviation(place), x(place));
        svg += &format!(
            "<path d=\"M{x} {:.2}V{:.2}\" stroke=\"#69c\" stroke-width=\"6\"/><circle cx=\"{x}\" cy=\"{:.2}\" r=\"4\"/>\
             <text x=\"{x}\" y=\"352\" text-anchor=\"middle\">{place}</text>\
             <text x=\"{x}\" y=\"372\" text-anchor=\"middle\" font-size=\"9\">{mean:.2}</text>\
             <text x=\"{x}\" y=\"386\" text-anchor=\"middle\" font-size=\"9\">±{deviation:.1}</text>\n",
            y(mean + deviation),
            y(mean - deviation),
            y(mean)
        );
        println!("packet {place}: {mean:.3} ± {deviation:.3}");
        let error = deviation / n.sqrt();
        assert!((mean - TOTAL as f64 / f64::from(PLACES)).abs() < 5.0 * error, "place {place}: {mean}");
    }
    svg += "</svg>\n";
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/split-by-index.svg"), svg).expect("docs/ can be written");
}
