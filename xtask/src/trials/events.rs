//! What the agent told: its events, one JSON object a line, as Suricata writes them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::lab::network::{clients, is_client};

/// What is done to packets.
const VERDICTS: [&str; 3] = ["rate-limit", "quarantine", "drop"];

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
    /// Whether it is about an attack: others are about one that is over, or about the agent itself.
    pub(super) fn is_of_attack(&self) -> bool {
        self.action == "alert" || VERDICTS.contains(&self.action.as_str())
    }

    /// Whether something other than telling was done.
    pub(super) fn is_verdict(&self) -> bool {
        self.enforced && VERDICTS.contains(&self.action.as_str())
    }

    /// Whether it accuses a client.
    pub(super) fn is_on_client(&self) -> bool {
        match self.target.as_str() {
            "" => self.source.is_some_and(is_client),
            target => is_on_client(target),
        }
    }

    /// In a sentence.
    pub(super) fn sentence(&self) -> String {
        let score = self.score.map(|score| format!(" ({score:.2})"));
        let target = match self.target.as_str() {
            "" => String::new(),
            target => format!(" on {target}"),
        };
        let not = match VERDICTS.contains(&self.action.as_str()) && !self.enforced {
            true => " (not enforced)",
            false => "",
        };
        format!(
            "{}{}: {}{target}{not}: {}",
            self.family,
            score.unwrap_or_default(),
            self.action,
            self.reason
        )
    }
}

/// Whether a verdict's target is a client: its address, a prefix that it is in, or one of its flows. What a signature
/// meets only the packets show.
pub(super) fn is_on_client(target: &str) -> bool {
    let target = ["address ", "prefix ", "flow "]
        .iter()
        .find_map(|kind| target.strip_prefix(kind))
        .unwrap_or(target);
    if target.starts_with("to ") || target.starts_with("signature ") {
        return false;
    }
    let mut words = target.split_whitespace();
    words.any(|word| {
        let end = word.parse().map(|end: SocketAddr| end.ip());
        end.or_else(|_| word.parse()).is_ok_and(is_client) || holds_client(word) == Some(true)
    })
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
    // What has no end yet is being written.
    let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
    for line in whole.lines() {
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

/// Alerts of attacks by family.
pub(super) fn by_family(alerts: &[Alert]) -> BTreeMap<String, usize> {
    let mut families = BTreeMap::new();
    for alert in alerts.iter().filter(|alert| alert.is_of_attack()) {
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
        for target in [
            "address 198.18.1.1",
            "2001:2:0:1::3",
            "prefix 198.18.1.2/31",
            "0.0.0.0/0",
            "2001:2::/32",
            "flow tcp 198.18.1.8:4711 <> 198.18.0.1:80 zone 2",
        ] {
            assert!(is_on_client(target), "{target}");
        }
        for target in [
            "address 198.18.2.1",
            "198.18.2.0/24",
            "198.18.1.0/33",
            "tcp 198.18.2.8:4711 <> 198.18.0.1:80 zone 2",
            "to 198.18.0.0/15 udp",
        ] {
            assert!(!is_on_client(target), "{target}");
        }
    }
}
