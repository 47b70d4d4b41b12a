//! The command line as its users meet it: help, wrong usage, exit codes, and, where this
//! machine allows, the data plane from attaching to detaching.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

mod lab;

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::UdpSocket,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use detector_user::wire::{holder, interface::Interface};
use lab::{
    Lab,
    space::{Space, veth},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_detector");
const NOBODY: u32 = 65_534;

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command
        .args(words)
        .stdin(Stdio::null())
        .env_remove("DETECTOR_PIN_DIR")
        .env_remove("RUST_BACKTRACE");
    command
}

fn run(words: &[&str]) -> Output {
    command(words).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output
        .status
        .code()
        .unwrap_or_else(|| panic!("{}", errors(output)))
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What went wrong is one line, and no panic's.
fn one_error(output: &Output) -> String {
    let all = errors(output);
    let lines: Vec<&str> = all
        .lines()
        .filter(|line| line.starts_with("Error: "))
        .collect();
    assert_eq!(lines.len(), 1, "{all}");
    assert!(
        !all.contains("panicked") && !all.contains("backtrace"),
        "{all}"
    );
    lines[0].to_owned()
}

const COMMANDS: [&[&str]; 16] = [
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
    let long = "x".repeat(16);
    let cases: &[&[&str]] = &[
        &[],
        &["nosuch"],
        &["attach"],
        &["attach", "-i", "a/b"],
        &["attach", "-i", &long],
        &["attach", "-i", "lo", "--mode", "fast"],
        &["attach", "-i", "lo", "--flow-slots", "1000"],
        &["attach", "-i", "lo", "--flow-slots", "x"],
        &["attach", "-i", "lo", "--verdict-slots", "0"],
        &["attach", "-i", "lo", "--without", "everything"],
        &["flows", "--watch", "0"],
        &["flows", "--watch", "-o", "parquet"],
        &["flows", "--services", "--sort", "bytes"],
        &["flows", "--address", "x"],
        &["status", "-o", "csv"],
        &["verdicts"],
        &["verdicts", "add", "--action", "drop"],
        &["verdicts", "add", "--address", "10.0.0.1"],
        &[
            "verdicts",
            "add",
            "--address",
            "10.0.0.256",
            "--action",
            "drop",
        ],
        &[
            "verdicts",
            "add",
            "--address",
            "10.0.0.1",
            "--prefix",
            "10.0.0.0/8",
            "--action",
            "drop",
        ],
        &[
            "verdicts",
            "add",
            "--address",
            "10.0.0.1",
            "--dport",
            "80",
            "--action",
            "drop",
        ],
        &[
            "verdicts",
            "add",
            "--address",
            "10.0.0.1",
            "--zone",
            "1",
            "--action",
            "drop",
        ],
        &[
            "verdicts",
            "add",
            "--address",
            "10.0.0.1",
            "--action",
            "drop",
            "--pps",
            "1",
        ],
        &[
            "verdicts",
            "add",
            "--address",
            "10.0.0.1",
            "--action",
            "drop",
            "--ttl",
            "10",
        ],
        &[
            "verdicts",
            "add",
            "--address",
            "10.0.0.1",
            "--action",
            "drop",
            "--allow",
            "tcp/22",
        ],
        &[
            "verdicts",
            "add",
            "--address",
            "10.0.0.1",
            "--action",
            "drop",
            "--reason",
            "\u{1b}[2J",
        ],
        &[
            "verdicts",
            "add",
            "--address",
            "10.0.0.1",
            "--action",
            "rate-limit",
        ],
        &[
            "verdicts",
            "add",
            "--address",
            "10.0.0.1",
            "--action",
            "rate-limit",
            "--pps",
            "0",
        ],
        &["verdicts", "add", "--signature", "--action", "drop"],
        &[
            "verdicts",
            "add",
            "--signature",
            "--flags",
            "syn",
            "--protocol",
            "udp",
            "--action",
            "drop",
        ],
        &[
            "verdicts", "add", "--flow", "tcp", "10.0.0.1", "10.0.0.2", "--zone", "1", "--action",
            "drop",
        ],
        &["verdicts", "remove"],
        &["verdicts", "remove", "--slot", "1", "--address", "10.0.0.1"],
        &["never-block", "add"],
        &["never-block", "add", "10.0.0.0/33"],
        &["completions", "nosuch"],
    ];
    for words in cases {
        let output = run(words);
        assert_eq!(code(&output), 2, "{words:?}: {}", errors(&output));
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{words:?}"
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

/// A detector in one of two namespaces that a veth pair, `a` and `b`, connects.
struct Host {
    lab: Lab,
    own: Space,
    peer: Space,
}

const OWN: &str = "10.213.0.1";
const PEER: &str = "10.213.0.2";
const PORT: u16 = 7000;

impl Host {
    /// `None` where this machine does not allow it.
    fn new(tools: &[&str]) -> Option<Self> {
        let lab = Lab::new(tools)?;
        let (own, peer) = (Space::new(), Space::new());
        veth((&own, "a"), (&peer, "b"));
        own.run(&format!("ip address add {OWN}/24 dev a"));
        peer.run(&format!("ip address add {PEER}/24 dev b"));
        Some(Self { lab, own, peer })
    }

    fn pins(&self) -> String {
        self.lab.pins().root().display().to_string()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = command(words);
        command.env("DETECTOR_PIN_DIR", self.pins());
        command
    }

    /// Runs the detector there, whatever becomes of it.
    fn run(&self, words: &[&str]) -> Output {
        self.own.within(|| self.command(words).output().unwrap())
    }

    /// Runs the detector there, and it succeeds.
    fn done(&self, words: &[&str]) -> Output {
        let output = self.run(words);
        assert_eq!(code(&output), 0, "{words:?}: {}", errors(&output));
        output
    }

    fn json(&self, words: &[&str]) -> Value {
        let output = self.done(&[words, &["-o", "json"]].concat());
        serde_json::from_str(&text(&output))
            .unwrap_or_else(|error| panic!("{error}: {}", text(&output)))
    }

    /// Whether the host answers its peer.
    fn answers(&self) -> bool {
        let wait = Some(Duration::from_millis(300));
        let server = self.own.within(|| UdpSocket::bind((OWN, PORT)).unwrap());
        let client = self
            .peer
            .within(|| UdpSocket::bind((PEER, PORT + 1)).unwrap());
        server.set_read_timeout(wait).unwrap();
        client.set_read_timeout(wait).unwrap();
        client.send_to(b"question", (OWN, PORT)).unwrap();
        let mut buffer = [0; 16];
        let Ok((length, from)) = server.recv_from(&mut buffer) else {
            return false;
        };
        server.send_to(&buffer[..length], from).unwrap();
        client.recv(&mut buffer).is_ok()
    }

    /// Nothing of the detector is left.
    fn assert_clean(&self) {
        assert!(!Path::new(&self.pins()).exists());
        let program = self
            .own
            .within(|| holder::program_id(Interface::find("a").unwrap().index));
        assert_eq!(program, None);
        let egress = self.own.run("tc filter show dev a egress");
        assert!(egress.is_empty(), "{egress}");
    }
}

#[test]
fn packets_are_counted_and_dropped_and_nothing_is_left() {
    let Some(host) = Host::new(&["tc"]) else {
        return;
    };
    let attached = host.json(&["attach", "-i", "a", "--flow-slots", "4Ki"]);
    assert_eq!(attached[0]["event"], "attached");
    assert_eq!(
        (&attached[0]["ingress"], &attached[0]["interface"]),
        (&"native".into(), &"a".into())
    );

    assert!(host.answers());
    let flows = host.json(&["flows", "--protocol", "udp", "--port", "7000"]);
    let flow = &flows.as_array().unwrap()[..];
    assert_eq!(flow.len(), 1, "{flows}");
    assert_eq!(
        (&flow[0]["source_address"], &flow[0]["destination_address"]),
        (&PEER.into(), &OWN.into())
    );
    assert_eq!(
        (&flow[0]["forward_packets"], &flow[0]["backward_packets"]),
        (&1.into(), &1.into())
    );
    assert!(text(&host.done(&["flows"])).contains(&format!("{PEER}:7001")));

    // Every kind of target stops the peer, and only while it is there.
    let flow = [format!("{PEER}:{}", PORT + 1), format!("{OWN}:{PORT}")];
    let targets: [&[&str]; 4] = [
        &["--address", PEER],
        &["--prefix", "10.213.0.2/31"],
        &["--flow", "udp", &flow[0], &flow[1]],
        &[
            "--signature",
            "--protocol",
            "udp",
            "--dport",
            "7000",
            "--length",
            "8",
            "--established-too",
        ],
    ];
    for target in targets {
        let add = [
            &[
                "verdicts", "add", "--action", "drop", "--ttl", "1h", "--reason", "a test",
            ],
            target,
        ]
        .concat();
        let added = host.json(&add);
        assert!(!host.answers(), "{target:?}");
        let listed = host.json(&["verdicts", "list"]);
        assert_eq!(listed.as_array().unwrap().len(), 1);
        assert_eq!(listed[0]["target"], added["target"]);
        assert_eq!(
            (&listed[0]["dropped_packets"], &listed[0]["reason"]),
            (&1.into(), &"a test".into())
        );
        assert_eq!(listed[0]["expired"], false);
        host.done(&[&["verdicts", "remove"], target].concat());
        assert!(host.answers(), "{target:?}");
        let again = host.run(&[&["verdicts", "remove"], target].concat());
        assert!(code(&again) == 1 && one_error(&again).contains("no such verdict"));
    }

    // What is never to be blocked passes, and is told of.
    host.done(&["never-block", "add", PEER]);
    let output = host.done(&["verdicts", "add", "--address", PEER, "--action", "drop"]);
    assert!(
        errors(&output).contains("never to be blocked"),
        "{}",
        errors(&output)
    );
    assert!(host.answers());
    host.done(&["never-block", "remove", PEER]);
    assert!(!host.answers());
    assert_eq!(code(&host.run(&["never-block", "remove", PEER])), 1);
    // The floor: nobody locks himself out.
    let own = host.done(&["verdicts", "add", "--address", OWN, "--action", "drop"]);
    assert!(
        errors(&own).contains("never to be blocked"),
        "{}",
        errors(&own)
    );
    assert_eq!(host.json(&["verdicts", "clear"])["removed"], 2);

    // An expired verdict counts for nothing, and is shown as such until it is cleared.
    host.done(&[
        "verdicts",
        "add",
        "--address",
        PEER,
        "--action",
        "drop",
        "--ttl",
        "100ms",
    ]);
    std::thread::sleep(Duration::from_millis(300));
    assert!(host.answers());
    assert!(text(&host.done(&["verdicts", "list"])).contains("EXPIRED"));
    assert_eq!(host.json(&["verdicts", "clear", "--expired"])["removed"], 1);
    for slot in ["1", "0", "4000000000"] {
        assert_eq!(code(&host.run(&["verdicts", "remove", "--slot", slot])), 1);
    }

    let status = host.json(&["status"]);
    assert_eq!(status["books"]["balance"], "balanced", "{status}");
    assert_eq!(
        (
            &status["books"]["difference_packets"],
            &status["books"]["difference_bytes"]
        ),
        (&0.into(), &0.into())
    );
    assert_eq!(status["interfaces"][0]["state"], "attached");
    let dropped: u64 = ["address", "prefix", "flow", "signature"]
        .iter()
        .map(|kind| {
            status["books"]["fates"][format!("dropped_{kind}")]["packets"]
                .as_u64()
                .unwrap()
        })
        .sum();
    assert_eq!(dropped, 5);
    assert!(text(&host.done(&["status"])).contains("difference"));
    assert_eq!(code(&host.run(&["doctor", "-i", "a"])), 0);

    let detached = host.json(&["detach"]);
    assert_eq!(detached.as_array().unwrap().len(), 2, "{detached}");
    host.assert_clean();
    assert!(host.answers());
    assert_eq!(code(&host.run(&["detach"])), 69);
}

#[test]
fn of_several_interfaces_those_that_can_are_attached() {
    let Some(host) = Host::new(&["tc"]) else {
        return;
    };
    let output = host.run(&["attach", "-i", "a", "nosuch0", "lo", "--flow-slots", "64"]);
    assert_eq!(code(&output), 1);
    assert!(one_error(&output).contains("nosuch0"));
    // The loopback has no native XDP: that is not passed over in silence.
    let warning = errors(&output)
        .lines()
        .find(|line| line.starts_with("Warning: lo"))
        .map(str::to_owned);
    assert!(
        warning.is_some_and(|line| line.contains("GENERIC") && line.contains("SLOWER")),
        "{}",
        errors(&output)
    );
    let status = host.run(&["status"]);
    assert!(text(&status).contains("GENERIC") && errors(&status).contains("GENERIC"));
    let native = host.run(&["attach", "-i", "lo", "--mode", "native"]);
    assert_eq!(code(&native), 69, "{}", errors(&native));

    // The other size stays when one is given; another one is refused unless replaced.
    let resized = host.run(&["attach", "-i", "a", "--flow-slots", "128"]);
    assert!(code(&resized) == 1 && one_error(&resized).contains("--replace"));
    host.done(&[
        "verdicts",
        "add",
        "--prefix",
        "192.0.2.0/24",
        "--action",
        "drop",
    ]);
    let replaced = host.json(&["attach", "--replace", "--verdict-slots", "100"]);
    assert_eq!(
        (&replaced[0]["flow_slots"], &replaced[0]["verdict_slots"]),
        (&64.into(), &100.into())
    );
    assert_eq!(replaced[0]["verdicts_carried"], 1);

    // Somebody else's program is left alone.
    let mut other = command(&["attach", "-i", "a"]);
    other.env("DETECTOR_PIN_DIR", host.lab.directory().join("other"));
    let busy = host.own.within(|| other.output().unwrap());
    assert!(
        code(&busy) == 1 && one_error(&busy).contains("another XDP program"),
        "{}",
        errors(&busy)
    );
    assert!(!host.lab.directory().join("other").exists());

    // The last interface takes the maps along, unless they are to be kept.
    assert_eq!(code(&host.run(&["detach", "-i", "nosuch0"])), 1);
    host.done(&["detach", "-i", "lo"]);
    assert!(text(&host.done(&["detach", "-i", "a", "--keep-maps"])).contains("kept"));
    assert_eq!(
        host.json(&["verdicts", "list"]).as_array().unwrap().len(),
        1
    );
    let status = host.done(&["status"]);
    assert!(errors(&status).contains("no interface is attached"));
    host.done(&[
        "attach",
        "-i",
        "a",
        "--no-egress",
        "--without",
        "prefix-verdicts",
    ]);
    let useless = host.done(&[
        "verdicts",
        "add",
        "--prefix",
        "192.0.2.0/24",
        "--action",
        "drop",
    ]);
    assert!(
        errors(&useless).contains("without prefix-verdicts"),
        "{}",
        errors(&useless)
    );
    host.done(&["detach", "-i", "a"]);
    host.assert_clean();
}

#[test]
fn following_attaches_what_comes_and_clears_away_what_goes() {
    let Some(host) = Host::new(&[]) else { return };
    let mut follow = host.command(&[
        "attach",
        "--follow",
        "-i",
        "veth*",
        "-o",
        "jsonl",
        "--flow-slots",
        "64",
    ]);
    follow.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = host.own.start(follow);
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let mut next = |event: &str| loop {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        if line["event"] == event {
            return line["interface"].as_str().unwrap().to_owned();
        }
    };
    host.own.run("ip link add veth1 type veth peer name other1");
    assert_eq!(next("attached"), "veth1");
    host.own.run("ip link delete veth1");
    assert_eq!(next("gone"), "veth1");
    host.own.run("ip link add veth2 type veth peer name other2");
    assert_eq!(next("attached"), "veth2");
    let process = Pid::from_raw(running.0.id().cast_signed()).unwrap();
    kill_process(process, Signal::TERM).unwrap();
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    let mut said = String::new();
    running
        .0
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(said.contains("still attached: veth2"), "{said}");
    let status = host.json(&["status"]);
    let states: Vec<&Value> = status["interfaces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["state"])
        .collect();
    assert_eq!(states, ["detached", "attached"]);
    host.own.run("ip link delete veth2");
    let gone = host.done(&["status"]);
    assert!(text(&gone).contains("GONE") && errors(&gone).contains("veth2"));
    host.done(&["detach", "-i", "veth2"]);
    assert!(!Path::new(&host.pins()).exists());
}

/// Without capabilities, and as somebody to whom the pins do not belong.
#[test]
fn a_lack_of_permission_ends_with_77_and_says_of_what() {
    let Some(host) = Host::new(&["setpriv"]) else {
        return;
    };
    let without = |words: &[&str]| {
        let mut command = Command::new("setpriv");
        command
            .args(["--inh-caps=-all", "--bounding-set=-all", BINARY])
            .args(words);
        command
            .env("DETECTOR_PIN_DIR", host.pins())
            .stdin(Stdio::null());
        host.own.within(|| command.output().unwrap())
    };
    let output = without(&["attach", "-i", "a"]);
    assert_eq!(code(&output), 77, "{}", errors(&output));
    let error = one_error(&output);
    assert!(
        ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"]
            .iter()
            .all(|name| error.contains(name)),
        "{error}"
    );
    assert_eq!(code(&without(&["doctor"])), 77);
    // Nothing half made is left behind.
    assert!(!Path::new(&host.pins()).exists());

    host.done(&["attach", "-i", "a", "--flow-slots", "64"]);
    let as_nobody = |words: &[&str]| {
        let mut command = host.command(words);
        command.uid(NOBODY).gid(NOBODY);
        host.own.within(|| command.output())
    };
    match as_nobody(&["--version"]) {
        Ok(output) if output.status.success() => {}
        _ => return lab::skip(&format!("needs {BINARY} to be readable by everyone")),
    }
    let cases: [&[&str]; 5] = [
        &["status"],
        &["flows"],
        &["verdicts", "list"],
        &["never-block", "list"],
        &["detach"],
    ];
    for words in cases {
        let output = as_nobody(words).unwrap();
        assert_eq!(code(&output), 77, "{words:?}: {}", errors(&output));
        let error = one_error(&output);
        assert!(
            error.contains(&host.pins()) && error.contains("permission denied"),
            "{error}"
        );
    }
    host.done(&["detach"]);
    host.assert_clean();
}
