//! Verdicts on replayed packets: what the kernel would do with them, for the kinds that the agent writes.
//!
//! The matching order and the rate limit are those of [`detector_common::verdict`]; the kernel programs themselves are tested
//! against captures with `replay --kernel`.

use std::collections::HashMap;

use detector_common::{
    key::{Address, FlowKey},
    packet::Packet,
    rate,
    signature::Signature,
    verdict::Action,
};

use super::{order::Order, target::Target};

/// How far a rate limit may run ahead, ns; the writer's.
const BURST_NS: u64 = 100_000_000;

#[derive(Clone, Debug)]
struct Held {
    action: Action,
    expires_us: u64,
    packet_cost: u64,
    byte_cost: u64,
    packet_state: u64,
    byte_state: u64,
    matched: u64,
}

/// Verdicts in force in a replay.
#[derive(Default)]
pub struct NativeVerdicts {
    addresses: HashMap<Address, Held>,
    signatures: Vec<(Signature, Held)>,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It passes.
    Pass,
    /// A verdict drops it.
    Drop,
}

impl Held {
    fn new(order: &Order, now_us: u64) -> Self {
        Self {
            action: order.action,
            expires_us: order.time_to_live.map_or(u64::MAX, |ttl| {
                now_us.saturating_add(ttl.as_micros() as u64)
            }),
            packet_cost: rate::cost(order.packets_per_second),
            byte_cost: rate::cost(order.bytes_per_second),
            packet_state: 0,
            byte_state: 0,
            matched: 0,
        }
    }

    fn drops(&mut self, packet: &Packet, now_us: u64) -> bool {
        self.matched += u64::from(packet.segments);
        match self.action {
            Action::DROP => true,
            Action::RATE_LIMIT => {
                let now = rate::units(now_us.saturating_mul(1000));
                let burst = rate::units(BURST_NS);
                let conforms = |state: &mut u64, cost: u64| {
                    if cost == 0 {
                        return true;
                    }
                    match rate::conform(*state, now, cost, burst) {
                        Some(next) => {
                            *state = next;
                            true
                        }
                        None => false,
                    }
                };
                let packets = self.packet_cost.wrapping_mul(u64::from(packet.segments));
                let bytes = self.byte_cost.wrapping_mul(u64::from(packet.wire_bytes));
                !(conforms(&mut self.packet_state, packets)
                    && conforms(&mut self.byte_state, bytes))
            }
            _ => false,
        }
    }
}

impl NativeVerdicts {
    /// Writes a verdict in place of any on the same target. Kinds that the agent does not write are left out.
    pub fn put(&mut self, order: &Order, now_us: u64) {
        let held = Held::new(order, now_us);
        match order.target {
            Target::Address(address) => {
                self.addresses.insert(Address::from(address), held);
            }
            Target::Signature(signature) => {
                self.lift(&order.target);
                self.signatures.push((signature, held));
            }
            Target::Prefix(_) | Target::Flow(_) => {}
        }
    }

    /// Removes the verdict on a target.
    pub fn lift(&mut self, target: &Target) {
        match target {
            Target::Address(address) => {
                self.addresses.remove(&Address::from(*address));
            }
            Target::Signature(signature) => {
                self.signatures.retain(|(held, _)| held != signature);
            }
            Target::Prefix(_) | Target::Flow(_) => {}
        }
    }

    /// Packets that a verdict has met.
    #[must_use]
    pub fn matched(&self, target: &Target) -> Option<u64> {
        match target {
            Target::Address(address) => self
                .addresses
                .get(&Address::from(*address))
                .map(|held| held.matched),
            Target::Signature(signature) => self
                .signatures
                .iter()
                .find(|(held, _)| held == signature)
                .map(|(_, held)| held.matched),
            Target::Prefix(_) | Target::Flow(_) => None,
        }
    }

    /// Whether there is anything to ask.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.signatures.is_empty()
    }

    /// What becomes of a packet. `spared_flow` tells whether its flow, from its low endpoint or not, is one that signatures spare.
    pub fn judge(
        &mut self,
        packet: &Packet,
        now_us: u64,
        spared_flow: impl FnOnce(&FlowKey, bool) -> bool,
    ) -> Fate {
        if let Some(held) = self.addresses.get_mut(&packet.source)
            && now_us < held.expires_us
            && held.drops(packet, now_us)
        {
            return Fate::Drop;
        }
        let Some((signature, held)) = self
            .signatures
            .iter_mut()
            .find(|(signature, _)| signature.matches(packet))
        else {
            return Fate::Pass;
        };
        if now_us >= held.expires_us {
            return Fate::Pass;
        }
        if signature.spare_established != 0 {
            let (key, from_low) = FlowKey::new(
                (packet.source, packet.source_port),
                (packet.destination, packet.destination_port),
                packet.protocol,
                0,
            );
            if spared_flow(&key, from_low) {
                return Fate::Pass;
            }
        }
        if held.drops(packet, now_us) {
            Fate::Drop
        } else {
            Fate::Pass
        }
    }
}
