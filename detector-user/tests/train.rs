//! `detector train` and `detector eval` as their users meet them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

use std::{
    path::Path,
    process::{Command, Output},
};

use detector_user::{
    dataset::snapshots::{Known, SnapshotsWriter},
    decide::family::Family,
    features,
};
use serde_json::Value;

fn run(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_detector"))
        .args(words)
        .output()
        .unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Three families in eight groups each; the first feature tells them apart, the others nothing.
fn write_rows(path: &Path) {
    let mut writer = SnapshotsWriter::create(path).unwrap();
    let families = [Family::Benign, Family::Flood, Family::Scan];
    for n in 0..2_400_u32 {
        let class = n as usize % families.len();
        let mut row = [0.0; features::COUNT];
        for (place, value) in row.iter_mut().enumerate() {
            *value = (n.wrapping_mul(2_654_435_761) >> (place % 20) & 0xff) as f32;
        }
        row[0] = class as f32 * 10.0 + (n % 7) as f32;
        let known = Known {
            family: families[class],
            group: &format!("{class}-{}", n / 300),
            flow: u64::from(n / 2),
            packets: 1,
        };
        writer.write(&row, known).unwrap();
        // The same row again is dropped.
        if n % 100 == 0 {
            writer.write(&row, known).unwrap();
        }
    }
    writer.finish().unwrap();
}

#[test]
fn the_same_rows_and_seed_give_the_same_model_whatever_the_threads() {
    let folder = tempfile::tempdir().unwrap();
    let rows = folder.path().join("rows.parquet");
    write_rows(&rows);
    let train = |name: &str, threads: &str, seed: &str| {
        let model = folder.path().join(name);
        let card = folder.path().join(format!("{name}.md"));
        let output = run(&[
            "train",
            text(&rows),
            "--learner",
            "forest",
            "--label",
            "family",
            "--group",
            "group",
            "--trees",
            "12",
            "--folds",
            "4",
            "--name",
            "small",
            "--version",
            "1.2.3",
            "--threads",
            threads,
            "--seed",
            seed,
            "--out",
            text(&model),
            "--card",
            text(&card),
        ]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{told}");
        assert!(told.contains("24 duplicates"), "{told}");
        (
            std::fs::read(model).unwrap(),
            std::fs::read_to_string(card).unwrap(),
        )
    };
    let first = train("a", "1", "7");
    assert!(first.1.starts_with("# small 1.2.3\n"), "{}", first.1);
    assert!(first == train("b", "2", "7"));
    assert!(first.0 != train("c", "1", "8").0);

    let model = folder.path().join("a");
    let judged = run(&["eval", text(&model), text(&rows), "-o", "json"]);
    let judged: Value = serde_json::from_slice(&judged.stdout).unwrap();
    assert_eq!(judged["version"], "1.2.3");
    assert!(judged["roc_auc"].as_f64().unwrap() > 0.99, "{judged}");
    assert!(judged["f1_macro"].as_f64().unwrap() > 0.98, "{judged}");
}

#[test]
fn what_is_wrong_with_rows_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let rows = folder.path().join("rows.parquet");
    write_rows(&rows);
    let model = folder.path().join("model.bin");
    let told = |words: &[&str]| {
        let mut all = vec!["train", "--out", text(&model)];
        all.extend(words);
        let output = run(&all);
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let no_column = told(&[text(&rows), "--label", "kind"]);
    assert!(no_column.contains("no column kind"), "{no_column}");
    let no_text = told(&[text(&rows), "--label", "flow"]);
    assert!(no_text.contains("UInt64"), "{no_text}");
    let no_feature = told(&[text(&rows), "--without", "src_ip"]);
    assert!(no_feature.contains("src_ip"), "{no_feature}");
    let garbage = folder.path().join("garbage.parquet");
    std::fs::write(&garbage, "no table").unwrap();
    let no_table = told(&[text(&garbage)]);
    assert!(no_table.contains("garbage.parquet"), "{no_table}");
    assert!(!model.exists());
}
