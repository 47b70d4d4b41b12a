//! What is asked of the verdict writer, what it answers, and why it may refuse.

use std::{io, time::Duration};

use aya::maps::MapError;
use detector_common::{
    abi,
    verdict::{Action, Hits, SERVICES, Service, Verdict},
};

use super::{
    never_block::Origin,
    target::{Prefix, Target},
};
use crate::wire::{load::LoadError, pins::PinError, tables::TablesError};

/// A verdict to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// On what.
    pub target: Target,
    /// What is done.
    pub action: Action,
    /// Packets a second that pass a rate limit; 0: no limit.
    pub packets_per_second: u64,
    /// Bytes a second that pass a rate limit; 0: no limit.
    pub bytes_per_second: u64,
    /// What passes a quarantine.
    pub services: Vec<Service>,
    /// For how long; `None`: until removed.
    pub time_to_live: Option<Duration>,
    /// Why.
    pub reason: String,
}

/// A verdict in force, or expired and not yet cleared away.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its slot.
    pub slot: u32,
    /// As it stands in the kernel.
    pub verdict: Verdict,
    /// On what.
    pub target: Target,
    /// How often it acted.
    pub hits: Hits,
    /// For how much longer it counts, by the kernel's clock; `None`: until removed.
    pub left: Option<Duration>,
}

impl Listed {
    /// Whether it no longer counts.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.left == Some(Duration::ZERO)
    }
}

/// Verdicts and never-block prefixes on their way to another data plane.
#[derive(Clone, Debug, Default)]
pub struct Carried {
    pub(super) verdicts: Vec<Listed>,
    pub(super) never_block: Vec<(Prefix, Origin)>,
}

/// Why a verdict could not be written.
#[derive(Debug, thiserror::Error)]
pub enum VerdictError {
    /// The data plane.
    #[error(transparent)]
    Tables(#[from] TablesError),
    /// No slot left.
    #[error(
        "all {slots} verdict slots are taken; remove some (`detector verdicts clear`), or attach \
         with a larger --verdict-slots"
    )]
    Full {
        /// How many there are.
        slots: u32,
    },
    /// No signature left.
    #[error("all {} signatures are taken; remove some first", abi::SIGNATURES_MAX)]
    SignaturesFull,
    /// A map took no more.
    #[error("writing the {map} (at most {entries}): {cause}")]
    Map {
        /// Which.
        map: &'static str,
        /// How many fit.
        entries: u32,
        /// What the kernel said.
        cause: String,
    },
    /// The order makes no sense.
    #[error("{0}")]
    Order(String),
}

impl From<PinError> for VerdictError {
    fn from(error: PinError) -> Self {
        Self::Tables(error.into())
    }
}

impl From<LoadError> for VerdictError {
    fn from(error: LoadError) -> Self {
        Self::Tables(error.into())
    }
}

impl VerdictError {
    pub(super) fn map(map: &'static str, entries: u32, error: &MapError) -> Self {
        let cause = crate::wire::load::chain(error);
        Self::Map {
            map,
            entries,
            cause,
        }
    }
}

/// An order that the kernel could not carry out as meant.
pub(super) fn check(order: &Order) -> Result<(), VerdictError> {
    let wrong = |text: &str| Err(VerdictError::Order(format!("{}: {text}", order.target)));
    let limits = order.packets_per_second != 0 || order.bytes_per_second != 0;
    if order.action == Action::RATE_LIMIT && !limits {
        return wrong("a rate limit needs packets or bytes a second (for none at all, drop)");
    }
    if order.action != Action::RATE_LIMIT && limits {
        return wrong("packets or bytes a second belong to a rate limit only");
    }
    if order.action != Action::QUARANTINE && !order.services.is_empty() {
        return wrong("services belong to a quarantine only");
    }
    if order.services.len() > SERVICES {
        return wrong(&format!(
            "a quarantine lets at most {SERVICES} services through"
        ));
    }
    if order.time_to_live == Some(Duration::ZERO) {
        return wrong("a time to live of 0 would expire at once");
    }
    Ok(())
}

/// Whether a removal failed because there was nothing (ENOENT as a system call's error).
pub(super) fn is_missing(error: &MapError) -> bool {
    match error {
        MapError::KeyNotFound => true,
        MapError::SyscallError(error) => error.io_error.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}
