//! `/metrics`.

use std::sync::Arc;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use super::{Shared, places::Places, problem::Problem};
use crate::metrics::{Reading, exposition};

/// Everything that is measured, for Prometheus; docs/metrics.md explains each
#[utoipa::path(get, path = "/metrics", responses((status = 200, body = str, content_type = "text/plain; version=0.0.4")))]
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Result<Response, Problem> {
    // Without a data plane its series are absent; the agent's are there.
    let plane = shared.plane.status().await.ok();
    let agent = shared.published.agent.load();
    let drift = shared.published.drift.load();
    let text = exposition(&Reading {
        plane: plane.as_deref(),
        agent: &agent,
        held: &shared.published.held,
        model: shared.published.scorer.load_full(),
        drift: &drift,
        tallies: &shared.published.tallies,
        stream_lost: shared.published.lost(),
        followers: shared.hub.followers(),
        connections: shared.places.each_ref().map(Places::taken),
    })
    .map_err(|error| Problem::internal(error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response())
}
