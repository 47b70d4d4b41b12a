//! Where flow records lie: they are never moved, so that growing costs no copy and no second table's worth of memory.

use std::collections::HashMap;

use detector_common::{
    periods::{Gap, Periods},
    record::FlowRecord,
};

use super::memory::Memory;

/// Records of one piece, as a power of two: 16 MiB, of which only what is used is backed by memory.
const PIECE_SHIFT: u32 = 16;
const PIECE_RECORDS: u32 = 1 << PIECE_SHIFT;

/// Flow records by number, counted from 0 in the order in which they were made.
#[derive(Default)]
pub(super) struct Records {
    /// All but the last are full.
    pieces: Vec<Memory<FlowRecord>>,
    count: u32,
}

impl Records {
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Makes room for one more record; false where there is no memory for it.
    #[inline]
    pub(super) fn make_room(&mut self) -> bool {
        if self.count as usize >= self.pieces.len() << PIECE_SHIFT {
            let Some(piece) = Memory::zeroed(PIECE_RECORDS as usize) else {
                return false;
            };
            self.pieces.push(piece);
        }
        true
    }

    /// A new record in the room that was made for it, for [`FlowRecord::begin`]: only what that leaves alone is zero.
    #[inline]
    pub(super) fn push(&mut self) -> &mut FlowRecord {
        let number = self.count;
        self.count += 1;
        let record = self.get_mut(number);
        record.lock = 0;
        record.verdict_slot = 0;
        record
    }

    #[inline(always)]
    pub(super) fn get(&self, number: u32) -> &FlowRecord {
        &self.pieces[(number >> PIECE_SHIFT) as usize].all()[(number % PIECE_RECORDS) as usize]
    }

    #[inline(always)]
    pub(super) fn get_mut(&mut self, number: u32) -> &mut FlowRecord {
        let piece = &mut self.pieces[(number >> PIECE_SHIFT) as usize];
        &mut piece.all_mut()[(number % PIECE_RECORDS) as usize]
    }

    /// Reads from each line of a record, which brings them nearer, and gives what must not be optimized away.
    #[inline(always)]
    pub(super) fn touch(&self, number: u32) -> u64 {
        let record = self.get(number);
        record.key.low.words[0] ^ record.gap_squares ^ record.forward.bytes ^ record.backward.bytes
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &FlowRecord> {
        self.pieces
            .iter()
            .flat_map(Memory::all)
            .take(self.count as usize)
    }

    pub(super) fn clear(&mut self) {
        // The first piece stays, for the next of many small captures.
        self.pieces.truncate(1);
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
