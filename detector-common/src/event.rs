//! What the kernel reports through its rings.

use crate::{key::Address, periods::Periods, record::FlowRecord};

/// A verdict was hit for the first time since it was written or renewed.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerdictHit {
    /// `CLOCK_MONOTONIC`, ns.
    pub time_ns: u64,
    /// Source of the packet.
    pub source: Address,
    /// Destination of the packet.
    pub destination: Address,
    /// Slot of the verdict.
    pub slot: u32,
    /// Zone of the interface.
    pub zone: u32,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// IP protocol.
    pub protocol: u8,
    /// TCP flags.
    pub tcp_flags: u8,
    /// 1 where the packet was dropped.
    pub dropped: u8,
    /// Unused.
    pub reserved: u8,
}

/// A flow ended while its next packet began another in its record.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndedFlow {
    /// As it stood.
    pub record: FlowRecord,
    /// Its periods, valid where the record counts idle ones.
    pub periods: Periods,
    /// Unused.
    pub reserved: [u64; 2],
}
