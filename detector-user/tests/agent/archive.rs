//! The archive of flows.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use arrow::array::{Array, StringArray};
use detector_user::decide::family::Family;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::lab::model::always;
use crate::lab::{
    agent::{SECONDS, Stage},
    wait_for,
};

fn configuration(home: &Path, archive: &Path, flush_s: u32) -> String {
    let file = home.join(format!("agent-{flush_s}.toml"));
    let text =
        format!("[archive]\nfolder = {archive:?}\nflush_s = {flush_s}\n[api]\nsocket = \"off\"\n");
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

/// The files that a reader sees.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let is_seen = |path: &PathBuf| {
        !path
            .file_name()
            .unwrap()
            .as_encoded_bytes()
            .starts_with(b".")
    };
    paths.filter(is_seen).collect()
}

/// How often a column of text has each value, in all files: each must be whole.
pub fn counted(folder: &Path, column: &str) -> BTreeMap<Option<String>, usize> {
    let mut counted = BTreeMap::new();
    for path in files(folder) {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap());
        for batch in reader.unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let texts = batch.column_by_name(column).unwrap().as_any();
            let texts: &StringArray = texts.downcast_ref().unwrap();
            for text in texts {
                *counted.entry(text.map(str::to_owned)).or_default() += 1;
            }
        }
    }
    counted
}

fn rows(folder: &Path) -> usize {
    counted(folder, "source_address").values().sum()
}

#[test]
fn every_flow_that_ends_is_a_row_that_can_be_learnt_from() {
    let home = tempfile::tempdir().unwrap();
    let archive = home.path().join("flows");
    let model = home.path().join("model.bin");
    fs::write(&model, always(Family::Scan, "1.0.0")).unwrap();
    let config = configuration(home.path(), &archive, 1);
    let model = model.to_str().unwrap();
    let Some(stage) = Stage::new(&["--config", &config, "--model", model, "--flow-events"]) else {
        return;
    };
    stage.closed_flows([10, 0, 0, 9], 20_000..20_120);
    stage.alert("scan", "drop");
    stage.closed_flows([10, 0, 0, 9], 20_120..20_150);
    assert!(
        wait_for(SECONDS, || rows(&archive) == 150),
        "{}",
        stage.log()
    );
    let flows = stage.events().into_iter();
    assert_eq!(
        flows.filter(|event| event["event_type"] == "flow").count(),
        150
    );
    let some = |text: &str| Some(text.to_owned());
    let sources = counted(&archive, "source_address");
    assert_eq!(sources, BTreeMap::from([(some("10.0.0.9"), 150)]));
    let families = counted(&archive, "model_family");
    assert_eq!(families, BTreeMap::from([(some("scan"), 150)]));
    let alerts = counted(&archive, "alert_family");
    assert!(alerts[&some("scan")] >= 30, "{alerts:?}");
    let verdicts = counted(&archive, "verdict");
    assert_eq!(verdicts, BTreeMap::from([(None, 150)]), "it only tells");
    let written = "detector_archive_rows_written_total";
    assert!(wait_for(SECONDS, || stage.metric(written) == Some(150.0)));
    assert_eq!(
        stage.metric("detector_archive_rows_offered_total"),
        Some(150.0)
    );
    assert_eq!(stage.metric("detector_archive_rows_pending"), Some(0.0));
    assert!(stage.metric("detector_archive_stored_bytes") > Some(1000.0));
    // Its files are tables as any other.
    let mut train = Command::new(env!("CARGO_BIN_EXE_detector"));
    train.arg("train").args(files(&archive));
    train.args(["--learner", "isolation", "--out"]);
    let output = train.arg(home.path().join("odd.bin")).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("150 rows read"), "{told}");
    for column in ["alert_family", "model_family", "model_score", "verdict"] {
        assert!(
            told.contains(&format!("{column} (derived")),
            "no feature: {told}"
        );
    }
}

#[test]
fn a_flow_that_closes_and_begins_again_within_a_tick_is_a_row_each_time() {
    let home = tempfile::tempdir().unwrap();
    let archive = home.path().join("flows");
    let config = configuration(home.path(), &archive, 1);
    let Some(stage) = Stage::new(&["--no-model", "--config", &config]) else {
        return;
    };
    for _ in 0..40 {
        stage.closed_flows([10, 0, 0, 8], 20_000..20_010);
    }
    let arrived = wait_for(SECONDS, || rows(&archive) >= 400);
    // Nor is any told of twice.
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(rows(&archive), 400, "{arrived}: {}", stage.log());
    let flows = counted(&archive, "community_id");
    assert!(flows.values().all(|times| *times == 40), "{flows:?}");
}

#[test]
fn a_restart_makes_another_part_and_a_kill_leaves_whole_files_only() {
    let home = tempfile::tempdir().unwrap();
    let archive = home.path().join("flows");
    let config = configuration(home.path(), &archive, 3600);
    let arguments = ["--no-model", "--config", &config];
    let Some(mut stage) = Stage::new(&arguments) else {
        return;
    };
    let pending = |stage: &Stage, rows| {
        let held = || {
            stage.metric("detector_archive_rows_pending") == Some(rows)
                && stage.metric("detector_archive_rows_waiting") == Some(0.0)
        };
        assert!(wait_for(SECONDS, held), "{}", stage.log());
    };
    stage.closed_flows([10, 0, 0, 9], 20_000..20_040);
    pending(&stage, 40.0);
    assert!(files(&archive).is_empty(), "not before it is whole");
    stage.signal("-TERM");
    assert!(stage.agent.wait().unwrap().success(), "{}", stage.log());
    assert_eq!((files(&archive).len(), rows(&archive)), (1, 40));
    stage.restart(&arguments);
    stage.closed_flows([10, 0, 0, 9], 20_040..20_060);
    // Those that still stand in the flow table are told again: nobody knows what became of the rows of the agent before.
    pending(&stage, 60.0);
    stage.signal("-KILL");
    stage.agent.wait().unwrap();
    assert_eq!((files(&archive).len(), rows(&archive)), (1, 40));
    assert_eq!(
        fs::read_dir(&archive).unwrap().count(),
        2,
        "one is not complete"
    );
    stage.restart(&arguments);
    stage.hear("removed 1 unfinished file");
    stage.closed_flows([10, 0, 0, 9], 20_060..20_070);
    pending(&stage, 70.0);
    stage.signal("-TERM");
    assert!(stage.agent.wait().unwrap().success(), "{}", stage.log());
    assert_eq!((files(&archive).len(), rows(&archive)), (2, 110));
    let distinct = counted(&archive, "community_id").len();
    assert_eq!(distinct, 70, "what the kill cost is there again");
}

#[test]
fn a_folder_that_cannot_be_costs_rows_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let config = configuration(home.path(), Path::new("/proc/nowhere/flows"), 1);
    let Some(mut stage) = Stage::new(&["--enforce", "--no-model", "--config", &config]) else {
        return;
    };
    stage.hear("archive folder /proc/nowhere/flows");
    stage.hear("everything else goes on");
    stage.closed_flows([10, 0, 0, 8], 20_000..20_005);
    let dropped = "detector_archive_rows_dropped_total{reason=\"unwritable\"}";
    assert!(wait_for(SECONDS, || stage.metric(dropped) == Some(5.0)));
    stage.scan([10, 0, 0, 9]);
    stage.alert("scan", "drop");
    assert!(wait_for(SECONDS, || !stage.verdicts().is_empty()));
    assert!(stage.is_running());
    assert_eq!(stage.log().matches("/proc/nowhere").count(), 1, "told once");
}
