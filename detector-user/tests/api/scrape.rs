//! Every metric of the reference, scraped by a real Prometheus: it is there, and it moves when what it counts happens.

mod agent;
mod packets;
mod pods;
mod prometheus;
mod sinks;
mod still;

use std::{os::unix::net::UnixListener, process::Command};

use detector_user::metrics::definitions::{DEFINITIONS, Kind};

use crate::{lab::skip, stage::Stage};
use prometheus::Prometheus;

/// What cannot be made to move, and why.
const STAND_STILL: [(&str, &str); 3] = [
    (
        "detector_build_info",
        "another version would be another program",
    ),
    (
        "detector_capability_held",
        "given up at the start, for good",
    ),
    ("detector_landlock_abi", "confined at the start, for good"),
];

/// As many flows as it takes for a tick to have no room for all of them.
const FLOW_SLOTS: &str = "262144";

#[test]
fn every_metric_is_scraped_and_moves_when_what_it_counts_happens() {
    for tool in ["prometheus", "curl", "nats-server"] {
        if Command::new(tool).arg("--version").output().is_err() {
            return skip(&format!("needs the program {tool}"));
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.sock");
    let place = format!("unix:{}", path.display());
    let arguments = ["--flow-slots", FLOW_SLOTS, "--events", &place];
    // It takes events for as long as it is there.
    let events = UnixListener::bind(&path).unwrap();
    let sections = format!("{}\n{}", sinks::sections(), pods::sections());
    let Some(stage) = Stage::new(&arguments, &sections) else {
        return;
    };
    let prometheus = Prometheus::start(&stage);
    all_are_there(&prometheus);

    pods::are_named(&stage, &prometheus);
    packets::come_and_go(&stage, &prometheus);
    sinks::are_archived(&stage, &prometheus);
    sinks::are_published(&stage, &prometheus);
    packets::meet_verdicts(&stage, &prometheus);
    packets::fill_the_rings(&stage, &prometheus);
    agent::decides(&stage, &prometheus);
    agent::is_changed(&stage, &prometheus);
    agent::is_asked(&stage, &prometheus);
    agent::loses_events(&stage, &prometheus, events);
    agent::has_no_verdict_left(&stage, &prometheus);
    packets::are_too_many(&stage, &prometheus);
    packets::do_not_add_up(&stage, &prometheus);
    agent::loses_the_data_plane(&stage, &prometheus);

    for one in DEFINITIONS {
        let still = STAND_STILL.iter().any(|(name, _)| *name == one.name);
        let moved = prometheus.has_seen(&series(one.name, one.kind));
        assert!(
            moved != still,
            "{}: {}",
            one.name,
            if still {
                "it is said to stand still, and moved"
            } else {
                "this test makes nothing happen that it counts: add it, or say in STAND_STILL why it cannot move"
            }
        );
    }
}

/// A series that each metric has: a histogram has none of its own name.
fn series(name: &str, kind: Kind) -> String {
    match kind {
        Kind::Histogram => format!("{name}_count"),
        Kind::Counter | Kind::Gauge => name.to_owned(),
    }
}

/// Each has a series, and what Prometheus was told of it is what the reference says.
fn all_are_there(prometheus: &Prometheus<'_>) {
    for one in DEFINITIONS {
        let value = prometheus.value(&series(one.name, one.kind));
        assert!(value.is_some(), "{} was not scraped", one.name);
        let told = prometheus.ask("metadata", &format!("metric={}", one.name));
        let told = &told.unwrap()[one.name][0];
        let kind = match one.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        assert_eq!(
            (told["type"].as_str(), told["help"].as_str()),
            (Some(kind), Some(one.help)),
            "{}",
            one.name
        );
    }
}
