//! Floods from many sources, spoofed ones above all: found and answered at their destination.
//!
//! What is usual is the destination's own long memory; what is measured is its short one. A flood exceeds the usual by a
//! factor, comes to nothing, and comes from many. It is answered by signatures: what its packets have in common, at the
//! rate that is usual, sparing established flows.

use std::{collections::HashMap, time::Duration};

use detector_common::{key::Address, signature::Signature, verdict::Action};

use super::{
    alert::{Act, Alert, By, Decision, Kind},
    family::Family,
    policy::{Ladder, Step, VictimPolicy},
    sources::Matched,
    synthesis::{self, Sample},
};
use crate::{
    enforce::{order::Order, target::Target},
    features::{
        extractor::Due,
        hosts::{Destination, Hosts},
        window::{FAST_S, SLOW_S},
    },
};

/// Destinations under attack at one time, at most.
pub const INCIDENTS_MAX: usize = 256;
/// Flows of a sample, at most.
const SAMPLE_MAX: usize = 512;
/// A signature's time to live, which is renewed while the flood goes on: an agent that dies blocks no longer than this.
const TTL: Duration = Duration::from_secs(60);
/// It is renewed so long before, µs.
const RENEW_US: u64 = 30_000_000;
/// Ticks without a signature that takes what still comes before another is made.
const RESIDUE_TICKS: u32 = 2;

struct Answer {
    signature: Signature,
    until_us: u64,
    matched: u64,
    matched_at_us: u64,
}

struct Incident {
    family: Family,
    step: Step,
    answers: Vec<Answer>,
    residue_ticks: u32,
    last_us: u64,
    looked_us: u64,
}

/// What exceeds a threshold, and how much of it there is.
#[derive(Clone, Copy, PartialEq)]
enum Count {
    /// Flows that came to nothing.
    Flows(f32),
    /// Packets of such flows.
    Packets(f32),
    /// Packets of amplifying services that were not asked for.
    Reflected(f32),
}

/// Destinations under attack.
#[derive(Default)]
pub struct Victims {
    incidents: HashMap<Address, Incident>,
    /// Destinations that exceed a threshold at this tick, and which.
    exceeding: HashMap<Address, (Step, Count)>,
}

impl Victims {
    /// Takes a look at a flow's destination.
    pub fn look(&mut self, policy: &VictimPolicy, due: &Due, host: &Destination, now_us: u64) {
        if !due.change.incomplete {
            return;
        }
        let attacked = self.incidents.contains_key(&due.ends.destination);
        if let Some(exceeded) = exceeds(policy, host, attacked, now_us) {
            self.exceeding.insert(due.ends.destination, exceeded);
        }
    }

    /// A signature could not be written: what it would have answered is answered by none.
    pub fn failed(&mut self, target: &Target) {
        for incident in self.incidents.values_mut() {
            incident
                .answers
                .retain(|answer| Target::Signature(answer.signature) != *target);
        }
    }

    /// Whether a destination is under attack.
    #[must_use]
    pub fn is_attacked(&self, destination: &Address) -> bool {
        self.incidents.contains_key(destination)
    }

    /// Destinations under attack.
    #[must_use]
    pub fn count(&self) -> usize {
        self.incidents.len()
    }

    /// Raises, answers, renews and lifts.
    pub fn tick(
        &mut self,
        policy: &VictimPolicy,
        (due, hosts): (&[Due], &Hosts),
        matched: &Matched<'_>,
        now_us: u64,
        out: &mut Vec<Decision>,
    ) {
        for (destination, exceeded) in std::mem::take(&mut self.exceeding) {
            if self.incidents.len() >= INCIDENTS_MAX && !self.incidents.contains_key(&destination) {
                continue;
            }
            let sample: Vec<Sample> = due
                .iter()
                .filter(|due| due.ends.destination == destination && due.change.incomplete)
                .take(SAMPLE_MAX)
                .map(Sample::of)
                .collect();
            self.exceeded(policy, destination, exceeded, &sample, hosts, now_us, out);
        }
        self.incidents.retain(|destination, incident| {
            incident.go_on(policy, destination, hosts, matched, now_us, out)
        });
    }

    #[expect(clippy::too_many_arguments, reason = "one use, right above")]
    fn exceeded(
        &mut self,
        policy: &VictimPolicy,
        destination: Address,
        (step, count): (Step, Count),
        sample: &[Sample],
        hosts: &Hosts,
        now_us: u64,
        out: &mut Vec<Decision>,
    ) {
        if sample.is_empty() {
            return;
        }
        let new = !self.incidents.contains_key(&destination);
        let incident = self
            .incidents
            .entry(destination)
            .or_insert_with(|| Incident {
                family: match count {
                    Count::Flows(_) | Count::Packets(_) => synthesis::family(sample),
                    Count::Reflected(_) => Family::Amplification,
                },
                step: Step::Alert,
                answers: Vec::new(),
                residue_ticks: RESIDUE_TICKS,
                last_us: now_us,
                looked_us: now_us,
            });
        incident.last_us = now_us;
        let shown = synthesis::typical(sample, incident.family).unwrap_or(&sample[0]);
        let host = hosts.destination(&destination, now_us);
        let sources = host.sources.estimate(now_us);
        let reason = match count {
            Count::Flows(flows) => format!(
                "{flows:.0} flows within moments came to nothing, from about {sources:.0} sources; usual are {:.0}",
                usual(host.incomplete)
            ),
            Count::Packets(packets) => format!(
                "{packets:.0} packets within moments came to nothing, from about {sources:.0} sources; usual are {:.0}",
                usual(host.missed)
            ),
            Count::Reflected(packets) => format!(
                "{packets:.0} packets within moments from about {:.0} services that were not asked",
                host.reflectors.estimate(now_us)
            ),
        };
        let mut alert = Alert {
            at_us: now_us,
            kind: Kind::Attack(Step::Alert),
            family: incident.family,
            source: Some(shown.end()),
            destination: Some((destination.to_ip(), shown.port())),
            protocol: shown.protocol(),
            sources: sources as u32,
            by: By::Rule,
            score: None,
            reason,
            target: None,
        };
        if new {
            out.push(Decision {
                alert: Some(alert.clone()),
                act: None,
            });
        }
        if step < Step::RateLimit {
            return;
        }
        let untaken: Vec<Sample> = sample
            .iter()
            .filter(|one| !incident.takes(one))
            .copied()
            .collect();
        incident.residue_ticks += 1;
        let room = policy.signatures_max.saturating_sub(incident.answers.len());
        if room == 0 || incident.residue_ticks <= RESIDUE_TICKS || untaken.is_empty() {
            return;
        }
        let signatures = synthesis::synthesise(&destination, &untaken, room);
        if !signatures.is_empty() {
            incident.residue_ticks = 0;
            incident.step = Step::RateLimit;
        }
        for signature in signatures {
            let order = order(policy, &signature, incident.family, &host);
            alert.kind = Kind::Attack(Step::RateLimit);
            alert.target = Some(order.target);
            if let Some(one) = untaken.iter().find(|one| synthesis::takes(&signature, one)) {
                alert.source = Some(one.end());
                alert.destination = Some((destination.to_ip(), one.port()));
                alert.protocol = one.protocol();
            }
            out.push(Decision {
                alert: Some(alert.clone()),
                act: Some(Act::Put(order)),
            });
            incident.answers.push(Answer {
                signature,
                until_us: now_us + TTL.as_micros() as u64,
                matched: 0,
                matched_at_us: now_us,
            });
        }
    }
}

impl Incident {
    fn takes(&self, one: &Sample) -> bool {
        self.answers
            .iter()
            .any(|answer| synthesis::takes(&answer.signature, one))
    }

    /// Renews what is needed and lifts what is not; whether the incident goes on.
    fn go_on(
        &mut self,
        policy: &VictimPolicy,
        destination: &Address,
        hosts: &Hosts,
        matched: &Matched<'_>,
        now_us: u64,
        out: &mut Vec<Decision>,
    ) -> bool {
        let quiet_us = policy.quiet_s * 1_000_000;
        let elapsed_s = now_us.saturating_sub(self.looked_us) as f64 / 1e6;
        let count = elapsed_s >= 1.0;
        let host = hosts.destination(destination, now_us);
        for answer in &mut self.answers {
            let target = Target::Signature(answer.signature);
            if count && let Some(packets) = matched(&target) {
                // A verdict that was written anew counts from 0.
                let since = packets.checked_sub(answer.matched).unwrap_or(packets);
                if since as f64 > policy.quiet_packets_per_second * elapsed_s {
                    answer.matched_at_us = now_us;
                }
                answer.matched = packets;
            }
            if answer.matched_at_us + quiet_us > now_us && now_us + RENEW_US > answer.until_us {
                answer.until_us = now_us + TTL.as_micros() as u64;
                out.push(Decision {
                    alert: None,
                    act: Some(Act::Put(order(
                        policy,
                        &answer.signature,
                        self.family,
                        &host,
                    ))),
                });
            }
        }
        if count {
            self.looked_us = now_us;
        }
        // Renewed no more, for it met nothing: it makes room for another.
        self.answers.retain(|answer| {
            let over = answer.until_us <= now_us;
            if over {
                let target = Target::Signature(answer.signature);
                out.push(Decision {
                    alert: None,
                    act: Some(Act::Lift(target)),
                });
            }
            !over
        });
        let active_us = self
            .answers
            .iter()
            .map(|answer| answer.matched_at_us)
            .fold(self.last_us, u64::max);
        if now_us.saturating_sub(active_us) < quiet_us {
            return true;
        }
        let mut alert = Alert {
            at_us: now_us,
            kind: Kind::Over,
            family: self.family,
            source: None,
            destination: Some((destination.to_ip(), 0)),
            protocol: 0,
            sources: 0,
            by: By::Rule,
            score: None,
            reason: format!("quiet for {} s", policy.quiet_s),
            target: None,
        };
        for answer in &self.answers {
            let target = Target::Signature(answer.signature);
            alert.target = Some(target);
            out.push(Decision {
                alert: Some(alert.clone()),
                act: Some(Act::Lift(target)),
            });
        }
        if self.answers.is_empty() {
            out.push(Decision {
                alert: Some(alert),
                act: None,
            });
        }
        false
    }
}

/// What the short memory would hold if everything were as the long one has it.
fn usual(slow: f32) -> f32 {
    slow * (FAST_S / SLOW_S) as f32
}

/// Which threshold a destination exceeds, and by what.
fn exceeds(
    policy: &VictimPolicy,
    host: &Destination,
    attacked: bool,
    now_us: u64,
) -> Option<(Step, Count)> {
    let many = host.sources.estimate(now_us) >= policy.sources_min;
    // A flood that goes on becomes its own baseline, and one that rises slowly never exceeds it.
    let above = |value: f32, usual: f32| {
        attacked || value >= policy.always || value >= policy.over_baseline * usual
    };
    let exceeds = |ladder: &Ladder, missed: f32, all: f32, usual: f32| {
        let most = missed >= policy.share_min * all;
        (many && most && above(missed, usual))
            .then(|| ladder.step(missed))
            .flatten()
    };
    let (flows, packets) = (host.incomplete_fast, host.missed_fast);
    let reflected = host.reflected_fast;
    let reflectors = host.reflectors.estimate(now_us) >= policy.reflectors_min;
    let steps = [
        (
            policy
                .reflected
                .step(reflected)
                .filter(|_| reflectors && above(reflected, usual(host.reflected))),
            Count::Reflected(reflected),
        ),
        (
            exceeds(
                &policy.packets,
                packets,
                host.packets_fast,
                usual(host.missed),
            ),
            Count::Packets(packets),
        ),
        (
            exceeds(
                &policy.flows,
                flows,
                host.flows_fast,
                usual(host.incomplete),
            ),
            Count::Flows(flows),
        ),
    ];
    steps
        .into_iter()
        .filter_map(|(step, count)| Some((step?.min(Step::RateLimit), count)))
        .reduce(|gravest, next| if next.0 >= gravest.0 { next } else { gravest })
}

fn order(
    policy: &VictimPolicy,
    signature: &Signature,
    family: Family,
    host: &Destination,
) -> Order {
    let usual = (usual(host.missed) / FAST_S as f32) as u64;
    Order {
        target: Target::Signature(*signature),
        action: Action::RATE_LIMIT,
        packets_per_second: policy.pass_packets_per_second.max(usual).max(1),
        bytes_per_second: 0,
        services: Vec::new(),
        time_to_live: Some(TTL),
        reason: format!("{family} from many sources"),
    }
}
