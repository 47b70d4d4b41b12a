//! The laboratory's SYN flood by itself, for who brings a laboratory of his own: `benches/load`.

use std::sync::atomic::{AtomicBool, AtomicU64};

use anyhow::{Result, bail};

use crate::lab::sender;
use crate::trials::scenario::{self, Attack};

/// # Errors
/// Where nothing can be sent.
pub fn run() -> Result<()> {
    let flood = scenario::ALL.iter().find(|one| one.name == "syn-flood");
    let Some(Attack::Crafted { recipe, per_second }) = flood.map(|one| &one.attack) else {
        bail!("no scenario is a crafted SYN flood");
    };
    sender::send_here(
        &recipe.craft(),
        *per_second,
        &AtomicBool::new(false),
        &AtomicU64::new(0),
    )
}
