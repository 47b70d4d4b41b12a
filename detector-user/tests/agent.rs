//! The agent as a user runs it: what it does about attacks, and that nothing which fails around it ends it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

mod lab;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use detector_common::packet::tcp;
use detector_user::model::{Card, Ensemble, Tree, TreeNode, feature_hash};
use lab::{
    Lab,
    frames::{tcp_frame, v4},
    raw::Raw,
    space::{Space, veth},
    wait_for,
};
use serde_json::Value;

const SECONDS: Duration = Duration::from_secs(10);
const SERVER: [u8; 4] = [10, 0, 0, 1];

/// A server with the agent on its interface, and an attacker on the other end of the wire.
struct Stage {
    attacker: Space,
    server: Space,
    folder: PathBuf,
    agent: Child,
    lab: Lab,
}

impl Stage {
    /// Starts the agent with these arguments.
    fn new(arguments: &[&str]) -> Option<Self> {
        Self::on(Lab::new(&[])?, arguments, &[])
    }

    /// Starts the agent with these arguments and variables of the environment.
    fn on(lab: Lab, arguments: &[&str], environment: &[(&str, &str)]) -> Option<Self> {
        let (attacker, server) = (Space::new(), Space::new());
        veth((&attacker, "va"), (&server, "vb"));
        let pins = lab.pins().root().to_owned();
        let folder = std::env::temp_dir().join(format!(
            "detector-agent-{}-{}",
            std::process::id(),
            pins.parent()?.file_name()?.to_string_lossy()
        ));
        fs::create_dir_all(&folder).unwrap();
        let agent = start(&server, &pins, &folder, arguments, environment);
        let stage = Self {
            attacker,
            server,
            folder,
            agent,
            lab,
        };
        stage.hear("ready");
        Some(stage)
    }

    fn pins(&self) -> PathBuf {
        self.lab.pins().root().to_owned()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Waits until the agent says this.
    fn hear(&self, text: &str) {
        let heard = wait_for(SECONDS, || self.log().contains(text));
        assert!(heard, "the agent never said {text:?}:\n{}", self.log());
    }

    fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.join("eve.json")).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Waits for an alert of this family and action.
    fn alert(&self, family: &str, action: &str) -> Value {
        let find = || {
            self.events().into_iter().find(|event| {
                event["detector"]["family"] == family && event["detector"]["action"] == action
            })
        };
        wait_for(SECONDS, || find().is_some());
        find().unwrap_or_else(|| {
            panic!(
                "no {action} of {family}: {:?}\n{}",
                self.events(),
                self.log()
            )
        })
    }

    fn verdicts(&self) -> Vec<Value> {
        let output = self.server.try_run(&format!(
            "{} --pin-dir {} verdicts list -o json",
            env!("CARGO_BIN_EXE_detector"),
            self.pins().display()
        ));
        serde_json::from_slice::<Value>(&output.stdout)
            .ok()
            .and_then(|list| list.as_array().cloned())
            .unwrap_or_default()
    }

    /// One source knocks at many ports, and nobody answers.
    fn scan(&self, source: [u8; 4]) {
        self.attacker.within(|| {
            let raw = Raw::sender("va");
            for port in 1..=200 {
                raw.send(&tcp_frame(
                    v4(source, 40_000),
                    v4(SERVER, port),
                    tcp::SYN,
                    &[],
                ));
            }
        });
    }

    /// Many sources knock at one port, each once.
    fn flood(&self, packets: u32) {
        self.attacker.within(|| {
            let raw = Raw::sender("va");
            for n in 0..packets {
                let [_, b, c, d] = n.to_be_bytes();
                let source = v4([100 + b, c, d, 7], 1024 + (n % 60_000) as u16);
                raw.send(&tcp_frame(source, v4(SERVER, 80), tcp::SYN, &[]));
            }
        });
    }

    fn signal(&self, signal: &str) {
        let done = Command::new("kill")
            .args([signal, &self.agent.id().to_string()])
            .status();
        assert!(done.unwrap().success());
    }

    fn is_running(&mut self) -> bool {
        self.agent.try_wait().unwrap().is_none()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn start(
    server: &Space,
    pins: &Path,
    folder: &Path,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Child {
    let log = fs::File::create(folder.join("log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_detector"));
    command
        .arg("--pin-dir")
        .arg(pins)
        .args([
            "run",
            "-i",
            "vb",
            "--flow-slots",
            "4096",
            "--verdict-slots",
            "64",
        ])
        .args(arguments)
        .env_remove("DETECTOR_CONFIG")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    if !arguments.contains(&"--events") {
        command.arg("--events").arg(folder.join("eve.json"));
    }
    server.within(|| command.spawn().unwrap())
}

#[test]
fn a_scan_is_dropped_and_monitor_only_tells() {
    let Some(stage) = Stage::new(&["--enforce", "--no-model"]) else {
        return;
    };
    stage.scan([10, 0, 0, 9]);
    let alert = stage.alert("scan", "drop");
    assert_eq!(alert["src_ip"], "10.0.0.9");
    assert_eq!(alert["alert"]["action"], "blocked");
    assert_eq!(alert["detector"]["enforced"], true);
    let verdicts = stage.verdicts();
    assert_eq!(verdicts.len(), 1, "{verdicts:?}");
    // The proof that it is in force.
    stage.scan([10, 0, 0, 9]);
    assert!(wait_for(SECONDS, || stage
        .events()
        .iter()
        .any(|event| event["event_type"] == "drop")));
    drop(stage);

    let Some(stage) = Stage::new(&["--no-model"]) else {
        return;
    };
    stage.scan([10, 0, 0, 9]);
    let alert = stage.alert("scan", "drop");
    assert_eq!(alert["alert"]["action"], "allowed");
    assert_eq!(alert["detector"]["enforced"], false);
    assert_eq!(
        alert["detector"]["target"], "10.0.0.9",
        "what would have been done"
    );
    assert!(stage.verdicts().is_empty());
}

#[test]
fn a_spoofed_flood_is_met_by_a_signature_which_is_lifted_when_it_is_over() {
    let Some(stage) = Stage::new(&["--enforce", "--no-model"]) else {
        return;
    };
    stage.flood(5_000);
    let alert = stage.alert("flood", "rate-limit");
    let target = alert["detector"]["target"].as_str().unwrap().to_owned();
    assert!(target.contains("10.0.0.1/32 tcp dport 80"), "{target}");
    assert!(target.contains("syn,!rst,!ack"), "{target}");
    assert_eq!(stage.verdicts()[0]["kind"], "signature");
    assert!(wait_for(Duration::from_secs(30), || stage
        .verdicts()
        .is_empty()));
    stage.alert("flood", "over");
}

#[test]
fn whoever_is_never_to_be_blocked_is_told_of_only() {
    let Some(stage) = Stage::new(&["--enforce", "--no-model"]) else {
        return;
    };
    let output = stage.server.try_run(&format!(
        "{} --pin-dir {} never-block add 10.0.0.9/32",
        env!("CARGO_BIN_EXE_detector"),
        stage.pins().display()
    ));
    assert!(output.status.success(), "{output:?}");
    // The agent reads the list each second.
    std::thread::sleep(Duration::from_millis(1_500));
    stage.scan([10, 0, 0, 9]);
    let alert = stage.alert("scan", "alert");
    assert!(
        alert["detector"]["reason"]
            .as_str()
            .unwrap()
            .contains("never to be blocked")
    );
    assert!(stage.verdicts().is_empty());
}

/// A sound model, but not for rows of this project.
fn model_of_other_features() -> Vec<u8> {
    let features = vec!["height".to_owned()];
    let card = Card {
        name: "other".to_owned(),
        feature_set: "people/1".to_owned(),
        feature_hash: feature_hash("people/1", &features),
        features,
        classes: vec!["benign".to_owned(), "flood".to_owned()],
        ..Card::default()
    };
    let tree = Tree {
        nodes: vec![TreeNode::Leaf],
        values: vec![0.5, 0.5],
    };
    let ensemble = Ensemble::from_trees(card, &[tree]).unwrap();
    ensemble.to_bytes().unwrap()
}

#[test]
fn without_a_model_thresholds_decide_and_it_is_told() {
    let Some(stage) = Stage::new(&["--enforce", "--model", "/nonexistent/model.bin"]) else {
        return;
    };
    stage.hear("/nonexistent/model.bin");
    stage.hear("plain thresholds decide alone");
    assert!(
        stage
            .events()
            .iter()
            .any(|event| event["detector"]["action"] == "fault")
    );
    stage.scan([10, 0, 0, 9]);
    stage.alert("scan", "drop");
    drop(stage);
    // One of other features.
    let file =
        std::env::temp_dir().join(format!("detector-agent-other-{}.bin", std::process::id()));
    fs::write(&file, model_of_other_features()).unwrap();
    let Some(stage) = Stage::new(&["--enforce", "--model", file.to_str().unwrap()]) else {
        return;
    };
    fs::remove_file(&file).unwrap();
    stage.hear("feature set");
    stage.hear("plain thresholds decide alone");
    drop(stage);
    // One that is no model.
    let Some(stage) = Stage::new(&["--enforce", "--model", "/proc/self/exe"]) else {
        return;
    };
    stage.hear("plain thresholds decide alone");
    stage.scan([10, 0, 0, 9]);
    stage.alert("scan", "drop");
}

#[test]
fn a_bad_configuration_leaves_the_former_in_force() {
    let folder = std::env::temp_dir().join(format!("detector-agent-config-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("agent.toml");
    fs::write(&file, "tick_ms = 50\n").unwrap();
    let Some(mut stage) = Stage::new(&["--no-model", "--config", file.to_str().unwrap()]) else {
        return;
    };
    stage.hear("tick 50 ms");
    fs::write(&file, "tick_ms = 50\nscan = 3\n").unwrap();
    stage.signal("-HUP");
    stage.hear("scan");
    stage.hear("the former configuration stays in force");
    fs::write(&file, "tick_ms = 20\n").unwrap();
    stage.signal("-HUP");
    stage.hear("configuration reloaded");
    assert!(stage.is_running());
    stage.scan([10, 0, 0, 9]);
    stage.alert("scan", "drop");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_full_disk_under_the_events_holds_nothing_up() {
    let Some(mut stage) = Stage::new(&["--enforce", "--no-model", "--events", "/dev/full"]) else {
        return;
    };
    stage.scan([10, 0, 0, 9]);
    stage.hear("/dev/full");
    stage.hear("everything else goes on");
    assert!(wait_for(SECONDS, || stage.verdicts().len() == 1));
    assert!(stage.is_running());
}

#[test]
fn an_interface_may_go_and_come_back() {
    let Some(mut stage) = Stage::new(&["--enforce", "--no-model"]) else {
        return;
    };
    stage.attacker.run("ip link delete dev va");
    stage.hear("vb is gone");
    veth((&stage.attacker, "va"), (&stage.server, "vb"));
    assert!(wait_for(SECONDS, || stage
        .log()
        .matches("attached to vb")
        .count()
        == 2));
    stage.scan([10, 0, 0, 9]);
    stage.alert("scan", "drop");
    assert!(stage.is_running());
}

#[test]
fn a_killed_agent_leaves_its_verdicts_and_the_next_goes_on() {
    let Some(mut stage) = Stage::new(&["--enforce", "--no-model"]) else {
        return;
    };
    stage.scan([10, 0, 0, 9]);
    stage.alert("scan", "drop");
    stage.signal("-KILL");
    stage.agent.wait().unwrap();
    assert_eq!(stage.verdicts().len(), 1);
    let pins = stage.pins();
    stage.agent = start(
        &stage.server,
        &pins,
        &stage.folder,
        &["--enforce", "--no-model"],
        &[],
    );
    stage.hear("ready");
    assert_eq!(stage.verdicts().len(), 1);
    stage.scan([10, 0, 0, 8]);
    assert!(wait_for(SECONDS, || stage.verdicts().len() == 2));
    stage.signal("-TERM");
    assert!(stage.agent.wait().unwrap().success(), "{}", stage.log());
    assert_eq!(stage.verdicts().len(), 2, "they outlive the agent");
}

#[test]
fn a_flow_that_closes_is_told_of_once() {
    let Some(stage) = Stage::new(&["--no-model", "--flow-events"]) else {
        return;
    };
    stage.attacker.within(|| {
        let raw = Raw::sender("va");
        let (client, server) = (v4([10, 0, 0, 9], 40_000), v4(SERVER, 80));
        raw.send(&tcp_frame(client, server, tcp::SYN, &[]));
        raw.send(&tcp_frame(client, server, tcp::ACK | tcp::PSH, b"GET /"));
        raw.send(&tcp_frame(client, server, tcp::RST | tcp::ACK, &[]));
    });
    let flows = || -> Vec<Value> {
        let events = stage.events().into_iter();
        events
            .filter(|event| event["event_type"] == "flow")
            .collect()
    };
    assert!(wait_for(SECONDS, || !flows().is_empty()), "{}", stage.log());
    std::thread::sleep(Duration::from_millis(500));
    let flows = flows();
    assert_eq!(flows.len(), 1, "{flows:?}");
    assert_eq!(flows[0]["flow"]["pkts_toserver"], 3);
    assert_eq!(flows[0]["flow"]["reason"], "tcp_close");
    assert_eq!(flows[0]["dest_port"], 80);
    assert!(flows[0]["community_id"].as_str().unwrap().starts_with("1:"));
}

/// What makes a program believe in another time of day, which a file tells it.
fn faketime() -> Option<PathBuf> {
    fs::read_dir("/usr/lib").ok()?.flatten().find_map(|entry| {
        let library = entry.path().join("faketime/libfaketimeMT.so.1");
        library.exists().then_some(library)
    })
}

#[test]
fn the_wall_clock_may_be_set() {
    let Some(lab) = Lab::new(&["faketime"]) else {
        return;
    };
    let library = faketime().expect("the library comes with the program");
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    fs::write(&clock, "+0").unwrap();
    let environment = [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let Some(mut stage) = Stage::on(lab, &["--enforce", "--no-model"], &environment) else {
        return;
    };
    // In years, since a test may run over midnight.
    let mut years = Vec::new();
    for (source, set) in [(9, "+0"), (8, "+800d"), (7, "-800d")] {
        fs::write(&clock, set).unwrap();
        stage.scan([10, 0, 0, source]);
        let address = format!("10.0.0.{source}");
        let dropped = || {
            stage
                .events()
                .into_iter()
                .find(|event| event["src_ip"] == *address && event["detector"]["action"] == "drop")
        };
        assert!(
            wait_for(SECONDS, || dropped().is_some()),
            "{set}: {}",
            stage.log()
        );
        let timestamp = dropped().unwrap()["timestamp"].as_str().unwrap().to_owned();
        years.push(timestamp[..4].parse::<i32>().unwrap());
    }
    assert!(
        years[1] >= years[0] + 2 && years[2] <= years[0] - 2,
        "the agent did not see its clock set: {years:?}"
    );
    // No verdict was cut short or made longer, whatever the clock said when it was written.
    std::thread::sleep(Duration::from_secs(1));
    let verdicts = stage.verdicts();
    assert_eq!(verdicts.len(), 3, "{verdicts:?}");
    for verdict in &verdicts {
        assert_eq!(verdict["expired"], false, "{verdict}");
        let expires = verdict["expires"].as_str().unwrap();
        let year = expires[..4].parse::<i32>().unwrap();
        assert!((years[0]..=years[0] + 1).contains(&year), "{verdict}");
    }
    assert!(stage.is_running());
}
