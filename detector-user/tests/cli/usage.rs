//! Help, wrong usage, what is generated from the command line's definition.

use std::process::Stdio;

use crate::{code, command, errors, run, text};

const COMMANDS: [&[&str]; 20] = [
    &[],
    &["attach"],
    &["detach"],
    &["flows"],
    &["verdicts"],
    &["verdicts", "list"],
    &["verdicts", "add"],
    &["verdicts", "remove"],
    &["verdicts", "clear"],
    &["never-block"],
    &["never-block", "list"],
    &["never-block", "add"],
    &["never-block", "remove"],
    &["status"],
    &["doctor"],
    &["replay"],
    &["run"],
    &["extract"],
    &["train"],
    &["eval"],
];

#[test]
fn every_command_has_help() {
    for words in COMMANDS {
        for flag in ["-h", "--help"] {
            let output = run(&[words, &[flag]].concat());
            assert_eq!(code(&output), 0, "{words:?}");
            let help = text(&output);
            assert!(
                help.contains("Usage: detector") && help.contains("--pin-dir"),
                "{words:?}: {help}"
            );
            assert!(errors(&output).is_empty());
        }
    }
    let version = run(&["--version"]);
    assert_eq!(
        text(&version),
        concat!("detector ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn wrong_usage_ends_with_2() {
    let cases = [
        "",
        "nosuch",
        "attach",
        "attach -i a/b",
        "attach -i xxxxxxxxxxxxxxxx",
        "attach -i lo --mode fast",
        "attach -i lo --flow-slots 1000",
        "attach -i lo --flow-slots x",
        "attach -i lo --verdict-slots 0",
        "attach -i lo --without everything",
        "flows --watch 0",
        "flows --watch -o parquet",
        "flows --services --sort bytes",
        "flows --address x",
        "status -o csv",
        "verdicts",
        "verdicts add --action drop",
        "verdicts add --address 10.0.0.1",
        "verdicts add --address 10.0.0.256 --action drop",
        "verdicts add --address 10.0.0.1 --prefix 10.0.0.0/8 --action drop",
        "verdicts add --address 10.0.0.1 --dport 80 --action drop",
        "verdicts add --address 10.0.0.1 --zone 1 --action drop",
        "verdicts add --address 10.0.0.1 --action drop --pps 1",
        "verdicts add --address 10.0.0.1 --action drop --ttl 10",
        "verdicts add --address 10.0.0.1 --action drop --allow tcp/22",
        "verdicts add --address 10.0.0.1 --action drop --reason \u{1b}[2J",
        "verdicts add --address 10.0.0.1 --action rate-limit",
        "verdicts add --address 10.0.0.1 --action rate-limit --pps 0",
        "verdicts add --signature --action drop",
        "verdicts add --signature --flags syn --protocol udp --action drop",
        "verdicts add --flow tcp 10.0.0.1 10.0.0.2 --zone 1 --action drop",
        "verdicts remove",
        "verdicts remove --slot 1 --address 10.0.0.1",
        "never-block add",
        "never-block add 10.0.0.0/33",
        "completions nosuch",
    ];
    for line in cases {
        let output = run(&line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(code(&output), 2, "{line:?}: {}", errors(&output));
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{line:?}"
        );
    }
}

#[test]
fn pages_are_generated() {
    for shell in ["bash", "zsh", "fish", "elvish"] {
        let script = run(&["completions", shell]);
        assert!(
            code(&script) == 0 && text(&script).contains("never-block"),
            "{shell}"
        );
    }
    assert!(text(&run(&["man"])).contains(".TH detector 1"));
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("man1");
    assert_eq!(code(&run(&["man", pages.to_str().unwrap()])), 0);
    for page in ["detector.1", "detector-attach.1", "detector-verdicts-add.1"] {
        assert!(pages.join(page).exists(), "{page}");
    }
}

/// Whoever reads the answer may go away: that is success.
#[test]
fn a_closed_pipe_is_success() {
    for words in [
        &["completions", "bash"][..],
        &["man"],
        &["--help"],
        &["doctor"],
    ] {
        let mut child = command(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            (code(&output), errors(&output).as_str()),
            (0, ""),
            "{words:?}"
        );
    }
}
