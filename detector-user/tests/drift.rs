//! Drift from end to end: a model trained on what a network does, then traffic like that, and traffic that is not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

mod lab;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    sync::Arc,
};

use detector_user::{
    agent::replay::ReplayAgent,
    decide::policy::Policy,
    drift::{Drift, DriftSettings, State},
    flow::FLOWS_MAX_DEFAULT,
    model::Ensemble,
    score::Scorer,
};
use lab::frames::{ACK, FIN, PSH, RST, SYN, tcp_frame, udp_frame, v4};
use serde_json::Value;

type Frames = Vec<(u64, Vec<u8>)>;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// Numbers that look random, the same each time (Steele et al.'s SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

fn in_order(mut frames: Frames) -> Frames {
    frames.sort_by_key(|(time, _)| *time);
    frames
}

/// An office: names are looked up and pages fetched.
fn office(seed: u64, from_s: u64, seconds: u64) -> Frames {
    let (mut numbers, mut frames) = (Numbers(seed), Vec::new());
    for flow in 0..seconds * 4 {
        let mut at = from_s * SECOND + flow * 250 * MS + numbers.below(250) * MS;
        let client = [10, 0, 0, 10 + numbers.below(40) as u8];
        let port = 20_000 + (flow % 40_000) as u16;
        if numbers.below(3) == 0 {
            let (from, to) = (v4(client, port), v4([10, 1, 0, 53], 53));
            frames.push((
                at,
                udp_frame(from, to, &vec![1; 30 + numbers.below(20) as usize]),
            ));
            let answer = vec![2; 60 + numbers.below(200) as usize];
            at += (1 + numbers.below(20)) * MS;
            frames.push((at, udp_frame(to, from, &answer)));
            continue;
        }
        let (from, to) = (
            v4(client, port),
            v4([10, 1, 0, 80 + numbers.below(8) as u8], 443),
        );
        let mut say = |up: bool, flags, bytes: u64, numbers: &mut Numbers| {
            at += (1 + numbers.below(15)) * MS;
            let (from, to) = if up { (from, to) } else { (to, from) };
            frames.push((at, tcp_frame(from, to, flags, &vec![3; bytes as usize])));
        };
        say(true, SYN, 0, &mut numbers);
        say(false, SYN | ACK, 0, &mut numbers);
        say(true, ACK, 0, &mut numbers);
        for _ in 0..1 + numbers.below(4) {
            let asked = 80 + numbers.below(400);
            say(true, ACK | PSH, asked, &mut numbers);
            for _ in 0..1 + numbers.below(5) {
                let answered = 200 + numbers.below(1_200);
                say(false, ACK, answered, &mut numbers);
            }
            say(true, ACK, 0, &mut numbers);
        }
        say(true, FIN | ACK, 0, &mut numbers);
        say(false, FIN | ACK, 0, &mut numbers);
        say(true, ACK, 0, &mut numbers);
    }
    in_order(frames)
}

/// Something else: sensors send small datagrams, for ever, and nobody answers.
fn sensors(seed: u64, from_s: u64, seconds: u64) -> Frames {
    let mut numbers = Numbers(seed);
    let send = |n: u64| {
        let at = from_s * SECOND + n * 20 * MS + numbers.below(20) * MS;
        let sensor = (n % 30) as u8;
        let from = v4([10, 3, 0, 10 + sensor], 9_000 + u16::from(sensor));
        (
            at,
            udp_frame(from, v4([10, 4, 0, sensor], 5_683), &vec![4; 900]),
        )
    };
    in_order((0..seconds * 50).map(send).collect())
}

/// A host that asks for port after port of another, each of which is closed.
fn scan(from_s: u64, ports: u16) -> Frames {
    let ask = |port: u16| {
        let at = from_s * SECOND + u64::from(port) * 20 * MS;
        let (from, to) = (
            v4([10, 9, 0, 9], 50_000 + port % 7),
            v4([10, 1, 0, 80], port),
        );
        let refuse = tcp_frame(to, from, RST | ACK, b"");
        [(at, tcp_frame(from, to, SYN, b"")), (at + MS, refuse)]
    };
    (1..=ports).flat_map(ask).collect()
}

fn write_capture(path: &Path, frames: &Frames) {
    let mut bytes = Vec::new();
    for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1_u32] {
        bytes.extend(word.to_le_bytes());
    }
    for (time, frame) in frames {
        let (s, us) = (time / SECOND, time % SECOND / 1_000);
        for word in [s as u32, us as u32, frame.len() as u32, frame.len() as u32] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(frame);
    }
    fs::write(path, bytes).unwrap();
}

fn run(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_detector"));
    let output = command.args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    output
}

/// A model of the office and of scans, made as a user makes one; and the rows that it is made of.
fn trained(folder: &Path) -> (Vec<u8>, String) {
    let at = |name: &str| folder.join(name).display().to_string();
    for part in 0..6 {
        let frames = office(1 + part, 1_000, 240);
        write_capture(&folder.join(format!("office-{part}.pcap")), &frames);
        write_capture(&folder.join(format!("scan-{part}.pcap")), &scan(1_000, 600));
    }
    let labels = "[[capture]]\nfiles = [\"office-*.pcap\"]\nfamily = \"benign\"\n\
                  [[capture]]\nfiles = [\"scan-*.pcap\"]\nfamily = \"scan\"\n";
    fs::write(folder.join("labels.toml"), labels).unwrap();
    let (rows, model) = (at("rows.parquet"), at("model.bin"));
    run(&[
        "extract",
        &at(""),
        "--labels",
        &at("labels.toml"),
        "--output",
        &rows,
    ]);
    run(&[
        "train", &rows, "--trees", "20", "--folds", "3", "--name", "office", "--output", &model,
    ]);
    (fs::read(model).unwrap(), rows)
}

fn of(bytes: &[u8]) -> Option<Arc<Scorer>> {
    Some(Arc::new(Scorer::from_bytes(bytes, "model").unwrap()))
}

fn agent(
    scorer: Option<Arc<Scorer>>,
) -> ReplayAgent<impl FnMut(&detector_user::decide::alert::Decision)> {
    let mut agent = ReplayAgent::new(FLOWS_MAX_DEFAULT, Policy::default(), scorer, false, |_| {});
    agent.set_drift(DriftSettings {
        window_rows: 500,
        window_s: 30,
        ..DriftSettings::default()
    });
    agent
}

/// Lets frames pass; what is known of drift then.
fn pass<F: FnMut(&detector_user::decide::alert::Decision)>(
    agent: &mut ReplayAgent<F>,
    frames: &Frames,
) -> Drift {
    for (time, frame) in frames {
        agent.frame(*time, frame);
    }
    agent.drift()
}

#[test]
fn traffic_goes_from_gathering_to_stable_to_drifted_and_another_model_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (model, rows) = trained(folder.path());
    let reference = Ensemble::from_bytes(&model)
        .unwrap()
        .card()
        .reference
        .clone();
    assert_eq!(reference.unwrap().class, "benign");

    let mut agent = agent(of(&model));
    let begun = pass(&mut agent, &office(90, 5_000, 10));
    assert_eq!(
        (begun.state, begun.windows),
        (State::Gathering, 0),
        "{begun:?}"
    );
    let stable = pass(&mut agent, &office(91, 5_010, 150));
    assert_eq!(stable.state, State::Stable, "{stable:?}");
    assert!(stable.windows > 1, "{stable:?}");
    assert!(stable.moved < stable.features / 4, "{stable:?}");
    let drifted = pass(&mut agent, &sensors(92, 5_160, 300));
    assert_eq!(drifted.state, State::Drifted, "{drifted:?}");
    assert!(drifted.moved > drifted.features / 4, "{drifted:?}");
    assert!(drifted.since_us > stable.since_us);
    // And back.
    let back = pass(&mut agent, &office(93, 5_500, 300));
    assert_eq!(back.state, State::Stable, "{back:?}");

    agent.set_scorer(of(&model));
    let anew = agent.drift();
    assert_eq!(
        (anew.state, anew.windows, anew.score_psi),
        (State::Gathering, 0, None)
    );
    let silent = Ensemble::from_bytes(&model).unwrap();
    let mut card = silent.card().clone();
    card.reference = None;
    let silent = silent.with_card(card).unwrap().to_bytes().unwrap();
    agent.set_scorer(of(&silent));
    assert_eq!(
        pass(&mut agent, &office(94, 5_900, 60)).state,
        State::Unknown
    );

    // The same offline.
    let file = folder.path().join("model.bin").display().to_string();
    let told = |only: &str| -> Value {
        let output = run(&[
            "drift", &file, &rows, "--label", "family", "--only", only, "-o", "json",
        ]);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let (benign, scan) = (told("benign"), told("scan"));
    assert_eq!(
        (&benign["state"], &benign["features_moved"]),
        (&"stable".into(), &0.into()),
        "{benign}"
    );
    assert_eq!(scan["state"], "drifted", "{scan}");
    assert!(scan["features_moved"].as_u64() > Some(10), "{scan}");
}

#[test]
fn an_attack_that_is_told_of_is_no_drift() {
    let folder = tempfile::tempdir().unwrap();
    let (model, _) = trained(folder.path());
    let mut agent = agent(of(&model));
    let mut frames = office(95, 7_000, 300);
    // As many flows a second as the office has in ten.
    frames.extend(scan(7_020, 13_000));
    let drift = pass(&mut agent, &in_order(frames));
    assert!(drift.windows > 1, "{drift:?}");
    assert_eq!(drift.state, State::Stable, "{drift:?}");
    let (_, counts) = agent.finish();
    assert!(counts.drift.set_aside > 3 * counts.drift.rows, "{counts:?}");
}
