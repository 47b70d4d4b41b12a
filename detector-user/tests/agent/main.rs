//! The agent as a user runs it: what it does about attacks, and that nothing which fails around it ends it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

mod acts;
mod archive;
mod credentials;
mod drift;
mod faults;
#[path = "../lab/mod.rs"]
mod lab;
mod models;
mod nats;
mod pods;
mod privileges;
