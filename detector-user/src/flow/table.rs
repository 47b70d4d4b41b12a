//! The native flow table: grows, never evicts, and otherwise does to a record what the kernel programs do
//! ([`detector_common::engine`]), so that its counters mean the same.

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};

use detector_common::{
    counters::{Counters, Event, Fate, Tally},
    frame::{Parser, Rejected},
    key::{FlowKey, HashSeed},
    packet::Packet,
    periods::Periods,
    record::{FlowRecord, micros},
};

use super::index::Index;
use super::records::{PeriodsByRecord, Records};
use super::{Account, Ended, FrameSink};

/// Flows that are held at once unless told otherwise: 32 Mi, 9 GiB when all are there. The packets of one more are
/// counted as not admitted.
pub const FLOWS_MAX_DEFAULT: u32 = 1 << 25;

/// EtherTypes that there are.
const ETHERTYPES: usize = 1 << 16;

/// The zone of replayed frames: there is but one interface.
const ZONE: u32 = 0;

/// Packets that are worked on together. Each stage of a batch reads memory that the one before has found, for all its
/// packets: the reads of a stage wait for each other no more, and a table far larger than the caches keeps up.
const BATCH: usize = 32;

/// A packet on its way into the table.
#[derive(Clone, Copy)]
struct Pending {
    packet: Packet,
    key: FlowKey,
    hash: u32,
    from_low: bool,
    now_us: u64,
}

/// Counts frames into flow records.
pub struct Table {
    index: Index,
    records: Records,
    periods: PeriodsByRecord,
    seed: HashSeed,
    flows_max: u32,
    counters: Counters,
    in_records: Tally,
    ethertypes: Box<[Tally]>,
    pending: Vec<Pending>,
    /// Records that changed since they were last asked for, where somebody asks.
    changed: Option<Vec<u32>>,
}

impl Default for Table {
    fn default() -> Self {
        Self::new(FLOWS_MAX_DEFAULT)
    }
}

/// Set in a record's lock word, which no one else here uses, once its place held an established flow: a place is
/// promoted once, whatever flows follow on it, as in the kernel's table.
const PROMOTED: u32 = 1;
/// Set there while the record is listed as changed.
const CHANGED: u32 = 2;

impl Table {
    /// A table that holds at most `flows_max` flows at once.
    ///
    /// The hash has random keys: nobody can make a capture whose flows all fall into one place. Nothing that comes out
    /// depends on them.
    #[must_use]
    pub fn new(flows_max: u32) -> Self {
        let random = RandomState::new();
        let mut seed = HashSeed::default();
        for (number, word) in seed.words.iter_mut().enumerate() {
            *word = random.hash_one(number);
        }
        Self {
            index: Index::new(),
            records: Records::default(),
            periods: PeriodsByRecord::default(),
            seed,
            flows_max,
            counters: Counters::default(),
            in_records: Tally::default(),
            ethertypes: vec![Tally::default(); ETHERTYPES].into_boxed_slice(),
            pending: Vec::with_capacity(BATCH),
            changed: None,
        }
    }

    /// A table that also keeps a list of the records that change, for [`Table::take_changed`].
    #[must_use]
    pub fn that_tells_changes(flows_max: u32) -> Self {
        Self {
            changed: Some(Vec::new()),
            ..Self::new(flows_max)
        }
    }

    /// Visits each flow that has changed since the last call, by the number of its record.
    pub fn take_changed(
        &mut self,
        ended: &mut Ended<'_>,
        mut visit: impl FnMut(u32, &FlowRecord, Option<&Periods>),
    ) {
        self.settle(ended);
        let Some(mut changed) = self.changed.take() else {
            return;
        };
        for number in changed.drain(..) {
            let record = self.records.get_mut(number);
            record.lock &= !CHANGED;
            let record = self.records.get(number);
            visit(number, record, self.periods.of(number, record));
        }
        self.changed = Some(changed);
    }

    /// The record of a flow, if there is one; of the packets counted last some may be missing.
    #[must_use]
    pub fn find(&self, key: &FlowKey) -> Option<&FlowRecord> {
        let hash = (key.hash(&self.seed) >> 32) as u32;
        let is_it = |number| self.records.get(number).key == *key;
        self.index
            .find(hash, is_it)
            .map(|number| self.records.get(number))
    }

    /// Counts one frame. A flow that is over goes to `ended`, at the latest [`BATCH`] frames later.
    #[inline]
    pub fn count(&mut self, time_ns: u64, frame: &[u8], ended: &mut Ended<'_>) {
        let packet = match Parser::FULL.parse(frame) {
            Ok(packet) => packet,
            Err(rejected) => return self.reject(rejected, frame.len() as u64),
        };
        self.tally(Fate::Seen, packet.segments.into(), packet.wire_bytes.into());
        if packet.short_transport {
            self.event(Event::ShortTransport);
        }
        let (key, from_low) = FlowKey::new(
            (packet.source, packet.source_port),
            (packet.destination, packet.destination_port),
            packet.protocol,
            ZONE,
        );
        self.pending.push(Pending {
            packet,
            key,
            hash: (key.hash(&self.seed) >> 32) as u32,
            from_low,
            now_us: micros(time_ns),
        });
        if self.pending.len() == BATCH {
            self.settle(ended);
        }
    }

    /// Counts the packets that are pending, in their order.
    fn settle(&mut self, ended: &mut Ended<'_>) {
        let pending = std::mem::take(&mut self.pending);
        let mut touched = 0;
        for Pending { hash, .. } in &pending {
            touched ^= self.index.touch(*hash);
        }
        let mut guesses = [None; BATCH];
        for (guess, packet) in guesses.iter_mut().zip(&pending) {
            *guess = self.index.guess(packet.hash);
            if let Some(number) = *guess {
                touched ^= self.records.touch(number);
            }
        }
        std::hint::black_box(touched);
        for (guess, packet) in guesses.into_iter().zip(&pending) {
            self.settle_one(guess, packet, ended);
        }
        self.pending = pending;
        self.pending.clear();
    }

    #[inline(always)]
    fn settle_one(&mut self, guess: Option<u32>, pending: &Pending, ended: &mut Ended<'_>) {
        let is_it = |number| self.records.get(number).key == pending.key;
        let found = match guess {
            Some(number) if is_it(number) => guess,
            _ => self.index.find(pending.hash, is_it),
        };
        match found {
            Some(number) => self.known(number, pending, ended),
            None => self.begin(pending),
        }
    }

    /// A packet of a flow that has a record.
    #[inline(always)]
    fn known(&mut self, number: u32, pending: &Pending, ended: &mut Ended<'_>) {
        let &Pending {
            ref packet,
            ref key,
            from_low,
            now_us,
            ..
        } = pending;
        let record = self.records.get_mut(number);
        if record.is_over(packet, now_us) {
            ended(&record.normalized(), self.periods.of(number, record));
            let (packets, bytes) = record.totals();
            self.counters.tallies[Fate::Ended as usize].add(packets, bytes);
            self.counters.events[Event::FlowsEnded as usize] += 1;
            let forward = record.next_forward(from_low);
            record.begin(key, from_low, forward, packet, now_us);
            self.counters.events[Event::FlowsCreated as usize] += 1;
        } else if let Some(gap) = record.update(from_low, packet, now_us) {
            self.periods.add(number, gap);
        }
        if record.lock & PROMOTED == 0 && record.is_established() {
            record.lock |= PROMOTED;
            self.counters.events[Event::FlowsPromoted as usize] += 1;
        }
        self.note_change(number);
    }

    /// A packet of a flow that has no record.
    #[inline(always)]
    fn begin(&mut self, pending: &Pending) {
        let packet = &pending.packet;
        let number = self.records.count();
        if number < self.flows_max
            && self.records.make_room()
            && self.index.insert(pending.hash, number)
        {
            self.records
                .push()
                .begin(&pending.key, pending.from_low, None, packet, pending.now_us);
            self.event(Event::FlowsCreated);
            self.note_change(number);
        } else {
            let (packets, bytes) = (packet.segments.into(), packet.wire_bytes.into());
            self.tally(Fate::NotAdmitted, packets, bytes);
        }
    }

    #[inline(always)]
    fn note_change(&mut self, number: u32) {
        if let Some(changed) = &mut self.changed {
            let record = self.records.get_mut(number);
            if record.lock & CHANGED == 0 {
                record.lock |= CHANGED;
                changed.push(number);
            }
        }
    }

    #[cold]
    fn reject(&mut self, rejected: Rejected, bytes: u64) {
        self.tally(Fate::Seen, 1, bytes);
        match rejected {
            Rejected::NonIp(ethertype) => {
                self.tally(Fate::NonIp, 1, bytes);
                self.ethertypes[usize::from(ethertype)].add(1, bytes);
            }
            Rejected::Malformed(reason) => {
                self.tally(Fate::Malformed, 1, bytes);
                self.counters.malformed[reason as usize] += 1;
            }
        }
    }

    #[inline(always)]
    fn tally(&mut self, fate: Fate, packets: u64, bytes: u64) {
        self.counters.tallies[fate as usize].add(packets, bytes);
    }

    #[inline(always)]
    fn event(&mut self, event: Event) {
        self.counters.events[event as usize] += 1;
    }

    /// Flows that are alive.
    #[must_use]
    pub fn live(&self) -> u32 {
        self.records.count()
    }

    /// Hands out every live flow, oldest record first, and forgets them.
    pub fn hand_out(&mut self, ended: &mut Ended<'_>) {
        self.settle(ended);
        for (number, record) in (0..).zip(self.records.iter()) {
            let (packets, bytes) = record.totals();
            self.in_records.add(packets, bytes);
            ended(&record.normalized(), self.periods.of(number, record));
        }
        if let Some(changed) = &mut self.changed {
            changed.clear();
        }
        self.index.clear();
        self.records.clear();
        self.periods.clear();
    }
}

impl FrameSink for Table {
    type Error = Infallible;

    #[inline]
    fn frame(
        &mut self,
        time_ns: u64,
        bytes: &[u8],
        ended: &mut Ended<'_>,
    ) -> Result<(), Infallible> {
        self.count(time_ns, bytes, ended);
        Ok(())
    }

    fn finish(&mut self, ended: &mut Ended<'_>) -> Result<(), Infallible> {
        self.hand_out(ended);
        Ok(())
    }

    fn account(&self) -> Result<Account, Infallible> {
        Ok(Account {
            counters: self.counters,
            in_records: self.in_records,
            ethertypes: (0..=u16::MAX)
                .zip(self.ethertypes.iter().copied())
                .filter(|(_, tally)| *tally != Tally::default())
                .collect(),
        })
    }
}
