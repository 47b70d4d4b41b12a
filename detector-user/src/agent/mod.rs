//! The agent: the loop from drain to enforce, live and in replay.

pub mod config;
pub mod flow_log;
pub mod live;
pub mod pipeline;
pub mod replay;
