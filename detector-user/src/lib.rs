//! The detector's library: every station a frame passes on its way to a verdict.
pub mod cli;
pub mod drain;
pub mod enforce;
pub mod flow;
pub mod judge;
pub mod model;
pub mod output;
pub mod train;
pub mod wire;
