//! The flow table, read through its mapping: no system call, no lock taken.

use std::sync::atomic::{Ordering, fence};

use detector_common::{
    key::FlowKey,
    periods::Periods,
    record::{FlowRecord, state},
    set::{self, Class, WAYS},
};

use crate::wire::{mapping::Cache, tables::Tables};

/// Tries for a copy of a record that no CPU wrote meanwhile.
const COPY_TRIES: u32 = 1000;

/// Sets between the one that is read and those whose records are fetched from memory, and from there
/// into the first cache. Measured in one run at 1 M flows in a table of 2 Mi: without 41 ns a flow, one set
/// ahead 23, four ahead (into the second cache) and one 17.
const SETS_AHEAD_FAR: u32 = 4;
const SETS_AHEAD_NEAR: u32 = 1;

/// Words of a record, and of one that has no backward direction.
const RECORD_WORDS: usize = size_of::<FlowRecord>() / 8;
const ONE_WAY_WORDS: usize = RECORD_WORDS - 8;
/// Words that hold the lock and the state (bytes 40–47 and 56–63).
const LOCK_WORD: usize = 5;
const STATE_WORD: usize = 7;

/// A flow as it stood at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its way: a number that stays the flow's while the flow is in the table.
    pub way: u32,
    /// Whether it is on probation or protected, or was released.
    pub class: Class,
    /// Its counters; the backward direction is zero where nothing came backward.
    pub record: FlowRecord,
}

/// What a pass over the table saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// Live flows.
    pub flows: u32,
    /// Of them, established ones.
    pub protected: u32,
    /// Ways whose flow was released and whose record is not yet reused.
    pub released: u32,
    /// Records that were being written at every try: left out.
    pub torn: u32,
}

/// Which ways a pass visits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Live flows.
    Live,
    /// Live flows seen at or after this coarse time.
    SeenSince(u32),
    /// Every way that holds a record, released ones too.
    Held,
}

impl Which {
    /// Whether a way with this word is visited.
    #[inline]
    fn takes(self, word: u64) -> bool {
        match self {
            Self::Live => set::is_live(word),
            Self::SeenSince(time) => {
                set::is_live(word) && set::last_seen(word).wrapping_sub(time) < 1 << 31
            }
            Self::Held => set::class(word) != Class::EMPTY,
        }
    }
}

impl Tables {
    /// Visits the flows.
    pub fn scan(&self, which: Which, mut visit: impl FnMut(&Snapshot)) -> Pass {
        let mut pass = Pass::default();
        let mut snapshot = Snapshot {
            way: 0,
            class: Class::EMPTY,
            record: FlowRecord::default(),
        };
        for index in 0..self.sets.len() {
            self.prefetch(index + SETS_AHEAD_FAR, which, Cache::Second);
            self.prefetch(index + SETS_AHEAD_NEAR, which, Cache::First);
            for (way, word) in self.sets.words(index).iter().enumerate() {
                let word = word.load(Ordering::Acquire);
                let class = set::class(word);
                match class {
                    Class::EMPTY => continue,
                    Class::RELEASED => pass.released += 1,
                    Class::PROTECTED => {
                        pass.flows += 1;
                        pass.protected += 1;
                    }
                    _ => pass.flows += 1,
                }
                if !which.takes(word) {
                    continue;
                }
                snapshot.way = index * WAYS + way as u32;
                snapshot.class = class;
                if self.copy(snapshot.way, &mut snapshot.record) {
                    visit(&snapshot);
                } else {
                    pass.torn += 1;
                }
            }
        }
        pass
    }

    /// Has the records that a set leads to brought near. The scan goes by sets, whose live ways
    /// are anywhere in their two KiB: no hardware guesses which lines it will want, nor the page after.
    #[inline(always)]
    fn prefetch(&self, index: u32, which: Which, into: Cache) {
        if index >= self.sets.len() {
            return;
        }
        for (way, word) in self.sets.words(index).iter().enumerate() {
            if which.takes(word.load(Ordering::Relaxed)) {
                let way = index * WAYS + way as u32;
                self.records.prefetch(way, ONE_WAY_WORDS, into);
            }
        }
    }

    /// Copies a record; `false` where some CPU was writing it at each try.
    #[inline]
    fn copy(&self, way: u32, record: &mut FlowRecord) -> bool {
        let words = self.records.words(way);
        let target: &mut [u64; RECORD_WORDS] = bytemuck::cast_mut(record);
        for _ in 0..COPY_TRIES {
            let before = words[LOCK_WORD].load(Ordering::Acquire);
            if before & 1 != 0 {
                std::hint::spin_loop();
                continue;
            }
            for n in 0..ONE_WAY_WORDS {
                target[n] = words[n].load(Ordering::Relaxed);
            }
            let states = (target[STATE_WORD] >> 32) as u32;
            if states & state::BACKWARD_SEEN != 0 {
                for n in ONE_WAY_WORDS..RECORD_WORDS {
                    target[n] = words[n].load(Ordering::Relaxed);
                }
            } else {
                target[ONE_WAY_WORDS..].fill(0);
            }
            fence(Ordering::Acquire);
            if words[LOCK_WORD].load(Ordering::Relaxed) == before {
                return true;
            }
        }
        false
    }

    /// The periods of a flow, where it has any. Asked right after its snapshot; the
    /// kernel may have gone on since.
    #[must_use]
    pub fn periods_of(&self, snapshot: &Snapshot) -> Option<Periods> {
        (snapshot.record.idle_periods > 0).then(|| self.periods.load(snapshot.way))
    }

    /// The way of a live flow: the one that the kernel finds.
    #[must_use]
    pub fn way_of(&self, key: &FlowKey) -> Option<u32> {
        self.ways_of(key).next()
    }

    /// All ways of a live flow: two CPUs that met it at once may have made a record each.
    pub fn ways_of(&self, key: &FlowKey) -> impl Iterator<Item = u32> {
        let seed = self.control.load(0).seed;
        let (index, tag) = set::place(key.hash(&seed), self.sets.len() - 1);
        (0..WAYS)
            .map(move |way| index * WAYS + way)
            .filter(move |way| {
                let word = self.sets.words(index)[(way % WAYS) as usize].load(Ordering::Acquire);
                set::matches(word, tag) && self.records.load(*way).key == *key
            })
    }

    /// Gives a flow up: its way may be taken by another. Its packets stay counted where
    /// they are until then. `false` where the kernel changed the way meanwhile.
    pub fn release(&self, way: u32) -> bool {
        let word = &self.sets.words(way / WAYS)[(way % WAYS) as usize];
        let old = word.load(Ordering::Acquire);
        set::is_live(old)
            && word
                .compare_exchange(old, set::released(old), Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }
}
