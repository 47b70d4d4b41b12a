//! The agent over the kernel's tables: at each tick drain, features, score, decide, enforce.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use detector_common::{
    abi::map,
    counters::{Event, Fate},
    event::{EndedFlow, VerdictHit},
    record::micros,
    set,
};

use super::{
    flow_log::{Finished, FlowLog},
    pipeline::{Counts, Pipeline},
    shadow::Comparison,
};
use crate::{
    decide::{
        alert::{Act, Decision},
        fault,
        policy::Policy,
    },
    drain::{
        account::{Account, AccountError},
        reader::{Pass, Which},
    },
    drift::{Drift, DriftSettings},
    enforce::{
        order::{Listed, VerdictError},
        own::OwnVerdicts,
        target::Prefix,
        writer::Writer,
    },
    flow::Flow,
    score::Scorer,
    wire::{
        clock::Clock,
        pins::Pins,
        ring::Ring,
        tables::{Tables, TablesError},
    },
};

/// The coarse time of a flow may lag behind its last packet by one step.
const COARSE_SLACK: u32 = 2;

/// First hits of verdicts that one tick tells, at most.
const HITS_PER_TICK_MAX: usize = 256;

/// Flows that ended in place of another that one tick tells, at most; the others wait in the kernel's ring.
const ENDED_PER_TICK_MAX: usize = 16_384;

/// What a tick did.
#[derive(Debug, Default)]
pub struct Ticked {
    /// What was decided, and whether it is in force.
    pub decisions: Vec<(Decision, bool)>,
    /// Verdicts that were hit for the first time, with their targets.
    pub hits: Vec<(VerdictHit, Listed)>,
    /// Flows that ended, where they are asked for.
    pub flows: Vec<Finished>,
    /// What the pass over the table saw.
    pub pass: Pass,
    /// How long the pass over the table took.
    pub drained: Duration,
    /// How long features, scores and decisions took.
    pub decided: Duration,
    /// How long the tick took.
    pub took: Duration,
}

/// The agent, over what is pinned.
pub struct LiveAgent {
    pins: Pins,
    tables: Tables,
    clock: Clock,
    pipeline: Pipeline,
    own: OwnVerdicts,
    hits: Ring<VerdictHit>,
    flows: Option<(FlowLog, Ring<EndedFlow>)>,
    enforce: bool,
    last_ns: u64,
    faulty: bool,
}

impl LiveAgent {
    /// Opens what is pinned.
    ///
    /// # Errors
    /// [`TablesError`] where nothing is, or it cannot be opened.
    pub fn open(
        pins: Pins,
        policy: Policy,
        scorer: Option<Arc<Scorer>>,
        enforce: bool,
    ) -> Result<Self, TablesError> {
        let tables = Tables::open(&pins)?;
        let clock = Clock::open(&pins)?;
        let hits = Ring::open(&pins, map::EVENTS)?;
        Ok(Self {
            hits,
            flows: None,
            pins,
            tables,
            clock,
            pipeline: Pipeline::new(policy, scorer),
            own: OwnVerdicts::default(),
            enforce,
            last_ns: 0,
            faulty: false,
        })
    }

    /// Tells of flows that end, too.
    ///
    /// # Errors
    /// [`TablesError`] where the kernel's ring of ended flows cannot be opened.
    pub fn log_flows(&mut self) -> Result<(), TablesError> {
        let ended = Ring::open(&self.pins, map::ENDED)?;
        self.flows = Some((FlowLog::default(), ended));
        self.pipeline.keep_findings();
        Ok(())
    }

    /// Reads who is never to be denied.
    ///
    /// # Errors
    /// [`VerdictError`].
    pub fn learn_spared(&mut self) -> Result<(), VerdictError> {
        // A look needs no lock, and waits for nobody who holds it.
        let spared = Writer::unshared(&mut self.tables, &self.clock).never_blocked()?;
        self.pipeline
            .spare(spared.into_iter().map(|(prefix, _)| prefix).collect());
        Ok(())
    }

    /// Lists who is configured never to be blocked.
    ///
    /// # Errors
    /// [`VerdictError`].
    pub fn never_block(&mut self, prefixes: &[Prefix]) -> Result<(), VerdictError> {
        let mut writer = Writer::new(&self.pins, &mut self.tables, &self.clock)?;
        writer.never_block_configured(prefixes)
    }

    /// Another policy, from the next tick on.
    pub fn set_policy(&mut self, policy: Policy) {
        self.pipeline.set_policy(policy);
    }

    /// Another model, or none, from the next tick on.
    pub fn set_scorer(&mut self, scorer: Option<Arc<Scorer>>) {
        self.pipeline.set_scorer(scorer);
    }

    /// Another candidate to score beside the model, or none.
    pub fn set_shadow(&mut self, scorer: Option<Arc<Scorer>>) {
        self.pipeline.set_shadow(scorer);
    }

    /// How the candidate differs.
    #[must_use]
    pub fn comparison(&self) -> Option<Comparison> {
        self.pipeline.comparison()
    }

    /// How drift is watched for, from the next tick on.
    pub fn set_drift(&mut self, settings: DriftSettings) {
        self.pipeline.set_drift(settings);
    }

    /// Whether traffic still looks like what the model was trained on.
    #[must_use]
    pub fn drift(&self) -> Drift {
        self.pipeline.drift()
    }

    /// Whether there is a model.
    #[must_use]
    pub fn has_model(&self) -> bool {
        self.pipeline.has_model()
    }

    /// Whether it acts, or only tells.
    #[must_use]
    pub fn enforces(&self) -> bool {
        self.enforce
    }

    /// Acts from now on, or only tells. To tell only, the agent's own verdicts are lifted; either way what was decided is
    /// decided anew from what comes.
    ///
    /// # Errors
    /// [`VerdictError`]; some verdicts may be lifted then, and nothing new is written.
    pub fn set_enforce(&mut self, enforce: bool) -> Result<u32, VerdictError> {
        if enforce == self.enforce {
            return Ok(0);
        }
        self.enforce = enforce;
        self.pipeline.begin_anew();
        if enforce {
            return Ok(0);
        }
        self.own
            .lift_all((&self.pins, &mut self.tables, &self.clock))
    }

    /// One tick, at a time of `CLOCK_MONOTONIC`, ns.
    pub fn tick(&mut self, now_ns: u64) -> Ticked {
        let begun = std::time::Instant::now();
        let now_us = micros(now_ns);
        let which = if self.last_ns == 0 {
            Which::Live
        } else {
            Which::SeenSince(set::coarse(self.last_ns).wrapping_sub(COARSE_SLACK))
        };
        self.last_ns = now_ns;
        let (pipeline, tables) = (&mut self.pipeline, &self.tables);
        let mut flows = Vec::new();
        let finished = |flow, reason, found| Finished {
            flow,
            reason,
            found,
            against: None,
            enforced: false,
            source_pod: None,
            destination_pod: None,
        };
        let mut log = self.flows.as_mut();
        // First: what is found in the next flow of a way is noted in the place of what was found in this.
        if let Some((log, ended)) = &mut log {
            let mut tell = |way: Option<u32>, flow: Flow, reason| {
                let found = way.and_then(|way| pipeline.finding(way, &flow.record));
                flows.push(finished(flow, reason, found));
            };
            ended.take(ENDED_PER_TICK_MAX, |flow| {
                log.ended(flow, tables, &mut tell);
            });
        }
        let replaced = flows.len();
        let mut ways = Vec::new();
        let mut tell = |way: Option<u32>, flow, reason| {
            ways.push(way);
            flows.push(finished(flow, reason, None));
        };
        let pass = tables.scan(which, |snapshot| {
            let periods = tables.periods_of(snapshot);
            if let Some((log, _)) = &mut log {
                log.observe(snapshot, periods.as_ref(), &mut tell);
            }
            pipeline.observe(snapshot.way, &snapshot.record, periods.as_ref(), now_us);
        });
        if let Some((log, _)) = &mut log {
            log.look(tables, now_us, &mut tell);
        }
        let drained = begun.elapsed();
        let own = &self.own;
        let decisions = self
            .pipeline
            .tick(&|target| own.matched(target, tables), now_us);
        let decided = begun.elapsed().saturating_sub(drained);
        // Only now is known what was found in them.
        for (one, way) in flows[replaced..].iter_mut().zip(ways) {
            one.found = way.and_then(|way| self.pipeline.finding(way, &one.flow.record));
        }
        for one in &mut flows {
            one.against = self.pipeline.against(&one.flow.record, now_us);
            one.enforced = self.enforce;
        }
        let mut done = Vec::with_capacity(decisions.len());
        for decision in decisions {
            let in_force = self.enforce && decision.act.is_some();
            match self.act(&decision) {
                Ok(()) => {
                    self.faulty = false;
                    done.push((decision, in_force));
                }
                Err(error) => {
                    if let Some(Act::Put(order)) = &decision.act {
                        self.pipeline.failed(&order.target);
                    }
                    done.push((decision, false));
                    // A writer that fails fails for each: it is told once.
                    if !std::mem::replace(&mut self.faulty, true) {
                        let reason = format!("a verdict could not be written: {error}");
                        done.push((fault(reason, now_us), false));
                    }
                }
            }
        }
        Ticked {
            hits: self.first_hits(),
            flows,
            decisions: done,
            pass,
            drained,
            decided,
            took: begun.elapsed(),
        }
    }

    /// Verdicts that were hit for the first time since the last tick, whoever wrote them.
    fn first_hits(&mut self) -> Vec<(VerdictHit, Listed)> {
        let mut hits = Vec::new();
        self.hits.take(HITS_PER_TICK_MAX, |hit| hits.push(*hit));
        if hits.is_empty() {
            return Vec::new();
        }
        let listed = Writer::unshared(&mut self.tables, &self.clock).list();
        let listed = listed.unwrap_or_default();
        let of = |hit: VerdictHit| {
            let verdict = listed.iter().find(|one| one.slot == hit.slot)?;
            Some((hit, verdict.clone()))
        };
        hits.into_iter().filter_map(of).collect()
    }

    fn act(&mut self, decision: &Decision) -> Result<(), VerdictError> {
        if !self.enforce {
            return Ok(());
        }
        let plane = (&self.pins, &mut self.tables, &self.clock);
        match &decision.act {
            Some(Act::Put(order)) => self.own.put(order, plane),
            Some(Act::Lift(target)) => self.own.lift(target, plane),
            None => Ok(()),
        }
    }

    /// Reads the books.
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn account(&self) -> Result<Account, AccountError> {
        self.tables.account()
    }

    /// What was done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.pipeline.counts()
    }

    /// Sources that are denied, and destinations under attack.
    #[must_use]
    pub fn standing(&self) -> (usize, usize) {
        self.pipeline.standing()
    }
}

/// `CLOCK_MONOTONIC`, ns: the clock of live flows.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// Unix time of the live flows' time 0, µs. It moves when the clock is set, and flows do not.
#[must_use]
pub fn epoch_us(now_ns: u64) -> u64 {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let unix_us = unix.map_or(0, |since| since.as_micros() as u64);
    unix_us.saturating_sub(micros(now_ns))
}

/// The numbers of a stats event: what became of packets, and how the agent fares.
#[must_use]
pub fn stats(account: &Account, counts: &Counts, pass: &Pass) -> serde_json::Value {
    let fates: serde_json::Map<String, serde_json::Value> = Fate::ALL
        .iter()
        .map(|fate| {
            let packets = account.total.tally(*fate).packets;
            (fate.name().replace('-', "_"), packets.into())
        })
        .collect();
    serde_json::json!({
        "packets": fates,
        "flows": {
            "live": pass.flows,
            "established": pass.protected,
            "slots": account.flow_slots,
            "created": account.total.event(Event::FlowsCreated),
            "evicted": account.total.event(Event::FlowsEvicted),
        },
        "agent": {
            "ticks": counts.ticks,
            "scored": counts.scored,
            "found": counts.found,
            "left_out": counts.left_out,
            "hosts_refused": counts.hosts_refused,
        },
    })
}
