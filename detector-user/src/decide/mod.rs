//! Decisions: from scores and windows to alerts and verdicts. Nothing here touches the kernel or reads a clock.

pub mod family;
