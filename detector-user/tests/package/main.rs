//! The Debian package on a clean system: installed, started as its unit says, watched, stopped, purged without a trace.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

#[path = "../lab/mod.rs"]
mod lab;
mod site;

use std::{collections::BTreeMap, fs, os::unix::net::UnixDatagram, process::Command};

use lab::{unit::Unit, wait_for};
use serde_json::Value;
use site::{PACKAGE, SECONDS, Site, folders, hear};

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
