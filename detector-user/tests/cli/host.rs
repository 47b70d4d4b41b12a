//! The data plane by its commands, from attaching to detaching, where this machine allows it.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::UdpSocket,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use detector_user::wire::{holder, interface::Interface};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    BINARY, code, command, errors,
    lab::{
        self, Lab,
        space::{Space, veth},
    },
    one_error, text,
};

const NOBODY: u32 = 65_534;

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
