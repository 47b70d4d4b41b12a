//! The agent: the loop from drain to enforce, live and in replay.

pub mod pipeline;
pub mod replay;
