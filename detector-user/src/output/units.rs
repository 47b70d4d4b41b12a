//! Numbers for people: three digits and a unit.

/// Bytes in decimal units: `999 B`, `1.23 kB`, `45.6 MB`.
#[must_use]
pub fn bytes(n: u64) -> String {
    if n < 1000 {
        return format!("{n} B");
    }
    scaled(n, &["kB", "MB", "GB", "TB", "PB", "EB"])
}

/// A count: `999`, `1.23 k`, `45.6 M`.
#[must_use]
pub fn count(n: u64) -> String {
    if n < 1000 {
        return n.to_string();
    }
    scaled(n, &["k", "M", "G", "T", "P", "E"])
}

/// `n`, at least 1000, with the first of `units` for thousands.
fn scaled(n: u64, units: &[&str]) -> String {
    let mut value = n as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{} {}", three_digits(value), units[unit])
}

/// A time span: `12 µs`, `3.40 ms`, `5.67 s`, `2 min 5 s`, `3 h 2 min`.
#[must_use]
pub fn duration(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..999_500 => format!("{} ms", three_digits(us as f64 / 1e3)),
        999_500..60_000_000 => format!("{} s", three_digits(us as f64 / 1e6)),
        _ => {
            let seconds = us / 1_000_000;
            match seconds {
                0..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
                3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
                _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
            }
        }
    }
}

fn three_digits(value: f64) -> String {
    let decimals = match value {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

/// A number with its thousands set apart, for exact counts in text: `1,234,567`.
#[must_use]
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_a_unit() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.00 kB"),
            (12_345, "12.3 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (u64::MAX, "18.4 EB"),
        ];
        for (n, text) in cases {
            assert_eq!(bytes(n), text);
        }
        assert_eq!(count(9_999), "10.0 k");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(123), "123");
    }

    #[test]
    fn spans() {
        let cases = [
            (0, "0 µs"),
            (999, "999 µs"),
            (1_000, "1.00 ms"),
            (999_499, "999 ms"),
            (999_500, "1.00 s"),
            (59_999_999, "60.0 s"),
            (60_000_000, "1 min 0 s"),
            (120_000_000, "2 min 0 s"),
            (96_970_194_890_000, "1122 d 8 h"),
        ];
        for (us, text) in cases {
            assert_eq!(duration(us), text);
        }
    }
}
