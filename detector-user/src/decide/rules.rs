//! Plain thresholds on a source: a floor that works with no model at all.

use detector_common::packet::protocol;

use super::{
    family::Family,
    policy::{Ladder, RulePolicy, Step},
};
use crate::features::{
    extractor::Due,
    hosts::Surroundings,
    ports::PortClass,
    window::{FAST_S, SLOW_S},
};

/// A threshold that was reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// What it is a sign of.
    pub family: Family,
    /// What is to be done.
    pub step: Step,
    /// What was counted.
    pub what: &'static str,
    /// How much there was.
    pub value: f32,
}

/// Packets of more than this on average are data, B.
const SMALL_BYTES: f64 = 400.0;

/// Ports at which people log in: SSH, FTP, Telnet, RDP, VNC.
const GUESSED: [u16; 6] = [21, 22, 23, 2222, 3389, 5900];

/// The gravest of the rules that a flow's source breaks now.
#[must_use]
pub fn judge(policy: &RulePolicy, due: &Due, around: &Surroundings) -> Option<Hit> {
    let rules = [scan, flood, login, waiting, requests];
    rules
        .iter()
        .filter_map(|rule| rule(policy, due, around))
        .reduce(|gravest, hit| {
            if hit.step > gravest.step {
                hit
            } else {
                gravest
            }
        })
}

fn hit(ladder: Ladder, family: Family, what: &'static str, value: f32) -> Option<Hit> {
    ladder.step(value).map(|step| Hit {
        family,
        step,
        what,
        value,
    })
}

/// Many flows to different ports or hosts that came to nothing.
fn scan(policy: &RulePolicy, due: &Due, around: &Surroundings) -> Option<Hit> {
    let source = &around.source;
    let missed = source.unanswered + source.refused;
    if missed < policy.scan_misses.alert || missed < policy.scan_miss_share * source.flows {
        return None;
    }
    let ports = source.ports.estimate(around.now_us);
    let peers = source.peers.estimate(around.now_us);
    let (fewer, more) = (ports.min(peers), ports.max(peers));
    // A source that tries the same few again and again floods them.
    if more < policy.scan_targets || more < 0.2 * missed.min(250.0) {
        return None;
    }
    // Who meets each host at a port of its own is a peer of theirs; a scan tries many ports of each.
    let spread_out = fewer > (policy.scan_narrow_share * more).max(3.0);
    if spread_out && source.flows < 0.6 * ports * peers {
        return None;
    }
    let from_ports = source.source_ports.estimate(around.now_us);
    if source.flows_fast >= policy.scan_flows_max && peers < 4.0 && from_ports > 0.5 * ports {
        return hit(
            policy.flood_flows,
            Family::Flood,
            "flows to one host within moments carried nothing",
            source.flows_fast,
        );
    }
    // Answers of one service to many ports of clients were not asked for, and ask nothing.
    let answers = due.ends.protocol == protocol::UDP
        && PortClass::of(protocol::UDP, due.ends.source_port) == PortClass::Amplifier
        && due.ends.port >= 1024;
    if answers && from_ports < 2.5 {
        return None;
    }
    hit(
        policy.scan_misses,
        Family::Scan,
        "flows to different ports or hosts came to nothing",
        missed,
    )
}

/// More than a host takes, and nothing comes of it.
fn flood(policy: &RulePolicy, due: &Due, around: &Surroundings) -> Option<Hit> {
    let pair = &around.pair;
    if pair.incomplete_fast >= 0.8 * pair.flows_fast
        && let Some(hit) = hit(
            policy.flood_flows,
            Family::Flood,
            "flows to one service within moments carried nothing",
            pair.incomplete_fast,
        )
    {
        return Some(hit);
    }
    let icmp = matches!(due.ends.protocol, protocol::ICMP | protocol::ICMPV6);
    let one_way = pair.replies_fast < 0.1 * pair.packets_fast;
    if due.ends.protocol == protocol::TCP || !(one_way || icmp) {
        return None;
    }
    let ends = &due.ends;
    let reflects = PortClass::of(ends.protocol, ends.source_port) == PortClass::Amplifier
        && ends.source_port != ends.port;
    if reflects {
        return hit(
            policy.flood_packets,
            Family::Amplification,
            "packets within moments of a service that was not asked",
            pair.packets_fast,
        );
    }
    let mean_bytes = f64::from(pair.bytes_fast) / f64::from(pair.packets_fast.max(1.0));
    if mean_bytes <= SMALL_BYTES {
        hit(
            policy.flood_packets,
            Family::Flood,
            "small packets within moments were not answered",
            pair.packets_fast,
        )
    } else {
        hit(
            policy.flood_bytes,
            Family::Flood,
            "bytes within moments were not answered",
            pair.bytes_fast,
        )
    }
}

/// One short login after the other.
fn login(policy: &RulePolicy, due: &Due, around: &Surroundings) -> Option<Hit> {
    let pair = &around.pair;
    let is_login = due.ends.protocol == protocol::TCP
        && PortClass::of(protocol::TCP, due.ends.port) == PortClass::Login;
    if !is_login || pair.flows < policy.login_attempts.alert {
        return None;
    }
    let short = pair.packets <= policy.login_packets_max * pair.flows;
    let answered = pair.replies_payload > 0.0;
    if !short || !answered || pair.closed < 0.4 * pair.flows {
        return None;
    }
    let mut found = hit(
        policy.login_attempts,
        Family::BruteForce,
        "short logins at one service",
        pair.flows,
    )?;
    // Mail, directories and databases are asked in short connections by those who are meant to.
    if !GUESSED.contains(&due.ends.port) {
        found.step = Step::Alert;
    }
    Some(found)
}

/// Connections that ask, never finish asking, and so are never answered.
fn waiting(policy: &RulePolicy, due: &Due, around: &Surroundings) -> Option<Hit> {
    const WHAT: &str = "connections whose request is never finished";
    let pair = &around.pair;
    // Elsewhere it is usual to send without an answer: logs, measurements.
    if PortClass::of(due.ends.protocol, due.ends.port) != PortClass::Web {
        return None;
    }
    let alone = hit(policy.waiting, Family::AppDos, WHAT, pair.waiting);
    if alone.is_some() {
        return alone;
    }
    (around.service.waiting >= policy.waiting_service && pair.waiting >= 1.5).then_some(Hit {
        family: Family::AppDos,
        step: Step::RateLimit,
        what: WHAT,
        value: pair.waiting,
    })
}

/// More requests, or connections, than a person or a program in order makes.
fn requests(policy: &RulePolicy, due: &Due, around: &Surroundings) -> Option<Hit> {
    let web = PortClass::of(due.ends.protocol, due.ends.port) == PortClass::Web;
    let pair = &around.pair;
    if !web || due.ends.protocol != protocol::TCP {
        return None;
    }
    // Large requests are an upload.
    let small = pair.bytes_fast < 700.0 * pair.packets_fast;
    let requests = if small { pair.requests_fast } else { 0.0 };
    let service = &around.service;
    let usual = service.requests * (FAST_S / SLOW_S) as f32;
    let crowded = service.requests_fast >= policy.requests_service
        && service.requests_fast >= policy.requests_over_baseline * usual;
    let alone = policy.requests.step(requests);
    let ladder = match policy.requests_crowded.step(requests) {
        step if crowded && step > alone => policy.requests_crowded,
        _ => policy.requests,
    };
    let established = pair.flows_fast - pair.incomplete_fast;
    hit(
        ladder,
        Family::AppDos,
        "requests at one web service within moments",
        requests,
    )
    .or_else(|| {
        hit(
            policy.connections,
            Family::AppDos,
            "connections to one web service within moments",
            established,
        )
    })
}
