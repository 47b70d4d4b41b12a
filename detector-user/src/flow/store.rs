//! Where flow records lie: they are never moved, so that growing costs no copy and no second table's worth of memory.

use std::collections::HashMap;

use detector_common::{
    periods::{Gap, Periods},
    record::FlowRecord,
};

/// Records of one piece, as a power of two: 1 MiB.
const PIECE_SHIFT: u32 = 12;
const PIECE_RECORDS: usize = 1 << PIECE_SHIFT;

/// Flow records by number, counted from 0 in the order in which they were made.
#[derive(Default)]
pub(super) struct Records {
    /// All but the last are full.
    pieces: Vec<Vec<FlowRecord>>,
    count: u32,
}

impl Records {
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// A new record, all zero.
    pub(super) fn push(&mut self) -> &mut FlowRecord {
        if self.count as usize % PIECE_RECORDS == 0 {
            self.pieces.push(Vec::with_capacity(PIECE_RECORDS));
        }
        self.count += 1;
        let last = self.pieces.len() - 1;
        let piece = &mut self.pieces[last];
        piece.push(FlowRecord::default());
        let last = piece.len() - 1;
        &mut piece[last]
    }

    #[inline(always)]
    pub(super) fn get(&self, number: u32) -> &FlowRecord {
        &self.pieces[(number >> PIECE_SHIFT) as usize][number as usize % PIECE_RECORDS]
    }

    #[inline(always)]
    pub(super) fn get_mut(&mut self, number: u32) -> &mut FlowRecord {
        &mut self.pieces[(number >> PIECE_SHIFT) as usize][number as usize % PIECE_RECORDS]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &FlowRecord> {
        self.pieces.iter().flatten()
    }

    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.count = 0;
    }
}

/// The periods of the few flows that have any, by record number.
#[derive(Default)]
pub(super) struct PeriodsByRecord {
    periods: HashMap<u32, Periods>,
}

impl PeriodsByRecord {
    #[cold]
    pub(super) fn add(&mut self, number: u32, gap: Gap) {
        self.periods.entry(number).or_default().add(gap);
    }

    /// The periods of the flow that the record holds now, if it has any.
    #[inline]
    pub(super) fn of(&self, number: u32, record: &FlowRecord) -> Option<&Periods> {
        if record.idle_periods == 0 {
            return None;
        }
        self.periods.get(&number)
    }

    pub(super) fn clear(&mut self) {
        self.periods.clear();
    }
}
