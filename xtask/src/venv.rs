//! Python programs that tests run, each in a virtual environment of its own under target/.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result};

use crate::tool;

/// The name of an environment, its program and what PyPI calls it, of one version: another may ask for more.
const PROGRAMS: [(&str, &str, &str); 2] = [
    ("schemathesis-venv", "schemathesis", "schemathesis==4.32.5"),
    ("moto-venv", "moto_server", "moto[server]==5.2.5"),
];

/// Installs what is missing, or there in another version.
///
/// # Errors
/// Where there is no Python, or PyPI cannot be reached.
pub fn install() -> Result<()> {
    for (name, program, package) in PROGRAMS {
        let folder = tool::root().join("target").join(name);
        let mark = folder.join("installed");
        let there = folder.join("bin").join(program).exists();
        if there && std::fs::read_to_string(&mark).is_ok_and(|said| said == package) {
            continue;
        }
        eprintln!("xtask: installing {package} to {} (pip)", folder.display());
        let python = tool::find_or_install("python3", "python3")?;
        // Debian's Python makes environments with a package more.
        if tool::output_of(Command::new(&python).args(["-c", "import ensurepip, venv"])).is_err() {
            tool::install(&["python3-venv"])?;
        }
        tool::output_of(Command::new(&python).args(["-m", "venv"]).arg(&folder))?;
        let pip: PathBuf = folder.join("bin/pip");
        tool::output_of(Command::new(&pip).args(["install", "--quiet", package])).with_context(
            || format!("cannot install {package}: it is tried again by `cargo xtask setup`"),
        )?;
        std::fs::write(&mark, package).with_context(|| format!("writing {}", mark.display()))?;
    }
    Ok(())
}
