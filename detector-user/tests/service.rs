//! The agent as a service manager starts it: with three capabilities and no more, told when it is ready, stopped by SIGTERM; and
//! its configuration as an operator looks at it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

mod lab;

use std::{
    fs,
    os::unix::net::UnixDatagram,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use lab::{
    Lab, skip,
    space::{Space, veth},
    wait_for,
};

/// As deploy/detector.service has them.
const CAPABILITIES: &str = "-all,+bpf,+net_admin,+perfmon";

#[test]
fn three_capabilities_suffice_and_the_manager_is_told() {
    let Some(lab) = Lab::new(&["setpriv"]) else {
        return;
    };
    let (other, server) = (Space::new(), Space::new());
    veth((&other, "va"), (&server, "vb"));
    let folder = std::env::temp_dir().join(format!("detector-service-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let manager = UnixDatagram::bind(folder.join("notify")).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let config = folder.join("detector.toml");
    let socket = folder.join("detector.sock");
    fs::write(&config, format!("[api]\nsocket = {socket:?}\n")).unwrap();
    let log = fs::File::create(folder.join("log")).unwrap();
    let mut agent = server.within(|| {
        Command::new("setpriv")
            .args([
                "--bounding-set",
                CAPABILITIES,
                "--inh-caps",
                "-all",
                "--no-new-privs",
            ])
            .arg(env!("CARGO_BIN_EXE_detector"))
            .arg("--pin-dir")
            .arg(lab.pins().root())
            .args([
                "run",
                "-i",
                "vb",
                "--flow-slots",
                "4096",
                "--enforce",
                "--config",
            ])
            .arg(&config)
            .env("NOTIFY_SOCKET", folder.join("notify"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    });
    let hear = |wanted: &str| {
        let begun = Instant::now();
        let mut said = String::new();
        while begun.elapsed() < Duration::from_secs(20) {
            let mut bytes = [0; 4096];
            let Ok(length) = manager.recv(&mut bytes) else {
                break;
            };
            said.push_str(&String::from_utf8_lossy(&bytes[..length]));
            if said.contains(wanted) {
                return;
            }
        }
        let log = fs::read_to_string(folder.join("log")).unwrap();
        panic!("the manager never heard {wanted}: {said}\n{log}");
    };
    hear("READY=1");
    hear("WATCHDOG=1");
    hear("STATUS=watching");
    let status = fs::read_to_string(format!("/proc/{}/status", agent.id())).unwrap();
    // CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF.
    let bits = (1u64 << 12) | (1 << 38) | (1 << 39);
    assert!(
        status.contains(&format!("CapEff:\t{bits:016x}")),
        "{status}"
    );
    let stopped = Command::new("kill").arg(agent.id().to_string()).status();
    assert!(stopped.unwrap().success());
    hear("STOPPING=1");
    assert!(agent.wait().unwrap().success());
    assert!(
        wait_for(Duration::from_secs(5), || !socket.exists()),
        "it takes its socket away"
    );
    fs::remove_dir_all(folder).unwrap();
}

fn detector(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_detector"))
        .args(arguments)
        .env_remove("DETECTOR_CONFIG")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn the_configuration_is_shown_with_its_origins_and_checked() {
    let file = std::env::temp_dir().join(format!("detector-config-{}.toml", std::process::id()));
    fs::write(&file, "enforce = true\n\n[decide.verdicts]\nttl_s = 30\n").unwrap();
    let path = file.to_str().unwrap();
    let environment = [("DETECTOR_TICK_MS", "50")];
    let (code, shown, _) = detector(
        &["config", "show", "--origin", "--config", path],
        &environment,
    );
    assert_eq!(code, Some(0));
    let line = |key: &str| {
        let line = shown
            .lines()
            .map(str::trim)
            .find(|line| line.starts_with(key));
        line.unwrap_or_else(|| panic!("no {key}: {shown}"))
            .to_owned()
    };
    assert!(line("enforce ").ends_with(&format!("{path}:1")), "{shown}");
    assert!(
        line("decide.verdicts.ttl_s ").ends_with(&format!("{path}:4")),
        "{shown}"
    );
    assert!(
        line("tick_ms ").ends_with("environment variable DETECTOR_TICK_MS"),
        "{shown}"
    );
    assert!(line("decide.model.share_min ").contains("0.8"), "{shown}");
    assert!(line("stats_s ").ends_with("default"), "{shown}");
    assert_eq!(detector(&["config", "check", path], &[]).0, Some(0));
    fs::write(&file, "enforce = true\n\n[decide.verdicts]\nttl_s = 0\n").unwrap();
    let (code, _, said) = detector(&["config", "check", path], &[]);
    assert_eq!(code, Some(78), "{said}");
    for part in [
        path,
        "line 4",
        "decide.verdicts.ttl_s is 0",
        "allowed is 1 to",
    ] {
        assert!(said.contains(part), "{said}");
    }
    fs::remove_file(&file).unwrap();
}

#[test]
fn the_unit_is_sound() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/detector.service");
    let text = fs::read_to_string(unit).unwrap();
    let wanted = ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"];
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let held: Vec<&str> = line.unwrap().split(' ').collect();
    assert_eq!(held, wanted, "as the test above starts it");
    // Its program is where a package puts it; here it is the one that was built.
    let folder = std::env::temp_dir().join(format!("detector-unit-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let here = folder.join("detector.service");
    fs::write(
        &here,
        text.replace("/usr/bin/detector", env!("CARGO_BIN_EXE_detector")),
    )
    .unwrap();
    let verify = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&here)
        .output();
    fs::remove_dir_all(&folder).unwrap();
    let Ok(output) = verify.map(|output| (output.status.success(), output.stderr)) else {
        return skip("needs the program systemd-analyze");
    };
    let said = String::from_utf8_lossy(&output.1);
    let about: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("detector"))
        .collect();
    assert!(output.0 && about.is_empty(), "{said}");
}
