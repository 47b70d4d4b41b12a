//! `detector replay`, natively: what is counted, what is written, and what happens when something is wrong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

mod counted;
mod inputs;
mod places;
mod plain;
mod rows;
mod several;
mod written;
