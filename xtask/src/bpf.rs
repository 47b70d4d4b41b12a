//! The BPF objects: built here, checked in beside their source.
//!
//! `cargo build` needs no BPF toolchain, because the objects are checked in; each
//! has a record beside it of the source and the toolchain that it stems from.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::tool;

/// Version of the linker, which is what turns bitcode into BPF.
const LINKER_VERSION: &str = "0.13.0";
/// The LLVM that it is built with.
const LLVM: &str = "22";
/// Debian's packages for it.
const LLVM_PACKAGES: [&str; 2] = ["llvm-22-dev", "libpolly-22-dev"];
/// Debian's compiler with a `core` for BPF.
const RUST_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"];
const TARGET: &str = "bpfel-unknown-none";

/// A BPF program, its crate and its object.
struct Object {
    /// Folder of the crate.
    package: &'static str,
    /// Name of its binary.
    binary: &'static str,
    /// The object, checked in.
    object: &'static str,
    /// What it is built from.
    sources: &'static [&'static str],
}

const OBJECTS: [Object; 2] = [
    Object {
        package: "detector-ebpf",
        binary: "detector",
        object: "detector-ebpf/object/detector.bpf.o",
        sources: &[
            "detector-common/src",
            "detector-common/Cargo.toml",
            "detector-ebpf/src",
            "detector-ebpf/Cargo.toml",
            "detector-ebpf/Cargo.lock",
        ],
    },
    Object {
        package: "benches/ebpf",
        binary: "peers",
        object: "benches/ebpf/object/peers.bpf.o",
        sources: &[
            "detector-common/src",
            "detector-common/Cargo.toml",
            "benches/ebpf/src",
            "benches/ebpf/Cargo.toml",
            "benches/ebpf/Cargo.lock",
        ],
    },
];

/// Build the checked-in BPF objects from their source, or check that they stem from it.
#[derive(clap::Args)]
pub struct Args {
    /// Fail where a checked-in object does not stem from the checked-in source; build nothing
    #[arg(long)]
    check: bool,

    /// Build, and fail where the result is not the checked-in object; write nothing
    #[arg(long, conflicts_with = "check")]
    verify: bool,
}

/// # Errors
/// Where an object cannot be built, or is not what it should be.
pub fn run(args: &Args) -> Result<()> {
    if args.check {
        return OBJECTS.iter().filter(|o| o.exists()).try_for_each(check);
    }
    let toolchain = Toolchain::find_or_install()?;
    for object in OBJECTS.iter().filter(|o| o.exists()) {
        let built = toolchain.build(object)?;
        let path = tool::root().join(object.object);
        if args.verify {
            if fs::read(&path).ok().as_deref() != Some(&built[..]) {
                bail!(
                    "{}: not what its source gives with {}: run `cargo xtask bpf` and check the object in",
                    object.object,
                    toolchain.version
                );
            }
            eprintln!("xtask: {} is what its source gives", object.object);
            continue;
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        fs::write(&path, &built).with_context(|| format!("writing {}", path.display()))?;
        let record = object.record(&toolchain.version, &built)?;
        let beside = record_path(&path);
        fs::write(&beside, record).with_context(|| format!("writing {}", beside.display()))?;
        eprintln!(
            "xtask: {} ({} bytes) with {}",
            object.object,
            built.len(),
            toolchain.version
        );
    }
    Ok(())
}

impl Object {
    fn exists(&self) -> bool {
        tool::root().join(self.package).join("Cargo.toml").exists()
    }

    /// What stands beside the object.
    fn record(&self, toolchain: &str, object: &[u8]) -> Result<String> {
        Ok(format!(
            "# Written by `cargo xtask bpf`; `cargo xtask bpf --check` compares.\n\
             toolchain = {toolchain}\nsource_sha256 = {}\nobject_sha256 = {}\n",
            self.source_hash()?,
            hex(&Sha256::digest(object))
        ))
    }

    fn source_hash(&self) -> Result<String> {
        let root = tool::root();
        let mut files = Vec::new();
        for source in self.sources {
            collect(&root.join(source), &mut files)?;
        }
        files.sort();
        let mut hash = Sha256::new();
        for file in files {
            let name = file.strip_prefix(root).unwrap_or(&file);
            let content = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
            hash.update(name.as_os_str().as_encoded_bytes());
            hash.update([0]);
            hash.update((content.len() as u64).to_le_bytes());
            hash.update(&content);
        }
        Ok(hex(&hash.finalize()))
    }
}

fn check(object: &Object) -> Result<()> {
    let path = tool::root().join(object.object);
    let remedy = "run `cargo xtask bpf` and check in what it writes";
    let built = fs::read(&path).with_context(|| format!("{}: {remedy}", path.display()))?;
    let beside = record_path(&path);
    let record =
        fs::read_to_string(&beside).with_context(|| format!("{}: {remedy}", beside.display()))?;
    let field = |name: &str| {
        record
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "))
            .with_context(|| format!("{}: no {name}: {remedy}", beside.display()))
    };
    if field("source_sha256")? != object.source_hash()? {
        bail!(
            "{}: its source has changed since it was built: {remedy}",
            object.object
        );
    }
    if field("object_sha256")? != hex(&Sha256::digest(&built)) {
        bail!(
            "{}: not the object that its record names: {remedy}",
            object.object
        );
    }
    eprintln!("xtask: {} stems from its source", object.object);
    Ok(())
}

fn record_path(object: &Path) -> PathBuf {
    object.with_extension("record")
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if path.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = fs::read_dir(path).with_context(|| format!("reading {}", path.display()))?;
    for entry in entries {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A compiler for BPF.
struct Toolchain {
    /// How cargo is started.
    cargo: Vec<String>,
    /// Which compiler; `None`: the one that cargo finds.
    rustc: Option<PathBuf>,
    /// Whether `core` is built from source (no prebuilt one is there).
    build_std: bool,
    linker: PathBuf,
    /// As it stands in records.
    version: String,
}

impl Toolchain {
    /// Rustup's nightly with its source, or Debian's compiler, which is installed where
    /// neither is there.
    fn find_or_install() -> Result<Self> {
        let linker = linker()?;
        let debian = Path::new("/usr/bin/rustc");
        let core = Path::new("/usr/lib/rustlib").join(TARGET);
        if debian.exists() && core.exists() {
            return Self::debian(debian, linker);
        }
        if let Some(toolchain) = Self::nightly(&linker)? {
            return Ok(toolchain);
        }
        eprintln!("xtask: no BPF toolchain: taking Debian's");
        tool::install(&RUST_PACKAGES)?;
        Self::debian(debian, linker)
    }

    fn debian(rustc: &Path, linker: PathBuf) -> Result<Self> {
        let version = tool::output_of(Command::new(rustc).arg("--version"))?;
        Ok(Self {
            cargo: vec!["/usr/bin/cargo".to_owned()],
            rustc: Some(rustc.to_owned()),
            build_std: false,
            linker,
            version: describe(&version),
        })
    }

    fn nightly(linker: &Path) -> Result<Option<Self>> {
        let Ok(sysroot) =
            tool::output_of(Command::new("rustc").args(["+nightly", "--print", "sysroot"]))
        else {
            return Ok(None);
        };
        let sysroot = String::from_utf8_lossy(&sysroot).trim().to_owned();
        if !Path::new(&sysroot)
            .join("lib/rustlib/src/rust/library/core")
            .exists()
        {
            return Ok(None);
        }
        let version = tool::output_of(Command::new("rustc").args(["+nightly", "--version"]))?;
        Ok(Some(Self {
            cargo: vec!["cargo".to_owned(), "+nightly".to_owned()],
            rustc: None,
            build_std: true,
            linker: linker.to_owned(),
            version: describe(&version),
        }))
    }

    /// The object's bytes.
    fn build(&self, object: &Object) -> Result<Vec<u8>> {
        let root = tool::root();
        let package = root.join(object.package);
        let target = root.join("target/bpf");
        let home =
            std::env::var("CARGO_HOME").or_else(|_| std::env::var("HOME").map(|h| h + "/.cargo"));
        // Paths of this machine must not be in the object, which is to be the same everywhere.
        let mut flags = vec![
            format!("-Clinker={}", tool::text(&self.linker)?),
            "-Ctarget-cpu=v3".to_owned(),
            "-Clink-arg=--cpu-features=+allows-misaligned-mem-access".to_owned(),
            format!("--remap-path-prefix={}=.", tool::text(root)?),
        ];
        if let Ok(home) = home {
            flags.push(format!("--remap-path-prefix={home}=cargo"));
        }
        let mut command = Command::new(&self.cargo[0]);
        command
            .args(&self.cargo[1..])
            .args(["build", "--release", "--locked", "--target", TARGET])
            .arg("--target-dir")
            .arg(&target)
            .current_dir(&package)
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            // Set by the cargo that runs this task, for its own toolchain.
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("RUSTC")
            .env_remove("CARGO")
            .env("RUSTC_BOOTSTRAP", "1");
        if let Some(rustc) = &self.rustc {
            command.env("RUSTC", rustc);
        }
        if self.build_std {
            command.arg("-Zbuild-std=core");
        }
        tool::run(&mut command)?;
        let built = target.join(TARGET).join("release").join(object.binary);
        fs::read(&built).with_context(|| format!("reading {}", built.display()))
    }
}

fn describe(version: &[u8]) -> String {
    format!(
        "{}, bpf-linker {LINKER_VERSION}, LLVM {LLVM}",
        String::from_utf8_lossy(version).trim()
    )
}

/// The linker, of the one version; installed where it is missing.
fn linker() -> Result<PathBuf> {
    let right = |path: &Path| {
        tool::output_of(Command::new(path).arg("--version"))
            .is_ok_and(|version| String::from_utf8_lossy(&version).contains(LINKER_VERSION))
    };
    let installed = tool::root().join("target/tools");
    let candidates = [
        tool::find("bpf-linker"),
        Some(installed.join("bin/bpf-linker")),
    ];
    if let Some(path) = candidates
        .into_iter()
        .flatten()
        .find(|path| path.exists() && right(path))
    {
        return Ok(path);
    }
    if !Path::new("/usr/lib/llvm-22/bin/llvm-config").exists() {
        tool::install(&LLVM_PACKAGES)?;
    }
    eprintln!(
        "xtask: installing bpf-linker {LINKER_VERSION} into {}",
        installed.display()
    );
    tool::run(
        Command::new("cargo")
            .args([
                "install",
                "bpf-linker",
                "--version",
                LINKER_VERSION,
                "--locked",
            ])
            .args(["--no-default-features", "--features", "llvm-22", "--root"])
            .arg(&installed)
            .env("LLVM_PREFIX", "/usr/lib/llvm-22"),
    )?;
    Ok(installed.join("bin/bpf-linker"))
}
