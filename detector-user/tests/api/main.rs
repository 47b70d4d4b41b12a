//! The API of the real agent: what it tells of an attack, what may be changed and by whom, and that no client holds it up.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

mod changes;
mod described;
mod hostile;
#[path = "../lab/mod.rs"]
mod lab;
mod page;
mod reads;
mod scoring;
mod scrape;
mod stage;
mod tls;
mod top;
