//! Events to a real NATS server.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
    time::Duration,
};

use async_nats::jetstream;
use detector_user::output::nats::{Nats, NatsCounts, NatsSettings, Subject, Unsent};
use serde_json::Value;

use super::credentials::configuration_and_credentials;
use crate::lab::{
    Lab,
    agent::{SECONDS, Stage},
    certificate::certify,
    nats::{URL, serve},
    skip,
    space::Space,
    wait_for,
};

/// Asks the server something; `None` where it is not there.
fn asking<R: Send, F: Future<Output = R>>(
    space: &Space,
    ask: impl FnOnce(async_nats::Client) -> F + Send,
) -> Option<R> {
    space.within(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async { Some(ask(async_nats::connect(URL).await.ok()?).await) })
    })
}

/// What the stream holds: subject, id and text of each message.
fn held(space: &Space) -> Vec<(String, Option<String>, Value)> {
    let held = asking(space, |client| async move {
        let Ok(stream) = jetstream::new(client).get_stream("detector").await else {
            return Vec::new();
        };
        let mut all = Vec::new();
        let state = &stream.cached_info().state;
        for sequence in state.first_sequence..=state.last_sequence {
            let message = stream.get_raw_message(sequence).await.unwrap();
            let id = message.headers.get("Nats-Msg-Id").map(ToString::to_string);
            assert!(message.headers.get("Detector-Host").is_some());
            let event = serde_json::from_slice(&message.payload).unwrap();
            all.push((message.subject.to_string(), id, event));
        }
        all
    });
    held.unwrap_or_default()
}

fn count(space: &Space, subject: &str) -> usize {
    held(space).iter().filter(|(of, ..)| of == subject).count()
}

#[test]
fn events_arrive_and_a_server_that_dies_costs_counted_drops() {
    let Some(lab) = Lab::new(&["nats-server"]) else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("agent.toml");
    let text = format!(
        "[nats]\nurl = {URL:?}\nqueue_max = 16\nflow_events = true\n[api]\nsocket = \"off\"\n"
    );
    fs::write(&config, text).unwrap();
    let arguments = [
        "--enforce",
        "--no-model",
        "--config",
        config.to_str().unwrap(),
    ];
    let Some(mut stage) = Stage::on(lab, &arguments, &[]) else {
        return;
    };
    // It was not there at the start.
    stage.hear("NATS at nats://127.0.0.1:4222");
    let server = serve(&stage.server, home.path(), &[]);
    stage.hear("events are published to NATS at nats://127.0.0.1:4222 again");
    stage.scan([10, 0, 0, 9]);
    let alert = stage.alert("scan", "drop");
    let arrived = || held(&stage.server);
    let has = |subject: &str| arrived().into_iter().find(|(of, ..)| of == subject);
    assert!(wait_for(SECONDS, || has("detector.alert").is_some()));
    assert!(wait_for(SECONDS, || has("detector.verdict").is_some()));
    let same = |(_, _, event): &(_, _, Value)| *event == alert;
    assert!(
        wait_for(SECONDS, || arrived().iter().any(same)),
        "the same as in the event log"
    );
    for n in 0..5 {
        stage.closed_flows([10, 0, 0, 8], 20_000 + n * 10..20_010 + n * 10);
        std::thread::sleep(Duration::from_millis(250));
    }
    assert!(wait_for(SECONDS, || count(&stage.server, "detector.flow") == 50));
    assert_eq!(stage.metric("detector_nats_connected"), Some(1.0));
    // It dies.
    drop(server);
    stage.hear_times("everything else goes on", 2);
    for n in 0..10 {
        stage.closed_flows([10, 0, 0, 8], 30_000 + n * 10..30_010 + n * 10);
        std::thread::sleep(Duration::from_millis(250));
    }
    let full = "detector_nats_events_dropped_total{reason=\"queue_full\"}";
    assert!(
        wait_for(SECONDS, || stage.metric(full) >= Some(50.0)),
        "{:?}",
        stage.metric(full)
    );
    assert_eq!(stage.metric("detector_nats_connected"), Some(0.0));
    assert!(stage.is_running());
    stage.scan([10, 0, 0, 7]);
    assert!(wait_for(SECONDS, || stage.verdicts().len() == 2), "it acts");
    // It comes back with what it had stored.
    let server = serve(&stage.server, home.path(), &[]);
    stage.hear_times("again", 2);
    let before = count(&stage.server, "detector.flow");
    stage.closed_flows([10, 0, 0, 6], 40_000..40_010);
    assert!(wait_for(SECONDS, || count(&stage.server, "detector.flow")
        >= before + 10));
    assert!(wait_for(SECONDS, || stage
        .metric("detector_nats_events_pending")
        == Some(0.0)));
    let metric = |name: &str| stage.metric(name).unwrap();
    let published = metric("detector_nats_events_published_total");
    let refused = metric("detector_nats_events_dropped_total{reason=\"refused\"}");
    assert_eq!(
        metric("detector_nats_events_offered_total"),
        published + metric(full)
    );
    assert_eq!(refused, 0.0);
    // Each once, however often its acknowledgement was lost.
    let held = held(&stage.server);
    let mut ids: Vec<_> = held.iter().map(|(_, id, _)| id.clone().unwrap()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), held.len());
    assert_eq!(held.len() as f64, published);
    drop(server);
    stage.signal("-TERM");
    assert!(stage.agent.wait().unwrap().success(), "{}", stage.log());
}

/// A publisher in a namespace, what it counts and what it says.
fn publisher(
    space: &Space,
    url: &str,
    settings: NatsSettings,
) -> (Nats, Arc<NatsCounts>, Arc<Mutex<String>>) {
    let counts = Arc::<NatsCounts>::default();
    let said = Arc::<Mutex<String>>::default();
    let (heard, own) = (said.clone(), counts.clone());
    let nats = space.within(|| {
        Nats::start(url, &settings, own, move |text| {
            let mut said = heard.lock().unwrap();
            said.push_str(text);
            said.push('\n');
        })
        .unwrap()
    });
    (nats, counts, said)
}

#[test]
fn a_server_over_tls_is_trusted_by_its_authority_alone() {
    if Lab::new(&["nats-server", "openssl"]).is_none() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let (certificate, key) = certify(home.path());
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let space = Space::new();
    let _server = serve(
        &space,
        home.path(),
        &[
            "--tls",
            "--tlscert",
            &path(&certificate),
            "--tlskey",
            &path(&key),
        ],
    );
    let url = "tls://127.0.0.1:4222";
    let settings = NatsSettings {
        tls_ca: Some(certificate),
        ..NatsSettings::default()
    };
    let (nats, counts, said) = publisher(&space, url, settings);
    nats.event(Subject::Alert, "{\"event_type\":\"alert\"}\n");
    assert!(
        wait_for(SECONDS, || counts.published.load(Relaxed) == 1),
        "{}",
        said.lock().unwrap()
    );
    drop(nats);
    let (nats, counts, said) = publisher(&space, url, NatsSettings::default());
    nats.event(Subject::Alert, "{}");
    assert!(wait_for(SECONDS, || said.lock().unwrap().contains(url)));
    assert!(!counts.connected.load(Relaxed));
    drop(nats);
    assert_eq!(counts.dropped(Unsent::Stopped), 1, "{counts:?}");
    assert_eq!(counts.pending(), 0);
}

#[test]
fn a_server_that_asks_who_it_is_is_shown_its_credentials() {
    if Lab::new(&["nats-server"]).is_none() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let (configuration, credentials) = configuration_and_credentials();
    let path = |name: &str| home.path().join(name);
    fs::write(path("nats.conf"), configuration).unwrap();
    fs::write(path("agent.creds"), credentials).unwrap();
    let space = Space::new();
    let conf = path("nats.conf");
    let _server = serve(&space, home.path(), &["-c", conf.to_str().unwrap()]);
    let with = |credentials: Option<&str>| NatsSettings {
        credentials: credentials.map(path),
        ..NatsSettings::default()
    };
    let (nats, counts, said) = publisher(&space, URL, with(Some("agent.creds")));
    nats.event(Subject::Verdict, "{}");
    assert!(
        wait_for(SECONDS, || counts.published.load(Relaxed) == 1),
        "{}\n{}",
        said.lock().unwrap(),
        fs::read_to_string(path("nats.log")).unwrap()
    );
    drop(nats);
    for (credentials, says) in [
        (None, "authorization"),
        (Some("missing.creds"), "missing.creds"),
    ] {
        let (nats, counts, said) = publisher(&space, URL, with(credentials));
        nats.event(Subject::Verdict, "{}");
        assert!(
            wait_for(SECONDS, || said.lock().unwrap().contains(says)),
            "{said:?}"
        );
        drop(nats);
        assert_eq!(counts.dropped(Unsent::Stopped), 1, "{counts:?}");
    }
}

#[test]
fn a_server_that_hangs_has_each_event_once_when_it_goes_on() {
    if Lab::new(&["nats-server"]).is_none() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let space = Space::new();
    let server = serve(&space, home.path(), &[]);
    let signal = |signal: &str| {
        let id = server.0.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &id])
                .status()
                .unwrap()
                .success()
        );
    };
    let (nats, counts, said) = publisher(&space, URL, NatsSettings::default());
    let publish = |events: u64| {
        for _ in 0..events {
            nats.event(Subject::Flow, "{}");
        }
    };
    publish(20);
    assert!(
        wait_for(SECONDS, || counts.published.load(Relaxed) == 20),
        "{said:?}"
    );
    let before = said.lock().unwrap().len();
    signal("-STOP");
    publish(30);
    assert!(
        wait_for(SECONDS, || said.lock().unwrap().len() > before),
        "{said:?}"
    );
    assert_eq!(counts.pending(), 30);
    signal("-CONT");
    assert!(
        wait_for(SECONDS, || counts.published.load(Relaxed) == 50),
        "{said:?}"
    );
    assert_eq!(
        held(&space).len(),
        50,
        "what was published twice is there once"
    );
    drop(nats);
}

#[test]
fn a_stream_of_other_subjects_is_told_of_once_until_it_takes_them() {
    if Lab::new(&["nats-server"]).is_none() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let space = Space::new();
    let _server = serve(&space, home.path(), &[]);
    let taking = |subjects: &str| {
        let config = jetstream::stream::Config {
            name: "detector".to_owned(),
            subjects: vec![subjects.to_owned()],
            ..jetstream::stream::Config::default()
        };
        let ask = || {
            let config = config.clone();
            asking(&space, |client| async move {
                let jetstream = jetstream::new(client);
                let made = jetstream.create_stream(&config).await;
                made.is_ok() || jetstream.update_stream(&config).await.is_ok()
            })
        };
        assert!(wait_for(SECONDS, || ask() == Some(true)));
    };
    taking("other.>");
    let (nats, counts, said) = publisher(&space, URL, NatsSettings::default());
    nats.event(Subject::Alert, "{}");
    assert!(wait_for(SECONDS, || !said.lock().unwrap().is_empty()));
    // It is tried again each second.
    std::thread::sleep(Duration::from_millis(3500));
    let lines = |said: &Mutex<String>| said.lock().unwrap().lines().count();
    assert_eq!(lines(&said), 1, "{said:?}");
    taking("detector.>");
    assert!(
        wait_for(SECONDS, || counts.published.load(Relaxed) == 1),
        "{said:?}"
    );
    assert!(wait_for(SECONDS, || lines(&said) == 2), "{said:?}");
    drop(nats);
}

#[test]
fn what_the_server_refuses_is_counted_and_the_rest_goes_on() {
    if Lab::new(&["nats-server"]).is_none() {
        return skip("needs the program nats-server");
    }
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("nats.conf");
    fs::write(&config, "max_payload: 1000\n").unwrap();
    let space = Space::new();
    let _server = serve(&space, home.path(), &["-c", config.to_str().unwrap()]);
    let (nats, counts, said) = publisher(&space, URL, NatsSettings::default());
    let large = format!("{{\"text\":\"{}\"}}", "x".repeat(2000));
    for n in 0..100 {
        nats.event(Subject::Flow, if n % 10 == 0 { &large } else { "{}" });
    }
    assert!(
        wait_for(SECONDS, || counts.pending() == 0),
        "{}",
        said.lock().unwrap()
    );
    assert_eq!(counts.published.load(Relaxed), 90);
    assert_eq!(counts.dropped(Unsent::Refused), 10);
    let told = said.lock().unwrap().matches("was refused").count();
    assert_eq!(told, 1, "told once");
}
