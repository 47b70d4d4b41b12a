//! What it does about attacks.

use std::{fs, path::Path, time::Duration};

use detector_common::packet::tcp;
use serde_json::Value;

use crate::lab::{
    Lab,
    agent::{SECONDS, SERVER, Stage},
    frames::{tcp_frame, v4},
    raw::Raw,
    wait_for,
};

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

#[test]
fn what_is_configured_never_to_be_blocked_is_listed_until_it_no_longer_is() {
    let Some(lab) = Lab::new(&[]) else { return };
    let write = |path: &Path, list: &str| {
        let api = "[api]\nlisten = \"off\"\nsocket = \"off\"\n";
        let text = format!("enforce = true\nnever_block = [{list}]\n{api}");
        fs::write(path, text).unwrap();
    };
    let furnish = |folder: &Path| {
        let path = folder.join("detector.toml");
        write(&path, "\"10.0.0.8/31\", \"10.7.0.0/16\"");
        vec![
            "--no-model".to_owned(),
            "--config".to_owned(),
            path.display().to_string(),
        ]
    };
    let Some(stage) = Stage::furnished(lab, furnish, &[]) else {
        return;
    };
    let listed = || -> Vec<String> {
        let output = stage.server.try_run(&format!(
            "{} --pin-dir {} never-block list -o json",
            env!("CARGO_BIN_EXE_detector"),
            stage.pins().display()
        ));
        let all: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        let configured = all.iter().filter(|one| one["origin"] == "configured");
        configured
            .map(|one| one["prefix"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(listed(), ["10.0.0.8/31", "10.7.0.0/16"]);
    stage.scan([10, 0, 0, 9]);
    stage.alert("scan", "alert");
    assert!(stage.verdicts().is_empty());
    write(&stage.folder.join("detector.toml"), "\"10.7.0.0/16\"");
    stage.signal("-HUP");
    stage.hear("configuration reloaded");
    assert_eq!(listed(), ["10.7.0.0/16"]);
    stage.scan([10, 0, 0, 8]);
    stage.alert("scan", "drop");
    // A list that is none leaves the former in force.
    write(&stage.folder.join("detector.toml"), "\"10.7.0.0/33\"");
    stage.signal("-HUP");
    stage.hear("10.7.0.0/33");
    assert_eq!(listed(), ["10.7.0.0/16"]);
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
