//! The maps and the constants. Sizes here are the least ones; the loader sets them.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    macros::map,
    maps::{Array, HashMap, LpmTrie, PerCpuArray, RingBuf, lpm_trie::Key},
};
use detector_common::{
    abi,
    addresses::{self, AddressSet},
    burst::BurstClock,
    config::{Control, Interface, ProgramConfig},
    counters::{Counters, Tally},
    doorkeeper,
    key::{Address, FlowKey},
    packet::Packet,
    periods::Periods,
    record::FlowRecord,
    returning::Doors,
    service::ServiceCounters,
    set::Set,
    signature::{Signature, field},
    verdict::{Hits, Verdict},
};

/// Written by the loader before the map is frozen; read only through
/// `read_volatile`, lest the compiler take these zeros for the truth.
#[unsafe(no_mangle)]
pub static CONFIG: ProgramConfig = ProgramConfig {
    seed: detector_common::key::HashSeed { words: [0; 11] },
    features: 0,
    zone: 0,
    set_mask: 0,
    doorkeeper_mask: 0,
    counters: 0,
    verdict_slots: 0,
    address_mask: 0,
    reserved: 0,
};

/// Memory of one run of a program (see `Maps::hold` and `Maps::forget`).
pub struct Scratch {
    pub packet: Packet,
    pub number: u32,
    /// Coarse time of the last eviction, and how many there were at that time.
    pub evicted_at: u32,
    pub evictions: u32,
}

#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// Of each CPU, for the programs of all interfaces.
#[map]
pub static BURSTS: PerCpuArray<BurstClock> = PerCpuArray::with_max_entries(1, 0);

#[map]
pub static SETS: Array<Set> = Array::with_max_entries(abi::FLOW_SLOTS_MIN / 8, BPF_F_MMAPABLE);
#[map]
pub static RECORDS: Array<FlowRecord> =
    Array::with_max_entries(abi::FLOW_SLOTS_MIN, BPF_F_MMAPABLE);
#[map]
pub static PERIODS: Array<Periods> = Array::with_max_entries(abi::FLOW_SLOTS_MIN, BPF_F_MMAPABLE);
#[map]
pub static COUNTERS: PerCpuArray<Counters> =
    PerCpuArray::with_max_entries(abi::INTERFACES_MAX * 2, 0);
#[map]
pub static ETHERTYPES: Array<Tally> = Array::with_max_entries(1 << 16, BPF_F_MMAPABLE);
#[map]
pub static SERVICES: Array<ServiceCounters> =
    Array::with_max_entries(abi::SERVICE_SLOTS, BPF_F_MMAPABLE);
/// Nobody maps it: a mappable array begins on a page, so that an entry is one cache line.
#[map]
pub static DOORKEEPER: Array<doorkeeper::Line> =
    Array::with_max_entries(doorkeeper::lines(abi::FLOW_SLOTS_MIN), BPF_F_MMAPABLE);

#[map]
pub static CONTROL: Array<Control> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// For the agents alone: what hangs where.
#[map]
pub static INTERFACES: Array<Interface> =
    Array::with_max_entries(abi::INTERFACES_MAX, BPF_F_MMAPABLE);
#[map]
pub static VERDICTS: Array<Verdict> =
    Array::with_max_entries(abi::VERDICT_SLOTS_DEFAULT, BPF_F_MMAPABLE);
#[map]
pub static HITS: Array<Hits> = Array::with_max_entries(abi::VERDICT_SLOTS_DEFAULT, BPF_F_MMAPABLE);
#[map]
pub static ADDRESS_SETS: Array<AddressSet> = Array::with_max_entries(
    addresses::sets_for(abi::VERDICT_SLOTS_DEFAULT),
    BPF_F_MMAPABLE,
);
#[map]
pub static ADDRESS_VERDICTS: HashMap<Address, u32> =
    HashMap::with_max_entries(abi::VERDICT_SLOTS_DEFAULT, 0);
#[map]
pub static PREFIX_VERDICTS: LpmTrie<[u8; 16], u32> =
    LpmTrie::with_max_entries(abi::PREFIX_VERDICTS_MAX, BPF_F_NO_PREALLOC);
#[map]
pub static FLOW_VERDICTS: HashMap<FlowKey, u32> =
    HashMap::with_max_entries(abi::FLOW_VERDICTS_MAX, 0);
#[map]
pub static SIGNATURE_BITS: Array<u64> = Array::with_max_entries(field::WORDS, BPF_F_MMAPABLE);
#[map]
pub static SIGNATURES: Array<Signature> =
    Array::with_max_entries(abi::SIGNATURES_MAX, BPF_F_MMAPABLE);
/// Mappable as [`DOORKEEPER`] is.
#[map]
pub static RETURNING: Array<Doors> = Array::with_max_entries(abi::RETURNING_SETS, BPF_F_MMAPABLE);
#[map]
pub static NEVER_BLOCK: LpmTrie<[u8; 16], u32> =
    LpmTrie::with_max_entries(abi::NEVER_BLOCK_MAX, BPF_F_NO_PREALLOC);

#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(abi::EVENTS_BYTES, 0);
#[map]
pub static ENDED: RingBuf = RingBuf::with_byte_size(abi::ENDED_BYTES, 0);

/// The whole address, as an LPM trie looks it up.
#[inline(always)]
pub fn lpm_key(address: &Address) -> Key<[u8; 16]> {
    // SAFETY: sixteen plain bytes.
    Key::new(128, unsafe {
        core::mem::transmute::<[u64; 2], [u8; 16]>(address.words)
    })
}
