//! What the agent told: its events, one JSON object a line, as Suricata writes them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::lab::network::{clients, is_client};

/// An alert.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Alert {
    pub(super) at: SystemTime,
    pub(super) source: Option<IpAddr>,
    pub(super) family: String,
    pub(super) action: String,
    pub(super) target: String,
    pub(super) score: Option<f64>,
    pub(super) reason: String,
    pub(super) enforced: bool,
}

/// One line.
#[derive(Deserialize)]
struct Line {
    timestamp: String,
    event_type: String,
    src_ip: Option<String>,
    #[serde(default)]
    detector: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    family: String,
    #[serde(default)]
    action: String,
    #[serde(default)]
    target: String,
    score: Option<f64>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    enforced: bool,
}

impl Alert {
    /// Whether something other than telling was done.
    pub(super) fn is_verdict(&self) -> bool {
        self.enforced && self.action != "alert"
    }

    /// Whether it accuses a client.
    pub(super) fn is_on_client(&self) -> bool {
        match self.target.split_once(' ') {
            Some((kind, target)) if kind != "signature" => is_on_client(kind, target),
            _ => self.target.is_empty() && self.source.is_some_and(is_client),
        }
    }

    /// In a sentence.
    pub(super) fn sentence(&self) -> String {
        let score = self.score.map(|score| format!(" ({score:.2})"));
        format!(
            "{}{}: {} on {}{}: {}",
            self.family,
            score.unwrap_or_default(),
            self.action,
            self.target,
            if self.enforced { "" } else { ", not enforced" },
            self.reason
        )
    }
}

/// Whether a verdict of some kind is on a client. What a signature meets only the packets show.
pub(super) fn is_on_client(kind: &str, target: &str) -> bool {
    match kind {
        "address" => target.parse().is_ok_and(is_client),
        "prefix" => holds_client(target).unwrap_or(false),
        "flow" => target.split_whitespace().any(|word| {
            let end = word.parse().map(|end: SocketAddr| end.ip());
            end.or_else(|_| word.parse()).is_ok_and(is_client)
        }),
        _ => false,
    }
}

fn holds_client(prefix: &str) -> Option<bool> {
    let (address, bits) = prefix.split_once('/')?;
    let (address, bits): (IpAddr, u32) = (address.parse().ok()?, bits.parse().ok()?);
    let holds = |other: IpAddr| match (address, other) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let rest = 32u32.checked_sub(bits)?;
            Some((a.to_bits() ^ b.to_bits()).checked_shr(rest).unwrap_or(0) == 0)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let rest = 128u32.checked_sub(bits)?;
            Some((a.to_bits() ^ b.to_bits()).checked_shr(rest).unwrap_or(0) == 0)
        }
        _ => Some(false),
    };
    Some(clients().any(|client| holds(client) == Some(true)))
}

/// The alerts in a file of events, in its order.
pub(super) fn read(path: &Path) -> Result<Vec<Alert>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the agent's events in {}", path.display()))?;
    let mut alerts = Vec::new();
    for line in text.lines() {
        alerts.extend(parse(line).with_context(|| format!("an event of the agent: {line}"))?);
    }
    Ok(alerts)
}

fn parse(line: &str) -> Result<Option<Alert>> {
    let line: Line = serde_json::from_str(line)?;
    if line.event_type != "alert" {
        return Ok(None);
    }
    let details = line.detector.context("an alert without `detector`")?;
    Ok(Some(Alert {
        at: time(&line.timestamp).with_context(|| format!("no time: {}", line.timestamp))?,
        source: line.src_ip.and_then(|address| address.parse().ok()),
        family: details.family,
        action: details.action,
        target: details.target,
        score: details.score,
        reason: details.reason,
        enforced: details.enforced,
    }))
}

/// Alerts by family.
pub(super) fn by_family(alerts: &[Alert]) -> BTreeMap<String, usize> {
    let mut families = BTreeMap::new();
    for alert in alerts {
        *families.entry(alert.family.clone()).or_default() += 1;
    }
    families
}

/// An RFC 3339 time, in UTC: `2026-11-21T01:02:03.456789Z`; Suricata ends it with `+0000`.
fn time(text: &str) -> Option<SystemTime> {
    const SECONDS_DAY: u64 = 86_400;
    let text = ["Z", "+0000", "+00:00"]
        .into_iter()
        .find_map(|zone| text.strip_suffix(zone))?;
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let seconds = number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;
    let fraction: f64 = match text.get(19..)? {
        "" => 0.0,
        fraction => format!("0{fraction}").parse().ok()?,
    };
    let whole = Duration::from_secs(days(year, month, day)? * SECONDS_DAY + seconds);
    Some(SystemTime::UNIX_EPOCH + whole + Duration::from_secs_f64(fraction))
}

/// Days from 1970-01-01 (after Howard Hinnant, "chrono-compatible low-level date algorithms").
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = year.checked_sub(u64::from(month <= 2))?;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.checked_sub(1)?;
    (year * 365 + year / 4 - year / 100 + year / 400 + of_year).checked_sub(719_468)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let unix = |text: &str| {
            let since = time(text)?.duration_since(SystemTime::UNIX_EPOCH);
            Some(since.ok()?.as_micros())
        };
        assert_eq!(unix("1970-01-01T00:00:00Z"), Some(0));
        for zone in ["Z", "+0000", "+00:00"] {
            let text = format!("2017-07-07T12:59:50.123456{zone}");
            assert_eq!(unix(&text), Some(1_499_432_390_123_456));
        }
        assert_eq!(unix("2024-02-29T00:00:00.5Z"), Some(1_709_164_800_500_000));
        for text in [
            "",
            "2017-07-07T12:59:50",
            "2017-07-07T12:59:50+0200",
            "xxxx-07-07T12:59:50Z",
        ] {
            assert_eq!(unix(text), None, "{text}");
        }
    }

    #[test]
    fn alerts_are_read_and_others_are_not() {
        let line = r#"{"timestamp":"2026-11-21T01:02:03.000004Z","event_type":"alert","src_ip":"198.18.1.3",
            "dest_ip":"198.18.0.1","proto":"TCP","alert":{"action":"blocked","signature":"x","severity":1},
            "detector":{"family":"scan","action":"drop","target":"address 198.18.2.1","score":0.97,"reason":"ports",
            "enforced":true}}"#;
        let alert = parse(line).unwrap().unwrap();
        assert!(alert.is_verdict() && !alert.is_on_client());
        assert_eq!(by_family(&[alert])["scan"], 1);
        let stats = r#"{"timestamp":"2026-11-21T01:02:03Z","event_type":"stats","stats":{}}"#;
        assert_eq!(parse(stats).unwrap(), None);
        assert!(parse("{").is_err());
    }

    #[test]
    fn clients_are_told_from_others() {
        for (kind, target) in [
            ("address", "198.18.1.1"),
            ("address", "2001:2:0:1::3"),
            ("prefix", "198.18.1.2/31"),
            ("prefix", "0.0.0.0/0"),
            ("prefix", "2001:2::/32"),
            ("flow", "tcp 198.18.1.8:4711 198.18.0.1:80"),
        ] {
            assert!(is_on_client(kind, target), "{target}");
        }
        for (kind, target) in [
            ("address", "198.18.2.1"),
            ("prefix", "198.18.2.0/24"),
            ("prefix", "198.18.1.0/33"),
            ("flow", "tcp 198.18.2.8:4711 198.18.0.1:80"),
            ("signature", "to 198.18.0.1/32 udp"),
        ] {
            assert!(!is_on_client(kind, target), "{target}");
        }
    }
}
