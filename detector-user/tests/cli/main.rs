//! The command line as its users meet it: help, wrong usage, exit codes, and, where this
//! machine allows, the data plane from attaching to detaching.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

mod host;
#[path = "../lab/mod.rs"]
mod lab;
mod nothing_attached;
mod usage;

use std::process::{Command, Output, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_detector");

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command
        .args(words)
        .stdin(Stdio::null())
        .env_remove("DETECTOR_PIN_DIR")
        .env_remove("RUST_BACKTRACE");
    command
}

fn run(words: &[&str]) -> Output {
    command(words).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output
        .status
        .code()
        .unwrap_or_else(|| panic!("{}", errors(output)))
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What went wrong is one line, and no panic's.
fn one_error(output: &Output) -> String {
    let all = errors(output);
    let lines: Vec<&str> = all
        .lines()
        .filter(|line| line.starts_with("Error: "))
        .collect();
    assert_eq!(lines.len(), 1, "{all}");
    assert!(
        !all.contains("panicked") && !all.contains("backtrace"),
        "{all}"
    );
    lines[0].to_owned()
}
