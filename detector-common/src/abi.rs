//! The contract between the BPF object and whoever maps its maps: version, map
//! names and limits. Bump [`ABI_VERSION`] whenever a shared layout or its meaning
//! changes: a process that finds another version pinned replaces it.

/// Version of every layout in this crate that crosses the kernel boundary.
pub const ABI_VERSION: u32 = 3;

/// Names of the BPF maps, as in the object and under the pin directory.
pub mod map {
    /// `ARRAY` of [`crate::set::Set`], one 64-byte line per set.
    pub const SETS: &str = "SETS";
    /// `ARRAY` of [`crate::record::FlowRecord`], one per way.
    pub const RECORDS: &str = "RECORDS";
    /// `ARRAY` of [`crate::periods::Periods`], one per way.
    pub const PERIODS: &str = "PERIODS";
    /// `PERCPU_ARRAY` of [`crate::counters::Counters`], one per interface and direction.
    pub const COUNTERS: &str = "COUNTERS";
    /// `ARRAY` of [`crate::counters::Tally`], one per EtherType.
    pub const ETHERTYPES: &str = "ETHERTYPES";
    /// `ARRAY` of [`crate::service::ServiceCounters`]: for each CPU [`super::SERVICE_SLOTS`], direct-mapped.
    pub const SERVICES: &str = "SERVICES";
    /// `ARRAY` of [`crate::doorkeeper::Line`].
    pub const DOORKEEPER: &str = "DOORKEEPER";
    /// `ARRAY` of one [`crate::config::Control`].
    pub const CONTROL: &str = "CONTROL";
    /// `ARRAY` of [`crate::config::Interface`].
    pub const INTERFACES: &str = "INTERFACES";
    /// `ARRAY` of [`crate::verdict::Verdict`], indexed by slot.
    pub const VERDICTS: &str = "VERDICTS";
    /// `ARRAY` of [`crate::verdict::Hits`]: for each CPU as many as there are verdict slots.
    pub const HITS: &str = "HITS";
    /// `ARRAY` of [`crate::addresses::AddressSet`]: the index of the next.
    pub const ADDRESS_SETS: &str = "ADDRESS_SETS";
    /// `HASH` from address to verdict slot.
    pub const ADDRESS_VERDICTS: &str = "ADDRESS_VERDICTS";
    /// `LPM_TRIE` from prefix to verdict slot.
    pub const PREFIX_VERDICTS: &str = "PREFIX_VERDICTS";
    /// `HASH` from flow key to verdict slot.
    pub const FLOW_VERDICTS: &str = "FLOW_VERDICTS";
    /// `ARRAY` of `u64`: see [`crate::signature`].
    pub const SIGNATURE_BITS: &str = "SIGNATURE_BITS";
    /// `ARRAY` of [`crate::signature::Signature`].
    pub const SIGNATURES: &str = "SIGNATURES";
    /// `ARRAY` of [`crate::returning::Doors`].
    pub const RETURNING: &str = "RETURNING";
    /// `LPM_TRIE` of prefixes that no verdict may deny.
    pub const NEVER_BLOCK: &str = "NEVER_BLOCK";
    /// `RINGBUF` of [`crate::event::VerdictHit`].
    pub const EVENTS: &str = "EVENTS";
    /// `RINGBUF` of [`crate::event::EndedFlow`].
    pub const ENDED: &str = "ENDED";

    /// `PERCPU_ARRAY` of one [`crate::burst::BurstClock`].
    pub const BURSTS: &str = "BURSTS";

    /// All of them, in the order in which they are created.
    pub const ALL: [&str; 22] = [
        SETS,
        RECORDS,
        PERIODS,
        COUNTERS,
        ETHERTYPES,
        SERVICES,
        DOORKEEPER,
        CONTROL,
        INTERFACES,
        VERDICTS,
        HITS,
        ADDRESS_SETS,
        ADDRESS_VERDICTS,
        PREFIX_VERDICTS,
        FLOW_VERDICTS,
        SIGNATURE_BITS,
        SIGNATURES,
        RETURNING,
        NEVER_BLOCK,
        EVENTS,
        ENDED,
        BURSTS,
    ];
}

/// Names of the programs in the object.
pub mod program {
    /// XDP: counts what arrives and enforces verdicts.
    pub const INGRESS: &str = "detector_ingress";
    /// TC egress: counts what leaves.
    pub const EGRESS: &str = "detector_egress";
    /// Returns the kernel's jiffies and monotonic time through `BPF_PROG_TEST_RUN`.
    pub const CLOCK: &str = "detector_clock";
    /// Raw tracepoint: ends a burst, after each poll of a receive queue.
    pub const BURST: &str = "detector_burst";
}

/// Name of the global that holds [`crate::config::ProgramConfig`] in `.rodata`.
pub const CONFIG_GLOBAL: &str = "CONFIG";

/// Flow slots of a table unless told otherwise: 128 Ki, 39 MiB.
pub const FLOW_SLOTS_DEFAULT: u32 = 1 << 17;
/// Largest table: 8 Mi slots, 2.4 GiB. Set index and tag come from disjoint hash bits up to here.
pub const FLOW_SLOTS_MAX: u32 = 1 << 23;
/// Smallest table.
pub const FLOW_SLOTS_MIN: u32 = 64;
/// Bytes of kernel memory for one flow slot: its tag, its record, its periods.
pub const FLOW_SLOT_BYTES: usize = 8
    + core::mem::size_of::<crate::record::FlowRecord>()
    + core::mem::size_of::<crate::periods::Periods>();
const _: () = assert!(FLOW_SLOT_BYTES <= 320);

/// Verdict slots unless told otherwise. Slot 0 is never used: it means "none".
pub const VERDICT_SLOTS_DEFAULT: u32 = 1 << 14;
/// Most verdict slots.
pub const VERDICT_SLOTS_MAX: u32 = 1 << 20;
/// Signatures that can be in force at once: one bit each in a word.
pub const SIGNATURES_MAX: u32 = 64;
/// Sets of doors for flows that come again: 2²⁰ doors, 4 MiB.
pub const RETURNING_SETS: u32 = 1 << 16;
/// Prefixes that can be listed as never to be blocked.
pub const NEVER_BLOCK_MAX: u32 = 4096;
/// Prefix verdicts: an LPM trie is slow, and slow to free, beyond tens of thousands of entries.
pub const PREFIX_VERDICTS_MAX: u32 = 16_384;
/// Flow verdicts.
pub const FLOW_VERDICTS_MAX: u32 = 16_384;
/// Interfaces that can be attached at once.
pub const INTERFACES_MAX: u32 = 32;
/// Entries of the service counters, on each CPU.
pub const SERVICE_SLOTS: u32 = 4096;
/// Bytes of the ring of verdict events.
pub const EVENTS_BYTES: u32 = 1 << 18;
/// Bytes of the ring of ended flows.
pub const ENDED_BYTES: u32 = 1 << 22;
