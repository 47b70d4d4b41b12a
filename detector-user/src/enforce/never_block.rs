//! The prefixes that no verdict may deny.

use std::sync::atomic::Ordering;

use aya::maps::lpm_trie::Key;
use detector_common::{
    abi::NEVER_BLOCK_MAX,
    config::{Control, active},
};

use super::{
    target::Prefix,
    writer::{VerdictError, Writer, is_missing},
};

/// Byte offset of [`Control::never_block_generation`].
const GENERATION: usize = std::mem::offset_of!(Control, never_block_generation);

/// Why a prefix is listed.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Asked for.
    Asked = 1,
    /// Part of the floor: this host, its gateways and resolvers, the operator's session.
    Floor = 2,
    /// `never_block` of the agent's configuration.
    Configured = 3,
}

impl Origin {
    /// What the map holds says.
    fn of(value: u32) -> Self {
        [Self::Floor, Self::Configured]
            .into_iter()
            .find(|origin| *origin as u32 == value)
            .unwrap_or(Self::Asked)
    }
}

impl Writer<'_> {
    /// Lists a prefix.
    ///
    /// # Errors
    /// [`VerdictError`].
    pub fn never_block(&mut self, prefix: Prefix, origin: Origin) -> Result<(), VerdictError> {
        let key = prefix.key();
        let result =
            self.tables
                .never_block
                .insert(&Key::new(key.bits, key.octets), origin as u32, 0);
        result
            .map_err(|error| VerdictError::map("never-block prefixes", NEVER_BLOCK_MAX, &error))?;
        self.never_block_changed();
        Ok(())
    }

    /// Lists what is configured, and no longer what was. What is listed otherwise stays as it is.
    ///
    /// # Errors
    /// [`VerdictError`].
    pub fn never_block_configured(&mut self, wanted: &[Prefix]) -> Result<(), VerdictError> {
        let listed = self.never_blocked()?;
        for (prefix, origin) in &listed {
            if *origin == Origin::Configured && !wanted.contains(prefix) {
                self.block_again(*prefix)?;
            }
        }
        for prefix in wanted {
            if !listed.iter().any(|(there, _)| there == prefix) {
                self.never_block(*prefix, Origin::Configured)?;
            }
        }
        Ok(())
    }

    /// Takes a prefix off the list; whether it was there.
    ///
    /// # Errors
    /// [`VerdictError`].
    pub fn block_again(&mut self, prefix: Prefix) -> Result<bool, VerdictError> {
        let key = prefix.key();
        let there = match self
            .tables
            .never_block
            .remove(&Key::new(key.bits, key.octets))
        {
            Ok(()) => true,
            Err(error) if is_missing(&error) => false,
            Err(error) => {
                return Err(VerdictError::map(
                    "never-block prefixes",
                    NEVER_BLOCK_MAX,
                    &error,
                ));
            }
        };
        self.never_block_changed();
        Ok(there)
    }

    /// The list.
    ///
    /// # Errors
    /// [`VerdictError`].
    pub fn never_blocked(&self) -> Result<Vec<(Prefix, Origin)>, VerdictError> {
        let mut all = Vec::new();
        for entry in self.tables.never_block.iter() {
            let (key, origin) = entry.map_err(|error| {
                VerdictError::map("never-block prefixes", NEVER_BLOCK_MAX, &error)
            })?;
            let address = detector_common::key::Address::from_ipv6(key.data());
            all.push((
                Prefix::from_mapped(address, key.prefix_len()),
                Origin::of(origin),
            ));
        }
        all.sort_by_key(|(prefix, _)| prefix.to_string());
        Ok(all)
    }

    /// Verdicts that found their address unlisted must ask again.
    fn never_block_changed(&mut self) {
        self.tables
            .control
            .half(0, GENERATION)
            .fetch_add(1, Ordering::Release);
        let any = self.tables.never_block.iter().next().is_some();
        self.set_active(active::NEVER_BLOCK, any);
    }
}
