//! Rates, sizes and durations, as they are said on the command line and shown again.

use std::time::Duration;

const UNITS: [(&str, u64); 9] = [
    ("", 1),
    ("k", 1_000),
    ("K", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
];

/// A number: `1500`, `10k`, `1.5M`, `64Ki`.
pub(super) fn number(text: &str) -> Result<u64, String> {
    let no = || format!("{text:?}: write a number, such as 1500, 10k, 1.5M or 64Ki");
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let (_, unit) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(no)?;
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let whole: u64 = whole.parse().map_err(|_| no())?;
    let whole = whole.checked_mul(*unit).ok_or_else(no)?;
    if part.is_empty() {
        return if digits.contains('.') {
            Err(no())
        } else {
            Ok(whole)
        };
    }
    // No unit has more decimals than this.
    if part.len() > 12 {
        return Err(no());
    }
    let scale = 10u128.pow(part.len() as u32);
    let part = part.parse::<u128>().map_err(|_| no())? * u128::from(*unit);
    if !part.is_multiple_of(scale) {
        return Err(no());
    }
    // Less than one unit, which fits.
    whole.checked_add((part / scale) as u64).ok_or_else(no)
}

/// A number of slots.
pub(super) fn slots(text: &str) -> Result<u32, String> {
    number(text)?
        .try_into()
        .map_err(|_| format!("{text:?}: at most {}", u32::MAX))
}

/// A duration: `90s`, `10m`, `1h30m`, `7d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let no = || format!("{text:?}: write a duration with its unit, such as 90s, 10m, 1h30m or 7d");
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(no());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(no)?;
        let number: u64 = rest[..digits].parse().map_err(|_| no())?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let unit_ms = match &rest[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            _ => return Err(no()),
        };
        rest = &rest[letters..];
        let part = Duration::from_millis(number.checked_mul(unit_ms).ok_or_else(no)?);
        total = total.checked_add(part).ok_or_else(no)?;
    }
    Ok(total)
}

/// Seconds between two looks: a duration, or a bare number of seconds.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let time = match text.parse::<f64>() {
        Ok(seconds) => {
            Duration::try_from_secs_f64(seconds).map_err(|error| format!("{text:?}: {error}"))?
        }
        Err(_) => duration(text)?,
    };
    if time.is_zero() {
        Err(format!("{text:?}: must be more than 0"))
    } else {
        Ok(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read() {
        for (text, n) in [
            ("0", 0),
            ("1500", 1_500),
            ("10k", 10_000),
            ("10K", 10_000),
            ("1.5M", 1_500_000),
            ("64Ki", 65_536),
            ("2G", 2_000_000_000),
            ("0.5Ki", 512),
        ] {
            assert_eq!(number(text), Ok(n), "{text}");
        }
        for text in [
            "",
            "k",
            "-1",
            "1.5",
            "1.",
            ".5k",
            "1.2.3k",
            "10x",
            "10 k",
            "99999999999999999999",
            "99999999T",
            "0.0001k",
        ] {
            assert!(number(text).is_err(), "{text}");
        }
        assert!(slots("4Gi").is_err() && slots("64Ki") == Ok(65_536));
    }

    #[test]
    fn durations_are_read() {
        for (text, seconds) in [
            ("90s", 90),
            ("10m", 600),
            ("1h30m", 5_400),
            ("7d", 604_800),
            ("1w", 604_800),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1_500)));
        for text in [
            "",
            "10",
            "m",
            "10x",
            "1h30",
            "-1s",
            "1.5h",
            "99999999999999999w",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(interval("2"), Ok(Duration::from_secs(2)));
        assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(interval("1m"), Ok(Duration::from_secs(60)));
        for text in ["0", "-1", "x", "nan", "inf"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }
}
