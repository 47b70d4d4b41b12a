//! Flow events: each flow told once, when it closes, times out or has been quiet.

use detector_common::{
    event::EndedFlow,
    record::{FlowRecord, state},
};

use crate::{
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

/// Remembers which flows were told of.
#[derive(Default)]
pub struct FlowLog {
    /// By way: when the flow began that was told of last, plus one.
    told: Vec<u64>,
    looked_us: u64,
}

impl FlowLog {
    /// Takes a look at a flow that has changed: told of where it is over.
    pub fn observe(&mut self, snapshot: &Snapshot, tell: &mut impl FnMut(Flow, Reason)) {
        if snapshot.record.state & state::CLOSED != 0 && self.is_new(snapshot.way, &snapshot.record)
        {
            tell(Flow::new(&snapshot.record, None, 0), Reason::Closed);
        }
    }

    /// Takes a flow that ended while another took its place. One that closed was told of then.
    pub fn ended(&mut self, ended: &EndedFlow, tell: &mut impl FnMut(Flow, Reason)) {
        if ended.record.state & state::CLOSED == 0 {
            tell(
                Flow::new(&ended.record, Some(&ended.periods), 0),
                Reason::Timeout,
            );
        }
    }

    /// Tells of flows that have been quiet, now and then.
    pub fn look(&mut self, tables: &Tables, now_us: u64, tell: &mut impl FnMut(Flow, Reason)) {
        if now_us.saturating_sub(self.looked_us) < LOOK_US {
            return;
        }
        self.looked_us = now_us;
        tables.scan(Which::Live, |snapshot| {
            let record = &snapshot.record;
            let last_us = record.first_us + u64::from(record.last_us);
            if now_us.saturating_sub(last_us) >= QUIET_US && self.is_new(snapshot.way, record) {
                let periods = tables.periods_of(snapshot);
                tell(Flow::new(record, periods.as_ref(), 0), Reason::Timeout);
            }
        });
    }

    fn is_new(&mut self, way: u32, record: &FlowRecord) -> bool {
        let way = way as usize;
        if way >= self.told.len() {
            self.told.resize(way + 1, 0);
        }
        let mark = record.first_us + 1;
        std::mem::replace(&mut self.told[way], mark) != mark
    }
}
