//! A candidate in the shadow of the model in force: it scores the same flows and decides by the same policy, nothing of it is
//! done, and what would be different is told.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

use crate::{
    decide::{
        Decider, Found,
        alert::{Act, Decision},
        family::Family,
        policy::Policy,
    },
    enforce::target::Prefix,
    features::{
        extractor::Due,
        hosts::{Hosts, Surroundings},
        ways::Ways,
    },
    score::Scorer,
};

/// Targets that are compared, at most.
const TARGETS_MAX: usize = 10_000;
/// Targets of each kind that are named.
const NAMED_MAX: usize = 8;
/// Marks of the families that the shadow found lie behind those of the model in force.
const MARKS: u8 = 8;

const IN_FORCE: u8 = 1;
const SHADOW: u8 = 2;

/// How the two differ, since the shadow came or the model in force changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// The shadow's name and version.
    pub model: String,
    /// Flows that both scored, each as often as it was.
    pub scored: u64,
    /// Of these, found to be an attack by both,
    pub found_by_both: u64,
    /// by the model in force alone,
    pub found_by_it_alone: u64,
    /// and by the shadow alone.
    pub found_by_shadow_alone: u64,
    /// Targets that both would deny,
    pub denied_by_both: u64,
    /// that the model in force alone would deny,
    pub denied_by_it_alone: u64,
    /// and the shadow alone.
    pub denied_by_shadow_alone: u64,
    /// Some of those that one alone would deny.
    pub examples_it_alone: Vec<String>,
    /// The same of the shadow.
    pub examples_shadow_alone: Vec<String>,
}

/// The candidate, and what is known of it.
pub struct Shadow {
    scorer: Arc<Scorer>,
    decider: Decider,
    counts: Comparison,
    /// By target, who would deny it.
    targets: BTreeMap<String, u8>,
}

impl Shadow {
    /// Of a candidate, under the policy that is in force.
    #[must_use]
    pub fn new(scorer: Arc<Scorer>, policy: Policy, spared: Vec<Prefix>) -> Self {
        let mut decider = Decider::new(policy);
        decider.spare(spared);
        Self {
            counts: Comparison {
                model: scorer.name(),
                ..Comparison::default()
            },
            scorer,
            decider,
            targets: BTreeMap::new(),
        }
    }

    /// Another policy.
    pub fn set_policy(&mut self, policy: Policy) {
        self.decider.set_policy(policy);
    }

    /// Sources that are never denied.
    pub fn spare(&mut self, prefixes: Vec<Prefix>) {
        self.decider.spare(prefixes);
    }

    /// Takes a flow that is due, and whether the model in force found it to be an attack.
    pub fn flow(&mut self, due: &Due, around: &Surroundings, ways: &mut Ways, found: bool) {
        let own = self.scorer.find(&due.row).map(|(family, score)| Found {
            family,
            score,
            new: ways.mark_family(due.way, MARKS + family as u8),
        });
        let counts = &mut self.counts;
        counts.scored += 1;
        match (found, own.is_some()) {
            (true, true) => counts.found_by_both += 1,
            (true, false) => counts.found_by_it_alone += 1,
            (false, true) => counts.found_by_shadow_alone += 1,
            (false, false) => {}
        }
        self.decider
            .flow(due, around, own, |_: Family| String::new());
    }

    /// Ends the tick in which the model in force decided this.
    pub fn tick(&mut self, due: &[Due], hosts: &Hosts, decisions: &[Decision], now_us: u64) {
        let own = self.decider.tick(due, hosts, &|_| None, now_us);
        for (decisions, who) in [(decisions, IN_FORCE), (&own[..], SHADOW)] {
            for decision in decisions {
                let Some(Act::Put(order)) = &decision.act else {
                    continue;
                };
                let target = order.target.to_string();
                if self.targets.len() < TARGETS_MAX || self.targets.contains_key(&target) {
                    *self.targets.entry(target).or_default() |= who;
                }
            }
        }
    }

    /// How the two differ so far.
    #[must_use]
    pub fn comparison(&self) -> Comparison {
        let of = |who: u8| self.targets.iter().filter(move |(_, by)| **by == who);
        let count = |who: u8| of(who).count() as u64;
        let named = |who: u8| {
            of(who)
                .take(NAMED_MAX)
                .map(|(name, _)| name.clone())
                .collect()
        };
        Comparison {
            denied_by_both: count(IN_FORCE | SHADOW),
            denied_by_it_alone: count(IN_FORCE),
            denied_by_shadow_alone: count(SHADOW),
            examples_it_alone: named(IN_FORCE),
            examples_shadow_alone: named(SHADOW),
            ..self.counts.clone()
        }
    }
}
