//! Every test.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};

use crate::{setup, tool};

/// Set where a test must not skip what it needs root, BPF or the shared data for.
pub const NO_SKIP: &str = "DETECTOR_TEST_NO_SKIP";

/// Run every test.
#[derive(clap::Args)]
pub struct Args {
    /// Let tests skip what this machine lacks (root, BPF, the shared captures)
    #[arg(long)]
    allow_skip: bool,

    /// Arguments for the test programs
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Installs what is needed, and runs the tests of the workspace.
///
/// # Errors
/// Where a test fails.
pub fn run(args: &Args) -> Result<()> {
    let root = rustix::process::geteuid().is_root();
    if root {
        setup::run()?;
    } else {
        eprintln!("xtask: not root: tests that need the kernel are skipped, each saying so");
    }
    let mut command = Command::new("cargo");
    command
        .args(["test", "--workspace", "--no-fail-fast", "--"])
        .args(["--nocapture", "--test-threads=1"])
        .args(&args.arguments)
        .current_dir(tool::root());
    if root && !args.allow_skip {
        command.env(NO_SKIP, "1");
    }
    tool::run(&mut command)
}

/// Builds one integration test of the agent, and returns where it lies.
///
/// # Errors
/// Where it does not build.
pub fn build(name: &str) -> Result<PathBuf> {
    let output = tool::output_of(
        Command::new("cargo")
            .args([
                "test",
                "--package",
                "detector-user",
                "--no-run",
                "--message-format=json",
            ])
            .args(["--test", name])
            .current_dir(tool::root()),
    )?;
    for line in String::from_utf8_lossy(&output).lines() {
        let message: serde_json::Value = serde_json::from_str(line)
            .with_context(|| format!("cargo said what is no JSON: {line}"))?;
        if message["target"]["name"] == name
            && let Some(path) = message["executable"].as_str()
        {
            return Ok(path.into());
        }
    }
    bail!("cargo built no test called {name}")
}
