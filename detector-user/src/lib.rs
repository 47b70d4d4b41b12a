//! The detector's library: every station a frame passes on its way to a verdict.
pub mod agent;
pub mod cli;
pub mod dataset;
pub mod decide;
pub mod drain;
pub mod drift;
pub mod enforce;
pub mod features;
pub mod flow;
#[cfg(test)]
mod generated;
pub mod judge;
pub mod kubernetes;
pub mod metrics;
pub mod model;
pub mod output;
pub mod privilege;
pub mod registry;
pub mod score;
pub mod serve;
pub mod train;
pub mod wire;
