//! The Debian package on a clean system: installed, started as its unit says, watched, stopped, purged without a trace.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

mod lab;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use detector_common::packet::tcp;
use lab::{
    Lab,
    frames::{tcp_frame, v4},
    raw::Raw,
    root::{Root, bootstrapped},
    skip,
    space::{Space, veth},
    unit::Unit,
    wait_for,
};
use serde_json::Value;

const SECONDS: Duration = Duration::from_secs(20);
const PACKAGE: &str = "tmp/detector.deb";

/// Files of the package, and their modes.
const FILES: [(&str, u32); 9] = [
    ("usr/bin/detector", 0o755),
    ("etc/detector/detector.toml", 0o644),
    ("etc/default/detector", 0o644),
    ("usr/lib/systemd/system/detector.service", 0o644),
    ("usr/share/man/man1/detector-run.1.gz", 0o644),
    ("usr/share/bash-completion/completions/detector", 0o644),
    ("usr/share/zsh/vendor-completions/_detector", 0o644),
    ("usr/share/fish/vendor_completions.d/detector.fish", 0o644),
    ("usr/share/doc/detector/security.md", 0o644),
];

/// An agent on a clean system, and an attacker on the other end of the wire. It is killed when this is dropped.
struct Site {
    root: Root,
    server: Space,
    attacker: Space,
    agent: Option<Child>,
}

impl Site {
    /// With the package at hand, not installed yet; `None` where something lacks, which is told.
    fn new() -> Option<Self> {
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

    fn run(&self, words: &[&str]) -> String {
        self.root.run(&self.server, words)
    }

    fn read(&self, path: &str) -> String {
        let path = self.root.path(path);
        self.root
            .within(&self.server, || fs::read_to_string(&path))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn exists(&self, path: &str) -> bool {
        let path = self.root.path(path);
        self.root.within(&self.server, || path.exists())
    }

    fn mode(&self, path: &str) -> u32 {
        let path = self.root.path(path);
        let file = self.root.within(&self.server, || fs::metadata(&path));
        file.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            .permissions()
            .mode()
            & 0o7777
    }

    /// Starts it as its unit says.
    fn start(&mut self, unit: &Unit, environment: &BTreeMap<String, String>) {
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

    fn knock(&self) {
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
fn folders(unit: &Unit) -> [String; 2] {
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
fn hear(manager: &UnixDatagram, wanted: &str, log: impl Fn() -> String) {
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

#[test]
fn it_is_installed_started_as_its_unit_says_and_purged_without_a_trace() {
    let Some(mut site) = Site::new() else {
        return;
    };
    // Installed.
    site.run(&["dpkg", "--install", &format!("/{PACKAGE}")]);
    for (file, mode) in FILES {
        assert_eq!(site.mode(file), mode, "{file}");
    }
    let conffiles = site.run(&[
        "dpkg-query",
        "--show",
        "--showformat=${Conffiles}",
        "detector",
    ]);
    for file in ["/etc/detector/detector.toml", "/etc/default/detector"] {
        assert!(conffiles.contains(file), "{conffiles}");
    }
    let enabled = "etc/systemd/system/multi-user.target.wants/detector.service";
    assert!(!site.exists(enabled), "its operator enables it");
    // The operator says what it watches, and the manager starts it.
    let unit = Unit::parse(&site.read("usr/lib/systemd/system/detector.service"));
    assert_eq!(unit.one("EnvironmentFile"), "-/etc/default/detector");
    let defaults = site.root.path("etc/default/detector");
    let text = site
        .read("etc/default/detector")
        .replace("INTERFACES=en*,eth*", "INTERFACES=vb");
    site.root
        .within(&site.server, || fs::write(&defaults, &text))
        .unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let environment: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let notify = site.root.path("run/notify");
    let manager = site
        .root
        .within(&site.server, || UnixDatagram::bind(&notify))
        .unwrap();
    manager.set_read_timeout(Some(SECONDS)).unwrap();
    site.start(&unit, &environment);
    hear(&manager, "READY=1", || site.read("var/log/detector/log"));
    // It watches, and the packaged command shows it.
    site.knock();
    let flows = || -> Vec<Value> {
        let shown = site.run(&["detector", "flows", "-o", "json"]);
        serde_json::from_str(&shown).unwrap()
    };
    assert!(
        wait_for(SECONDS, || flows().len() == 200),
        "{:?}",
        flows().len()
    );
    let status: Value =
        serde_json::from_str(&site.run(&["detector", "status", "-o", "json"])).unwrap();
    let held = &status["agent"]["privileges"];
    let capabilities = serde_json::json!(["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"]);
    assert_eq!(held["capabilities"], capabilities, "{status}");
    assert_eq!(held["no_new_privileges"], true, "{status}");
    let alerted = || site.read("var/log/detector/eve.json").contains("\"scan\"");
    assert!(
        wait_for(SECONDS, alerted),
        "{}",
        site.read("var/log/detector/log")
    );
    assert_eq!(site.mode("var/log/detector/eve.json"), 0o640);
    assert_eq!(site.mode("run/detector/detector.sock"), 0o660);
    // Stopped; what it hung stays.
    let mut agent = site.agent.take().unwrap();
    let killed = Command::new("kill").arg(agent.id().to_string()).status();
    assert!(killed.unwrap().success());
    hear(&manager, "STOPPING=1", String::new);
    assert!(agent.wait().unwrap().success());
    assert!(site.exists("sys/fs/bpf/detector/maps/CONTROL"));
    // Purged: nothing stays.
    site.root.release(&site.server, &folders(&unit));
    site.run(&["dpkg", "--purge", "detector"]);
    let left = site.run(&[
        "find",
        "/etc",
        "/usr",
        "/var/log",
        "/run",
        "/sys/fs/bpf",
        "-name",
        "*detector*",
    ]);
    assert_eq!(left, "", "left behind");
    let link = site.server.run("ip -details link show dev vb");
    assert!(!link.contains("xdp"), "{link}");
    // And of the system itself, nothing that the host sees.
    let place = site.root.path("").display().to_string();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(place.trim_end_matches('/')), "{mounts}");
}
