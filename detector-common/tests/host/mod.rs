//! The engine's maps in plain memory, on one thread: what the kernel's maps are to the
//! BPF programs. Other CPUs are played by an interrupt: at every point where another
//! CPU's write could be seen, a test may have the host do something else first.
//!
//! Included by the fuzz targets as well: nothing here depends on a test crate.
#![allow(dead_code, reason = "every user takes the part that it needs")]

mod run;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::IpAddr,
    rc::Rc,
};

use detector_common::{
    abi,
    addresses::{self, AddressSet},
    bytes::Bytes,
    config::{active, feature},
    counters::{Counters, Event, Fate, Tally},
    engine::{self, Disposition, Segmentation},
    event::{EndedFlow, VerdictHit},
    key::{Address, FlowKey, HashSeed},
    periods::Periods,
    record::FlowRecord,
    returning::Doors,
    service::ServiceCounters,
    set::{self, Class, WAYS},
    signature::Signature,
    verdict::{FOREVER, Hits, Kind, Verdict},
};
use run::Run;

/// A prefix as the LPM tries hold it: its length is of 128 bits.
#[derive(Clone, Copy, Debug)]
pub struct Prefix {
    pub address: Address,
    pub bits: u32,
    pub slot: u32,
}

impl Prefix {
    pub fn new(address: IpAddr, bits: u32, slot: u32) -> Self {
        let beyond = if address.is_ipv4() { 96 } else { 0 };
        Self {
            address: address.into(),
            bits: bits + beyond,
            slot,
        }
    }

    fn takes(&self, address: &Address) -> bool {
        let [own, other] = [self.address, *address].map(|a| u128::from_be_bytes(a.octets()));
        self.bits == 0 || (own ^ other) >> (128 - self.bits) == 0
    }
}

/// What a test does in place of another CPU.
pub type Interrupt = Rc<dyn Fn(&Host)>;

/// Runs within a run, at most.
const DEPTH_MAX: u32 = 3;

/// The host.
pub struct Host {
    pub features: Cell<u32>,
    pub zone: Cell<u32>,
    pub seed: HashSeed,
    pub now_ns: Cell<u64>,
    pub jiffies: Cell<u64>,
    pub clock_reads: Cell<u64>,

    sets: Vec<[Cell<u64>; WAYS as usize]>,
    records: Vec<RefCell<FlowRecord>>,
    periods: Vec<RefCell<Periods>>,
    doorkeeper: Vec<Cell<u32>>,

    pub counters: RefCell<Counters>,
    pub ethertypes: RefCell<HashMap<u16, Tally>>,
    pub services: RefCell<Vec<ServiceCounters>>,
    pub ended: RefCell<Vec<EndedFlow>>,
    /// Room in the ring of ended flows.
    pub ended_max: Cell<usize>,
    pub first_hits: RefCell<Vec<VerdictHit>>,
    /// Room in the ring of first hits.
    pub first_hits_max: Cell<usize>,

    pub active: Cell<u32>,
    pub generation: Cell<u32>,
    /// Coarse time of the last eviction, and how many there were at it.
    pub evictions: Cell<(u32, u32)>,
    pub signatures_active: Cell<u64>,
    pub verdicts: Vec<RefCell<Verdict>>,
    pub hits: RefCell<HashMap<u32, Hits>>,
    pub address_sets: RefCell<Vec<AddressSet>>,
    pub address_verdicts: RefCell<HashMap<Address, u32>>,
    pub prefix_verdicts: RefCell<Vec<Prefix>>,
    pub flow_verdicts: RefCell<HashMap<FlowKey, u32>>,
    pub signatures: RefCell<Vec<Signature>>,
    /// Sets of doors that somebody has knocked at.
    pub returning: RefCell<HashMap<u32, Doors>>,
    pub never_block: RefCell<Vec<Prefix>>,
    pub never_block_lookups: Cell<u64>,
    /// The next compare-and-exchanges of a bucket fail.
    pub bucket_failures: Cell<u32>,

    pub interrupt: RefCell<Option<Interrupt>>,
    depth: Cell<u32>,
}

/// Verdict slots of the host.
pub const VERDICT_SLOTS: u32 = 128;

impl Host {
    /// With everything on, an empty table of `slots` flows and as many doorkeeper places.
    pub fn new(slots: u32) -> Self {
        assert!(slots.is_power_of_two() && slots >= WAYS);
        let mut words = [0; 11];
        let mut state = 0x0123_4567_89ab_cdef_u64;
        for word in &mut words {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *word = state ^ state >> 31;
        }
        Self {
            features: Cell::new(feature::ALL),
            zone: Cell::new(2),
            seed: HashSeed { words },
            now_ns: Cell::new(1_000_000_000_000),
            jiffies: Cell::new(1_000_000),
            clock_reads: Cell::default(),
            sets: (0..slots / WAYS).map(|_| Default::default()).collect(),
            records: (0..slots).map(|_| Default::default()).collect(),
            periods: (0..slots).map(|_| Default::default()).collect(),
            doorkeeper: (0..slots).map(|_| Default::default()).collect(),
            counters: RefCell::default(),
            ethertypes: RefCell::default(),
            services: RefCell::new(vec![ServiceCounters::default(); 256]),
            ended: RefCell::default(),
            ended_max: Cell::new(usize::MAX),
            first_hits: RefCell::default(),
            first_hits_max: Cell::new(usize::MAX),
            active: Cell::new(0),
            generation: Cell::new(0),
            evictions: Cell::new((0, 0)),
            signatures_active: Cell::new(0),
            verdicts: (0..VERDICT_SLOTS)
                .map(|_| RefCell::new(Verdict::FREE))
                .collect(),
            hits: RefCell::default(),
            address_sets: RefCell::new(vec![AddressSet::default(); 4]),
            address_verdicts: RefCell::default(),
            prefix_verdicts: RefCell::default(),
            flow_verdicts: RefCell::default(),
            signatures: RefCell::new(vec![Signature::ANY; abi::SIGNATURES_MAX as usize]),
            returning: RefCell::default(),
            never_block: RefCell::default(),
            never_block_lookups: Cell::new(0),
            bucket_failures: Cell::new(0),
            interrupt: RefCell::new(None),
            depth: Cell::new(0),
        }
    }

    pub fn ingress<B: Bytes + ?Sized>(&self, frame: &B) -> Disposition {
        engine::ingress(&Run::new(self), frame)
    }

    pub fn egress<B: Bytes + ?Sized>(&self, frame: &B, cut: Segmentation) {
        engine::egress(&Run::new(self), frame, cut);
    }

    pub fn advance_us(&self, us: u64) {
        self.now_ns.set(self.now_ns.get() + us * 1000);
    }

    /// A point at which another CPU may get ahead.
    fn interrupted(&self) {
        let interrupt = self.interrupt.borrow().clone();
        if let Some(interrupt) = interrupt
            && self.depth.get() < DEPTH_MAX
        {
            self.depth.set(self.depth.get() + 1);
            interrupt(self);
            self.depth.set(self.depth.get() - 1);
        }
    }

    pub fn slots(&self) -> u32 {
        self.records.len() as u32
    }

    pub fn word(&self, slot: u32) -> u64 {
        self.sets[(slot / WAYS) as usize][(slot % WAYS) as usize].get()
    }

    pub fn record_at(&self, slot: u32) -> FlowRecord {
        *self.records[slot as usize].borrow()
    }

    pub fn periods_at(&self, slot: u32) -> Periods {
        *self.periods[slot as usize].borrow()
    }

    /// What a reader does with a live flow: it gives it up.
    pub fn release(&self, slot: u32) {
        let word = &self.sets[(slot / WAYS) as usize][(slot % WAYS) as usize];
        if set::is_live(word.get()) {
            word.set(set::released(word.get()));
        }
    }

    /// Slots of the live records of a flow.
    pub fn slots_of(&self, key: &FlowKey) -> Vec<u32> {
        let (index, _) = set::place(key.hash(&self.seed), self.sets.len() as u32 - 1);
        (index * WAYS..(index + 1) * WAYS)
            .filter(|&slot| set::is_live(self.word(slot)) && self.record_at(slot).key == *key)
            .collect()
    }

    /// The flow's one live record.
    pub fn record_of(&self, key: &FlowKey) -> Option<FlowRecord> {
        match self.slots_of(key)[..] {
            [] => None,
            [slot] => Some(self.record_at(slot)),
            _ => panic!("two records of {key:?}"),
        }
    }

    pub fn tally(&self, fate: Fate) -> Tally {
        self.counters.borrow().tally(fate)
    }

    pub fn event(&self, event: Event) -> u64 {
        self.counters.borrow().event(event)
    }

    /// Packets and bytes in the records of all ways that are not empty.
    pub fn in_records(&self) -> Tally {
        let mut sum = Tally::default();
        for slot in 0..self.slots() {
            if set::class(self.word(slot)) != Class::EMPTY {
                let (packets, bytes) = self.record_at(slot).totals();
                sum.add(packets, bytes);
            }
        }
        sum
    }

    /// What was seen, and what is accounted for.
    pub fn conservation(&self) -> (Tally, Tally) {
        let counters = self.counters.borrow();
        (
            counters.tally(Fate::Seen),
            counters.accounted(self.in_records()),
        )
    }

    /// What must hold of the table between any two runs.
    pub fn check(&self) -> Result<(), String> {
        let (seen, accounted) = self.conservation();
        if seen != accounted {
            return Err(format!("seen {seen:?}, accounted {accounted:?}"));
        }
        for slot in 0..self.slots() {
            let (word, record) = (self.word(slot), self.record_at(slot));
            if record.lock & 1 != 0 {
                return Err(format!("slot {slot} is locked"));
            }
            if !set::is_live(word) {
                continue;
            }
            let (index, tag) = set::place(record.key.hash(&self.seed), self.sets.len() as u32 - 1);
            if index != slot / WAYS || !set::matches(word, tag) {
                return Err(format!("slot {slot} holds another flow: {:?}", record.key));
            }
        }
        Ok(())
    }

    /// Writes a verdict of `kind`, never to expire unless it says so.
    pub fn put(&self, slot: u32, kind: Kind, verdict: Verdict) {
        let expires_jiffies = match verdict.expires_jiffies {
            0 => FOREVER,
            at => at,
        };
        *self.verdicts[slot as usize].borrow_mut() = Verdict {
            kind,
            expires_jiffies,
            ..verdict
        };
    }

    fn activate(&self, bit: u32) {
        self.active.set(self.active.get() | bit);
    }

    pub fn put_address(&self, slot: u32, address: IpAddr, verdict: Verdict) {
        let address = Address::from(address);
        let mut target = verdict.target;
        target.low = address;
        self.put(slot, Kind::ADDRESS, Verdict { target, ..verdict });
        let former = self.address_verdicts.borrow_mut().insert(address, slot);
        let mut sets = self.address_sets.borrow_mut();
        let (index, tag) = addresses::place(&address, &self.seed, sets.len() as u32 - 1);
        let set = &mut sets[index as usize];
        let (way, word) = set.put(tag, former.unwrap_or(0), slot);
        set.words[way] = word;
        self.activate(active::ADDRESSES);
    }

    pub fn put_prefix(&self, slot: u32, address: IpAddr, bits: u32, verdict: Verdict) {
        self.put(slot, Kind::PREFIX, verdict);
        let prefix = Prefix::new(address, bits, slot);
        self.prefix_verdicts.borrow_mut().push(prefix);
        self.activate(active::PREFIXES);
    }

    /// As the agent does it: in the map, and in the flow's record where there is one.
    pub fn put_flow(&self, slot: u32, key: FlowKey, verdict: Verdict) {
        let verdict = Verdict {
            target: key,
            ..verdict
        };
        self.put(slot, Kind::FLOW, verdict);
        self.flow_verdicts.borrow_mut().insert(key, slot);
        for of in self.slots_of(&key) {
            self.records[of as usize].borrow_mut().verdict_slot = slot;
        }
        self.activate(active::FLOWS);
    }

    pub fn put_signature(&self, number: u32, slot: u32, signature: Signature, verdict: Verdict) {
        self.put(slot, Kind::SIGNATURE, verdict);
        self.signatures.borrow_mut()[number as usize] = Signature { slot, ..signature };
        self.signatures_active
            .set(self.signatures_active.get() | 1 << number);
        self.activate(active::SIGNATURES);
    }

    pub fn never_block(&self, address: IpAddr, bits: u32) {
        let prefix = Prefix::new(address, bits, 1);
        self.never_block.borrow_mut().push(prefix);
        self.generation.set(self.generation.get().wrapping_add(1));
        self.activate(active::NEVER_BLOCK);
    }

    pub fn hits(&self, slot: u32) -> Hits {
        self.hits.borrow().get(&slot).copied().unwrap_or_default()
    }
}
