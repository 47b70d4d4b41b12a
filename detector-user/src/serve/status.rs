//! `/api/v1/status`.

use std::{sync::Arc, time::SystemTime};

use axum::{Extension, Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Shared, access::Access, health, published::AgentView};
use crate::{
    cli::status::gather::Status as PlaneStatus, drift::Drift, output::Rfc3339, privilege::Held,
    wire::load::unix_ms,
};

/// How everything stands.
#[derive(Serialize, ToSchema)]
pub(super) struct Status {
    /// Of the program.
    version: &'static str,
    /// Of this answer, RFC 3339.
    time: String,
    /// What lacks before the agent watches; null where nothing does.
    lacking: Option<String>,
    /// `enforce`, or `monitor`: nothing is dropped.
    mode: &'static str,
    /// Whether this listener takes changes: `allowed`, `token` or `refused`.
    changes: &'static str,
    /// Name and version of the model; null where plain thresholds decide alone.
    model: Option<String>,
    /// Whether traffic still looks like what the model was trained on.
    #[schema(value_type = Drift)]
    drift: Arc<Drift>,
    /// The agent.
    agent: Agent,
    /// What the agent may do.
    privileges: Held,
    /// The data plane, as `detector status -o json` tells it; null where there is none.
    #[schema(value_type = Option<Object>)]
    plane: Option<Arc<PlaneStatus>>,
    /// What must not be missed.
    complaints: Vec<String>,
}

/// How the agent fares.
#[derive(Serialize, ToSchema)]
struct Agent {
    tick_ms: u64,
    ticks: u64,
    late_ticks: u64,
    /// How long the last tick took, µs.
    tick_us: u64,
    /// Flows in the table at the last tick.
    flows: u64,
    /// Flows that were scored, each as often as it was.
    scored: u64,
    /// Flows for which a tick had no room.
    left_out: u64,
    /// Hosts, services and pairs for which there was no room.
    hosts_refused: u64,
    /// Sources with the agent's verdict; in monitor mode those that would have one.
    denied_sources: u64,
    attacked_destinations: u64,
    events_written: u64,
    events_lost: u64,
    /// Events that found no room on their way to followers.
    stream_lost: u64,
    /// Who follows events now.
    followers: usize,
}

/// How everything stands: mode, model, agent, and what became of every packet
#[utoipa::path(get, path = "/api/v1/status", responses((status = 200, body = Status)))]
pub(super) async fn status(
    State(shared): State<Arc<Shared>>,
    Extension(access): Extension<Access>,
) -> Json<Status> {
    let lacking = health::lacking(&shared).map(|(what, _)| what);
    let mut complaints = Vec::new();
    let plane = match shared.plane.status().await {
        Ok(plane) => {
            complaints.extend(plane.complaints());
            Some(plane)
        }
        Err(problem) => {
            complaints.push(problem.detail);
            None
        }
    };
    complaints.extend(
        shared
            .published
            .held
            .landlock
            .complaint()
            .map(str::to_owned),
    );
    complaints.extend(shared.published.pods.complaint());
    let view: AgentView = **shared.published.agent.load();
    Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        time: Rfc3339(unix_ms(SystemTime::now()).saturating_mul(1000)).to_string(),
        lacking,
        mode: mode_name(view.enforce),
        changes: access.name(),
        model: shared.published.model(),
        drift: shared.published.drift.load_full(),
        agent: Agent {
            tick_ms: view.tick_ms,
            ticks: view.ticks,
            late_ticks: view.late_ticks,
            tick_us: view.tick_us,
            flows: view.flows,
            scored: view.scored,
            left_out: view.left_out,
            hosts_refused: view.hosts_refused,
            denied_sources: view.denied_sources,
            attacked_destinations: view.attacked_destinations,
            events_written: view.events_written,
            events_lost: view.events_lost,
            stream_lost: shared.published.lost(),
            followers: shared.hub.followers(),
        },
        privileges: shared.published.held.clone(),
        plane,
        complaints,
    })
}

/// A mode's name.
pub(super) fn mode_name(enforce: bool) -> &'static str {
    if enforce { "enforce" } else { "monitor" }
}
