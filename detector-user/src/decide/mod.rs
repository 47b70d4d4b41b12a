//! Decisions: from scores and windows to alerts and verdicts. Nothing here touches the kernel or reads a clock.
//!
//! [`Decider`] is asked at each tick: first flow by flow ([`Decider::flow`]), then once ([`Decider::tick`]).

pub mod alert;
pub mod crowds;
pub mod family;
pub mod policy;
pub mod rules;
pub mod served;
pub mod sources;
pub mod synthesis;
pub mod victims;

use std::net::IpAddr;

use detector_common::key::Address;

use crate::{
    enforce::target::{Prefix, Target},
    features::{
        extractor::Due,
        hosts::{Hosts, ServiceKey, Surroundings, address_hash},
        ways::Ends,
    },
};
use alert::{Alert, By, Decision, Kind};
use crowds::{Crowded, Crowds};
use family::Family;
use policy::{Policy, Step};
use served::Budget;
use sources::{Against, Evidence, Matched, Sources};
use victims::Victims;

/// What the model found in a flow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// The family.
    pub family: Family,
    /// Its probability.
    pub score: f32,
    /// The flow was not found to be of it before.
    pub new: bool,
}

/// Decides.
pub struct Decider {
    policy: Policy,
    sources: Sources,
    victims: Victims,
    crowds: Crowds,
    budget: Budget,
    /// Never denied: alerts only.
    spared: Vec<Prefix>,
    decisions: Vec<Decision>,
}

impl Decider {
    /// Decides by a policy.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            sources: Sources::default(),
            victims: Victims::default(),
            crowds: Crowds::default(),
            budget: Budget::default(),
            spared: Vec::new(),
            decisions: Vec::new(),
        }
    }

    /// Changes the policy. What was decided stays.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// Sources that are never denied.
    pub fn spare(&mut self, prefixes: Vec<Prefix>) {
        self.spared = prefixes;
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Sources that are never denied.
    #[must_use]
    pub fn spared(&self) -> &[Prefix] {
        &self.spared
    }

    /// Takes a flow that is due, and what the model found in it; `explain` says what spoke for it.
    pub fn flow(
        &mut self,
        due: &Due,
        around: &Surroundings,
        found: Option<Found>,
        explain: impl FnOnce(Family) -> String,
    ) {
        let now_us = around.now_us;
        let source = due.ends.source;
        if due.change.in_payload > 0 && !due.change.incomplete {
            self.budget.serve(source, now_us);
        }
        self.victims
            .look(&self.policy.victims, due, &around.destination, now_us);
        if let Some(found) = found {
            self.found(due, around, found, explain);
        }
        let Some(hit) = rules::judge(&self.policy.rules, due, around) else {
            return;
        };
        self.sources.goes_on(&source, now_us);
        if self
            .sources
            .would_rise(&source, hit.family, hit.step, now_us)
        {
            let mut reason = format!("{:.0} {}", hit.value, hit.what);
            if hit.family == Family::Scan {
                let (ports, peers) = (around.source.ports, around.source.peers);
                reason.push_str(&format!(
                    ": about {:.0} ports, {:.0} hosts",
                    ports.estimate(now_us),
                    peers.estimate(now_us)
                ));
            }
            self.accuse(due, hit.family, hit.step, By::Rule, None, reason, now_us);
        }
    }

    fn found(
        &mut self,
        due: &Due,
        around: &Surroundings,
        found: Found,
        explain: impl FnOnce(Family) -> String,
    ) {
        let now_us = around.now_us;
        let source = due.ends.source;
        self.sources.goes_on(&source, now_us);
        if !found.new {
            return;
        }
        let flows = self.sources.add_flow(source, found.family, now_us);
        let policy = &self.policy.model;
        let mut ladder = policy.ladder(found.family);
        // Floods from many sources are found by what they come to ([`victims`]).
        let crowd = !matches!(found.family, Family::Flood | Family::Amplification);
        let place = (ServiceKey::from(&due.ends), address_hash(&source));
        let crowded = crowd
            .then(|| {
                self.crowds
                    .add(place, found.family, policy.crowd_flows, now_us)
            })
            .flatten();
        if let Some(crowded) = crowded {
            ladder = policy.few_flows;
            if crowded.new {
                self.decisions.push(of_crowd(due, found, &crowded, now_us));
            }
        }
        // Of a crowd one alert tells; of its sources only those about which something is done.
        let Some(step) = ladder
            .step(flows)
            .filter(|step| crowded.is_none() || *step > Step::Alert)
        else {
            return;
        };
        // One family among much else that a source does speaks of the model rather than of the source.
        if flows < policy.share_min * around.source.flows
            || !self.sources.would_rise(&source, found.family, step, now_us)
        {
            return;
        }
        let reason = format!("{flows:.0} flows look like it; {}", explain(found.family));
        self.accuse(
            due,
            found.family,
            step,
            By::Model,
            Some(found.score),
            reason,
            now_us,
        );
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one thing")]
    fn accuse(
        &mut self,
        due: &Due,
        family: Family,
        step: Step,
        by: By,
        score: Option<f32>,
        mut reason: String,
        now_us: u64,
    ) {
        let ends = &due.ends;
        let served = self.budget.is_served(&ends.source, now_us);
        // Who was being served until now is never dropped on a threshold alone.
        let mut may = if served && by == By::Rule {
            Step::RateLimit
        } else {
            Step::Drop
        };
        if step > Step::Alert {
            let address = ends.source.to_ip();
            if self.spared.iter().any(|prefix| prefix.contains(address)) {
                may = Step::Alert;
                reason.push_str("; never to be blocked");
            } else if is_nobodys(address) {
                may = Step::Alert;
                reason.push_str("; no host's own address");
            } else if let Err(exhausted) = self.budget.take(
                &self.policy.budget,
                served,
                || self.sources.denied_served(),
                now_us,
            ) {
                may = Step::Alert;
                if self.budget.tell() {
                    self.decisions.push(safety(&exhausted, now_us));
                }
            }
        }
        let evidence = Evidence {
            family,
            step,
            by,
            score,
            source: (ends.source.to_ip(), ends.source_port),
            destination: (ends.destination.to_ip(), ends.port),
            protocol: ends.protocol,
            reason,
        };
        let decision = self
            .sources
            .accuse(evidence, &self.policy.verdicts, may, served, now_us);
        self.decisions.extend(decision);
    }

    /// Ends a tick: what was decided in it, in order. `matched` tells how many packets a verdict has met.
    pub fn tick(
        &mut self,
        due: &[Due],
        hosts: &Hosts,
        matched: &Matched<'_>,
        now_us: u64,
    ) -> Vec<Decision> {
        let out = &mut self.decisions;
        self.victims
            .tick(&self.policy.victims, (due, hosts), matched, now_us, out);
        self.sources
            .tick(&self.policy.verdicts, matched, now_us, out);
        std::mem::take(out)
    }

    /// Forgets what was decided about sources and destinations, as if nothing were in force.
    pub fn begin_anew(&mut self) {
        (self.sources, self.victims) = (Sources::default(), Victims::default());
    }

    /// What was decided about a target could not be done.
    pub fn failed(&mut self, target: &Target) {
        match target {
            Target::Address(address) => self.sources.pardon(&Address::from(*address)),
            target => self.victims.failed(target),
        }
    }

    /// What is held against a source.
    #[must_use]
    pub fn against(&self, source: &Address, now_us: u64) -> Option<Against> {
        self.sources.against(source, now_us)
    }

    /// Whether a flow is of an attack that was told of: from a source with something against it, or to a destination under
    /// attack.
    #[must_use]
    pub fn is_told_of(&self, ends: &Ends, now_us: u64) -> bool {
        self.victims.is_attacked(&ends.destination) || self.against(&ends.source, now_us).is_some()
    }

    /// Sources that are denied, and destinations under attack.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.sources.denied(), self.victims.count())
    }
}

/// Whether an address is shared by many, or claimed: a verdict on it would meet others (0.0.0.0 asks for all by DHCP).
fn is_nobodys(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    address.is_unspecified() || address.is_multicast() || address.is_loopback() || broadcast
}

/// What is told of many sources that do little each.
fn of_crowd(due: &Due, found: Found, crowded: &Crowded, now_us: u64) -> Decision {
    let ends = &due.ends;
    Decision {
        alert: Some(Alert {
            at_us: now_us,
            kind: Kind::Attack(Step::Alert),
            family: found.family,
            source: Some((ends.source.to_ip(), ends.source_port)),
            destination: Some((ends.destination.to_ip(), ends.port)),
            protocol: ends.protocol,
            sources: crowded.sources as u32,
            by: By::Model,
            score: Some(found.score),
            reason: format!(
                "{:.0} flows from about {:.0} sources look like it",
                crowded.flows, crowded.sources
            ),
            target: None,
        }),
        act: None,
    }
}

fn safety(exhausted: &served::Exhausted, now_us: u64) -> Decision {
    of_agent(Kind::Safety, exhausted.to_string(), now_us)
}

/// What is told when something of the agent itself fails.
#[must_use]
pub fn fault(reason: String, now_us: u64) -> Decision {
    of_agent(Kind::Fault, reason, now_us)
}

fn of_agent(kind: Kind, reason: String, now_us: u64) -> Decision {
    Decision {
        alert: Some(Alert {
            at_us: now_us,
            kind,
            family: Family::Benign,
            source: None,
            destination: None,
            protocol: 0,
            sources: 0,
            by: By::Rule,
            score: None,
            reason,
            target: None,
        }),
        act: None,
    }
}
