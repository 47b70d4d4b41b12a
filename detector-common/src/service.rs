//! Counters by destination and service, for what the flow table does not hold: so
//! that a flood of which every packet is a new flow is seen for what it is.
//!
//! One small direct-mapped table on each CPU: constant cost, no lock, no line
//! shared between CPUs. Where two services meet in one place the one that came
//! last has it, and an event counts the replacement; the totals by fate stay exact.

use crate::key::Address;

/// Counters of one service on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceCounters {
    /// The side that did not begin.
    pub destination: Address,
    /// Its port in the upper 16 bits, protocol in the lower 8.
    pub port_protocol: u32,
    /// Zone of the interface.
    pub zone: u32,
    /// Packets not admitted.
    pub refused_packets: u64,
    /// Their bytes.
    pub refused_bytes: u64,
    /// Flows evicted, or ended by a newcomer on their slot.
    pub evicted_flows: u64,
    /// Their packets.
    pub evicted_packets: u64,
    /// Their bytes.
    pub evicted_bytes: u64,
}

/// What happened to a service's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// One packet (or frame of several) found no slot.
    Refused,
    /// One flow was pushed out.
    Evicted,
}

impl ServiceCounters {
    /// The place of a service among `places` (a power of two): Fibonacci hashing
    /// (Knuth, TAOCP 3, 6.4) over address, port and protocol.
    #[inline(always)]
    #[must_use]
    pub fn place(destination: &Address, port: u16, protocol: u8, places: u32) -> u32 {
        let words = destination.words[0]
            ^ destination.words[1].rotate_left(29)
            ^ (port as u64) << 8
            ^ protocol as u64;
        (words.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32 & (places - 1)
    }

    /// Counts `packets` and `bytes` lost to `service`; says whether another
    /// service's counters had to make way.
    #[inline(always)]
    pub fn add(
        &mut self,
        destination: &Address,
        port: u16,
        zone_protocol: u32,
        lost: Lost,
        (packets, bytes): (u64, u64),
    ) -> bool {
        let port_protocol = (port as u32) << 16 | zone_protocol & 0xff;
        let zone = zone_protocol >> 8;
        let mut replaced = false;
        if self.port_protocol != port_protocol
            || self.destination != *destination
            || self.zone != zone
        {
            replaced = self.refused_packets != 0 || self.evicted_flows != 0;
            *self = Self {
                destination: *destination,
                port_protocol,
                zone,
                ..Self::default()
            };
        }
        match lost {
            Lost::Refused => {
                self.refused_packets += packets;
                self.refused_bytes += bytes;
            }
            Lost::Evicted => {
                self.evicted_flows += 1;
                self.evicted_packets += packets;
                self.evicted_bytes += bytes;
            }
        }
        replaced
    }
}
