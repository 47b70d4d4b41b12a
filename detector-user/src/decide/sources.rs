//! Sources: evidence gathers, actions rise and fall.
//!
//! A source climbs from alert to rate limit to drop as its evidence grows, each repetition doubles how long a verdict
//! lasts, and quiet forgives. A verdict whose target goes on attacking when it is about to expire is renewed.

use std::{collections::HashMap, time::Duration};

use detector_common::{key::Address, verdict::Action};

use super::{
    alert::{Act, Alert, By, Decision, End, Kind},
    family::Family,
    policy::{Step, VerdictPolicy},
};
use crate::{
    enforce::{order::Order, target::Target},
    features::window::Fade,
};

/// Sources against which there is evidence, at most.
pub const SUSPECTS_MAX: usize = 1 << 16;
/// A source without evidence for this long is forgotten, µs, if nothing is done about it and nothing to forgive.
const FORGET_US: u64 = 600_000_000;
/// A verdict is looked at so long before it expires, µs.
const RENEW_US: u64 = 5_000_000;
/// How often it is looked at how much a verdict meets, µs.
const LOOK_US: u64 = 5_000_000;
/// What a denied host sends that tries again is less than this; an attack is more, packets a second.
const GOES_ON_PER_SECOND: f64 = 10.0;
/// A source that is told of and may not be denied is looked at again after this, µs.
const REFUSED_US: u64 = 1_000_000;

/// What speaks against a source, at one flow.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Of which family.
    pub family: Family,
    /// What is to be done.
    pub step: Step,
    /// Where the evidence is from.
    pub by: By,
    /// The model's probability.
    pub score: Option<f32>,
    /// The source, with the port of the flow at hand.
    pub source: End,
    /// The other end.
    pub destination: End,
    /// IP protocol.
    pub protocol: u8,
    /// Why, for a person.
    pub reason: String,
}

/// What is held against a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Against {
    /// Of which family.
    pub family: Family,
    /// What is done, or would be.
    pub step: Step,
}

#[derive(Clone, Copy, Debug, Default)]
struct Suspect {
    at_us: u64,
    /// Flows found to be of each family; they fade like the long memory.
    flows: [f32; Family::ALL.len()],
    family: Option<Family>,
    step: Option<Step>,
    /// When its verdict expires; 0: it has none.
    until_us: u64,
    ttl_us: u64,
    strikes: f32,
    /// Until when it was last denied.
    struck_us: u64,
    last_us: u64,
    matched: u64,
    looked_us: u64,
    /// When its verdict last met as much as an attack sends.
    matched_at_us: u64,
    /// Its verdict was seen in force.
    in_force: bool,
    was_served: bool,
    /// Families that were told of, a bit each.
    told: u8,
    refused_us: u64,
}

impl Suspect {
    /// Forgets what was told of, where nothing is done and nothing has spoken against it for long.
    fn forget_alerts(&mut self, now_us: u64) {
        if self.until_us == 0 && now_us.saturating_sub(self.last_us) > FORGET_US {
            (self.step, self.family, self.told) = (None, None, 0);
        }
    }
}

/// All sources against which there is evidence.
#[derive(Default)]
pub struct Sources {
    suspects: HashMap<Address, Suspect>,
    /// Those that have a verdict.
    denied: Vec<Address>,
}

/// How often a verdict has met packets since it was written.
pub type Matched<'a> = dyn Fn(&Target) -> Option<u64> + 'a;

impl Sources {
    /// Adds flows that were found to be of a family; how many there are now, fading.
    pub fn add_flow(&mut self, source: Address, family: Family, now_us: u64) -> f32 {
        self.make_room(now_us);
        let suspect = self.suspects.entry(source).or_default();
        let fade = Fade::after(now_us.saturating_sub(suspect.at_us)).slow;
        suspect.at_us = now_us;
        for flows in &mut suspect.flows {
            *flows *= fade;
        }
        let flows = &mut suspect.flows[family as usize];
        *flows += 1.0;
        *flows
    }

    /// Whether evidence for this step would change anything.
    #[must_use]
    pub fn would_rise(
        &mut self,
        source: &Address,
        family: Family,
        step: Step,
        now_us: u64,
    ) -> bool {
        let Some(suspect) = self.suspects.get_mut(source) else {
            return true;
        };
        suspect.forget_alerts(now_us);
        let untold = suspect.told & 1 << family as u8 == 0;
        let refused =
            suspect.refused_us != 0 && now_us.saturating_sub(suspect.refused_us) < REFUSED_US;
        untold || suspect.step < Some(step) && !refused
    }

    /// Notes that a source goes on.
    pub fn goes_on(&mut self, source: &Address, now_us: u64) {
        if let Some(suspect) = self.suspects.get_mut(source) {
            suspect.last_us = now_us;
        }
    }

    /// Takes evidence. `may` says whether the source may be denied, and `served` whether it was being served before.
    pub fn accuse(
        &mut self,
        evidence: Evidence,
        policy: &VerdictPolicy,
        may: Step,
        served: bool,
        now_us: u64,
    ) -> Option<Decision> {
        self.make_room(now_us);
        let address = Address::from(evidence.source.0);
        let suspect = self.suspects.entry(address).or_default();
        suspect.forget_alerts(now_us);
        let first = suspect.family.is_none();
        if first {
            suspect.was_served = served;
        }
        suspect.last_us = now_us;
        let mut step = evidence.step.min(may);
        if step < evidence.step {
            suspect.refused_us = now_us;
        }
        let bit = 1 << evidence.family as u8;
        if suspect.step >= Some(step) {
            if suspect.told & bit != 0 {
                return None;
            }
            // Something else of a source about which enough is done is told of only.
            step = Step::Alert;
        } else {
            suspect.family = Some(evidence.family);
            suspect.step = Some(step);
        }
        suspect.told |= bit;
        let act = match step {
            Step::Alert => None,
            Step::RateLimit | Step::Drop => {
                if suspect.until_us == 0 {
                    suspect.strikes += 1.0;
                    self.denied.push(address);
                }
                Some(Act::Put(deny(suspect, &evidence, step, policy, now_us)))
            }
        };
        let target = act
            .is_some()
            .then(|| Target::Address(evidence.source.0.to_canonical()));
        Some(Decision {
            alert: Some(Alert {
                at_us: now_us,
                kind: Kind::Attack(step),
                family: evidence.family,
                source: Some(evidence.source),
                destination: Some(evidence.destination),
                protocol: evidence.protocol,
                sources: 1,
                by: evidence.by,
                score: evidence.score,
                reason: evidence.reason,
                target,
            }),
            act,
        })
    }

    /// Renews verdicts that are still needed, and lifts those that are not.
    pub fn tick(
        &mut self,
        policy: &VerdictPolicy,
        matched: &Matched<'_>,
        now_us: u64,
        out: &mut Vec<Decision>,
    ) {
        let suspects = &mut self.suspects;
        self.denied.retain(|address| {
            let Some(suspect) = suspects.get_mut(address) else {
                return false;
            };
            let target = Target::Address(address.to_ip());
            match matched(&target) {
                Some(count) => {
                    suspect.in_force = true;
                    suspect.look(count, now_us);
                }
                // Somebody took it away: it is not for the agent to write it again.
                None if suspect.in_force => {
                    *suspect = Suspect::default();
                    return false;
                }
                None => {}
            }
            if now_us + RENEW_US < suspect.until_us {
                return true;
            }
            let active_us = suspect.matched_at_us.max(suspect.last_us);
            let quiet_us = now_us.saturating_sub(active_us);
            if quiet_us < suspect.ttl_us / 4 {
                let step = suspect.step.unwrap_or(Step::RateLimit);
                suspect.strikes += 1.0;
                let family = suspect.family.unwrap_or(Family::Benign);
                out.push(Decision {
                    alert: None,
                    act: Some(Act::Put(renewal(
                        suspect, address, step, family, policy, now_us,
                    ))),
                });
                return true;
            }
            if now_us < suspect.until_us {
                return true;
            }
            let family = suspect.family.take().unwrap_or(Family::Benign);
            (suspect.step, suspect.until_us, suspect.matched) = (None, 0, 0);
            (suspect.in_force, suspect.told) = (false, 0);
            suspect.flows = Default::default();
            out.push(Decision {
                alert: Some(over(address, family, target, now_us)),
                act: Some(Act::Lift(target)),
            });
            false
        });
    }

    /// Sources that are denied and had been served before.
    #[must_use]
    pub fn denied_served(&self) -> usize {
        let served = |address: &&Address| {
            self.suspects
                .get(address)
                .is_some_and(|suspect| suspect.was_served)
        };
        self.denied.iter().filter(served).count()
    }

    /// What is held against a source: the step is that of a verdict while it has one, else it was merely told of.
    #[must_use]
    pub fn against(&self, source: &Address, now_us: u64) -> Option<Against> {
        let mut suspect = *self.suspects.get(source)?;
        suspect.forget_alerts(now_us);
        let denied = suspect.until_us > now_us;
        Some(Against {
            family: suspect.family?,
            step: suspect.step.filter(|_| denied).unwrap_or(Step::Alert),
        })
    }

    /// Sources that are denied.
    #[must_use]
    pub fn denied(&self) -> usize {
        self.denied.len()
    }

    /// Forgets a source: what was decided about it could not be done.
    pub fn pardon(&mut self, address: &Address) {
        self.suspects.remove(address);
    }

    fn make_room(&mut self, now_us: u64) {
        if self.suspects.len() < SUSPECTS_MAX {
            return;
        }
        self.suspects.retain(|_, suspect| {
            let last_us = suspect.at_us.max(suspect.last_us);
            suspect.until_us != 0 || now_us.saturating_sub(last_us) < FORGET_US
        });
        // Still full: those with the least evidence go.
        if self.suspects.len() >= SUSPECTS_MAX {
            self.suspects
                .retain(|_, suspect| suspect.step.is_some() || suspect.strikes > 0.0);
        }
    }
}

impl Suspect {
    /// Takes a look at how much the verdict has met, now and then.
    fn look(&mut self, count: u64, now_us: u64) {
        let elapsed_us = now_us.saturating_sub(self.looked_us);
        if elapsed_us < LOOK_US {
            return;
        }
        // A verdict that was written anew counts from 0.
        let since = count.checked_sub(self.matched).unwrap_or(count);
        if since as f64 * 1e6 >= GOES_ON_PER_SECOND * elapsed_us as f64 {
            self.matched_at_us = now_us;
        }
        (self.matched, self.looked_us) = (count, now_us);
    }
}

/// How long the verdict lasts that a suspect gets now.
fn time_to_live(suspect: &mut Suspect, policy: &VerdictPolicy, now_us: u64) -> Duration {
    let quiet_s = now_us.saturating_sub(suspect.struck_us) as f32 / 1e6;
    let forgiven = quiet_s / (policy.forgive_s.max(1) as f32);
    suspect.strikes = (suspect.strikes - forgiven).max(1.0);
    let doublings = (suspect.strikes - 1.0).round().min(30.0) as u32;
    let seconds = policy
        .ttl_s
        .saturating_mul(1 << doublings)
        .min(policy.ttl_max_s)
        .max(1);
    suspect.ttl_us = seconds * 1_000_000;
    suspect.until_us = now_us + suspect.ttl_us;
    suspect.struck_us = suspect.until_us;
    (suspect.matched, suspect.looked_us) = (0, now_us);
    Duration::from_secs(seconds)
}

fn deny(
    suspect: &mut Suspect,
    evidence: &Evidence,
    step: Step,
    policy: &VerdictPolicy,
    now_us: u64,
) -> Order {
    let ttl = time_to_live(suspect, policy, now_us);
    let reason = format!("{} {}", evidence.family, evidence.reason);
    order(&Address::from(evidence.source.0), step, policy, ttl, reason)
}

fn renewal(
    suspect: &mut Suspect,
    address: &Address,
    step: Step,
    family: Family,
    policy: &VerdictPolicy,
    now_us: u64,
) -> Order {
    let ttl = time_to_live(suspect, policy, now_us);
    order(address, step, policy, ttl, format!("{family} goes on"))
}

fn order(
    address: &Address,
    step: Step,
    policy: &VerdictPolicy,
    ttl: Duration,
    reason: String,
) -> Order {
    let limits = step == Step::RateLimit;
    Order {
        target: Target::Address(address.to_ip()),
        action: if limits {
            Action::RATE_LIMIT
        } else {
            Action::DROP
        },
        packets_per_second: if limits {
            policy.rate_limit_packets_per_second.max(1)
        } else {
            0
        },
        bytes_per_second: 0,
        services: Vec::new(),
        time_to_live: Some(ttl),
        reason,
    }
}

fn over(address: &Address, family: Family, target: Target, now_us: u64) -> Alert {
    Alert {
        at_us: now_us,
        kind: Kind::Over,
        family,
        source: Some((address.to_ip(), 0)),
        destination: None,
        protocol: 0,
        sources: 1,
        by: By::Rule,
        score: None,
        reason: "quiet until its verdict expired".to_owned(),
        target: Some(target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn evidence(step: Step) -> Evidence {
        Evidence {
            family: Family::Scan,
            step,
            by: By::Rule,
            score: None,
            source: ([10, 0, 0, 9].into(), 1),
            destination: ([10, 0, 0, 1].into(), 2),
            protocol: 6,
            reason: "of a test".to_owned(),
        }
    }

    fn ttl(decision: &Decision) -> u64 {
        match &decision.act {
            Some(Act::Put(order)) => order.time_to_live.unwrap().as_secs(),
            other => panic!("{other:?}"),
        }
    }

    fn ticked(sources: &mut Sources, matched: Option<u64>, now_us: u64) -> Vec<Decision> {
        let mut out = Vec::new();
        sources.tick(&VerdictPolicy::default(), &|_| matched, now_us, &mut out);
        out
    }

    #[test]
    fn a_source_climbs_and_is_told_of_once_a_step() {
        let (mut sources, policy) = (Sources::default(), VerdictPolicy::default());
        let mut accuse =
            |step, now_us| sources.accuse(evidence(step), &policy, Step::Drop, false, now_us);
        let alert = accuse(Step::Alert, SECOND).unwrap();
        assert!(alert.act.is_none());
        assert!(accuse(Step::Alert, SECOND).is_none());
        let limited = accuse(Step::RateLimit, 2 * SECOND).unwrap();
        assert!(
            matches!(&limited.act, Some(Act::Put(order)) if order.action == Action::RATE_LIMIT)
        );
        let dropped = accuse(Step::Drop, 3 * SECOND).unwrap();
        assert!(matches!(&dropped.act, Some(Act::Put(order)) if order.action == Action::DROP));
        assert!(accuse(Step::RateLimit, 4 * SECOND).is_none());
        assert_eq!(sources.denied(), 1);
    }

    #[test]
    fn a_verdict_lasts_while_it_is_needed_and_is_lifted_when_it_is_not() {
        let (mut sources, policy) = (Sources::default(), VerdictPolicy::default());
        let first = sources.accuse(evidence(Step::Drop), &policy, Step::Drop, false, SECOND);
        assert_eq!(ttl(&first.unwrap()), 60);
        assert!(ticked(&mut sources, Some(5), 30 * SECOND).is_empty());
        // It met packets a moment before it would expire: renewed, for twice as long.
        let renewed = ticked(&mut sources, Some(900), 58 * SECOND);
        assert_eq!(ttl(&renewed[0]), 120);
        assert!(renewed[0].alert.is_none());
        // Quiet from then on: lifted when it expires, not before.
        assert!(ticked(&mut sources, Some(0), 100 * SECOND).is_empty());
        assert!(ticked(&mut sources, Some(0), 175 * SECOND).is_empty());
        let over = ticked(&mut sources, Some(0), 179 * SECOND);
        assert!(matches!(over[0].act, Some(Act::Lift(_))));
        assert_eq!(over[0].alert.as_ref().unwrap().kind, Kind::Over);
        assert_eq!(sources.denied(), 0);
        // It comes back at once: longer. After a long quiet: as at first.
        let again = sources.accuse(
            evidence(Step::Drop),
            &policy,
            Step::Drop,
            false,
            180 * SECOND,
        );
        assert_eq!(ttl(&again.unwrap()), 240);
    }

    #[test]
    fn quiet_forgives() {
        let (mut sources, policy) = (Sources::default(), VerdictPolicy::default());
        for _ in 0..3 {
            sources.accuse(evidence(Step::Drop), &policy, Step::Drop, false, SECOND);
            ticked(&mut sources, Some(0), 1_000 * SECOND);
        }
        let late = 100_000 * SECOND;
        let again = sources.accuse(evidence(Step::Drop), &policy, Step::Drop, false, late);
        assert_eq!(ttl(&again.unwrap()), 60);
    }

    #[test]
    fn one_that_merely_tries_again_is_let_go_and_what_others_lift_stays_lifted() {
        let (mut sources, policy) = (Sources::default(), VerdictPolicy::default());
        sources.accuse(evidence(Step::Drop), &policy, Step::Drop, false, SECOND);
        for second in (6..60).step_by(6) {
            // A packet a second.
            assert!(
                ticked(&mut sources, Some(second), second * SECOND).is_empty(),
                "{second}"
            );
        }
        let over = ticked(&mut sources, Some(61), 62 * SECOND);
        assert!(matches!(over[0].act, Some(Act::Lift(_))));

        sources.accuse(
            evidence(Step::Drop),
            &policy,
            Step::Drop,
            false,
            70 * SECOND,
        );
        assert!(ticked(&mut sources, Some(10_000), 71 * SECOND).is_empty());
        assert!(ticked(&mut sources, None, 72 * SECOND).is_empty());
        assert!(ticked(&mut sources, None, 500 * SECOND).is_empty());
        assert_eq!(sources.denied(), 0);
    }

    #[test]
    fn another_family_is_told_of_and_an_old_alert_is_forgotten() {
        let (mut sources, policy) = (Sources::default(), VerdictPolicy::default());
        let guessing = || Evidence {
            family: Family::BruteForce,
            ..evidence(Step::Alert)
        };
        let mut accuse =
            |evidence, now_us| sources.accuse(evidence, &policy, Step::Drop, false, now_us);
        assert!(accuse(evidence(Step::Alert), SECOND).is_some());
        assert!(accuse(guessing(), 2 * SECOND).is_some());
        assert!(accuse(guessing(), 3 * SECOND).is_none());
        assert!(accuse(evidence(Step::Alert), 4 * SECOND).is_none());
        assert!(accuse(evidence(Step::Alert), 4_000 * SECOND).is_some());
    }

    #[test]
    fn who_may_not_be_denied_is_told_of_once() {
        let (mut sources, policy) = (Sources::default(), VerdictPolicy::default());
        let mut accuse =
            || sources.accuse(evidence(Step::Drop), &policy, Step::Alert, true, SECOND);
        assert!(accuse().unwrap().act.is_none());
        assert!(accuse().is_none());
        assert_eq!(sources.denied_served(), 0);
    }

    #[test]
    fn evidence_fades() {
        let mut sources = Sources::default();
        let source = Address::from_ipv4([10, 0, 0, 9]);
        assert_eq!(sources.add_flow(source, Family::Scan, SECOND), 1.0);
        assert_eq!(sources.add_flow(source, Family::Scan, SECOND), 2.0);
        let later = sources.add_flow(source, Family::Scan, 61 * SECOND);
        assert!((1.7..1.8).contains(&later), "{later}");
    }
}
