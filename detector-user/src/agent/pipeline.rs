//! The stations between drain and enforce: features → score → decide, over plain values. Live and in replay the same.

use std::sync::Arc;

use detector_common::{periods::Periods, record::FlowRecord};

use super::{
    findings::{Finding, Findings},
    shadow::{Comparison, Shadow},
};
use crate::{
    decide::{
        Decider, Found,
        alert::Decision,
        family::Family,
        policy::Policy,
        sources::{Against, Matched},
    },
    enforce::target::{Prefix, Target},
    features::{
        extractor::{Due, Extractor},
        ways::Ends,
    },
    model::Scratch,
    score::Scorer,
};

/// What has been done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Flows that were scored, each as often as it was.
    pub scored: u64,
    /// Of these, found by the model to be of an attack.
    pub found: u64,
    /// Flows for which a tick had no room: not scored, but counted in the windows.
    pub left_out: u64,
    /// Hosts, services and pairs for which there was no room.
    pub hosts_refused: u64,
    /// Ticks.
    pub ticks: u64,
}

/// Rows that are scored at once, and what that takes.
#[derive(Default)]
struct Batch {
    rows: Vec<f32>,
    probabilities: Vec<f32>,
    scratch: Scratch,
}

impl Batch {
    /// The probabilities of flows' rows, one after the other.
    fn score(&mut self, scorer: &Scorer, some: &[Due]) -> impl Iterator<Item = &[f32]> {
        let classes = scorer.families().len();
        self.rows.clear();
        for due in some {
            self.rows.extend_from_slice(&due.row);
        }
        self.probabilities.resize(some.len() * classes, 0.0);
        scorer.probabilities_of_rows(&self.rows, &mut self.probabilities, &mut self.scratch);
        self.probabilities.chunks_exact(classes)
    }
}

/// Features, score and decision.
pub struct Pipeline {
    extractor: Extractor,
    scorer: Option<Arc<Scorer>>,
    decider: Decider,
    shadow: Option<Shadow>,
    batch: Batch,
    counts: Counts,
    /// Kept where they are asked for.
    findings: Option<Findings>,
}

impl Pipeline {
    /// Decides by a policy, with a model or by plain thresholds alone.
    #[must_use]
    pub fn new(policy: Policy, scorer: Option<Arc<Scorer>>) -> Self {
        Self {
            extractor: Extractor::default(),
            scorer,
            decider: Decider::new(policy),
            shadow: None,
            batch: Batch::default(),
            counts: Counts::default(),
            findings: None,
        }
    }

    /// Sources that are never denied.
    pub fn spare(&mut self, prefixes: Vec<Prefix>) {
        if let Some(shadow) = &mut self.shadow {
            shadow.spare(prefixes.clone());
        }
        self.decider.spare(prefixes);
    }

    /// Another policy from the next tick on.
    pub fn set_policy(&mut self, policy: Policy) {
        if let Some(shadow) = &mut self.shadow {
            shadow.set_policy(policy.clone());
        }
        self.decider.set_policy(policy);
    }

    /// Another model, or none, from the next tick on.
    pub fn set_scorer(&mut self, scorer: Option<Arc<Scorer>>) {
        self.scorer = scorer;
    }

    /// Another candidate to score beside the model, or none.
    pub fn set_shadow(&mut self, scorer: Option<Arc<Scorer>>) {
        self.shadow = scorer.map(|scorer| {
            let (policy, spared) = (
                self.decider.policy().clone(),
                self.decider.spared().to_vec(),
            );
            Shadow::new(scorer, policy, spared)
        });
    }

    /// How the candidate differs.
    #[must_use]
    pub fn comparison(&self) -> Option<Comparison> {
        self.shadow.as_ref().map(Shadow::comparison)
    }

    /// Whether there is a model.
    #[must_use]
    pub fn has_model(&self) -> bool {
        self.scorer.is_some()
    }

    /// Takes a look at a flow that has changed.
    #[inline]
    pub fn observe(
        &mut self,
        way: u32,
        record: &FlowRecord,
        periods: Option<&Periods>,
        now_us: u64,
    ) {
        self.extractor.observe(way, record, periods, now_us);
    }

    /// Ends the tick: what is decided in it.
    pub fn tick(&mut self, matched: &Matched<'_>, now_us: u64) -> Vec<Decision> {
        let (decider, scorer) = (&mut self.decider, self.scorer.as_deref());
        let mut shadow = self.shadow.as_mut();
        let mut findings = self.findings.as_mut();
        let (mut scored, mut attacks) = (0, 0);
        let batch = &mut self.batch;
        self.extractor.each(now_us, |some, around, ways| {
            let mut probabilities = scorer.map(|scorer| {
                scored += some.len() as u64;
                (scorer, batch.score(scorer, some))
            });
            for (due, around) in some.iter().zip(around) {
                let found = probabilities.as_mut().and_then(|(scorer, rows)| {
                    let (family, score) = scorer.judge(rows.next()?)?;
                    attacks += 1;
                    let new = ways.mark_family(due.way, family as u8);
                    if let Some(findings) = &mut findings {
                        findings.note(due.way, &due.record, Finding { family, score });
                    }
                    Some(Found { family, score, new })
                });
                if let Some(shadow) = &mut shadow {
                    shadow.flow(due, around, ways, found.is_some());
                }
                decider.flow(due, around, found, |family: Family| {
                    scorer.map_or_else(String::new, |scorer| scorer.explain(&due.row, family))
                });
            }
        });
        let decisions = decider.tick(
            self.extractor.due(),
            self.extractor.hosts(),
            matched,
            now_us,
        );
        if let Some(shadow) = shadow {
            let (due, hosts) = (self.extractor.due(), self.extractor.hosts());
            shadow.tick(due, hosts, &decisions, now_us);
        }
        self.extractor.end(now_us);
        self.counts.scored += scored;
        self.counts.found += attacks;
        self.counts.ticks += 1;
        decisions
    }

    /// What is found in flows is kept from now on.
    pub fn keep_findings(&mut self) {
        self.findings.get_or_insert_default();
    }

    /// What the model found in the flow that has this way, where that is kept.
    #[must_use]
    pub fn finding(&self, way: u32, record: &FlowRecord) -> Option<Finding> {
        self.findings.as_ref()?.of(way, record)
    }

    /// What is held against a flow's source.
    #[must_use]
    pub fn against(&self, record: &FlowRecord, now_us: u64) -> Option<Against> {
        self.decider.against(&Ends::of(record).source, now_us)
    }

    /// What was decided is decided anew; what is known of hosts and of what is usual stays.
    pub fn begin_anew(&mut self) {
        self.decider.begin_anew();
    }

    /// What was decided about a target could not be done.
    pub fn failed(&mut self, target: &Target) {
        self.decider.failed(target);
    }

    /// What has been done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            left_out: self.extractor.left_out(),
            hosts_refused: self.extractor.hosts().refused(),
            ..self.counts
        }
    }

    /// Sources that are denied, and destinations under attack.
    #[must_use]
    pub fn standing(&self) -> (usize, usize) {
        self.decider.counts()
    }
}
