//! What is shipped beside the program: rules, dashboard, chart and manifest say what is so, and are what their readers take.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

mod chart;
mod helm;
mod image;
#[path = "../lab/mod.rs"]
mod lab;
mod manifest;
mod options;
mod pod;
mod rules;
mod values;

/// What is shipped beside the program.
const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");
