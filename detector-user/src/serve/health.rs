//! `/livez` and `/readyz`.

use std::{sync::Arc, time::SystemTime};

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};

use super::{
    Shared,
    problem::{Problem, ProblemKind},
};
use crate::wire::load::unix_ms;

/// An agent whose last tick is older than so many ticks, and than [`STALLED_MS`], is stalled.
const STALLED_TICKS: u64 = 20;
/// No tick is that slow.
const STALLED_MS: u64 = 5_000;

/// Whether the process serves
#[utoipa::path(get, path = "/livez", responses((status = 200, description = "It does", body = str)))]
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// Whether the agent watches: attached, and its ticks go on
#[utoipa::path(get, path = "/readyz", responses(
    (status = 200, description = "It does", body = str),
    (status = 503, description = "Not yet, or no longer", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    match lacking(&shared) {
        None => "ok\n".into_response(),
        Some((detail, remedy)) => Problem::new(
            ProblemKind::NotReady,
            "the agent does not watch",
            detail,
            remedy,
        )
        .into_response(),
    }
}

/// What lacks, and what to do about it.
pub(super) fn lacking(shared: &Shared) -> Option<(String, &'static str)> {
    let agent = shared.published.agent.load();
    if !agent.attached {
        return Some((
            "no data plane is attached".to_owned(),
            "name an interface that exists (-i); `detector doctor` says what the host lacks",
        ));
    }
    let age_ms = unix_ms(SystemTime::now()).saturating_sub(agent.ticked_unix_ms);
    (age_ms > STALLED_MS.max(STALLED_TICKS * agent.tick_ms)).then(|| {
        (
            format!("the last tick was {age_ms} ms ago"),
            "the host is overloaded, or the agent hangs: see its log",
        )
    })
}
