//! Clients that mean ill, or do not care: none of them holds anybody up.

use std::{
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

use crate::{lab::wait_for, stage::Stage};

/// A server that shuts slow heads out, and never-reading followers, does so within this.
const PATIENCE: Duration = Duration::from_secs(60);
/// So long a head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

#[test]
fn slow_heads_and_followers_who_never_read_are_dropped_and_others_are_served() {
    let Some(stage) = Stage::new(
        &["--enforce", "--no-model"],
        "connections_max = 24\nfollowers_max = 2",
    ) else {
        return;
    };
    let begun = Instant::now();
    // Heads that never end, fewer than there are places.
    let mut slow: Vec<_> = (0..12).map(|_| stage.tcp()).collect();
    for stream in &mut slow {
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nHost: loc")
            .unwrap();
    }
    // A WebSocket that never reads.
    let mut silent = stage.tcp();
    silent
        .write_all(
            b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
    let mut head = [0; 12];
    silent.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
    // And one by server-sent events; a third finds no place.
    let mut deaf = stage.tcp();
    deaf.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let followers = || stage.metric("detector_api_followers ");
    assert!(wait_for(PATIENCE, || followers() == 2.0));
    assert_eq!(stage.get("/api/v1/events").status, 503);
    // Others are served meanwhile, at once, and the attack is met.
    stage.scan([10, 0, 0, 9]);
    stage.await_alert("scan", "drop");
    for _ in 0..50 {
        let asked = Instant::now();
        assert_eq!(stage.get("/livez").status, 200);
        // Who waits behind a slow head waits for as long as such a head may take.
        assert!(asked.elapsed() < HEAD_TIMEOUT / 2);
    }
    for stream in &mut slow {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
    assert!(begun.elapsed() < PATIENCE, "slow heads were kept");
    assert!(
        wait_for(PATIENCE, || followers() <= 1.0),
        "the WebSocket was kept"
    );
    // A machine that others use, too, may be late now and then; a loop that clients hold up is so at each tick.
    let (late, ticks) = (
        stage.metric("detector_late_ticks_total "),
        stage.metric("detector_ticks_total "),
    );
    assert!(late <= ticks / 4.0, "{late} of {ticks} ticks were late");
    drop(deaf);
    assert!(
        wait_for(PATIENCE, || followers() == 0.0),
        "who is gone was kept"
    );
}

#[test]
fn two_agents_share_no_socket_and_a_taken_port_ends_none() {
    let Some(stage) = Stage::new(&["--no-model"], "") else {
        return;
    };
    let output = stage.server.within(|| {
        std::process::Command::new("timeout")
            .args([
                "-s",
                "TERM",
                "2",
                env!("CARGO_BIN_EXE_detector"),
                "--pin-dir",
            ])
            .arg(stage.pins())
            .args(["run", "-i", "vb", "--no-model", "--config"])
            .arg(stage.config())
            .output()
            .unwrap()
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("another agent listens there"), "{said}");
    assert!(said.contains("127.0.0.1:9190 (api.listen)"), "{said}");
    assert!(said.contains("ready"), "{said}");
    // The first still serves.
    assert_eq!(stage.ask("GET", "/livez", b"").status, 200);
}
