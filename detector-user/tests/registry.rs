//! A registry by its commands: a model is trained, judged, pushed, promoted through the gate, and rolled back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

#[path = "registry/moto.rs"]
mod moto;
mod needs;

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Output},
};

fn command(home: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_detector"));
    command
        .args(line.split_whitespace())
        .current_dir(home)
        .env("DETECTOR_MODELS_REGISTRY", home.join("registry"));
    command
}

fn detector(home: &Path, line: &str) -> Output {
    command(home, line).output().unwrap()
}

fn done(home: &Path, line: &str) -> String {
    let output = detector(home, line);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(home: &Path, line: &str, code: i32) -> String {
    let output = detector(home, line);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{line}: {errors}");
    errors
}

/// Rows whose second feature tells attacks from the rest but for a share of them.
fn table(path: &Path, rows: u32, wrong_of_ten: u32) {
    let mut text = "Flow Duration,Total Fwd Packet,Label\n".to_owned();
    for n in 0..rows {
        let attack = n % 2 == 0;
        let looks = attack != (n / 2 % 10 < wrong_of_ten);
        let packets = if looks { 100 + n % 37 } else { n % 31 };
        let label = if attack { "flood" } else { "BENIGN" };
        writeln!(text, "{},{packets},{label}", n * 7919 % 1000).unwrap();
    }
    fs::write(path, text).unwrap();
}

#[test]
fn a_model_goes_through_the_gate_or_is_told_why_not() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    table(&home.join("good.csv"), 3_000, 0);
    table(&home.join("bad.csv"), 3_000, 4);
    for (version, data) in [("1.0.0", "good"), ("1.1.0", "bad"), ("1.2.0", "good")] {
        done(
            home,
            &format!(
                "train {data}.csv --label Label --name edge --version {version} --trees 5 --out {version}.bin"
            ),
        );
        let figures = done(
            home,
            &format!("eval {version}.bin good.csv --label Label -o json"),
        );
        fs::write(home.join(format!("{version}.json")), figures).unwrap();
        done(home, &format!("model push {version}.bin"));
    }
    let card = done(home, "model card 1.0.0.bin");
    assert!(card.starts_with("# edge 1.0.0\n"), "{card}");
    assert!(
        card.contains("Total Fwd Packet alone tells the classes apart")
            || card.contains("fwd_packets alone tells the classes apart"),
        "{card}"
    );
    let unseen = refused(home, "model promote edge 1.0.0", 2);
    assert!(unseen.contains("--figures"), "{unseen}");
    done(home, "model promote edge 1.0.0 --figures 1.0.0.json");
    let alone = refused(home, "model promote edge 1.2.0 --figures 1.2.0.json", 2);
    assert!(alone.contains("--production-figures"), "{alone}");
    let worse = refused(
        home,
        "model promote edge 1.1.0 --figures 1.1.0.json --production-figures 1.0.0.json \
         --roc-auc-min 0 --f1-macro-min 0 --kappa-min -1 --false-alarm-rate-max 1",
        1,
    );
    assert!(worse.contains("that of the model in production"), "{worse}");
    let low = refused(
        home,
        "model promote edge 1.2.0 --figures 1.2.0.json --production-figures 1.0.0.json --roc-auc-min 1.5",
        1,
    );
    assert!(low.contains("where 1.5 is the least"), "{low}");
    let listed = done(home, "model list edge -o json");
    assert_eq!(
        listed.matches("\"production\"").count(),
        1,
        "nothing else went there: {listed}"
    );
    done(
        home,
        "model promote edge 1.2.0 --figures 1.2.0.json --production-figures 1.0.0.json --worse-max 0.01",
    );
    let back = done(home, "model rollback edge --reason worse");
    assert!(back.contains("edge 1.0.0"), "{back}");
    let history = done(home, "model history edge");
    assert_eq!(history.lines().count(), 4, "{history}");
    let different = done(home, "model diff edge 1.0.0 1.1.0");
    assert!(different.contains("data_fingerprint"), "{different}");
}

#[test]
fn an_s3_server_serves_too() {
    let Some(server) = moto::Server::start() else {
        return needs::skip("needs moto: `cargo xtask setup`");
    };
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let asked = |line: &str| {
        let output = server.client(command(home, line)).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            errors,
        )
    };
    let done = |line: &str| {
        let (code, said, errors) = asked(line);
        assert_eq!(code, Some(0), "{line}: {errors}");
        said
    };
    table(&home.join("rows.csv"), 500, 0);
    for version in ["1.9.0", "1.10.0"] {
        done(&format!(
            "train rows.csv --label Label --name edge --version {version} --trees 2 --out {version}.bin"
        ));
        done(&format!("model push {version}.bin"));
    }
    let (_, _, exists) = asked("model push 1.9.0.bin");
    assert!(exists.contains("in the registry already"), "{exists}");
    let figures = done("eval 1.9.0.bin rows.csv --label Label -o json");
    fs::write(home.join("figures.json"), figures).unwrap();
    done("model promote edge 1.9.0 --figures figures.json");
    done(
        "model promote edge 1.10.0 --figures figures.json --production-figures figures.json --worse-max 0.01",
    );
    assert!(done("model rollback edge --reason worse").contains("edge 1.9.0"));
    assert_eq!(done("model history edge").lines().count(), 4);
    let listed = done("model list edge -o json");
    assert_eq!(listed.matches("\"production\"").count(), 1, "{listed}");
}
