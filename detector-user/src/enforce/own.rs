//! The verdicts that the agent itself wrote: where they are, and how much they met.

use std::collections::HashMap;

use detector_common::{key::Address, verdict::Kind};

use super::{
    order::{Order, VerdictError},
    target::Target,
    writer::Writer,
};
use crate::wire::{clock::Clock, pins::Pins, tables::Tables};

/// Writes verdicts, and remembers their slots.
#[derive(Default)]
pub struct OwnVerdicts {
    addresses: HashMap<Address, u32>,
    signatures: Vec<(Target, u32)>,
}

impl OwnVerdicts {
    /// Writes a verdict.
    ///
    /// # Errors
    /// [`VerdictError`]; nothing has changed then.
    pub fn put(
        &mut self,
        order: &Order,
        (pins, tables, clock): (&Pins, &mut Tables, &Clock),
    ) -> Result<(), VerdictError> {
        let slot = Writer::new(pins, tables, clock)?.add(order)?;
        self.forget(&order.target);
        match order.target {
            Target::Address(address) => {
                self.addresses.insert(Address::from(address), slot);
            }
            target => self.signatures.push((target, slot)),
        }
        Ok(())
    }

    /// Removes a verdict.
    ///
    /// # Errors
    /// [`VerdictError`].
    pub fn lift(
        &mut self,
        target: &Target,
        (pins, tables, clock): (&Pins, &mut Tables, &Clock),
    ) -> Result<(), VerdictError> {
        self.forget(target);
        Writer::new(pins, tables, clock)?.remove(target)?;
        Ok(())
    }

    fn forget(&mut self, target: &Target) {
        match target {
            Target::Address(address) => {
                self.addresses.remove(&Address::from(*address));
            }
            target => self.signatures.retain(|(held, _)| held != target),
        }
    }

    /// Packets that the verdict on a target has met since it was written; `None` where it is gone.
    #[must_use]
    pub fn matched(&self, target: &Target, tables: &Tables) -> Option<u64> {
        let (slot, kind) = match target {
            Target::Address(address) => {
                let slot = self.addresses.get(&Address::from(*address))?;
                (*slot, Kind::ADDRESS)
            }
            target => {
                let (_, slot) = self.signatures.iter().find(|(held, _)| held == target)?;
                (*slot, Kind::SIGNATURE)
            }
        };
        if tables.verdict_kind(slot) != kind {
            return None;
        }
        let hits = tables.hits_of(slot);
        Some(hits.dropped_packets + hits.passed_packets)
    }
}
