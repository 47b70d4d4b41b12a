//! Times as tables write them.

use crate::output::day_of;

/// Seconds since some day; only their order and distance count. A number is taken as it is; a date may have its year first,
/// or last with the day before the month, as CICFlowMeter writes it, where both are possible.
pub(super) fn seconds(text: &str) -> Option<f64> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        return number.is_finite().then_some(number);
    }
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, ""));
    let mut parts = date.split(['-', '/', '.']);
    let mut part = || parts.next()?.trim().parse::<u32>().ok();
    let (first, second, third) = (part()?, part()?, part()?);
    let (year, month, day) = if first > 31 {
        (first, second, third)
    } else if second > 12 {
        (third, first, second)
    } else {
        (third, second, first)
    };
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some(day_of(year, month, day) as f64 * 86_400.0 + of_day(time)?)
}

fn of_day(time: &str) -> Option<f64> {
    let time = time.trim();
    if time.is_empty() {
        return Some(0.0);
    }
    let upper = time.to_ascii_uppercase();
    let afternoon = upper.ends_with("PM");
    let half = afternoon || upper.ends_with("AM");
    let end = time
        .find(|c: char| !(c.is_ascii_digit() || c == ':' || c == '.'))
        .unwrap_or(time.len());
    let mut parts = time[..end].split(':');
    let mut part = || -> Option<f64> { parts.next().map_or(Some(0.0), |text| text.parse().ok()) };
    let (mut hours, minutes, seconds) = (part()?, part()?, part()?);
    if half {
        hours = hours % 12.0 + if afternoon { 12.0 } else { 0.0 };
    }
    Some(hours * 3600.0 + minutes * 60.0 + seconds + zone(&time[end..]))
}

/// What to add for a zone such as `+02:00`.
fn zone(text: &str) -> f64 {
    let text = text.trim();
    let sign = match text.chars().next() {
        Some('+') => -1.0,
        Some('-') => 1.0,
        _ => return 0.0,
    };
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let of = |range: std::ops::Range<usize>| -> f64 {
        digits
            .get(range)
            .and_then(|digits| digits.parse().ok())
            .unwrap_or(0.0)
    };
    sign * (of(0..2) * 3600.0 + of(2..4) * 60.0)
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn dates_are_read_as_tables_write_them() {
        let at = seconds("2017-07-03 11:57:41.5").unwrap();
        for same in [
            "2017-07-03T11:57:41.5Z",
            "3/7/2017 11:57:41.5",
            "03/07/2017 11:57:41.5 AM",
            "2017-07-03T13:57:41.5+02:00",
        ] {
            assert_eq!(seconds(same), Some(at), "{same}");
        }
        assert_eq!(
            seconds("7/13/2017 1:00").unwrap(),
            seconds("2017-07-13 01:00:00").unwrap()
        );
        assert_eq!(
            seconds("2018-03-01").unwrap() - seconds("2018-02-28").unwrap(),
            86_400.0
        );
        assert_eq!(
            seconds("2016-03-01").unwrap() - seconds("2016-02-28").unwrap(),
            2.0 * 86_400.0
        );
        assert_eq!(
            seconds("3/7/2017 1:00:00 PM").unwrap(),
            seconds("2017-07-03 13:00").unwrap()
        );
        assert_eq!(seconds("1545403816.962094"), Some(1_545_403_816.962_094));
        assert_eq!(seconds("soon"), None);
        assert_eq!(seconds("-"), None);
    }
}
