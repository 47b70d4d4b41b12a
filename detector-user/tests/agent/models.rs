//! Models come and go while it runs.

use std::{fs, path::Path};

use detector_user::{
    decide::family::Family,
    registry::{Promotion, Registry, Stage as Place, Store},
};
use serde_json::Value;

use crate::lab::{
    agent::{SECONDS, Stage},
    model::always,
    wait_for,
};

fn configuration(folder: &Path, models: &str) -> String {
    let file = folder.join("agent.toml");
    let text = format!(
        "stats_s = 1\n[models]\nwatch_s = 1\n{models}\n[api]\nlisten = \"off\"\nsocket = \"off\"\n"
    );
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn a_model_file_that_changes_is_taken_and_a_broken_one_is_not() {
    let home = tempfile::tempdir().unwrap();
    let model = home.path().join("model.bin");
    fs::write(&model, always(Family::Benign, "1.0.0")).unwrap();
    let config = configuration(home.path(), "");
    let arguments = ["--config", &config, "--model", model.to_str().unwrap()];
    let Some(mut stage) = Stage::new(&arguments) else {
        return;
    };
    stage.hear("model edge 1.0.0");
    let next = always(Family::Benign, "1.1.0");
    fs::write(&model, &next[..next.len() / 2]).unwrap();
    stage.hear("the former model stays in force");
    fs::write(&model, &next).unwrap();
    stage.hear("model edge 1.1.0");
    fs::remove_file(&model).unwrap();
    assert!(wait_for(SECONDS, || {
        stage.log().matches("the former model stays").count() == 2
    }));
    assert!(stage.is_running());
}

#[test]
fn what_a_registry_has_in_production_is_run_and_its_staging_tried_in_the_shadow() {
    let home = tempfile::tempdir().unwrap();
    let address = home.path().join("registry").display().to_string();
    let registry = Registry::new(Store::open(&address).unwrap());
    for (family, version) in [
        (Family::Benign, "1.0.0"),
        (Family::Scan, "1.1.0"),
        (Family::Benign, "1.2.0"),
    ] {
        registry.push(&always(family, version), "now").unwrap();
    }
    let put = |version: &str, stage| {
        let entry = registry.entry("edge", &version.parse().unwrap()).unwrap();
        let promotion = Promotion {
            stage,
            reason: "of a test",
            gate: None,
            at: "now",
        };
        registry.promote(&entry, &promotion).unwrap();
    };
    put("1.0.0", Place::Production);
    put("1.1.0", Place::Staging);
    let settings = format!("registry = {address:?}\nname = \"edge\"\nshadow = \"staging\"");
    let config = configuration(home.path(), &settings);
    let Some(mut stage) = Stage::new(&["--config", &config, "--enforce"]) else {
        return;
    };
    stage.hear("model edge 1.0.0");
    stage.hear("in the shadow: model edge 1.1.0");
    // The rules see a scan, too: both would deny, but only the shadow's model finds flows.
    stage.scan([10, 0, 0, 9]);
    stage.alert("scan", "drop");
    let compared = || -> Option<Value> {
        let mut events = stage.events().into_iter().rev();
        let shadow = events.find_map(|event| event["stats"]["detector"].get("shadow").cloned());
        shadow.filter(|shadow| shadow["found_by_shadow_alone"].as_u64() > Some(0))
    };
    assert!(
        wait_for(SECONDS, || compared().is_some()),
        "{}",
        stage.log()
    );
    let shadow = compared().unwrap();
    assert_eq!(shadow["model"], "edge 1.1.0", "{shadow}");
    assert_eq!(shadow["found_by_it_alone"], 0, "{shadow}");
    assert_eq!(shadow["denied_by_both"], 1, "{shadow}");
    put("1.2.0", Place::Production);
    stage.hear("model edge 1.2.0");
    // A version that the registry cannot hand out is tried again until it can.
    let file = home.path().join("registry/edge/versions/1.0.0/model.bin");
    let hidden = home.path().join("hidden");
    fs::rename(&file, &hidden).unwrap();
    assert_eq!(
        registry
            .roll_back("edge", "of a test", "now")
            .unwrap()
            .to_string(),
        "1.0.0"
    );
    stage.hear("has no file of edge 1.0.0");
    fs::rename(&hidden, &file).unwrap();
    stage.hear("hands out models again");
    stage.hear_times("model edge 1.0.0", 2);
    // A registry that goes away is told of, and everything goes on.
    let away = home.path().join("away");
    fs::rename(&address, &away).unwrap();
    fs::write(&address, "no directory").unwrap();
    stage.hear_times("the model in force stays", 2);
    fs::remove_file(&address).unwrap();
    fs::rename(&away, &address).unwrap();
    stage.hear_times("hands out models again", 2);
    assert!(stage.is_running());
}

#[test]
fn a_new_model_that_raises_far_more_alerts_gives_way_to_the_former() {
    let home = tempfile::tempdir().unwrap();
    let model = home.path().join("model.bin");
    fs::write(&model, always(Family::Benign, "1.0.0")).unwrap();
    let config = configuration(home.path(), "probation_alerts_min = 2");
    let arguments = ["--config", &config, "--model", model.to_str().unwrap()];
    let Some(stage) = Stage::new(&arguments) else {
        return;
    };
    fs::write(&model, always(Family::WebAttack, "2.0.0")).unwrap();
    stage.hear("model edge 2.0.0");
    for source in 20..40 {
        stage.scan([10, 0, 0, source]);
    }
    stage.hear("edge 1.0.0 returns");
    let told = || {
        stage
            .events()
            .iter()
            .any(|event| event["detector"]["action"] == "fault")
    };
    assert!(wait_for(SECONDS, told));
}

#[test]
fn a_model_that_is_not_signed_as_demanded_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let model = home.path().join("model.bin");
    fs::write(&model, always(Family::Benign, "1.0.0")).unwrap();
    let key = home.path().join("key.pem");
    // The public key of RFC 8410, 10.1.
    fs::write(
        &key,
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n",
    )
    .unwrap();
    let config = configuration(home.path(), &format!("public_key = {key:?}"));
    let arguments = ["--config", &config, "--model", model.to_str().unwrap()];
    let Some(stage) = Stage::new(&arguments) else {
        return;
    };
    stage.hear("the model is not signed");
    stage.hear("plain thresholds decide alone");
}
