//! What is changed: over the Unix socket only, and between two ticks.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::{
    lab::wait_for,
    stage::{SECONDS, Stage},
};

const VERDICT: &[u8] = br#"{"address":"10.0.0.7","action":"drop","ttl_s":600,"reason":"by hand"}"#;

#[test]
fn tcp_takes_no_change_and_the_socket_does() {
    let Some(stage) = Stage::new(&["--enforce", "--no-model"], "") else {
        return;
    };
    for (method, path, body) in [
        ("POST", "/api/v1/verdicts", VERDICT),
        ("DELETE", "/api/v1/verdicts/1", b""),
        ("POST", "/api/v1/reload", b""),
        ("PUT", "/api/v1/mode", br#"{"mode":"monitor"}"#),
        ("POST", "/api/v1/models", b"x"),
        ("POST", "/api/v1/models/rollback", b""),
    ] {
        let answer = stage.send(method, path, "Authorization: Bearer guess\r\n", body);
        assert_eq!(answer.status, 403, "{method} {path}: {answer:?}");
        assert!(
            answer.json()["remedy"]
                .as_str()
                .unwrap()
                .contains("Unix socket")
        );
    }
    let mode = fs::metadata(stage.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    assert_eq!(
        stage.ask("GET", "/api/v1/status", b"").json()["changes"],
        "allowed"
    );

    let added = stage.ask("POST", "/api/v1/verdicts", VERDICT);
    assert_eq!(added.status, 201, "{added:?}");
    let (slot, listed) = (
        added.json()["slot"].clone(),
        stage.get("/api/v1/verdicts").json(),
    );
    assert_eq!(listed["verdicts"][0]["target"], "10.0.0.7");
    let other = format!("/api/v1/verdicts/{slot}?target=10.0.0.8");
    assert_eq!(stage.ask("DELETE", &other, b"").status, 404);
    let lifted = stage.ask(
        "DELETE",
        &format!("/api/v1/verdicts/{slot}?target=10.0.0.7"),
        b"",
    );
    assert_eq!(lifted.status, 200, "{lifted:?}");
    assert_eq!(stage.get("/api/v1/verdicts").json()["total"], 0);
    for bad in [
        r#"{"action":"drop"}"#,
        r#"{"address":"10.0.0.7","action":"drop","ttl_s":0}"#,
        r#"{"address":"10.0.0.7","action":"rate-limit"}"#,
        r#"{"address":"10.0.0.7","prefix":"10.0.0.0/8","action":"drop"}"#,
        r#"{"signature":{},"action":"drop"}"#,
        r#"{"address":"10.0.0.7","action":"drop","pps":1}"#,
        "{",
    ] {
        let answer = stage.ask("POST", "/api/v1/verdicts", bad.as_bytes());
        assert_eq!(answer.status, 400, "{bad}: {answer:?}");
    }
    let signature = br#"{"signature":{"to":"10.0.0.1/32","protocol":"udp","sport":"53"},"action":"rate-limit","packets_per_second":5}"#;
    let answer = stage.ask("POST", "/api/v1/verdicts", signature);
    assert_eq!(answer.status, 201, "{answer:?}");
}

#[test]
fn the_mode_changes_at_once_and_both_ways() {
    let Some(stage) = Stage::new(&["--enforce", "--no-model"], "") else {
        return;
    };
    let total = || stage.get("/api/v1/verdicts").json()["total"].clone();
    assert_eq!(stage.ask("POST", "/api/v1/verdicts", VERDICT).status, 201);
    stage.scan([10, 0, 0, 9]);
    stage.await_alert("scan", "drop");
    assert!(wait_for(SECONDS, || total() == 2));
    let answer = stage.ask("PUT", "/api/v1/mode", br#"{"mode":"monitor"}"#);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.text().contains("1 verdicts lifted"), "{answer:?}");
    assert!(
        wait_for(SECONDS, || total() == 1),
        "the operator's stays: {}",
        total()
    );
    stage.scan([10, 0, 0, 8]);
    assert!(wait_for(SECONDS, || stage.alerts("scan", "drop").len() == 2));
    assert_eq!(total(), 1);
    // The source that was only told of is acted upon as soon as it goes on.
    assert_eq!(
        stage
            .ask("PUT", "/api/v1/mode", br#"{"mode":"enforce"}"#)
            .status,
        200
    );
    assert!(wait_for(SECONDS, || {
        stage.scan([10, 0, 0, 8]);
        total() == 2
    }));
}

#[test]
fn a_reload_and_a_model_are_taken_or_refused_whole() {
    let Some(stage) = Stage::new(&[], "") else {
        return;
    };
    let model = || stage.get("/api/v1/models").json()["active"]["name"].clone();
    assert!(model().is_string());
    let config = fs::read_to_string(stage.config()).unwrap();
    fs::write(stage.config(), format!("scan = 3\n{config}")).unwrap();
    let answer = stage.ask("POST", "/api/v1/reload", b"");
    assert_eq!(answer.status, 409, "{answer:?}");
    assert!(answer.text().contains("line 1"), "{answer:?}");
    assert_eq!(stage.metric("detector_config_reload_failures_total "), 1.0);
    fs::write(stage.config(), format!("tick_ms = 50\n{config}")).unwrap();
    assert_eq!(stage.ask("POST", "/api/v1/reload", b"").status, 200);
    assert!(wait_for(SECONDS, || {
        stage.get("/api/v1/status").json()["agent"]["tick_ms"] == 50
    }));
    assert_eq!(stage.metric("detector_config_reloads_total "), 2.0);

    // A hostile model: cut off, flipped bits, absurd counts. The agent goes on with what it has.
    let mut bytes = include_bytes!("../../../models/default/model.bin").to_vec();
    assert_eq!(
        stage.ask("POST", "/api/v1/models", &bytes[..1000]).status,
        400
    );
    assert_eq!(stage.ask("POST", "/api/v1/models", b"").status, 400);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    assert_eq!(stage.ask("POST", "/api/v1/models", &bytes).status, 400);
    bytes[middle] ^= 0xff;
    bytes[8..24].fill(0xff);
    assert_eq!(stage.ask("POST", "/api/v1/models", &bytes).status, 400);
    let bytes = include_bytes!("../../../models/default/model.bin");
    let answer = stage.ask("POST", "/api/v1/models", bytes);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        stage.ask("POST", "/api/v1/models/rollback", b"").status,
        200
    );
    assert!(model().is_string());
}
