//! What must hold of the source before it is tested.

use std::process::Command;

use anyhow::Result;

use crate::tool;

/// Runs formatting and clippy over the workspace and the BPF programs' formatting.
///
/// # Errors
/// Names the first that fails.
pub fn run() -> Result<()> {
    let cargo = |arguments: &[&str]| {
        tool::run(
            Command::new("cargo")
                .args(arguments)
                .current_dir(tool::root()),
        )
    };
    cargo(&["fmt", "--all", "--check"])?;
    for package in ["detector-ebpf", "benches/ebpf", "fuzz"] {
        let manifest = tool::root().join(package).join("Cargo.toml");
        if manifest.exists() {
            cargo(&["fmt", "--check", "--manifest-path", tool::text(&manifest)?])?;
        }
    }
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ])
}
