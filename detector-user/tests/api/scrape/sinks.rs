//! What happens to flows and events that go to the archive and to NATS.

use std::fs;

use super::{
    prometheus::{Down, Prometheus, Up},
    still::Still,
};
use crate::{lab::nats, stage::Stage};

/// In the stage's folder.
const FOLDER: &str = "archive";

/// The configuration, after that of the API.
pub fn sections() -> String {
    format!(
        "[drift]\nwindow_rows = 100\nwindow_s = 1\n\
         [archive]\nfolder = \"FOLDER/{FOLDER}\"\nrows_max = 1024\nflush_s = 1\n\
         [nats]\nurl = {:?}\nqueue_max = 16\nflow_events = true",
        nats::URL
    )
}

pub fn are_archived(stage: &Stage, prometheus: &Prometheus<'_>) {
    prometheus.sees(
        "flows end",
        &[
            Up("detector_archive_rows_offered_total"),
            Up("detector_archive_rows_written_total"),
            Up("detector_archive_written_bytes_total"),
            Up("detector_archive_stored_bytes"),
            Up("detector_archive_last_success_timestamp_seconds"),
        ],
        || stage.closed_flows([10, 0, 0, 20], 20_000..20_050),
    );
    prometheus.sees(
        "a file is too old when the next is complete",
        &[Up(r#"detector_archive_files_removed_total{reason="age"}"#)],
        || {
            let file = stage
                .folder
                .join(FOLDER)
                .join("flows-2001-01-01T00Z-0000.parquet");
            fs::write(file, "").unwrap();
            stage.closed_flows([10, 0, 0, 20], 20_100..20_150);
        },
    );
    let mut still = None;
    prometheus.sees(
        "more flows end than may wait",
        &[
            Up("detector_archive_rows_waiting"),
            Up("detector_archive_rows_pending"),
            Up("detector_archive_rows_dropped_total"),
        ],
        || {
            still = Some(Still::threads(stage.agent.id(), "archive"));
            stage.closed_flows([10, 0, 0, 20], 21_000..23_000);
        },
    );
}

pub fn are_published(stage: &Stage, prometheus: &Prometheus<'_>) {
    let home = tempfile::tempdir().unwrap();
    let mut server = None;
    prometheus.sees(
        "a NATS server comes",
        &[Up("detector_nats_connected")],
        || {
            server = Some(nats::serve(&stage.server, home.path(), &[]));
        },
    );
    prometheus.sees(
        "a flow ends",
        &[
            Up("detector_nats_events_offered_total"),
            Up("detector_nats_events_published_total"),
            Up("detector_nats_published_bytes_total"),
            Up("detector_nats_last_success_timestamp_seconds"),
        ],
        || stage.closed_flows([10, 0, 0, 21], 20_000..20_001),
    );
    prometheus.sees(
        "the server is gone, and more flows end than may wait",
        &[
            Up("detector_nats_events_pending"),
            Up("detector_nats_events_dropped_total"),
            Down("detector_nats_connected"),
        ],
        || {
            server = None;
            stage.closed_flows([10, 0, 0, 21], 20_100..20_200);
        },
    );
}
