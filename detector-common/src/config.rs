//! What a program is told: once at load ([`ProgramConfig`], constants to the
//! verifier, which removes what they rule out) and while it runs ([`Control`]).

use crate::key::HashSeed;

/// Bits of [`ProgramConfig::features`]: what a program is able to do at all.
pub mod feature {
    /// Count flows. Without it only verdicts are enforced.
    pub const FLOWS: u32 = 1;
    /// Parse IPv6.
    pub const IPV6: u32 = 1 << 1;
    /// Look behind VLAN tags.
    pub const VLAN: u32 = 1 << 2;
    /// Frames begin with an Ethernet header.
    pub const ETHERNET: u32 = 1 << 3;
    /// Verdicts on addresses.
    pub const ADDRESS_VERDICTS: u32 = 1 << 4;
    /// Verdicts on prefixes.
    pub const PREFIX_VERDICTS: u32 = 1 << 5;
    /// Verdicts on flows.
    pub const FLOW_VERDICTS: u32 = 1 << 6;
    /// Signatures.
    pub const SIGNATURES: u32 = 1 << 7;
    /// Rate limits; without it a rate-limit verdict passes.
    pub const RATE_LIMITS: u32 = 1 << 8;
    /// Hand ended flows to the ring.
    pub const ENDED: u32 = 1 << 9;
    /// An unlocking store must be a full barrier: any CPU whose stores another may see
    /// out of order (all but x86).
    pub const WEAK_MEMORY: u32 = 1 << 10;
    /// Take the time from [`super::Control::replay_now_ns`]: frames of a capture, one at
    /// a time, with the capture's own time.
    pub const REPLAY_CLOCK: u32 = 1 << 11;

    /// One reading of the clock serves up to [`crate::burst::READERS`] packets of a burst.
    pub const BURST_CLOCK: u32 = 1 << 12;

    /// Everything that a user may turn off.
    pub const ALL: u32 = FLOWS
        | IPV6
        | VLAN
        | ETHERNET
        | ADDRESS_VERDICTS
        | PREFIX_VERDICTS
        | FLOW_VERDICTS
        | SIGNATURES
        | RATE_LIMITS
        | ENDED
        | BURST_CLOCK;
}

/// Constants of one loaded program, in `.rodata`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgramConfig {
    /// Keys of the flow hash; the same for every program on one table.
    pub seed: HashSeed,
    /// Bits of [`feature`].
    pub features: u32,
    /// Zone of the interface; see [`crate::key::FlowKey`].
    pub zone: u32,
    /// Sets of the table, less one.
    pub set_mask: u32,
    /// Entries of the doorkeeper, less one.
    pub doorkeeper_mask: u32,
    /// Entry of the counters that is this interface's and direction's.
    pub counters: u32,
    /// Verdict slots: hit counters of one CPU.
    pub verdict_slots: u32,
    /// Sets of the addresses' index, less one.
    pub address_mask: u32,
    /// Unused.
    pub reserved: u32,
}

/// Bits of [`Control::active`]: what there is to look up.
pub mod active {
    /// There is a verdict on an address.
    pub const ADDRESSES: u32 = 1;
    /// There is a verdict on a prefix.
    pub const PREFIXES: u32 = 1 << 1;
    /// There is a verdict on a flow.
    pub const FLOWS: u32 = 1 << 2;
    /// There is a signature.
    pub const SIGNATURES: u32 = 1 << 3;
    /// There is a never-block prefix.
    pub const NEVER_BLOCK: u32 = 1 << 4;
}

/// What changes while the programs run, and what the next process must know of
/// them. The one entry of its map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// Bits of [`active`].
    pub active: u32,
    /// Changes whenever the never-block prefixes do.
    pub never_block_generation: u32,
    /// Bit `i` is set where signature `i` is in force.
    pub signatures: u64,
    /// [`crate::abi::ABI_VERSION`] of the process that made the maps.
    pub abi_version: u32,
    /// Flow slots of the table.
    pub flow_slots: u32,
    /// Verdict slots.
    pub verdict_slots: u32,
    /// Jiffies a second.
    pub jiffies_hz: u32,
    /// Keys of the flow hash.
    pub seed: HashSeed,
    /// Unix time at which the maps were made, ms.
    pub created_unix_ms: u64,
    /// What [`feature::REPLAY_CLOCK`] takes for now.
    pub replay_now_ns: u64,
}

/// How a program hangs on an interface. Numbers, for they cross the kernel boundary.
pub mod hook {
    /// Not at all.
    pub const NONE: u8 = 0;
    /// XDP in the driver.
    pub const NATIVE: u8 = 1;
    /// XDP in the generic stack: slow.
    pub const GENERIC: u8 = 2;
    /// TC by a tcx link.
    pub const TCX: u8 = 3;
    /// TC by a filter under a clsact qdisc.
    pub const CLSACT: u8 = 4;
}

/// Longest interface name, with its final zero.
pub const INTERFACE_NAME_BYTES: usize = 16;

/// An interface that was attached; its place in the map gives its counters: entry
/// `2·place` for what arrives, `2·place + 1` for what leaves.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Index; 0: the place was never used.
    pub index: u32,
    /// Bits of [`feature`] of its programs.
    pub features: u32,
    /// [`hook`] of what arrives.
    pub ingress: u8,
    /// [`hook`] of what leaves.
    pub egress: u8,
    /// 1 while attached.
    pub attached: u8,
    /// Unused.
    pub reserved: [u8; 5],
    /// Name, filled up with zeros.
    pub name: [u8; INTERFACE_NAME_BYTES],
    /// Unix time of the attachment, ms.
    pub attached_unix_ms: u64,
}
