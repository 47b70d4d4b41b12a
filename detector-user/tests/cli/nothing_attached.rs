//! Commands where nothing is attached, or nothing can be.

use crate::{code, command, errors, one_error, run, text};

#[test]
fn with_nothing_attached_commands_end_with_69_and_say_where_they_looked() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("none");
    let cases: &[&[&str]] = &[
        &["status"],
        &["flows"],
        &["flows", "--services"],
        &["detach"],
        &["detach", "-i", "lo"],
        &["verdicts", "list"],
        &[
            "verdicts",
            "add",
            "--address",
            "10.0.0.1",
            "--action",
            "drop",
        ],
        &["verdicts", "remove", "--slot", "1"],
        &["verdicts", "clear"],
        &["never-block", "list"],
        &["never-block", "add", "10.0.0.1"],
        &["attach", "--replace"],
    ];
    for words in cases {
        let output = command(words)
            .env("DETECTOR_PIN_DIR", &place)
            .output()
            .unwrap();
        assert_eq!(code(&output), 69, "{words:?}: {}", errors(&output));
        let error = one_error(&output);
        assert!(
            error.contains(place.to_str().unwrap()) && error.contains("detector attach"),
            "{error}"
        );
        assert!(output.stdout.is_empty());
    }
    // The flag goes over the environment.
    let output = command(&["status", "--pin-dir", "/flag"])
        .env("DETECTOR_PIN_DIR", &place)
        .output()
        .unwrap();
    assert!(one_error(&output).contains("/flag:"));
}

/// A mistaken place is neither written to nor cleared.
#[test]
fn what_is_no_bpf_file_system_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().to_str().unwrap();
    std::fs::create_dir(directory.path().join("maps")).unwrap();
    let file = directory.path().join("maps/notes");
    std::fs::write(&file, "precious").unwrap();
    let output = run(&["attach", "-i", "lo", "--pin-dir", place]);
    assert_eq!(code(&output), 69);
    assert!(
        one_error(&output).contains("mount -t bpf"),
        "{}",
        errors(&output)
    );
    assert_ne!(code(&run(&["detach", "--pin-dir", place])), 0);
    assert!(file.exists());
    let doctor = run(&["doctor", "--pin-dir", place, "-i", "lo"]);
    assert!(text(&doctor).contains("is not on a BPF file system") && code(&doctor) != 0);
}

#[test]
fn a_missing_interface_is_named_with_those_that_there_are() {
    for words in [
        &["attach", "-i", "nosuch0"][..],
        &["attach", "-i", "nosuch*"],
        &["doctor", "-i", "nosuch0"],
    ] {
        let output = run(words);
        assert_eq!(code(&output), 1, "{words:?}: {}", errors(&output));
        let error = one_error(&output);
        assert!(error.contains("nosuch") && error.contains("lo"), "{error}");
    }
}
