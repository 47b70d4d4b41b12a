//! `detector_common::maps::Maps` over the kernel's maps and helpers.

use core::ptr::{addr_of, addr_of_mut, read_volatile, write_volatile};

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_jiffies64, bpf_ktime_get_ns};
use detector_common::{
    addresses::{self, AddressSet},
    config::{Control, feature},
    counters::{Counters, Event, Fate},
    doorkeeper,
    event::{EndedFlow, VerdictHit},
    frame::Malformed,
    key::{Address, FlowKey, HashSeed},
    maps::Maps,
    packet::Packet,
    periods::{Gap, Periods},
    record::FlowRecord,
    returning::Doors,
    service::{Lost, ServiceCounters},
    set::Set,
    signature::Taken,
    verdict::Verdict,
    verdicts::Bucket,
};

use crate::{
    atomic,
    maps::{
        ADDRESS_SETS, ADDRESS_VERDICTS, BURSTS, CONFIG, CONTROL, COUNTERS, DOORKEEPER, ENDED,
        ETHERTYPES, EVENTS, FLOW_VERDICTS, HITS, NEVER_BLOCK, PERIODS, PREFIX_VERDICTS, RECORDS,
        RETURNING, SCRATCH, SERVICES, SETS, SIGNATURE_BITS, SIGNATURES, Scratch, VERDICTS, lpm_key,
    },
};

/// Tries for a record's lock. Its holder needs some tens of nanoseconds, unless an interrupt
/// comes between, which these tries outlast: with 64, one packet in ten thousand of a busy
/// TCP flow whose directions were on two CPUs found the lock held to the end.
const LOCK_TRIES: u32 = 512;

const RECORD_WORDS: usize = size_of::<FlowRecord>() / 8;
const PERIODS_WORDS: usize = size_of::<Periods>() / 8;
const ENDED_WORDS: usize = size_of::<EndedFlow>() / 8;
const _: () = assert!(ENDED_WORDS == RECORD_WORDS + PERIODS_WORDS + 2);

macro_rules! config {
    ($($field:ident).+) => {
        // SAFETY: a static; volatile because the loader rewrites it before it is frozen.
        unsafe { read_volatile(addr_of!(CONFIG.$($field).+)) }
    };
}

/// The same pointer, of which the compiler knows nothing: what lies behind it is
/// read from memory, not remembered.
#[inline(always)]
fn opaque<T>(mut pointer: *mut T) -> *mut T {
    // SAFETY: no instruction at all.
    unsafe { core::arch::asm!("/* {0} */", inout(reg) pointer) };
    pointer
}

/// The CPU that runs this.
#[inline(always)]
fn cpu() -> u32 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_get_smp_processor_id() as u32 }
}

/// One run of a program: this CPU's counters, and the way to everything else.
pub struct Kernel {
    scratch: *mut Scratch,
    counters: *mut Counters,
    control: *const Control,
    in_bursts: bool,
}

impl Kernel {
    /// `in_bursts`: packets come by polls of a queue. What leaves comes from anywhere.
    #[inline(always)]
    pub fn new(in_bursts: bool) -> Option<Self> {
        Some(Self {
            scratch: SCRATCH.get_ptr_mut(0)?,
            counters: COUNTERS.get_ptr_mut(config!(counters))?,
            control: CONTROL.get_ptr(0)?,
            in_bursts,
        })
    }

    #[inline(always)]
    fn read_clock(&self) -> u64 {
        if config!(features) & feature::REPLAY_CLOCK != 0 {
            // SAFETY: the map's one entry.
            return unsafe { read_volatile(addr_of!((*self.control).replay_now_ns)) };
        }
        // SAFETY: a helper without arguments.
        unsafe { bpf_ktime_get_ns() }
    }
}

impl Maps for Kernel {
    type Set = *mut Set;
    type Record = *mut FlowRecord;
    type Verdict = *mut Verdict;
    type AddressSet = *const AddressSet;

    #[inline(always)]
    fn features(&self) -> u32 {
        config!(features)
    }
    #[inline(always)]
    fn zone(&self) -> u32 {
        config!(zone)
    }
    #[inline(always)]
    fn set_mask(&self) -> u32 {
        config!(set_mask)
    }
    #[inline(always)]
    fn doorkeeper_mask(&self) -> u32 {
        config!(doorkeeper_mask)
    }
    #[inline(always)]
    fn address_mask(&self) -> u32 {
        config!(address_mask)
    }
    #[inline(always)]
    fn seed(&self) -> HashSeed {
        config!(seed)
    }

    #[inline(always)]
    fn hold(&self, packet: Packet) -> &Packet {
        // SAFETY: this CPU's entry; a program does not interrupt another of its kind.
        unsafe {
            let held = addr_of_mut!((*self.scratch).packet);
            held.write(packet);
            &*opaque(held)
        }
    }

    #[inline(always)]
    fn forget(&self, n: u32) -> u32 {
        // SAFETY: as above.
        unsafe {
            let scratch = addr_of_mut!((*self.scratch).number);
            write_volatile(scratch, n);
            read_volatile(scratch)
        }
    }

    #[inline(always)]
    fn now_ns(&self) -> u64 {
        if config!(features) & (feature::BURST_CLOCK | feature::REPLAY_CLOCK)
            != feature::BURST_CLOCK
        {
            return self.read_clock();
        }
        let read = || self.read_clock();
        // SAFETY: this CPU's entry; packets are not handled while others are.
        match BURSTS.get_ptr_mut(0).map(|clock| unsafe { &mut *clock }) {
            Some(clock) if self.in_bursts => clock.now_ns(self.jiffies(), read),
            // What arrives next is not to be older than what leaves now.
            Some(clock) => {
                clock.end();
                read()
            }
            None => read(),
        }
    }
    #[inline(always)]
    fn jiffies(&self) -> u64 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_jiffies64() }
    }

    #[inline(always)]
    fn tally(&self, fate: Fate, packets: u64, bytes: u64) {
        // SAFETY: this CPU's entry, which nothing else writes meanwhile.
        unsafe { (*self.counters).tallies[fate as usize].add(packets, bytes) }
    }
    #[inline(always)]
    fn event(&self, event: Event) {
        // SAFETY: as above.
        unsafe { (*self.counters).events[event as usize] += 1 }
    }
    #[inline(always)]
    fn malformed(&self, reason: Malformed) {
        // SAFETY: as above; the number of reasons is a power of two.
        unsafe { (*self.counters).malformed[reason as usize & 7] += 1 }
    }
    #[inline(always)]
    fn ethertype(&self, ethertype: u16, bytes: u64) {
        if let Some(tally) = ETHERTYPES.get_ptr_mut(ethertype as u32) {
            // SAFETY: the map's entry.
            unsafe {
                atomic::add_u64(addr_of_mut!((*tally).packets), 1);
                atomic::add_u64(addr_of_mut!((*tally).bytes), bytes);
            }
        }
    }
    #[inline(always)]
    fn service(
        &self,
        (destination, port): (&Address, u16),
        zone_protocol: u32,
        lost: Lost,
        of: (u64, u64),
    ) {
        let places = detector_common::abi::SERVICE_SLOTS;
        let place = ServiceCounters::place(destination, port, zone_protocol as u8, places);
        if let Some(service) = SERVICES.get_ptr_mut(cpu() * places + place) {
            // SAFETY: this CPU's entry; the agent only reads it.
            if unsafe { (*service).add(destination, port, zone_protocol, lost, of) } {
                self.event(Event::ServicesReplaced);
            }
        }
    }

    #[inline(always)]
    fn set(&self, index: u32) -> Option<*mut Set> {
        SETS.get_ptr_mut(index)
    }
    #[inline(always)]
    fn word(&self, set: *mut Set, way: u32) -> u64 {
        // SAFETY: the map's entry; volatile because other CPUs and the agent write it.
        unsafe { read_volatile(addr_of!((*set).words[way as usize & 7])) }
    }
    #[inline(always)]
    fn swap_word(&self, set: *mut Set, way: u32, old: u64, new: u64) -> bool {
        // SAFETY: the map's entry.
        unsafe { atomic::swap_if_u64(addr_of_mut!((*set).words[way as usize & 7]), old, new) }
    }
    #[inline(always)]
    fn record(&self, index: u32) -> Option<*mut FlowRecord> {
        RECORDS.get_ptr_mut(index)
    }
    #[inline(always)]
    fn key_is(&self, record: *mut FlowRecord, key: &FlowKey) -> bool {
        // SAFETY: the map's entry.
        unsafe { (*record).key == *key }
    }
    #[inline(always)]
    fn verdict_slot(&self, record: *mut FlowRecord) -> u32 {
        // SAFETY: the map's entry.
        unsafe { read_volatile(addr_of!((*record).verdict_slot)) }
    }
    #[inline(always)]
    fn state(&self, record: *mut FlowRecord) -> u32 {
        // SAFETY: the map's entry.
        unsafe { read_volatile(addr_of!((*record).state)) }
    }
    #[inline(always)]
    fn lock(&self, record: *mut FlowRecord) -> bool {
        // SAFETY: the map's entry.
        unsafe {
            let lock = addr_of_mut!((*record).lock);
            for _ in 0..LOCK_TRIES {
                let seen = read_volatile(lock);
                if seen & 1 == 0 && atomic::swap_if_u32(lock, seen, seen | 1) {
                    return true;
                }
            }
        }
        false
    }
    #[inline(always)]
    fn unlock(&self, record: *mut FlowRecord) {
        let weak_memory = config!(features) & feature::WEAK_MEMORY != 0;
        // SAFETY: the map's entry, locked by this CPU.
        unsafe {
            let lock = addr_of_mut!((*record).lock);
            let free = read_volatile(lock).wrapping_add(1);
            if weak_memory {
                atomic::store_u32(lock, free);
            } else {
                core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::Release);
                write_volatile(lock, free);
            }
        }
    }
    #[inline(always)]
    fn with<R>(&self, record: *mut FlowRecord, f: impl FnOnce(&mut FlowRecord) -> R) -> R {
        // SAFETY: the map's entry, locked by this CPU.
        f(unsafe { &mut *record })
    }
    #[inline(always)]
    fn update(
        &self,
        record: *mut FlowRecord,
        from_low: bool,
        packet: &Packet,
        now_us: u64,
    ) -> Option<Gap> {
        // SAFETY: the map's entry, locked by this CPU.
        unsafe { (*record).update(from_low, packet, now_us) }
    }
    #[inline(always)]
    fn periods(&self, index: u32, f: impl FnOnce(&mut Periods)) {
        if let Some(periods) = PERIODS.get_ptr_mut(index) {
            // SAFETY: the map's entry; its record is locked by this CPU.
            f(unsafe { &mut *periods });
        }
    }
    #[inline(always)]
    fn ended(&self, record: *mut FlowRecord, index: u32) -> bool {
        let Some(periods) = PERIODS.get_ptr(index) else {
            return false;
        };
        // As words: the ring aligns its entries to 8 bytes, a record wants 64.
        let Some(mut entry) = ENDED.reserve::<[u64; ENDED_WORDS]>(0) else {
            return false;
        };
        // SAFETY: the map's entries, locked by this CPU; the reservation is of this
        // size and EndedFlow begins with the record and the periods.
        unsafe {
            let target = entry.as_mut_ptr().cast::<u64>();
            let record = record.cast::<[u64; RECORD_WORDS]>();
            target.cast::<[u64; RECORD_WORDS]>().write(*record);
            let periods = periods.cast::<[u64; PERIODS_WORDS]>();
            target
                .add(RECORD_WORDS)
                .cast::<[u64; PERIODS_WORDS]>()
                .write(*periods);
            target
                .add(RECORD_WORDS + PERIODS_WORDS)
                .cast::<[u64; 2]>()
                .write([0; 2]);
        }
        entry.submit(0);
        true
    }
    #[inline(always)]
    fn evictions(&self, now: u32) -> u32 {
        // SAFETY: this CPU's entry.
        unsafe {
            let scratch = self.scratch;
            if (*scratch).evicted_at != now {
                (*scratch).evicted_at = now;
                (*scratch).evictions = 0;
            }
            (*scratch).evictions += 1;
            (*scratch).evictions
        }
    }
    #[inline(always)]
    fn knock(&self, place: u32, fingerprint: u32) -> bool {
        let Some(doors) = DOORKEEPER.get_ptr_mut(place / doorkeeper::PLACES) else {
            return false;
        };
        // SAFETY: the map's entry; a lost race costs one admission.
        unsafe {
            let door = addr_of_mut!((*doors).fingerprints[(place % doorkeeper::PLACES) as usize]);
            let there = read_volatile(door) == fingerprint;
            if !there {
                write_volatile(door, fingerprint);
            }
            there
        }
    }

    #[inline(always)]
    fn active(&self) -> u32 {
        // SAFETY: the map's one entry.
        unsafe { read_volatile(addr_of!((*self.control).active)) }
    }
    #[inline(always)]
    fn never_block_generation(&self) -> u32 {
        // SAFETY: the map's one entry.
        unsafe { read_volatile(addr_of!((*self.control).never_block_generation)) }
    }
    #[inline(always)]
    fn signatures(&self) -> u64 {
        // SAFETY: the map's one entry.
        unsafe { read_volatile(addr_of!((*self.control).signatures)) }
    }
    #[inline(always)]
    fn address_set(&self, index: u32) -> Option<*const AddressSet> {
        ADDRESS_SETS.get_ptr(index)
    }
    #[inline(always)]
    fn address_word(&self, set: *const AddressSet, way: usize) -> u64 {
        // SAFETY: the map's entry; volatile because the agent writes it.
        unsafe { read_volatile(addr_of!((*set).words[way & (addresses::WAYS - 1)])) }
    }
    #[inline(always)]
    fn address_verdict(&self, address: &Address) -> Option<u32> {
        // SAFETY: the value is one aligned word.
        unsafe { ADDRESS_VERDICTS.get(address).copied() }
    }
    #[inline(always)]
    fn prefix_verdict(&self, address: &Address) -> Option<u32> {
        PREFIX_VERDICTS.get(lpm_key(address)).copied()
    }
    #[inline(always)]
    fn flow_verdict(&self, key: &FlowKey) -> Option<u32> {
        // SAFETY: the value is one aligned word.
        unsafe { FLOW_VERDICTS.get(key).copied() }
    }
    #[inline(always)]
    fn never_blocked(&self, address: &Address) -> bool {
        NEVER_BLOCK.get(lpm_key(address)).is_some()
    }
    #[inline(always)]
    fn verdict(&self, slot: u32) -> Option<*mut Verdict> {
        VERDICTS.get_ptr_mut(slot)
    }
    #[inline(always)]
    fn with_verdict<R>(&self, verdict: *mut Verdict, f: impl FnOnce(&mut Verdict) -> R) -> R {
        // SAFETY: the map's entry. Others may write it: a torn read costs one packet's verdict.
        f(unsafe { &mut *verdict })
    }
    #[inline(always)]
    fn swap_bucket(&self, verdict: *mut Verdict, bucket: Bucket, old: u64, new: u64) -> bool {
        // SAFETY: the map's entry.
        unsafe {
            let state = match bucket {
                Bucket::Packets => addr_of_mut!((*verdict).packet_state),
                Bucket::Bytes => addr_of_mut!((*verdict).byte_state),
            };
            atomic::swap_if_u64(state, old, new)
        }
    }
    #[inline(always)]
    fn hit(&self, slot: u32, dropped: bool, packets: u64, bytes: u64) {
        if let Some(hits) = HITS.get_ptr_mut(cpu() * config!(verdict_slots) + slot) {
            // SAFETY: this CPU's entry; the agent writes it for a new verdict only.
            unsafe {
                if dropped {
                    (*hits).dropped_packets += packets;
                    (*hits).dropped_bytes += bytes;
                } else {
                    (*hits).passed_packets += packets;
                    (*hits).passed_bytes += bytes;
                }
            }
        }
    }
    #[inline(always)]
    fn first_hit(&self, slot: u32, packet: &Packet, dropped: bool) -> bool {
        let Some(mut entry) = EVENTS.reserve::<VerdictHit>(0) else {
            return false;
        };
        entry.write(VerdictHit {
            time_ns: self.read_clock(),
            source: packet.source,
            destination: packet.destination,
            slot,
            zone: self.zone(),
            source_port: packet.source_port,
            destination_port: packet.destination_port,
            protocol: packet.protocol,
            tcp_flags: packet.tcp_flags,
            dropped: dropped as u8,
            reserved: 0,
        });
        entry.submit(0);
        true
    }
    #[inline(always)]
    fn signature_bits(&self, word: u32) -> u64 {
        SIGNATURE_BITS.get(word).copied().unwrap_or(0)
    }
    #[inline(always)]
    fn signature(&self, number: u32, destination: &Address) -> Option<Taken> {
        SIGNATURES.get(number)?.taken(destination)
    }
    #[inline(always)]
    fn doors(&self, index: u32, f: impl FnOnce(&mut Doors) -> bool) -> bool {
        match RETURNING.get_ptr_mut(index) {
            // SAFETY: the map's entry. Other CPUs may write it: a lost write costs one knock.
            Some(doors) => f(unsafe { &mut *doors }),
            None => false,
        }
    }
}
