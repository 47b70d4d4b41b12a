//! The verdicts that the agent itself wrote: where they are, and how much they met.

use std::collections::HashMap;

use detector_common::{key::Address, verdict::Kind};

use super::{
    order::{Order, VerdictError},
    target::Target,
    writer::Writer,
};
use crate::wire::{clock::Clock, pins::Pins, tables::Tables};

/// How the reason of an agent's verdict begins. By it the next agent knows what the one before wrote from what operators did.
const MARK: &str = "agent: ";

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
        let mut writer = Writer::new(pins, tables, clock)?;
        let there = writer.find(&order.target);
        if there.is_some_and(|slot| !is_agents(&writer, slot)) {
            return Err(VerdictError::Order(format!(
                "{}: somebody else's verdict is in force, and stays",
                order.target
            )));
        }
        let slot = writer.add(&Order {
            reason: format!("{MARK}{}", order.reason),
            ..order.clone()
        })?;
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
        let mut writer = Writer::new(pins, tables, clock)?;
        if writer
            .find(target)
            .is_some_and(|slot| is_agents(&writer, slot))
        {
            writer.remove(target)?;
        }
        Ok(())
    }

    /// Removes every verdict that an agent wrote; how many.
    ///
    /// # Errors
    /// [`VerdictError`].
    pub fn lift_all(
        &mut self,
        (pins, tables, clock): (&Pins, &mut Tables, &Clock),
    ) -> Result<u32, VerdictError> {
        *self = Self::default();
        Writer::new(pins, tables, clock)?
            .clear_if(|verdict| verdict.reason_text().starts_with(MARK))
    }

    /// The slot of the agent's own verdict on a target.
    fn slot(&self, target: &Target) -> Option<u32> {
        match target {
            Target::Address(address) => self.addresses.get(&Address::from(*address)).copied(),
            target => {
                let mut signatures = self.signatures.iter();
                signatures
                    .find(|(held, _)| held == target)
                    .map(|(_, slot)| *slot)
            }
        }
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
        let slot = self.slot(target)?;
        let kind = match target {
            Target::Address(_) => Kind::ADDRESS,
            _ => Kind::SIGNATURE,
        };
        if tables.verdict_kind(slot) != kind {
            return None;
        }
        let hits = tables.hits_of(slot);
        Some(hits.dropped_packets + hits.passed_packets)
    }
}

fn is_agents(writer: &Writer<'_>, slot: u32) -> bool {
    let verdict = writer.tables.verdicts.load(slot);
    verdict.kind == Kind::FREE || verdict.reason_text().starts_with(MARK)
}
