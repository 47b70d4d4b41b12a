//! What is read: an attack as it is told by every route.

use std::io::{BufRead as _, BufReader, Write as _};

use serde_json::Value;

use crate::{
    lab::{skip, wait_for},
    stage::{SECONDS, Stage},
};

#[test]
fn an_attack_is_told_by_every_route() {
    let Some(stage) = Stage::new(&["--enforce", "--no-model"], "") else {
        return;
    };
    assert_eq!(stage.get("/livez").text(), "ok\n");
    assert!(wait_for(SECONDS, || stage.get("/readyz").status == 200));
    // Followers, before anything happens.
    let mut follower = stage.tcp();
    follower
        .write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    assert!(wait_for(SECONDS, || {
        stage.metric("detector_api_followers ") == 1.0
    }));
    let scans =
        "detector_alerts_total{family=\"scan\",action=\"drop\",by=\"rule\",severity=\"1\"} ";
    assert_eq!(stage.metric(scans), 0.0);

    stage.scan([10, 0, 0, 9]);
    let alert = stage.await_alert("scan", "drop");
    assert_eq!(alert["src_ip"], "10.0.0.9");
    assert_eq!(stage.metric(scans), 1.0);

    // The stream told it, too.
    let mut lines = BufReader::new(follower).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "event: alert"));
    assert!(lines.any(|line| line.starts_with("data: {") && line.contains("10.0.0.9")));

    let verdicts = || stage.get("/api/v1/verdicts").json();
    assert!(wait_for(SECONDS, || verdicts()["total"] == 1));
    let verdict = &verdicts()["verdicts"][0];
    assert_eq!(verdict["target"], "10.0.0.9");
    assert!(verdict["reason"].as_str().unwrap().contains("scan"));
    assert!(verdict["expires"].is_string());

    // What is dropped is counted, and everything adds up.
    stage.scan([10, 0, 0, 9]);
    let status = || stage.get("/api/v1/status").json();
    let dropped = || status()["plane"]["books"]["fates"]["dropped_address"]["packets"].clone();
    assert!(wait_for(SECONDS, || dropped() == 200), "{}", dropped());
    let told: Value = status();
    assert_eq!(told["mode"], "enforce");
    assert_eq!(told["changes"], "refused");
    assert_eq!(told["plane"]["books"]["balance"], "balanced");
    assert_eq!(told["agent"]["denied_sources"], 1);
    assert_eq!(
        stage.metric("detector_dropped_packets_total{kind=\"address\"} "),
        200.0
    );
    assert_eq!(stage.metric("detector_unaccounted_packets "), 0.0);
    assert_eq!(stage.metric("detector_verdicts{kind=\"address\"} "), 1.0);

    let flows = stage
        .get("/api/v1/flows?sort=packets&limit=3&source=10.0.0.9")
        .json();
    assert_eq!(flows["flows"].as_array().unwrap().len(), 3);
    assert!(flows["matched"].as_u64().unwrap() > 3);
    assert_eq!(flows["flows"][0]["source_address"], "10.0.0.9");
    assert_eq!(
        stage.get("/api/v1/flows?source=10.0.0.77").json()["matched"],
        0
    );
}

#[test]
fn what_is_asked_wrongly_is_answered_with_what_why_and_a_remedy() {
    let Some(stage) = Stage::new(&["--no-model"], "") else {
        return;
    };
    for (path, status, says) in [
        ("/api/v1/flows?sort=size", 400, "packets, bytes"),
        ("/api/v1/flows?limit=many", 400, "limit"),
        ("/api/v1/flows?limit=1000000", 400, "10000"),
        ("/api/v1/flows?source=10.0.0", 400, "10.0.0"),
        ("/api/v1/flows?colour=red", 400, "colour"),
        ("/api/v1/alerts?family=rain", 400, "brute-force"),
        ("/api/v1/nothing", 404, "/api/v1/nothing"),
        ("/../../etc/passwd", 404, "no route"),
        ("/%2e%2e/%2e%2e/etc/passwd", 404, "no route"),
        ("/api/v1/reload", 405, "GET"),
    ] {
        let answer = stage.get(path);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(
            answer.head.contains("application/problem+json"),
            "{path}: {answer:?}"
        );
        let problem = answer.json();
        for field in ["type", "title", "detail", "remedy"] {
            assert!(
                !problem[field].as_str().unwrap().is_empty(),
                "{path}: {problem}"
            );
        }
        assert!(
            problem["detail"].as_str().unwrap().contains(says),
            "{path}: {problem}"
        );
    }
    let page = stage.get("/");
    assert!(
        page.head
            .contains("content-security-policy: default-src 'none'"),
        "{}",
        page.head
    );
    let openapi = stage.get("/openapi.json").json();
    assert!(openapi["paths"]["/api/v1/score"]["post"].is_object());
}

#[test]
fn prometheus_takes_the_metrics_as_they_are() {
    let Some(stage) = Stage::new(&["--enforce"], "") else {
        return;
    };
    let metrics = stage.get("/metrics").text();
    let mut command = std::process::Command::new("promtool");
    command.args(["check", "metrics"]);
    command.stdin(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped());
    command.stdout(std::process::Stdio::piped());
    let Ok(mut promtool) = command.spawn() else {
        return skip("needs the program promtool");
    };
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(metrics.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
    // Each series of the reference is there.
    for line in include_str!("../../../docs/metrics.md").lines() {
        if let Some(name) = line.strip_prefix("| `") {
            let name = name.split('`').next().unwrap();
            assert!(
                metrics.contains(&format!("# TYPE {name} ")),
                "{name} is not served"
            );
        }
    }
    for forbidden in ["10.0.0.", "127.0.0.1"] {
        assert!(!metrics.contains(forbidden), "{forbidden}");
    }
}
