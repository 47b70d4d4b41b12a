//! The detector's library: every station a frame passes on its way to a verdict.
pub mod drain;
pub mod enforce;
pub mod flow;
pub mod wire;
