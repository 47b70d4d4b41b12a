//! What happens to packets.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use aya::maps::PerCpuValues;
use detector_user::wire::pins::Pins;

use super::prometheus::{Prometheus, Up};
use crate::{
    lab::{
        StopAtEnd,
        agent::SERVER,
        frames::{ACK, RST, SYN, tcp_frame, udp_frame, v4},
        plane::{Plane, drop_address},
        raw::Raw,
    },
    stage::Stage,
};

/// So many hosts, several times, that the windows have no room: a full table forgets hosts of one flow, but seldom.
const MANY: u32 = 200_000;

pub fn come_and_go(stage: &Stage, prometheus: &Prometheus<'_>) {
    prometheus.sees(
        "time passes",
        &[
            Up("detector_ticks_total"),
            Up("detector_drain_duration_seconds_count"),
            Up("detector_score_duration_seconds_count"),
            Up("detector_drain_last_success_timestamp_seconds"),
        ],
        || (),
    );
    prometheus.sees(
        "flows begin, and one of them goes on",
        &[
            Up(r#"detector_interface_packets_total{interface="vb",direction="ingress"}"#),
            Up(r#"detector_interface_bytes_total{interface="vb",direction="ingress"}"#),
            Up("detector_seen_packets_total"),
            Up("detector_seen_bytes_total"),
            Up("detector_record_packets"),
            Up("detector_record_bytes"),
            Up("detector_flows_created_total"),
            Up(r#"detector_flow_table_flows{state="probation"}"#),
            Up(r#"detector_flow_table_flows{state="established"}"#),
            Up("detector_flows_scored_total"),
        ],
        || {
            let one = tcp_frame(v4([10, 0, 0, 5], 5_000), v4(SERVER, 80), ACK, b"more");
            let others =
                (0..20).map(|n| udp_frame(v4([10, 0, 0, 6], 6_000 + n), v4(SERVER, 9), b"x"));
            send(stage, others.chain((0..20).map(|_| one.clone())));
        },
    );
    prometheus.sees(
        "rows of one kind fill a window",
        &[
            Up("detector_drift_rows_total"),
            Up("detector_drift_windows_total"),
            Up("detector_drift_score_psi"),
            Up("detector_drift_features_moved"),
        ],
        || {
            // Asked and answered, a few at a time: no flood, and a tick counts some rows only.
            for round in 0..10 {
                let ports = 7_000 + 30 * round..7_030 + 30 * round;
                let client = |port: u16| v4([10, 0, 1, 10 + (port % 30) as u8], port);
                let ask = |port| udp_frame(client(port), v4(SERVER, 53), b"x");
                send(stage, ports.clone().map(ask));
                stage.server.within(|| {
                    let raw = Raw::sender_by_the_queue("vb");
                    for port in ports {
                        raw.send(&udp_frame(v4(SERVER, 53), client(port), b"y"));
                    }
                });
                thread::sleep(Duration::from_millis(300));
            }
        },
    );
    prometheus.sees(
        "the server sends",
        &[
            Up(r#"detector_interface_packets_total{interface="vb",direction="egress"}"#),
            Up(r#"detector_interface_bytes_total{interface="vb",direction="egress"}"#),
        ],
        || {
            let frame = udp_frame(v4(SERVER, 9), v4([10, 0, 0, 6], 6_000), b"y");
            stage
                .server
                .within(|| Raw::sender_by_the_queue("vb").send(&frame));
        },
    );
    prometheus.sees(
        "a frame cannot be parsed",
        &[
            Up(r#"detector_malformed_packets_total{reason="ipv4_header"}"#),
            Up(r#"detector_packets_total{fate="malformed"}"#),
            Up(r#"detector_bytes_total{fate="malformed"}"#),
        ],
        || {
            let mut frame = udp_frame(v4([10, 0, 0, 6], 1), v4(SERVER, 9), b"z");
            frame[14] = 0x41;
            send(stage, [frame]);
        },
    );
}

pub fn meet_verdicts(stage: &Stage, prometheus: &Prometheus<'_>) {
    let from = |last: u8| udp_frame(v4([10, 3, 0, last], 7), v4(SERVER, 7), b"verdict");
    prometheus.sees(
        "an operator writes verdicts",
        &[
            Up(r#"detector_verdicts{kind="address"}"#),
            Up(r#"detector_verdicts{kind="prefix"}"#),
            Up(r#"detector_verdicts{kind="signature"}"#),
            Up("detector_verdicts_expired"),
        ],
        || {
            for body in [
                r#"{"address":"10.3.0.1","action":"drop"}"#,
                r#"{"prefix":"10.3.0.2/31","action":"drop"}"#,
                r#"{"signature":{"protocol":"udp","dport":"6666"},"action":"drop"}"#,
                r#"{"address":"10.3.0.4","action":"rate-limit","packets_per_second":1000}"#,
                r#"{"address":"10.3.0.5","action":"drop","ttl_s":1}"#,
            ] {
                let answer = stage.ask("POST", "/api/v1/verdicts", body.as_bytes());
                assert_eq!(answer.status, 201, "{answer:?}");
            }
        },
    );
    prometheus.sees(
        "packets meet them",
        &[
            Up(r#"detector_dropped_packets_total{kind="address"}"#),
            Up(r#"detector_dropped_packets_total{kind="prefix"}"#),
            Up(r#"detector_dropped_packets_total{kind="signature"}"#),
            Up(r#"detector_dropped_bytes_total{kind="address"}"#),
            Up(r#"detector_dropped_bytes_total{kind="prefix"}"#),
            Up(r#"detector_dropped_bytes_total{kind="signature"}"#),
            Up("detector_let_through_packets_total"),
        ],
        || {
            let signature = udp_frame(v4([10, 3, 0, 9], 7), v4(SERVER, 6666), b"verdict");
            send(stage, [from(1), from(2), signature, from(4)]);
        },
    );
    prometheus.sees(
        "a prefix is never to be blocked",
        &[Up("detector_never_block_prefixes")],
        || cli(stage, "never-block add 10.3.0.1/32"),
    );
    prometheus.sees(
        "it sends",
        &[Up("detector_never_blocked_packets_total")],
        || send(stage, [from(1)]),
    );
}

pub fn fill_the_rings(stage: &Stage, prometheus: &Prometheus<'_>) {
    prometheus.sees(
        "flows end while the agent stands still",
        &[Up(r#"detector_kernel_events_lost_total{ring="ended"}"#)],
        || {
            let ends = (v4([10, 0, 0, 7], 7_000), v4(SERVER, 7_000));
            let pair = [SYN, RST | ACK].map(|flags| tcp_frame(ends.0, ends.1, flags, b""));
            let times = detector_common::abi::ENDED_BYTES as usize
                / size_of::<detector_common::event::EndedFlow>()
                + 1_000;
            stage.signal("-STOP");
            send(stage, (0..times).flat_map(|_| pair.clone()));
            stage.signal("-CONT");
        },
    );
    prometheus.sees(
        "verdicts are hit while the agent stands still",
        &[Up(r#"detector_kernel_events_lost_total{ring="hits"}"#)],
        || {
            stage.signal("-STOP");
            let mut plane = Plane::open(&Pins::new(stage.pins()));
            let times = detector_common::abi::EVENTS_BYTES as usize
                / size_of::<detector_common::event::VerdictHit>()
                + 1_000;
            let orders = [1, 2, 3, 4].map(|last| drop_address(IpAddr::from([10, 4, 0, last])));
            let frames =
                [1, 2, 3, 4].map(|last| udp_frame(v4([10, 4, 0, last], 7), v4(SERVER, 7), b"hit"));
            for _ in 0..times / orders.len() {
                for order in &orders {
                    plane.writer().add(order).unwrap();
                }
                send(stage, frames.clone());
            }
            for order in &orders {
                plane.writer().remove(&order.target).unwrap();
            }
            stage.signal("-CONT");
        },
    );
}

pub fn are_too_many(stage: &Stage, prometheus: &Prometheus<'_>) {
    prometheus.sees(
        "more flows begin in a tick than it has room for",
        &[
            Up("detector_late_ticks_total"),
            Up("detector_flows_left_out_total"),
        ],
        || {
            stage.signal("-STOP");
            stage.flood(MANY);
            stage.signal("-CONT");
        },
    );
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        prometheus.sees(
            "a flood goes on",
            &[
                Up("detector_hosts_refused_total"),
                Up("detector_flows_evicted_total"),
                Up("detector_admissions_refused_packets_total"),
                Up(r#"detector_packets_total{fate="evicted_probation"}"#),
                Up("detector_unaccounted_packets"),
            ],
            || {
                scope.spawn(|| {
                    let mut begun = 0;
                    while !stop.load(Ordering::Relaxed) {
                        flood_from(stage, begun);
                        begun += 1;
                    }
                });
            },
        );
    });
}

/// Many sources, others than before.
fn flood_from(stage: &Stage, round: u8) {
    let frames = (0..MANY).map(|n| {
        let [_, b, c, d] = n.to_be_bytes();
        let source = v4([110 + round % 100, b, c, d], 1024);
        tcp_frame(source, v4(SERVER, 80), SYN, b"")
    });
    send(stage, frames);
}

pub fn do_not_add_up(stage: &Stage, prometheus: &Prometheus<'_>) {
    prometheus.sees(
        "the kernel's books are falsified",
        &[Up("detector_unbalanced")],
        || {
            let mut plane = Plane::open(&Pins::new(stage.pins()));
            let counters = &mut plane.tables.counters;
            let seen = |bytes: &[u8]| u64::from_ne_bytes(bytes[..8].try_into().unwrap());
            let busy = (0..counters.len()).find(|n| {
                let all = counters.get(n, 0).unwrap();
                all.iter().any(|bytes| seen(bytes) > 0)
            });
            let mut all = counters.get(&busy.unwrap(), 0).unwrap().to_vec();
            let more = seen(&all[0]) + 1;
            all[0][..8].copy_from_slice(&more.to_ne_bytes());
            let all = PerCpuValues::try_from(all).unwrap();
            counters.set(busy.unwrap(), all, 0).unwrap();
        },
    );
}

/// The attacker sends frames.
pub fn send(stage: &Stage, frames: impl IntoIterator<Item = Vec<u8>, IntoIter: Send> + Send) {
    let frames = frames.into_iter();
    stage.attacker.within(|| {
        let raw = Raw::sender("va");
        for frame in frames {
            raw.send(&frame);
        }
    });
}

/// Runs the command by which operators change things.
pub fn cli(stage: &Stage, line: &str) {
    let pins = stage.pins();
    let output = stage.server.try_run(&format!(
        "{} --pin-dir {} {line}",
        env!("CARGO_BIN_EXE_detector"),
        pins.display()
    ));
    assert!(output.status.success(), "{line}: {output:?}");
}
