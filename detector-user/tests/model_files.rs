//! `detector model`, as a person uses it: import, show, sign, verify.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs::{self, File},
    io::Read as _,
    path::Path,
    process::{Command, Output},
};

use flate2::read::GzDecoder;

fn run(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_detector"));
    command.arg("model").args(words).output().unwrap()
}

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/models")
        .join(format!("{name}.gz"));
    let mut bytes = Vec::new();
    GzDecoder::new(File::open(path).unwrap())
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (all, _) = bytes.as_chunks::<4>();
    all.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Golden rows as a person would write them, with all scores `off` by so much.
fn golden(off: f32) -> String {
    let rows = floats(&fixture("missing.rows"));
    let scores = floats(&fixture("xgboost-multi.ubj.scores"));
    let mut text: Vec<String> = (0..10).map(|n| format!("feature_{n}")).collect();
    text.extend(["a", "b", "c", "d"].map(|class| format!("score:{class}")));
    let mut lines = vec![text.join(",")];
    for (row, scores) in rows.chunks(10).zip(scores.chunks(4)) {
        let row = row.iter().map(|x| {
            if x.is_nan() {
                String::new()
            } else {
                x.to_string()
            }
        });
        let scores = scores.iter().map(|score| (score + off).to_string());
        lines.push(row.chain(scores).collect::<Vec<_>>().join(","));
    }
    lines.join("\n")
}

#[test]
fn a_model_is_imported_shown_signed_and_checked() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (source, model) = (path("model.ubj"), path("model.bin"));
    fs::write(&source, fixture("xgboost-multi.ubj")).unwrap();
    fs::write(path("good.csv"), golden(0.0)).unwrap();
    fs::write(path("bad.csv"), golden(1e-4)).unwrap();
    let import = |golden: &str| {
        let golden = path(golden);
        run(&[
            "import",
            &source,
            "-O",
            &model,
            "--classes",
            "a,b,c,d",
            "--golden",
            &golden,
        ])
    };
    let refused = import("bad.csv");
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("golden row 0"), "{said}");
    assert!(!Path::new(&model).exists());
    assert!(import("good.csv").status.success());

    let shown = run(&["show", &model, "-o", "json"]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(
        shown["card"]["classes"],
        serde_json::json!(["a", "b", "c", "d"])
    );
    assert_eq!(shown["trees"], 32);
    assert!(shown["signed_by"].is_null());

    fs::write(
        path("key.pem"),
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIEIaYEDZPugkWEfXsz/O8C4OWeD4cl9uu+FWNVZbkbGK\n-----END PRIVATE KEY-----\n",
    )
    .unwrap();
    fs::write(
        path("public.pem"),
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAeUKU6tjt0xbr3jWgFhKkKRPJ8/AYGrVg+uh/z5HRFSo=\n-----END PUBLIC KEY-----\n",
    )
    .unwrap();
    let verify = || run(&["verify", &model, "--public-key", &path("public.pem")]);
    assert!(run(&["verify", &model]).status.success());
    assert_eq!(verify().status.code(), Some(1));
    assert!(
        run(&["sign", &model, "--key", &path("key.pem")])
            .status
            .success()
    );
    assert!(verify().status.success());
    let mut bytes = fs::read(&model).unwrap();
    bytes[200] ^= 1;
    fs::write(&model, bytes).unwrap();
    assert_eq!(verify().status.code(), Some(1));
    assert_eq!(run(&["show", &model]).status.code(), Some(1));
}
