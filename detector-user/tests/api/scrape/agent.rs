//! What happens to the agent.

use std::{fs, io::Write as _, os::unix::net::UnixListener, thread, time::Duration};

use detector_user::decide::family::Family;

use super::{
    packets::{cli, send},
    prometheus::{Down, PATIENCE, Prometheus, Up},
    still::Still,
};
use crate::{
    lab::{
        frames::{SYN, tcp_frame, v4},
        model::always,
        space::veth,
        wait_for,
    },
    stage::Stage,
};

/// Sources that scan, more than there is room for their alerts on the way to followers.
const SCANNERS: u16 = 2_000;

pub fn decides(stage: &Stage, prometheus: &Prometheus<'_>) {
    prometheus.sees("it is told to act", &[Up("detector_enforce")], || {
        change(stage, "PUT", "/api/v1/mode", br#"{"mode":"enforce"}"#)
    });
    prometheus.sees(
        "a source scans",
        &[
            Up(r#"detector_alerts_total{family="scan",action="drop"}"#),
            Up("detector_verdict_writes_total"),
            Up("detector_denied_sources"),
            Up("detector_events_written_total"),
            Up("detector_drift_set_aside_rows_total"),
        ],
        || {
            stage.scan([10, 0, 0, 9]);
            stage.await_alert("scan", "drop");
            stage.scan([10, 0, 0, 9]);
        },
    );
    prometheus.sees(
        "many sources flood a service",
        &[
            Up(r#"detector_alerts_total{family="flood"}"#),
            Up("detector_attacked_destinations"),
        ],
        || stage.flood(5_000),
    );
}

pub fn is_changed(stage: &Stage, prometheus: &Prometheus<'_>) {
    prometheus.sees(
        "the configuration is read again",
        &[
            Up("detector_config_reloads_total"),
            Up("detector_config_last_reload_success_timestamp_seconds"),
        ],
        || change(stage, "POST", "/api/v1/reload", b""),
    );
    let sound = fs::read_to_string(stage.config()).unwrap();
    prometheus.sees(
        "it is broken",
        &[Up("detector_config_reload_failures_total")],
        || {
            fs::write(stage.config(), "scan = 3\n").unwrap();
            assert_eq!(stage.ask("POST", "/api/v1/reload", b"").status, 409);
        },
    );
    prometheus.sees(
        "it names a model that there is not",
        &[Up("detector_model_load_failures_total")],
        || {
            let nowhere = stage.config().with_file_name("no.model");
            fs::write(stage.config(), format!("model = {nowhere:?}\n{sound}")).unwrap();
            change(stage, "POST", "/api/v1/reload", b"");
            fs::write(stage.config(), &sound).unwrap();
        },
    );
    prometheus.sees(
        "another model is loaded",
        &[
            Up(r#"detector_model_info{model="edge 2.0.0",origin="loaded"}"#),
            Up("detector_model_loads_total"),
            Up(r#"detector_drift_state{state="unknown"}"#),
            Down("detector_drift_features"),
        ],
        || {
            let model = always(Family::Benign, "2.0.0");
            change(stage, "POST", "/api/v1/models", &model);
        },
    );
}

pub fn is_asked(stage: &Stage, prometheus: &Prometheus<'_>) {
    // More than may have gone since the scrape before.
    let mut followers = Vec::new();
    prometheus.sees(
        "somebody follows events",
        &[
            Up("detector_api_followers"),
            Up(r#"detector_api_connections{listener="tcp"}"#),
        ],
        || {
            for _ in 0..4 {
                let mut follower = stage.tcp();
                follower
                    .write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    .unwrap();
                followers.push(follower);
            }
        },
    );
    prometheus.sees(
        "a row is to be scored",
        &[
            Up("detector_api_rows_scored_total"),
            Up(r#"detector_api_requests_total{status="2xx"}"#),
            Up("detector_api_request_duration_seconds_count"),
        ],
        || {
            let row = br#"{"features":{"fwd_packets":3}}"#;
            let answer = stage.send("POST", "/api/v1/score", "", row);
            assert_eq!(answer.status, 200, "{answer:?}");
        },
    );
    prometheus.sees(
        "a change is asked for where there are only reads",
        &[
            Up(r#"detector_api_problems_total{problem="changes-refused"}"#),
            Up(r#"detector_api_requests_total{status="4xx"}"#),
        ],
        || {
            let answer = stage.send("POST", "/api/v1/reload", "", b"");
            assert_eq!(answer.status, 403, "{answer:?}");
        },
    );
}

pub fn loses_events(stage: &Stage, prometheus: &Prometheus<'_>, events: UnixListener) {
    prometheus.sees(
        "who takes events is gone",
        &[Up("detector_events_lost_total")],
        || {
            drop(events);
            stage.scan([10, 0, 0, 10]);
        },
    );
    prometheus.sees(
        "events come faster than they are passed on",
        &[Up("detector_api_events_lost_total")],
        || {
            let _still = Still::threads(stage.agent.id(), "serve");
            // Each asks hosts of its own: none of them is flooded.
            let knock = |n: u16, host: u8| {
                let [c, d] = n.to_be_bytes();
                let asked = v4([20 + c, d, 0, host], 22);
                tcp_frame(v4([10, 5, c, d], 40_000), asked, SYN, b"")
            };
            send(
                stage,
                (0..SCANNERS).flat_map(|n| (1..=20).map(move |host| knock(n, host))),
            );
            // A tick writes verdicts first and tells after: when that of a later tick is in force, all was told.
            for last in [12, 13] {
                assert!(wait_for(PATIENCE, || {
                    stage.scan([10, 0, 0, last]);
                    let target = format!("10.0.0.{last}");
                    stage.verdicts().iter().any(|one| one["target"] == *target)
                }));
            }
        },
    );
}

pub fn has_no_verdict_left(stage: &Stage, prometheus: &Prometheus<'_>) {
    prometheus.sees(
        "a verdict is due and there is no slot",
        &[Up("detector_verdict_write_failures_total")],
        || {
            let write = |n: u8| {
                let body = format!(r#"{{"address":"10.6.0.{n}","action":"drop"}}"#);
                stage
                    .ask("POST", "/api/v1/verdicts", body.as_bytes())
                    .status
            };
            // An older verdict may expire at any time and leave its slot.
            for last in 20..28 {
                assert!((0..=64).any(|n| write(n) == 507), "there is always room");
                stage.scan([10, 0, 0, last]);
                thread::sleep(Duration::from_secs(1));
            }
        },
    );
}

pub fn loses_the_data_plane(stage: &Stage, prometheus: &Prometheus<'_>) {
    prometheus.sees(
        "an interface goes",
        &[Down(r#"detector_interface_attached{interface="vb"}"#)],
        || {
            stage.attacker.run("ip link delete dev va");
        },
    );
    veth((&stage.attacker, "va"), (&stage.server, "vb"));
    stage.hear_times("attached to vb", 2);
    prometheus.sees(
        "everything is detached",
        &[Down("detector_attached")],
        || cli(stage, "detach"),
    );
    prometheus.sees(
        "another data plane comes",
        &[
            Up("detector_attached"),
            Up("detector_flow_table_capacity"),
            Up("detector_verdict_slots"),
        ],
        || cli(stage, "attach -i vb --flow-slots 8192 --verdict-slots 128"),
    );
}

fn change(stage: &Stage, method: &str, path: &str, body: &[u8]) {
    let answer = stage.ask(method, path, body);
    assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
}
