//! From flow records to rows: the same for live flows, for captures and for training.

use detector_common::{periods::Periods, record::FlowRecord};

use super::{
    COUNT, Row, fill_flow, fill_surroundings,
    hosts::{Hosts, Surroundings},
    ways::{Change, Ends, Ways},
};

/// Rows that one tick makes at most. What is beyond is counted, and still goes into the hosts' windows.
pub const ROWS_PER_TICK_MAX: usize = 1 << 15;
/// Flows that are visited at once, so that they can be scored at once.
pub const AT_ONCE: usize = 64;

/// A flow at a tick at which it is due.
#[derive(Clone, Debug)]
pub struct Due {
    /// Its way, a number that stays the flow's while it lasts.
    pub way: u32,
    /// Its ends.
    pub ends: Ends,
    /// What has become of it since it was last due.
    pub change: Change,
    /// What it looks like.
    pub record: FlowRecord,
    /// Its features.
    pub row: Row,
}

/// Turns what a tick saw into rows.
#[derive(Default)]
pub struct Extractor {
    ways: Ways,
    hosts: Hosts,
    due: Vec<Due>,
    left_out: u64,
}

impl Extractor {
    /// Takes a look at a flow that has changed.
    #[inline]
    pub fn observe(
        &mut self,
        way: u32,
        record: &FlowRecord,
        periods: Option<&Periods>,
        now_us: u64,
    ) {
        let Some(change) = self.ways.look(way, record, now_us) else {
            return;
        };
        let ends = Ends::of(record);
        self.hosts.note(&ends, &change, now_us);
        if self.due.len() >= ROWS_PER_TICK_MAX {
            self.left_out += 1;
            return;
        }
        let mut row = [0.0; COUNT];
        fill_flow(&mut row, record, periods);
        self.due.push(Due {
            way,
            ends,
            change,
            record: *record,
            row,
        });
    }

    /// Visits the flows that are due at this tick, some at a time ([`AT_ONCE`] at most), their rows whole: each sees all that
    /// the tick brought.
    pub fn each(&mut self, now_us: u64, mut visit: impl FnMut(&[Due], &[Surroundings], &mut Ways)) {
        let mut around = Vec::with_capacity(AT_ONCE);
        for some in self.due.chunks_mut(AT_ONCE) {
            around.clear();
            for due in &mut *some {
                let around_it = self.hosts.around(&due.ends, now_us);
                fill_surroundings(&mut due.row, &around_it);
                around.push(around_it);
            }
            visit(some, &around, &mut self.ways);
        }
    }

    /// The flows that are due at this tick.
    #[must_use]
    pub fn due(&self) -> &[Due] {
        &self.due
    }

    /// Ends the tick.
    pub fn end(&mut self, now_us: u64) {
        self.due.clear();
        self.ways.looked(now_us);
    }

    /// What hosts have been doing.
    #[must_use]
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// Flows for which a tick had no room.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}
