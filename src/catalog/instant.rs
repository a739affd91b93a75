//! Instants as people write them: RFC 3339 with an offset, to the millisecond.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::ids::UnixMillis;

/// The last instant that can be written: RFC 3339 has four digits for the year.
pub const INSTANT_MAX: UnixMillis = UnixMillis(253_402_300_799_999);

/// What is wrong with a written instant, and the mend.
pub type Wrong = (&'static str, &'static str);

const EXAMPLE: &str = "write a time such as 2026-11-11T00:00:00+08:00";

/// Reads an instant.
///
/// # Errors
/// Where it is none, has no offset, is finer than a millisecond, or lies outside 1970 to 9999.
pub fn parse(text: &str) -> Result<UnixMillis, Wrong> {
    let Ok(instant) = OffsetDateTime::parse(text, &Rfc3339) else {
        return Err(why(text));
    };
    let nanos = instant.unix_timestamp_nanos();
    if nanos % 1_000_000 != 0 {
        return Err(("is finer than a millisecond", "write at most three digits after the second"));
    }
    match u64::try_from(nanos / 1_000_000) {
        Ok(ms) if ms <= INSTANT_MAX.0 => Ok(UnixMillis(ms)),
        _ => Err(("must lie between the years 1970 and 9999, in UTC", EXAMPLE)),
    }
}

fn why(text: &str) -> Wrong {
    let is_instant = |suffix: &str| OffsetDateTime::parse(&format!("{text}{suffix}"), &Rfc3339).is_ok();
    if is_instant("Z") {
        ("has no offset from UTC, so it names no instant", "append Z, or an offset such as +08:00")
    } else if is_instant("T00:00:00Z") {
        ("is a date without a time", EXAMPLE)
    } else {
        ("is not a time as RFC 3339 writes it", EXAMPLE)
    }
}

/// Writes an instant in UTC; one after [`INSTANT_MAX`], which no reader gives, as that.
#[must_use]
pub fn rfc3339(instant: UnixMillis) -> String {
    let nanos = i128::from(instant.min(INSTANT_MAX).0) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|instant| instant.format(&Rfc3339).ok())
        .expect("every instant up to the year 9999 can be written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_needs_an_offset_and_no_more_than_milliseconds() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Ok(0)),
            ("1970-01-01T08:00:00.001+08:00", Ok(1)),
            ("9999-12-31T23:59:59.999Z", Ok(INSTANT_MAX.0)),
            ("2026-11-11T00:00:00", Err("has no offset from UTC, so it names no instant")),
            ("2026-11-11", Err("is a date without a time")),
            ("2026-13-11T00:00:00Z", Err("is not a time as RFC 3339 writes it")),
            ("2026-11-11T00:00:00.0001Z", Err("is finer than a millisecond")),
            ("1969-12-31T23:59:59Z", Err("must lie between the years 1970 and 9999, in UTC")),
            ("1970-01-01T00:00:00+00:01", Err("must lie between the years 1970 and 9999, in UTC")),
            ("9999-12-31T23:59:59-00:01", Err("must lie between the years 1970 and 9999, in UTC")),
            ("noon", Err("is not a time as RFC 3339 writes it")),
            ("", Err("is not a time as RFC 3339 writes it")),
        ] {
            assert_eq!(parse(text).map(|ms| ms.0).map_err(|wrong| wrong.0), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_written_reads_as_the_same_instant() {
        for ms in [0, 1, 999, 1_000, 1_794_326_400_000, INSTANT_MAX.0] {
            let text = rfc3339(UnixMillis(ms));
            assert!(text.ends_with('Z'), "{text} is in UTC");
            assert_eq!(parse(&text), Ok(UnixMillis(ms)));
        }
        assert_eq!(rfc3339(UnixMillis(u64::MAX)), "9999-12-31T23:59:59.999Z");
    }
}
