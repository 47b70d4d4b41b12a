//! The agent over a capture: the same stations, the capture's own time, and verdicts that act on its packets.

use std::{collections::HashSet, sync::Arc};

use detector_common::{
    frame::Parser,
    key::Address,
    packet::Packet,
    periods::Periods,
    record::{FlowRecord, micros},
};

use super::pipeline::{Counts, Pipeline};
use crate::{
    decide::{
        alert::{Act, Decision},
        policy::Policy,
    },
    drain::native::{NativeDrain, Stages},
    drift::{Drift, DriftSettings},
    enforce::native::{Fate, NativeVerdicts},
    score::Scorer,
};

/// What became of the packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packets {
    /// That were replayed.
    pub seen: u64,
    /// That a verdict dropped.
    pub dropped: u64,
    /// That answer a packet that was dropped: they would not have been sent.
    pub moot: u64,
}

/// Flows that are remembered as cut.
const CUT_MAX: usize = 1 << 20;

/// A direction of a flow whose last packet was dropped.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct CutFlow {
    from: (Address, u16),
    to: (Address, u16),
    protocol: u8,
}

impl CutFlow {
    fn of(packet: &Packet) -> Self {
        Self {
            from: (packet.source, packet.source_port),
            to: (packet.destination, packet.destination_port),
            protocol: packet.protocol,
        }
    }

    fn turned(self) -> Self {
        Self {
            from: self.to,
            to: self.from,
            ..self
        }
    }
}

/// Replays frames through the agent's stations.
pub struct ReplayAgent<F> {
    drain: NativeDrain,
    live: Live<F>,
    packets: Packets,
    /// What answered these in the capture would not have been sent.
    cut: HashSet<CutFlow>,
}

/// What ticks.
struct Live<F> {
    pipeline: Pipeline,
    verdicts: NativeVerdicts,
    enforce: bool,
    tell: F,
}

impl<F: FnMut(&Decision)> Stages for Live<F> {
    fn flow(&mut self, way: u32, record: &FlowRecord, periods: Option<&Periods>, now_us: u64) {
        self.pipeline.observe(way, record, periods, now_us);
    }

    fn tick(&mut self, now_us: u64) {
        let verdicts = &self.verdicts;
        let decisions = self
            .pipeline
            .tick(&|target| verdicts.matched(target), now_us);
        for decision in &decisions {
            if self.enforce {
                match &decision.act {
                    Some(Act::Put(order)) => self.verdicts.put(order, now_us),
                    Some(Act::Lift(target)) => self.verdicts.lift(target),
                    None => {}
                }
            }
            (self.tell)(decision);
        }
    }
}

impl<F: FnMut(&Decision)> ReplayAgent<F> {
    /// An agent that tells its decisions to `tell`, and drops what its verdicts drop where it is to enforce them.
    pub fn new(
        flows_max: u32,
        policy: Policy,
        scorer: Option<Arc<Scorer>>,
        enforce: bool,
        tell: F,
    ) -> Self {
        Self {
            drain: NativeDrain::new(flows_max),
            live: Live {
                pipeline: Pipeline::new(policy, scorer),
                verdicts: NativeVerdicts::default(),
                enforce,
                tell,
            },
            packets: Packets::default(),
            cut: HashSet::new(),
        }
    }

    /// How drift is watched for.
    pub fn set_drift(&mut self, settings: DriftSettings) {
        self.live.pipeline.set_drift(settings);
    }

    /// Another model from now on.
    pub fn set_scorer(&mut self, scorer: Option<Arc<Scorer>>) {
        self.live.pipeline.set_scorer(scorer);
    }

    /// Whether traffic still looks like what the model was trained on.
    #[must_use]
    pub fn drift(&self) -> Drift {
        self.live.pipeline.drift()
    }

    /// One frame, in the order of time.
    pub fn frame(&mut self, time_ns: u64, bytes: &[u8]) {
        self.drain.until(time_ns, &mut self.live);
        self.packets.seen += 1;
        if !self.live.verdicts.is_empty()
            && let Ok(packet) = Parser::FULL.parse(bytes)
        {
            let sent = CutFlow::of(&packet);
            if self.cut.contains(&sent.turned()) {
                self.packets.moot += 1;
                return;
            }
            let drain = &self.drain;
            let fate = self
                .live
                .verdicts
                .judge(&packet, micros(time_ns), |key, from_low| {
                    drain.is_spared(key, from_low, &packet)
                });
            if fate == Fate::Drop {
                self.packets.dropped += 1;
                if self.cut.len() < CUT_MAX {
                    self.cut.insert(sent);
                }
                return;
            }
            self.cut.remove(&sent);
        }
        self.drain.count(time_ns, bytes);
    }

    /// The end of the capture; what has been done.
    pub fn finish(mut self) -> (Packets, Counts) {
        self.drain.finish(&mut self.live);
        (self.packets, self.live.pipeline.counts())
    }
}
