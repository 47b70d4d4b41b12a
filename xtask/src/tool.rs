//! Programs of the host that a task needs, and their installation where they are missing.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Where programs are that an ordinary user's `PATH` may not name.
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];

/// Runs a tool to its end, and returns what it wrote to its standard output.
pub fn output_of(command: &mut Command) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {name}: is it installed?"))?;
    if !output.status.success() {
        let arguments: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
        bail!(
            "`{name} {}` ended with {}: {}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(output.stdout)
}

/// Where `program` is.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// Where `program` is; where it is missing, installs Debian's `package`, saying so.
pub fn find_or_install(program: &str, package: &str) -> Result<PathBuf> {
    if let Some(path) = find(program) {
        return Ok(path);
    }
    eprintln!("xtask: {program} is missing");
    install(&[package])?;
    find(program).with_context(|| format!("{package} is installed, but {program} is not on PATH"))
}

/// Installs Debian's packages, saying so.
pub fn install(packages: &[&str]) -> Result<()> {
    update_package_lists()?;
    eprintln!("xtask: installing {} (apt-get)", packages.join(" "));
    let _quiet = NoServices::new();
    output_of(
        Command::new("apt-get")
            .args(["install", "--yes", "--quiet", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
    .with_context(|| {
        let packages = packages.join(" ");
        format!("cannot install {packages}: as root, run `apt-get install {packages}`")
    })?;
    Ok(())
}

/// While it lives no package starts a service: a web or SSH server that runs on the host from now on is not what was
/// asked for.
struct NoServices {
    made: bool,
}

impl NoServices {
    /// What a package's scripts ask whether to start a service; 101 says no.
    const POLICY: &str = "/usr/sbin/policy-rc.d";
    const NO: &str =
        "#!/bin/sh\n# Made by `cargo xtask setup`, which removes it when it is done.\nexit 101\n";

    fn new() -> Self {
        let file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(Self::POLICY);
        // Where there is one it is the host's, or another's who was killed: it says what is to be said.
        let made = file.is_ok_and(|mut file| file.write_all(Self::NO.as_bytes()).is_ok());
        let left = fs::read_to_string(Self::POLICY).is_ok_and(|text| text == Self::NO);
        Self { made: made || left }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.made {
            let _ = fs::remove_file(Self::POLICY);
        }
    }
}

/// Runs a tool with the terminal's streams, to its end.
pub fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .with_context(|| format!("cannot start {name}: is it installed?"))?;
    if !status.success() {
        let arguments: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
        bail!("`{name} {}` ended with {status}", arguments.join(" "));
    }
    Ok(())
}

/// The workspace's folder.
#[must_use]
pub fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// Builds the `detector` command with one of cargo's profiles; where it is.
pub fn build_detector(profile: &str) -> Result<PathBuf> {
    eprintln!("xtask: building the detector (cargo build --profile {profile} -p detector-user)");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root())
        .args(["build", "--profile", profile, "--package", "detector-user"])
        .args([
            "--bin",
            "detector",
            "--message-format",
            "json-render-diagnostics",
        ])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("the detector does not build: {}", output.status);
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "detector")
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
        .context("cargo does not say where it put the detector")
}

/// Fetches the package lists anew, saying so.
pub fn update_package_lists() -> Result<()> {
    eprintln!("xtask: updating apt's package lists");
    output_of(Command::new("apt-get").args(["update", "--quiet"]))
        .context("cannot update the package lists: as root, run `apt-get update`")?;
    Ok(())
}

/// A path as UTF-8, which qemu's options and the guest's scripts ask for.
pub fn text(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is not UTF-8: rename it", path.display()))
}
