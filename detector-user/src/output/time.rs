//! RFC 3339 times, always UTC and to the microsecond, so that they sort as text.

use std::fmt::{self, Write};

/// Unix time, µs, as `2017-07-07T12:59:50.123456Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rfc3339(pub u64);

const SECONDS_DAY: u64 = 86_400;
/// From 0000-03-01 to 1970-01-01.
const DAYS_TO_1970: u64 = 719_468;

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        let (year, month, day) = date(seconds / SECONDS_DAY);
        let second = seconds % SECONDS_DAY;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{micros:06}Z",
            second / 3600,
            second / 60 % 60,
            second % 60,
        )
    }
}

impl Rfc3339 {
    /// Writes the text behind what `text` holds.
    pub fn append(self, text: &mut String) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{self}");
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar: years of 400 that begin in March,
/// so that the leap day is the last (after Howard Hinnant, "chrono-compatible low-level date algorithms").
fn date(day: u64) -> (u64, u64, u64) {
    const DAYS_ERA: u64 = 146_097;
    let day = day + DAYS_TO_1970;
    let (era, day) = (day / DAYS_ERA, day % DAYS_ERA);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + next_year, month, day)
}

/// The day of a date in the Gregorian calendar, counted from 1970-01-01 (Hinnant's `days_from_civil`): what [`date`] undoes.
pub(crate) fn day_of(year: u32, month: u32, day: u32) -> i64 {
    let year = i64::from(year) - i64::from(month <= 2);
    let of_year = (153 * ((i64::from(month) + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + of_year - DAYS_TO_1970 as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        for (unix, text) in [
            (0, "1970-01-01T00:00:00"),
            (68_169_600, "1972-02-29T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (951_868_800, "2000-03-01T00:00:00"),
            (1_234_567_890, "2009-02-13T23:31:30"),
            (4_107_542_400, "2100-03-01T00:00:00"),
            (4_294_967_295, "2106-02-07T06:28:15"),
        ] {
            assert_eq!(
                Rfc3339(unix * 1_000_000 + 42).to_string(),
                format!("{text}.000042Z")
            );
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut before = date(0);
        for day in 1..200_000 {
            let today = date(day);
            let follows = match today {
                (year, 1, 1) => before == (year - 1, 12, 31),
                (year, month, 1) => before.0 == year && before.1 + 1 == month && before.2 >= 28,
                (year, month, day) => before == (year, month, day - 1),
            };
            assert!(follows, "{before:?} {today:?}");
            let (year, month, of_month) = today;
            assert_eq!(
                day_of(year as u32, month as u32, of_month as u32),
                day as i64
            );
            before = today;
        }
        // The latest time that a capture can state in nanoseconds.
        assert_eq!(
            Rfc3339(u64::MAX / 1000).to_string(),
            "2554-07-21T23:34:33.709551Z"
        );
    }
}
