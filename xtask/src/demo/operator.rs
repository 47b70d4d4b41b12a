//! The operator, who stands in for detection: looks at the flow table every so often and applies one rule to it. He
//! knows nothing of the attack but what `detector flows` shows.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use anyhow::Result;

use super::detector::{Detector, Flow};
use crate::lab::{Namespace, SERVER};

/// The rule, in words. The constants below are its numbers.
pub(super) const RULE: &str = "  \
  Count the flows that got packets since the last look and not one byte of payload since they began: fruitless flows.
  Are there 100 of them a second, at least half of them from one source, drop what that source sends;
  else, at least half of them toward one service, drop what looks like them (for TCP: SYNs) toward that service.";

/// Fruitless flows a second from which on it is an attack.
const FRUITLESS_PER_SECOND: f64 = 100.0;
/// Share of them that one source, or one service, must have.
const DOMINANT: f64 = 0.5;

/// Two times of a flow's first packet are the same within this: each listing reckons the time of boot anew.
const SAME_US: u64 = 10_000;

/// Looks at the flow table, and remembers what he saw.
pub(super) struct Operator<'a> {
    detector: &'a Detector,
    server: &'a Namespace,
    /// Each flow at the last look.
    before: HashMap<String, Seen>,
    looked: Instant,
}

/// What is remembered of a flow.
#[derive(Clone, Copy)]
struct Seen {
    first_us: u64,
    packets: u64,
}

/// What one look showed: what came since the look before.
pub(super) struct Look {
    seconds: f64,
    active: Vec<Active>,
}

/// A flow that packets came for.
struct Active {
    source: String,
    service: Service,
    packets: u64,
    fruitless: bool,
}

/// Protocol and port of the server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Service {
    pub(super) protocol: String,
    pub(super) port: u16,
}

/// What is found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    pub(super) culprit: Culprit,
    /// Its fruitless flows a second.
    pub(super) fruitless_per_second: f64,
    /// Sources of all fruitless flows.
    pub(super) sources: usize,
}

/// What a verdict is to be written on.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Culprit {
    Source(IpAddr),
    Service(Service),
}

impl<'a> Operator<'a> {
    /// Takes a first look, on which the next one builds.
    pub(super) fn new(detector: &'a Detector, server: &'a Namespace) -> Result<Self> {
        let mut operator = Self {
            detector,
            server,
            before: HashMap::new(),
            looked: Instant::now(),
        };
        operator.look()?;
        Ok(operator)
    }

    pub(super) fn look(&mut self) -> Result<Look> {
        let now = Instant::now();
        let flows = self.detector.flows(self.server, &SERVER.to_string())?;
        let mut look = Look {
            seconds: now.duration_since(self.looked).as_secs_f64(),
            active: Vec::new(),
        };
        let mut after = HashMap::with_capacity(self.before.len());
        flows.each(|flow| {
            let seen = Seen {
                first_us: microseconds(flow.first_time),
                packets: flow.forward_packets,
            };
            let packets = match self.before.get(flow.community_id) {
                Some(before) => seen.since(*before),
                None => seen.packets,
            };
            if packets > 0 {
                look.active.push(Active::new(flow, packets));
            }
            after.insert(flow.community_id.to_owned(), seen);
        })?;
        self.before = after;
        self.looked = now;
        Ok(look)
    }
}

impl Seen {
    /// Packets that came since. A flow that ended and began anew counts from 0.
    fn since(self, before: Self) -> u64 {
        let same = self.first_us.abs_diff(before.first_us) < SAME_US;
        self.packets
            - if same {
                self.packets.min(before.packets)
            } else {
                0
            }
    }
}

/// The time of day of an RFC 3339 time. A flow that lives on past midnight is not told from one that began anew, which
/// harms nobody.
fn microseconds(time: &str) -> u64 {
    let digits = |from: usize, to: usize| {
        time.get(from..to)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0u64)
    };
    let seconds = digits(11, 13) * 3600 + digits(14, 16) * 60 + digits(17, 19);
    seconds * 1_000_000 + digits(20, 26)
}

impl Active {
    fn new(flow: &Flow<'_>, packets: u64) -> Self {
        Self {
            source: flow.source.to_owned(),
            service: Service {
                protocol: flow.protocol.to_ascii_lowercase(),
                port: flow.destination_port,
            },
            packets,
            fruitless: flow.forward_data_packets == 0,
        }
    }
}

impl Look {
    /// Applies the rule.
    pub(super) fn finding(&self) -> Result<Option<Finding>> {
        let fruitless: Vec<&Active> = self.active.iter().filter(|flow| flow.fruitless).collect();
        if fruitless.len() as f64 / self.seconds < FRUITLESS_PER_SECOND {
            return Ok(None);
        }
        let (mut by_source, mut by_service) = (HashMap::new(), HashMap::new());
        for flow in &fruitless {
            *by_source.entry(flow.source.as_str()).or_insert(0usize) += 1;
            *by_service.entry(&flow.service).or_insert(0usize) += 1;
        }
        let sources = by_source.len();
        let enough = fruitless.len() as f64 * DOMINANT;
        let source = by_source.into_iter().max_by_key(|(_, flows)| *flows);
        let service = by_service.into_iter().max_by_key(|(_, flows)| *flows);
        let (culprit, flows) = match (source, service) {
            (Some((source, flows)), _) if flows as f64 >= enough => {
                (Culprit::Source(source.parse()?), flows)
            }
            (_, Some((service, flows))) if flows as f64 >= enough => {
                (Culprit::Service(service.clone()), flows)
            }
            _ => return Ok(None),
        };
        Ok(Some(Finding {
            culprit,
            fruitless_per_second: flows as f64 / self.seconds,
            sources,
        }))
    }

    /// Packets that came from, or fruitlessly for, a culprit.
    pub(super) fn packets(&self, culprit: &Culprit) -> u64 {
        let of_culprit = |flow: &&Active| match culprit {
            Culprit::Source(source) => flow.source.parse() == Ok(*source),
            Culprit::Service(service) => flow.fruitless && flow.service == *service,
        };
        self.active
            .iter()
            .filter(of_culprit)
            .map(|flow| flow.packets)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(look: &Look) -> Option<Finding> {
        look.finding().unwrap_or_else(|error| panic!("{error}"))
    }

    fn look(flows: impl Iterator<Item = (u32, u16, bool)>) -> Look {
        let active = flows.map(|(source, port, fruitless)| Active {
            source: std::net::Ipv4Addr::from(source).to_string(),
            service: Service {
                protocol: "tcp".to_owned(),
                port,
            },
            packets: 2,
            fruitless,
        });
        Look {
            seconds: 1.0,
            active: active.collect(),
        }
    }

    #[test]
    fn clients_that_get_something_are_no_culprits() {
        assert_eq!(finding(&look((0..5000).map(|n| (1, n, false)))), None);
        assert_eq!(finding(&look((0..99).map(|n| (1, n, true)))), None);
    }

    #[test]
    fn one_source_or_one_service() {
        let clients = || (0..300).map(|n| (n, 80, false));
        let one = look(clients().chain((0..200).map(|n| (7 << 24, n, true))));
        let culprit = Culprit::Source([7, 0, 0, 0].into());
        assert_eq!(
            finding(&one).map(|found| found.culprit).as_ref(),
            Some(&culprit)
        );
        assert_eq!(one.packets(&culprit), 400);

        let many = look(clients().chain((0..200).map(|n| (7 << 24 | n, 80, true))));
        let found = finding(&many).map(|found| (found.culprit, found.sources));
        let culprit = Culprit::Service(Service {
            protocol: "tcp".to_owned(),
            port: 80,
        });
        assert_eq!(found, Some((culprit.clone(), 200)));
        assert_eq!(many.packets(&culprit), 400);

        // Many sources, many services: nothing that one verdict would meet.
        assert_eq!(finding(&look((0..200).map(|n| (n, n as u16, true)))), None);
    }
}
