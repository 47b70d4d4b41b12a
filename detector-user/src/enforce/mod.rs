//! Verdicts, written to the kernel. Nothing else writes a verdict map.
mod addresses;
pub mod floor;
pub mod never_block;
mod order;
pub mod signatures;
pub mod target;
pub mod writer;
