//! Live traffic that looks like what the model was trained on, and traffic that does not.

use std::{cell::Cell, fs, thread, time::Duration};

use detector_user::decide::family::Family;
use serde_json::Value;

use crate::lab::{
    agent::{SECONDS, SERVER, Stage},
    frames::{udp_frame, v4},
    model::{always, trained_on_payload},
    raw::Raw,
    wait_for,
};

/// Hosts ask the server, with so many bytes, and are answered, until the agent has said this so often.
fn ask_until(stage: &Stage, port: &Cell<u16>, bytes: usize, text: &str, times: usize) {
    let heard = wait_for(SECONDS, || {
        let ports = port.get()..port.get() + 30;
        port.set(ports.end);
        let client = |port: u16| v4([10, 0, 1, 10 + (port % 30) as u8], port);
        let asked = vec![0; bytes];
        stage.attacker.within(|| {
            let raw = Raw::sender("va");
            for port in ports.clone() {
                raw.send(&udp_frame(client(port), v4(SERVER, 53), &asked));
            }
        });
        stage.server.within(|| {
            let raw = Raw::sender_by_the_queue("vb");
            for port in ports {
                raw.send(&udp_frame(v4(SERVER, 53), client(port), b"an answer"));
            }
        });
        // A tick counts some rows only.
        thread::sleep(Duration::from_millis(110));
        stage.log().matches(text).count() >= times
    });
    assert!(heard, "never said {text:?} {times} times:\n{}", stage.log());
}

#[test]
fn drift_is_told_and_a_model_that_is_trained_on_it_ends_it() {
    let home = tempfile::tempdir().unwrap();
    let (model, config) = (
        home.path().join("model.bin"),
        home.path().join("agent.toml"),
    );
    fs::write(&model, trained_on_payload(10.0, "1.0.0")).unwrap();
    let text = "stats_s = 1\n[models]\nwatch_s = 1\n[drift]\nwindow_rows = 100\nwindow_s = 1\n\
                [api]\nlisten = \"off\"\nsocket = \"off\"\n";
    fs::write(&config, text).unwrap();
    let arguments = [
        "--config",
        config.to_str().unwrap(),
        "--model",
        model.to_str().unwrap(),
    ];
    let Some(stage) = Stage::new(&arguments) else {
        return;
    };
    stage.hear("drift gathering");
    let port = Cell::new(20_000);
    ask_until(&stage, &port, 10, "drift stable", 1);
    ask_until(&stage, &port, 900, "drift drifted", 1);
    let told = || -> Option<Value> {
        let mut events = stage.events().into_iter();
        events.find(|event| {
            event["event_type"] == "drift" && event["detector"]["drift"]["state"] == "drifted"
        })
    };
    assert!(wait_for(SECONDS, || told().is_some()), "{}", stage.log());
    let event = told().unwrap();
    let drift = &event["detector"]["drift"];
    assert_eq!(event["detector"]["model"], "edge 1.0.0", "{event}");
    assert!(drift["score_psi"].as_f64() > Some(0.25), "{event}");
    assert_eq!(drift["top"][0]["feature"], "fwd_payload", "{event}");
    assert!(
        drift["since"]
            .as_str()
            .is_some_and(|time| time.ends_with("+0000") || time.contains('T')),
        "{event}"
    );
    let stats = || {
        let mut events = stage.events().into_iter();
        events.any(|event| event["stats"]["detector"]["drift"]["state"] == "drifted")
    };
    assert!(wait_for(SECONDS, stats), "{:?}", stage.events());

    fs::write(&model, trained_on_payload(900.0, "2.0.0")).unwrap();
    stage.hear_times("drift gathering", 2);
    ask_until(&stage, &port, 900, "drift stable", 2);
    fs::write(&model, always(Family::Benign, "3.0.0")).unwrap();
    stage.hear("drift unknown");
}
