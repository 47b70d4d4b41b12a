//! The agent: the loop from drain to enforce, live and in replay.

pub mod config;
pub mod findings;
pub mod flow_log;
pub mod live;
pub mod model_source;
pub mod pipeline;
pub mod probation;
pub mod replay;
pub mod shadow;
