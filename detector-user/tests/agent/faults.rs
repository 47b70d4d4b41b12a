//! Nothing that fails around it ends it.

use std::{fs, path::PathBuf, time::Duration};

use detector_user::model::{Card, Ensemble, Tree, TreeNode, feature_hash};

use crate::lab::{
    Lab,
    agent::{SECONDS, Stage, start},
    space::veth,
    wait_for,
};

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
    // Events are written by a thread of their own.
    assert!(wait_for(SECONDS, || stage
        .events()
        .iter()
        .any(|event| event["detector"]["action"] == "fault")));
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
        // The library reads its file, which is none of the agent's.
        ("DETECTOR_PRIVILEGES_CONFINE", "false"),
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
