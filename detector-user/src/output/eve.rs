//! Events as Suricata's EVE JSON: one object a line, what is this project's own under `detector`.
//!
//! Field names are those of Suricata's documentation ("Eve JSON Format"), so that pipelines made for it take them.

use std::{net::IpAddr, sync::Arc};

use detector_common::{event::VerdictHit, verdict::Action};
use serde::Serialize;

use super::{Rfc3339, printable};
use crate::{
    agent::flow_log::Finished,
    decide::{
        alert::{Act, Alert, Decision, Kind},
        policy::Step,
    },
    enforce::order::Listed,
    flow::{community_id, protocol},
    kubernetes::PodNames,
};

/// One line of the event log.
#[derive(Debug, Serialize)]
pub struct Event<'a> {
    timestamp: String,
    event_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    src_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    src_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dest_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dest_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proto: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    community_id: Option<String>,
    alert: AlertFields,
    detector: Detector<'a>,
}

#[derive(Debug, Serialize)]
struct AlertFields {
    /// Suricata's two: whether the traffic goes on.
    action: &'static str,
    signature_id: u32,
    rev: u32,
    signature: String,
    category: &'static str,
    severity: u8,
}

#[derive(Debug, Serialize)]
struct Detector<'a> {
    family: &'static str,
    /// What is done, or in monitor mode what would be.
    action: &'static str,
    /// Whether it is.
    enforced: bool,
    by: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f32>,
    sources: u32,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packets_per_second: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capture: Option<&'a str>,
    #[serde(flatten)]
    pods: Pods,
}

/// Names of pods, absent where there are none.
#[derive(Debug, Default, Serialize)]
struct Pods {
    #[serde(skip_serializing_if = "Option::is_none")]
    src_pod: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dest_pod: Option<Arc<str>>,
}

impl Pods {
    fn of(source: Option<IpAddr>, destination: Option<IpAddr>, pods: &PodNames) -> Self {
        Self {
            src_pod: source.and_then(|address| pods.of(address)),
            dest_pod: destination.and_then(|address| pods.of(address)),
        }
    }

    /// Beside what else is this project's own.
    fn add_to(self, line: &mut serde_json::Value) {
        for (name, pod) in [("src_pod", self.src_pod), ("dest_pod", self.dest_pod)] {
            if let Some(pod) = pod {
                line["detector"][name] = (*pod).into();
            }
        }
    }
}

/// Where the numbers of this project's signatures begin (a range that nobody else is known to use).
const SIGNATURE_BASE: u32 = 9_100_000;

impl<'a> Event<'a> {
    /// The line of a decision that is to be told. `enforced`: what it says is done; `epoch_us`: Unix time of the flows'
    /// time 0.
    #[must_use]
    pub fn of(
        decision: &'a Decision,
        alert: &'a Alert,
        enforced: bool,
        epoch_us: u64,
        capture: Option<&'a str>,
    ) -> Self {
        let order = match &decision.act {
            Some(Act::Put(order)) => Some(order),
            _ => None,
        };
        let denies = matches!(alert.kind, Kind::Attack(Step::RateLimit | Step::Drop));
        let port = |end: (IpAddr, u16)| protocol::has_ports(alert.protocol).then_some(end.1);
        let ends = alert.source.zip(alert.destination);
        Self {
            timestamp: Rfc3339(epoch_us + alert.at_us).to_string(),
            event_type: "alert",
            src_ip: alert.source.map(|end| end.0),
            src_port: alert.source.and_then(port),
            dest_ip: alert.destination.map(|end| end.0),
            dest_port: alert.destination.and_then(port),
            proto: (alert.protocol != 0)
                .then(|| protocol::name(alert.protocol).to_ascii_uppercase()),
            community_id: ends
                .filter(|_| protocol::has_ports(alert.protocol))
                .map(|(source, destination)| community_id::v1(source, destination, alert.protocol)),
            alert: AlertFields {
                action: if denies && enforced {
                    "blocked"
                } else {
                    "allowed"
                },
                signature_id: SIGNATURE_BASE + alert.family as u32 * 10 + kind_number(alert.kind),
                rev: 1,
                signature: format!("detector {} {}", alert.family, alert.kind.name()),
                category: category(alert),
                severity: alert.kind.severity(),
            },
            detector: Detector {
                family: alert.family.name(),
                action: alert.kind.name(),
                enforced: enforced && decision.act.is_some(),
                by: alert.by.name(),
                score: alert.score,
                sources: alert.sources,
                reason: &alert.reason,
                target: alert.target.map(|target| target.to_string()),
                packets_per_second: order
                    .filter(|order| order.action == Action::RATE_LIMIT)
                    .map(|order| order.packets_per_second),
                ttl_s: order.and_then(|order| Some(order.time_to_live?.as_secs())),
                capture,
                pods: Pods::default(),
            },
        }
    }

    /// The same with the names of the pods that it is about.
    #[must_use]
    pub fn naming(mut self, pods: &PodNames) -> Self {
        self.detector.pods = Pods::of(self.src_ip, self.dest_ip, pods);
        self
    }

    /// The same in a sentence, for a person who watches.
    #[must_use]
    pub fn sentence(&self) -> String {
        let end = |ip: Option<IpAddr>, pod: &Option<Arc<str>>| match (ip, pod) {
            (None, _) => "many".to_owned(),
            (Some(ip), None) => ip.to_string(),
            (Some(ip), Some(pod)) => format!("{ip} ({})", printable(pod)),
        };
        let pods = &self.detector.pods;
        let what = self
            .detector
            .target
            .as_ref()
            .map_or_else(String::new, |target| {
                let would = if self.detector.enforced {
                    ""
                } else {
                    ", would be"
                };
                format!("{would}: {target}")
            });
        format!(
            "{} {} {} -> {}: {} {}{what} ({})",
            self.timestamp,
            self.detector.family,
            end(self.src_ip, &pods.src_pod),
            end(self.dest_ip, &pods.dest_pod),
            self.alert.action,
            self.detector.action,
            self.detector.reason
        )
    }

    /// The line, with its end.
    #[must_use]
    pub fn line(&self) -> String {
        // Every field is a string, a number or absent: there is nothing to fail.
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }
}

/// The line of a verdict's first hit: proof that it is in force.
#[must_use]
pub fn first_hit(hit: &VerdictHit, verdict: &Listed, epoch_us: u64, pods: &PodNames) -> String {
    let (source, destination) = (hit.source.to_ip(), hit.destination.to_ip());
    let port = |port: u16| protocol::has_ports(hit.protocol).then_some(port);
    let mut line = serde_json::json!({
        "timestamp": Rfc3339(epoch_us + hit.time_ns / 1000).to_string(),
        "event_type": "drop",
        "src_ip": source,
        "src_port": port(hit.source_port),
        "dest_ip": destination,
        "dest_port": port(hit.destination_port),
        "proto": protocol::name(hit.protocol).to_ascii_uppercase(),
        "detector": {
            "action": verdict.verdict.action.name(),
            "dropped": hit.dropped != 0,
            "target": verdict.target.to_string(),
            "reason": verdict.verdict.reason_text(),
        },
    });
    Pods::of(Some(source), Some(destination), pods).add_to(&mut line);
    format!("{line}\n")
}

/// The line of a flow that ended.
#[must_use]
pub fn flow(finished: &Finished, epoch_us: u64) -> String {
    let flow = &finished.flow;
    let ((source, source_port), (destination, port)) = flow.endpoints();
    let ports = flow.ports();
    let number = flow.protocol();
    let r = &flow.record;
    let start_us = epoch_us + r.first_us;
    let end_us = start_us + u64::from(r.last_us);
    let mut line = serde_json::json!({
        "timestamp": Rfc3339(end_us).to_string(),
        "event_type": "flow",
        "src_ip": source,
        "src_port": ports.map(|_| source_port),
        "dest_ip": destination,
        "dest_port": ports.map(|_| port),
        "proto": protocol::name(number).to_ascii_uppercase(),
        "community_id": flow.community_id(),
        "flow": {
            "pkts_toserver": r.forward.packets,
            "pkts_toclient": r.backward.packets,
            "bytes_toserver": r.forward.bytes,
            "bytes_toclient": r.backward.bytes,
            "start": Rfc3339(start_us).to_string(),
            "end": Rfc3339(end_us).to_string(),
            "age": (end_us - start_us) / 1_000_000,
            "state": flow.state().name(),
            "reason": finished.reason.name(),
        },
    });
    if number == detector_common::packet::protocol::TCP {
        line["tcp"] = serde_json::json!({ "tcp_flags": format!("{:02x}", flow.tcp_flags()) });
    }
    let pods = Pods {
        src_pod: finished.source_pod.clone(),
        dest_pod: finished.destination_pod.clone(),
    };
    pods.add_to(&mut line);
    format!("{line}\n")
}

fn kind_number(kind: Kind) -> u32 {
    match kind {
        Kind::Attack(step) => step as u32,
        Kind::Over => 3,
        Kind::Safety => 4,
        Kind::Fault => 5,
    }
}

/// Of Suricata's classification.config.
fn category(alert: &Alert) -> &'static str {
    use crate::decide::family::Family;
    match alert.family {
        Family::Benign => "Not Suspicious Traffic",
        Family::Flood | Family::Amplification | Family::AppDos => {
            "Detection of a Denial of Service Attack"
        }
        Family::Scan => "Detection of a Network Scan",
        Family::BruteForce => "Attempted User Privilege Gain",
        Family::WebAttack => "Web Application Attack",
    }
}
