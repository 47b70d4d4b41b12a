//! Verdicts, written to the kernel. Nothing else writes a verdict map.
mod addresses;
pub mod floor;
pub mod native;
pub mod never_block;
pub mod order;
pub mod own;
pub mod signatures;
pub mod target;
pub mod writer;
