//! Flow events: each flow told once, when it closes, times out or has been quiet.

use std::sync::Arc;

use detector_common::{
    event::EndedFlow,
    periods::Periods,
    record::{FlowRecord, state},
};

use super::findings::Finding;
use crate::{
    decide::sources::Against,
    drain::reader::{Snapshot, Which},
    flow::Flow,
    wire::tables::Tables,
};

/// A flow that has been quiet for this long is told of, µs.
const QUIET_US: u64 = 60_000_000;
/// Between two looks for quiet flows, µs.
const LOOK_US: u64 = 5_000_000;

/// Why a flow is told of, in Suricata's words where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// TCP is over.
    Closed,
    /// It has been quiet, or reached the longest time that a record counts.
    Timeout,
}

impl Reason {
    /// As it stands in events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "tcp_close",
            Self::Timeout => "timeout",
        }
    }
}

/// A flow that is over, and what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// The flow.
    pub flow: Flow,
    /// Why it is told of.
    pub reason: Reason,
    /// What the model found in it; `None`, too, where its record was taken by another flow before it was scored.
    pub found: Option<Finding>,
    /// What the agent holds against its source.
    pub against: Option<Against>,
    /// Whether that is done, or the agent only tells.
    pub enforced: bool,
    /// The pod that it came from, where it is one of this node's.
    pub source_pod: Option<Arc<str>>,
    /// The pod that it went to.
    pub destination_pod: Option<Arc<str>>,
}

/// Is told of a flow that is over: the way that it had, where that is known, and why.
pub trait Tell: FnMut(Option<u32>, Flow, Reason) {}

impl<F: FnMut(Option<u32>, Flow, Reason)> Tell for F {}

/// Remembers which flows were told of.
#[derive(Default)]
pub struct FlowLog {
    /// By way: when the flow began that was told of last, plus one.
    told: Vec<u64>,
    looked_us: u64,
}

impl FlowLog {
    /// Takes a look at a flow that has changed: told of where it is over.
    pub fn observe(
        &mut self,
        snapshot: &Snapshot,
        periods: Option<&Periods>,
        tell: &mut impl Tell,
    ) {
        if snapshot.record.state & state::CLOSED != 0 && self.is_new(snapshot.way, &snapshot.record)
        {
            let flow = Flow::new(&snapshot.record, periods, 0);
            tell(Some(snapshot.way), flow, Reason::Closed);
        }
    }

    /// Takes a flow whose record the next one of the same ends has taken, before that one is looked at. It is told of unless it was
    /// already: when it closed, or was quiet.
    pub fn ended(&mut self, ended: &EndedFlow, tables: &Tables, tell: &mut impl Tell) {
        let record = &ended.record;
        let closed = record.state & state::CLOSED != 0;
        let way = tables.way_of(&record.key);
        // Where the next one is gone, too, a flow that closed was most likely seen then.
        if way.map_or(closed, |way| !self.is_new(way, record)) {
            return;
        }
        let periods = (record.idle_periods > 0).then_some(&ended.periods);
        let reason = if closed {
            Reason::Closed
        } else {
            Reason::Timeout
        };
        tell(way, Flow::new(record, periods, 0), reason);
    }

    /// Tells of flows that have been quiet, now and then.
    pub fn look(&mut self, tables: &Tables, now_us: u64, tell: &mut impl Tell) {
        if now_us.saturating_sub(self.looked_us) < LOOK_US {
            return;
        }
        self.looked_us = now_us;
        tables.scan(Which::Live, |snapshot| {
            let record = &snapshot.record;
            let last_us = record.first_us + u64::from(record.last_us);
            if now_us.saturating_sub(last_us) >= QUIET_US && self.is_new(snapshot.way, record) {
                let periods = tables.periods_of(snapshot);
                let flow = Flow::new(record, periods.as_ref(), 0);
                tell(Some(snapshot.way), flow, Reason::Timeout);
            }
        });
    }

    fn is_new(&mut self, way: u32, record: &FlowRecord) -> bool {
        let way = way as usize;
        if way >= self.told.len() {
            self.told.resize(way + 1, 0);
        }
        // Of the flows that have a way one after the other each begins later.
        let mark = record.first_us + 1;
        let new = self.told[way] < mark;
        self.told[way] = self.told[way].max(mark);
        new
    }
}
