//! The native flow table: grows, never evicts, and otherwise does to a record what the kernel programs do
//! ([`detector_common::engine`]), so that its counters mean the same.

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};

use detector_common::{
    counters::{Counters, Event, Fate, Tally},
    frame::{Parser, Rejected},
    key::{FlowKey, HashSeed},
    packet::Packet,
    record::micros,
};
use hashbrown::HashTable;

use super::store::{PeriodsByRecord, Records};
use super::{Account, Ended, FrameSink};

/// Flows that are held at once unless told otherwise: 32 Mi, 9 GiB when all are there. The packets of one more are
/// counted as not admitted.
pub const FLOWS_MAX_DEFAULT: u32 = 1 << 25;

/// EtherTypes that there are.
const ETHERTYPES: usize = 1 << 16;

/// The zone of replayed frames: there is but one interface.
const ZONE: u32 = 0;

/// Where a key's record is. The upper half of the key's hash is kept, so that a probe rarely touches a record of
/// another flow, and growing touches none.
#[derive(Clone, Copy)]
struct Entry {
    hash: u32,
    number: u32,
}

impl Entry {
    /// What hashbrown needs of a hash: an index from its lower bits, a tag from its upper seven. Only the upper bits of
    /// [`FlowKey::hash`] are good, so both come from these.
    #[inline(always)]
    fn spread(hash: u32) -> u64 {
        u64::from(hash) | u64::from(hash) << 32
    }
}

/// Counts frames into flow records.
pub struct Table {
    entries: HashTable<Entry>,
    records: Records,
    periods: PeriodsByRecord,
    seed: HashSeed,
    flows_max: u32,
    counters: Counters,
    in_records: Tally,
    ethertypes: Box<[Tally]>,
}

impl Default for Table {
    fn default() -> Self {
        Self::new(FLOWS_MAX_DEFAULT)
    }
}

/// Set in a record's lock word, which no one else here uses, once its place held an established flow: a place is
/// promoted once, whatever flows follow on it, as in the kernel's table.
const PROMOTED: u32 = 1;

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
            entries: HashTable::new(),
            records: Records::default(),
            periods: PeriodsByRecord::default(),
            seed,
            flows_max,
            counters: Counters::default(),
            in_records: Tally::default(),
            ethertypes: vec![Tally::default(); ETHERTYPES].into_boxed_slice(),
        }
    }

    /// Counts one frame; the flow that it ended, if any, goes to `ended`.
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
        let hash = (key.hash(&self.seed) >> 32) as u32;
        let now_us = micros(time_ns);
        let records = &self.records;
        let found = self.entries.find(Entry::spread(hash), |entry| {
            entry.hash == hash && records.get(entry.number).key == key
        });
        match found {
            Some(&Entry { number, .. }) => self.known(number, from_low, &packet, now_us, ended),
            None => self.begin(hash, &key, from_low, &packet, now_us),
        }
    }

    /// A packet of a flow that has a record.
    #[inline(always)]
    fn known(
        &mut self,
        number: u32,
        from_low: bool,
        packet: &Packet,
        now_us: u64,
        ended: &mut Ended<'_>,
    ) {
        let record = self.records.get_mut(number);
        if record.is_over(packet, now_us) {
            ended(&record.normalized(), self.periods.of(number, record));
            let (packets, bytes) = record.totals();
            self.counters.tallies[Fate::Ended as usize].add(packets, bytes);
            self.counters.events[Event::FlowsEnded as usize] += 1;
            let forward = record.next_forward(from_low);
            let key = record.key;
            record.begin(&key, from_low, forward, packet, now_us);
            self.counters.events[Event::FlowsCreated as usize] += 1;
        } else if let Some(gap) = record.update(from_low, packet, now_us) {
            self.periods.add(number, gap);
        }
        if record.lock != PROMOTED && record.is_established() {
            record.lock = PROMOTED;
            self.counters.events[Event::FlowsPromoted as usize] += 1;
        }
    }

    /// A packet of a flow that has no record.
    fn begin(&mut self, hash: u32, key: &FlowKey, from_low: bool, packet: &Packet, now_us: u64) {
        let number = self.records.count();
        if number >= self.flows_max {
            let (packets, bytes) = (packet.segments.into(), packet.wire_bytes.into());
            return self.tally(Fate::NotAdmitted, packets, bytes);
        }
        self.entries
            .insert_unique(Entry::spread(hash), Entry { hash, number }, |entry| {
                Entry::spread(entry.hash)
            });
        self.records
            .push()
            .begin(key, from_low, None, packet, now_us);
        self.event(Event::FlowsCreated);
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
        for (number, record) in (0..).zip(self.records.iter()) {
            let (packets, bytes) = record.totals();
            self.in_records.add(packets, bytes);
            ended(&record.normalized(), self.periods.of(number, record));
        }
        self.entries.clear();
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
