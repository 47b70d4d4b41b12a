//! A clean system with the package at hand, on a wire to an attacker.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use detector_common::packet::tcp;

use crate::lab::{
    Lab,
    frames::{tcp_frame, v4},
    raw::Raw,
    root::{Root, bootstrapped},
    skip,
    space::{Space, veth},
    unit::Unit,
};

pub const SECONDS: Duration = Duration::from_secs(20);
/// Where the package is, in the system.
pub const PACKAGE: &str = "tmp/detector.deb";

/// An agent on a clean system, and an attacker on the other end of the wire. It is killed when this is dropped.
pub struct Site {
    pub root: Root,
    pub server: Space,
    attacker: Space,
    pub agent: Option<Child>,
}

impl Site {
    /// With the package at hand, not installed yet; `None` where something lacks, which is told.
    pub fn new() -> Option<Self> {
        Lab::new(&["setpriv", "debootstrap"])?;
        let cargo_deb = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/bin/cargo-deb");
        let version = Command::new("cargo-deb").arg("--version").output();
        if version.is_err() && !cargo_deb.exists() {
            skip("needs cargo-deb (`cargo xtask setup`)");
            return None;
        }
        let base = match bootstrapped() {
            Ok(base) => base,
            Err(reason) => {
                skip(&reason);
                return None;
            }
        };
        let (attacker, server) = (Space::new(), Space::new());
        veth((&attacker, "va"), (&server, "vb"));
        let root = Root::new(&base);
        let folder = tempfile::tempdir().unwrap();
        let package = folder.path().join("detector.deb");
        build(&package);
        root.within(&server, || fs::copy(&package, root.path(PACKAGE)))
            .unwrap();
        Some(Self {
            root,
            server,
            attacker,
            agent: None,
        })
    }

    pub fn run(&self, words: &[&str]) -> String {
        self.root.run(&self.server, words)
    }

    pub fn read(&self, path: &str) -> String {
        let path = self.root.path(path);
        self.root
            .within(&self.server, || fs::read_to_string(&path))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub fn exists(&self, path: &str) -> bool {
        let path = self.root.path(path);
        self.root.within(&self.server, || path.exists())
    }

    pub fn mode(&self, path: &str) -> u32 {
        let path = self.root.path(path);
        let file = self.root.within(&self.server, || fs::metadata(&path));
        file.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            .permissions()
            .mode()
            & 0o7777
    }

    /// Starts it as its unit says.
    pub fn start(&mut self, unit: &Unit, environment: &BTreeMap<String, String>) {
        let folders = folders(unit);
        for folder in &folders {
            let folder = self.root.path(folder);
            self.root
                .within(&self.server, || fs::create_dir_all(folder))
                .unwrap();
        }
        assert_eq!(unit.one("ProtectSystem"), "strict");
        assert_eq!(unit.one("ReadWritePaths"), "/sys/fs/bpf");
        self.root.protect(&self.server, &folders);
        for line in unit.all("ExecStartPre") {
            self.spawn(unit, line, environment, Stdio::inherit())
                .wait()
                .map(|status| assert!(status.success(), "{line}"))
                .unwrap();
        }
        let log = self.root.path(&format!("{}/log", folders[1]));
        let log = self
            .root
            .within(&self.server, || fs::File::create(log))
            .unwrap();
        let agent = self.spawn(unit, unit.one("ExecStart"), environment, log.into());
        self.agent = Some(agent);
    }

    fn spawn(
        &self,
        unit: &Unit,
        line: &str,
        environment: &BTreeMap<String, String>,
        log: Stdio,
    ) -> Child {
        let mut words = unit.confined();
        words.extend(Unit::words(line, environment));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = self.root.command(&words);
        command
            .envs(environment)
            .env("NOTIFY_SOCKET", "/run/notify")
            .stderr(log);
        self.root.within(&self.server, || command.spawn()).unwrap()
    }

    pub fn knock(&self) {
        self.attacker.within(|| {
            let raw = Raw::sender("va");
            for port in 1..=200 {
                let frame = tcp_frame(
                    v4([10, 0, 0, 9], 40_000),
                    v4([10, 0, 0, 1], port),
                    tcp::SYN,
                    &[],
                );
                raw.send(&frame);
            }
        });
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(agent) = &mut self.agent {
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}

/// What systemd makes for it before it starts, writable where the rest is not.
pub fn folders(unit: &Unit) -> [String; 2] {
    [
        format!("run/{}", unit.one("RuntimeDirectory")),
        format!("var/log/{}", unit.one("LogsDirectory")),
    ]
}

/// Packs what is built already.
fn build(package: &Path) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // What cargo tells this test of its own crate; crates that look at it would be built anew.
    for (name, _) in std::env::vars_os() {
        let own =
            |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(own) {
            command.env_remove(name);
        }
    }
    let output = command
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args(["xtask", "deb", "--no-build", "--profile", "dev", "-O"])
        .arg(package)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Waits until the manager was told this.
pub fn hear(manager: &UnixDatagram, wanted: &str, log: impl Fn() -> String) {
    let begun = Instant::now();
    let mut said = String::new();
    while begun.elapsed() < SECONDS && !said.contains(wanted) {
        let mut bytes = [0; 4096];
        let Ok(length) = manager.recv(&mut bytes) else {
            break;
        };
        said.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
    assert!(
        said.contains(wanted),
        "never told {wanted}: {said}\n{}",
        log()
    );
}
