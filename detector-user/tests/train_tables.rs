//! `detector train` and `detector eval` on tables that others made, and on what is no table.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

fn run(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_detector"))
        .args(words)
        .output()
        .unwrap()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn name(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

fn answer(words: &[&str]) -> (Value, String) {
    let mut all = words.to_vec();
    all.extend(["-o", "json"]);
    let output = run(&all);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    (serde_json::from_slice(&output.stdout).unwrap(), told)
}

/// The exit code and what was said, of a command that fails.
fn refused(words: &[&str]) -> (i32, String) {
    let output = run(words);
    assert!(!output.status.success(), "{words:?} did not fail");
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// A number that looks like chance.
fn noise(n: u32) -> u32 {
    n.wrapping_mul(2_654_435_761).rotate_left(13) >> 20
}

/// Rows of three classes that two features tell apart, with an address, a time and a word.
fn table(rows: u32, separator: &str, header: &[&str]) -> String {
    let mut text = header.join(separator);
    text.push('\n');
    for n in 0..rows {
        let class = n % 3;
        let cells = [
            format!("10.0.0.{}", n % 250),
            format!("{}", 1_000 + n),
            format!("{}", class * 500 + noise(n) % 700),
            format!("{}", noise(n + 7) % 900),
            ["tcp", "udp", "icmp"][((class + noise(n + 3) % 2) % 3) as usize].to_owned(),
            ["BENIGN", "flood", "scan"][class as usize].to_owned(),
        ];
        writeln!(text, "{}", cells.join(separator)).unwrap();
    }
    text
}

const HEADER: [&str; 6] = ["src_ip", "ts", "bytes", "packets", "proto", "Label"];

#[test]
fn every_learner_learns_and_says_the_same_again() {
    let folder = Folder::new();
    let data = folder.write("rows.csv", table(900, ",", &HEADER));
    for (learner, least) in [("forest", 0.6), ("boost", 0.6), ("linfa", 0.5)] {
        let once = |name: &str, threads: &str| {
            let out = folder.name(name);
            let (told, _) = answer(&[
                "train",
                &data,
                "--label",
                "Label",
                "--learner",
                learner,
                "--seed",
                "3",
                "--threads",
                threads,
                "--trees",
                "20",
                "--out",
                &out,
            ]);
            (told, std::fs::read(out).unwrap())
        };
        let (told, first) = once("a.bin", "1");
        // The crate behind linfa breaks ties by chance.
        assert!(
            learner == "linfa" || first == once("b.bin", "2").1,
            "{learner}: other bytes"
        );
        assert_eq!(
            told["features"],
            serde_json::json!(["bytes", "packets", "proto"])
        );
        assert_eq!(
            told["training"]["encodings"]["proto"],
            serde_json::json!(["icmp", "tcp", "udp"])
        );
        assert_eq!(told["left_out"]["src_ip"], "identity");
        let held_out = &told["held_out"];
        assert!(
            held_out["f1_macro"].as_f64().unwrap() > least,
            "{learner}: {held_out}"
        );
        let page = folder.name("page.html");
        let (judged, _) = answer(&[
            "eval",
            &folder.name("a.bin"),
            &data,
            "--label",
            "Label",
            "--report",
            &page,
        ]);
        for key in [
            "accuracy",
            "roc_auc",
            "pr_auc",
            "f1_macro",
            "f1_weighted",
            "kappa",
            "log_loss",
            "brier",
        ] {
            assert!(judged[key].is_f64(), "{learner}: {key} is {}", judged[key]);
        }
        assert_eq!(
            judged["classes"],
            serde_json::json!(["BENIGN", "flood", "scan"])
        );
        assert!(std::fs::read_to_string(page).unwrap().contains("<polyline"));
        let (drift, _) = answer(&["drift", &folder.name("a.bin"), &data, "--only", "BENIGN"]);
        assert_eq!(drift["features_moved"], 0, "{learner}: {drift}");
        let looked_at = drift["features"].as_array().unwrap();
        assert!(!looked_at.is_empty(), "{learner}: {drift}");
    }
}

#[test]
fn an_isolation_forest_finds_what_is_odd() {
    let folder = Folder::new();
    let mut text = "x,y,Label\n".to_owned();
    for n in 0..600 {
        let odd = n % 20 == 0;
        let far = if odd { 9_000 } else { 0 };
        let label = if odd { "DoS" } else { "Normal" };
        writeln!(
            text,
            "{},{},{label}",
            noise(n) % 500 + far,
            noise(n + 5) % 500 + far
        )
        .unwrap();
    }
    let data = folder.write("rows.csv", text);
    let out = folder.name("odd.bin");
    answer(&[
        "train",
        &data,
        "--label",
        "Label",
        "--learner",
        "isolation",
        "--contamination",
        "0.02",
        "--out",
        &out,
    ]);
    let drift = |only| answer(&["drift", &out, &data, "--only", only]).0;
    assert_eq!(drift("Normal")["features_moved"], 0);
    assert_eq!(drift("anomaly")["features_moved"], 2);
    let (judged, _) = answer(&["eval", &out, &data, "--label", "Label"]);
    assert!(judged["roc_auc"].as_f64().unwrap() > 0.99, "{judged}");
    assert!(judged["f1_macro"].as_f64().unwrap() > 0.8, "{judged}");
    // Without labels there is nothing to judge by, and yet something to learn from.
    let bare = folder.write("bare.csv", "x,y\n1,2\n3,4\n5,6\n2,2\n");
    answer(&["train", &bare, "--learner", "isolation", "--out", &out]);
    let (judged, _) = answer(&["eval", &out, &data, "--label", "Label"]);
    assert!(judged["roc_auc"].is_f64());
}

#[test]
fn zeek_logs_with_labels_behind_blanks_are_read() {
    let folder = Folder::new();
    let mut log = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n\
                   #fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_p\tproto\tduration\torig_bytes\ttunnel_parents   label   detailed-label\n"
        .to_owned();
    for n in 0..300 {
        let label = if n % 3 == 0 {
            "Benign   -"
        } else {
            "Malicious   PartOfAHorizontalPortScan"
        };
        let duration = if n % 7 == 0 {
            "-".to_owned()
        } else {
            format!("{}.5", noise(n) % 90)
        };
        writeln!(
            log,
            "{n}.25\tC{n}\t10.0.0.1\t{}\t{}\ttcp\t{duration}\t{}\t-   {label}",
            40_000 + n,
            20 + n % 3,
            noise(n + 2)
        )
        .unwrap();
    }
    log.push_str("#close\t2019-03-15-14-50-49\n");
    let plain = folder.write("conn.log.labeled", &log);
    let packed = folder.write("conn.log.zst", zstd::encode_all(log.as_bytes(), 1).unwrap());
    let out = folder.name("m.bin");
    let (told, _) = answer(&[
        "train", &plain, "--label", "label", "--split", "time", "--out", &out,
    ]);
    assert_eq!(
        told["features"],
        serde_json::json!(["id.resp_p", "proto", "duration", "orig_bytes"])
    );
    let (judged, _) = answer(&["eval", &out, &packed, "--label", "label"]);
    assert_eq!(
        judged["classes"],
        serde_json::json!(["Benign", "Malicious"])
    );
    assert!(judged["roc_auc"].as_f64().unwrap() > 0.9);
}

#[test]
fn a_model_of_one_dialect_judges_another() {
    let folder = Folder::new();
    let original = [
        "Destination Port",
        "Flow Duration",
        "Total Fwd Packets",
        "Total Backward Packets",
        "Flow Bytes/s",
        "Flow IAT Mean",
        "Min Packet Length",
        "Init_Win_bytes_forward",
        "act_data_pkt_fwd",
        "Fwd Header Length",
        "CWE Flag Count",
        "Label",
    ];
    let short = [
        "dst_port",
        "flow_duration",
        "tot_fwd_pkts",
        "tot_bwd_pkts",
        "flow_byts_s",
        "flow_iat_mean",
        "pkt_len_min",
        "init_fwd_win_byts",
        "fwd_act_data_pkts",
        "fwd_header_len",
        "cwr_flag_count",
        "Label",
    ];
    let rows = |header: &[&str], benign: &str| {
        let mut text = header.join(",") + "\n";
        for n in 0..300_u32 {
            let class = n % 2;
            let mut cells: Vec<String> = (0..11)
                .map(|k| (noise(n + k) % 500 + class * 300).to_string())
                .collect();
            if n == 10 {
                cells[4] = "Infinity".to_owned();
                cells[1] = "-5".to_owned();
            }
            cells.push(if class == 0 {
                benign.to_owned()
            } else {
                "DDoS".to_owned()
            });
            writeln!(text, "{}", cells.join(",")).unwrap();
        }
        text
    };
    let first = folder.write("original.csv", rows(&original, "BENIGN"));
    let second = folder.write("short.csv", rows(&short, "Benign"));
    let out = folder.name("m.bin");
    let (told, _) = answer(&["train", &first, "--out", &out]);
    assert_eq!(told["counts"]["infinite_values"], 1);
    assert_eq!(told["counts"]["absurd_values"], 1);
    let (judged, _) = answer(&["eval", &out, &second]);
    assert_eq!(judged["unknown_classes"], serde_json::json!([]));
    assert!(judged["roc_auc"].as_f64().unwrap() > 0.9, "{judged}");
}

#[test]
fn duplicates_broken_rows_and_maps_are_counted() {
    let folder = Folder::new();
    let mut text = table(300, ";", &HEADER);
    let twice: Vec<String> = text.lines().skip(1).take(5).map(str::to_owned).collect();
    writeln!(text, "{}\nbroken;row", twice.join("\n")).unwrap();
    let data = folder.write("rows.csv", text);
    let out = folder.name("m.bin");
    let (told, said) = answer(&[
        "train",
        &data,
        "--label",
        "label",
        "--map",
        "BENIGN=benign",
        "--map",
        "*=attack",
        "--out",
        &out,
    ]);
    assert!(told["counts"]["duplicates"].as_u64().unwrap() >= 5);
    assert_eq!(told["counts"]["bad_rows"], 1);
    assert!(said.contains("line 307"), "{said}");
    assert_eq!(
        told["held_out"]["classes"],
        serde_json::json!(["benign", "attack"])
    );
    // The model remembers the map.
    let (judged, _) = answer(&["eval", &out, &data]);
    assert_eq!(judged["classes"], serde_json::json!(["benign", "attack"]));
    let (code, said) = refused(&[
        "train",
        &data,
        "--label",
        "label",
        "--bad-rows",
        "refuse",
        "--out",
        &out,
    ]);
    assert_eq!(code, 1);
    assert!(
        said.contains("line 307") && said.contains("--bad-rows skip"),
        "{said}"
    );
}

#[test]
fn what_is_no_table_is_refused_with_a_remedy() {
    let folder = Folder::new();
    let out = folder.name("m.bin");
    let good = folder.write("good.csv", table(300, ",", &HEADER));
    let train = |data: &str, more: &[&str]| {
        let mut words = vec!["train", data, "--out", &out];
        words.extend(more);
        refused(&words)
    };
    let empty = folder.write("empty.csv", "");
    let bare = folder.write("bare.csv", "a,b,Label\n");
    let one = folder.write("one.csv", "a,b,Label\n1,2,x\n2,3,x\n3,4,x\n");
    let mut many = "a,b,Label\n".to_owned();
    for n in 0..300 {
        writeln!(many, "{n},{},c{n}", n % 7).unwrap();
    }
    let many = folder.write("many.csv", many);
    let garbage = folder.write("garbage.parquet", [0_u8, 1, 2, 3, 0, 9, 8, 7]);
    let cut = folder.write("cut.parquet", b"PAR1nothing more");
    for (data, more, code, said) in [
        (&empty, &[][..], 1, "is empty"),
        (&bare, &[], 1, "no row that can be used"),
        (&one, &[], 1, "one class only"),
        (&many, &[], 1, "300 different labels"),
        (&garbage, &[], 1, "garbage.parquet"),
        (&cut, &[], 1, "cut.parquet"),
        (&good, &["--label", "kind"], 2, "no column \"kind\""),
        (&good, &["--without", "nothing"], 2, "--without"),
        (&good, &["--benign", "quiet"], 2, "--benign"),
        (&good, &["--split", "group"], 2, "--group"),
        (&good, &["--contamination", "0.1"], 2, "isolation"),
        (&good, &["--trees", "0"], 1, "number of trees"),
        (&folder.name("absent.csv"), &[], 2, "absent.csv"),
        (&folder.name("*.nothing"), &[], 2, "*.nothing"),
    ] {
        let found = train(data, more);
        assert_eq!(found.0, code, "{data} {more:?}: {}", found.1);
        assert!(found.1.contains(said), "{data} {more:?}: {}", found.1);
        assert!(!folder.path("m.bin").exists());
    }
    answer(&["train", &good, "--out", &out]);
    let other = folder.write("other.csv", "size,length,Label\n1,2,BENIGN\n3,4,flood\n");
    let (code, said) = refused(&["eval", &out, &other]);
    assert_eq!(code, 1);
    assert!(
        said.contains("bytes") && said.contains("--missing-features"),
        "{said}"
    );
    let strangers = folder.write(
        "strangers.csv",
        table(30, ",", &HEADER)
            .replace("BENIGN", "a")
            .replace("flood", "b")
            .replace("scan", "c"),
    );
    let (_, said) = refused(&["eval", &out, &strangers]);
    assert!(said.contains("--map"), "{said}");
    let (_, said) = refused(&["eval", &good, &good]);
    assert!(said.contains("good.csv"), "{said}");
}

#[test]
fn smote_search_and_groups_work_together() {
    let folder = Folder::new();
    let mut text = "capture,x,y,Label\n".to_owned();
    for n in 0..400_u32 {
        let rare = n % 10 == 0;
        let label = if rare { "attack" } else { "benign" };
        writeln!(
            text,
            "c{},{},{},{label}",
            n % 40 / 4,
            noise(n) % 500 + u32::from(rare) * 400,
            noise(n + 9) % 300
        )
        .unwrap();
    }
    let data = folder.write("rows.csv", text);
    let out = folder.name("m.bin");
    let (told, _) = answer(&[
        "train",
        &data,
        "--split",
        "capture",
        "--smote",
        "--search",
        "random",
        "--trees",
        "10",
        "--out",
        &out,
        "--calibration",
        "platt",
        "--card",
        &folder.name("card.md"),
    ]);
    assert_eq!(told["training"]["split"], "group");
    assert_eq!(told["training"]["calibration"], "platt");
    assert_eq!(told["training"]["searched"].as_array().unwrap().len(), 8);
    assert!(Path::new(&folder.name("card.md")).exists());
}
