//! `/api/v1/alerts`.

use std::sync::Arc;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    Shared,
    body::{self, Params},
    hub::ALERTS_KEPT,
    problem::Problem,
    shapes,
};
use crate::decide::family::Family;

/// Which alerts.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// At most so many, up to 1000, which are kept; the default is 100.
    #[param(maximum = 1000)]
    limit: Option<usize>,
    /// Only of this family.
    #[param(schema_with = shapes::family)]
    family: Option<String>,
}

/// The last alerts, newest first, as EVE JSON
#[utoipa::path(get, path = "/api/v1/alerts", params(Which), responses(
    (status = 200, body = Vec<Object>),
    (status = 400, body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn alerts(
    State(shared): State<Arc<Shared>>,
    Params(which): Params<Which>,
) -> Result<Response, Problem> {
    if let Some(family) = &which.family
        && Family::by_name(family).is_none()
    {
        let names = Family::ALL.map(Family::name).join(", ");
        let detail = format!("family is {family:?}, allowed is one of {names}");
        return Err(Problem::bad_request(
            "no such family",
            detail,
            "name one of them",
        ));
    }
    let marked = which
        .family
        .map(|family| format!("\"family\":\"{family}\""));
    let limit = body::limit(which.limit, 100, ALERTS_KEPT)?;
    let alerts: Vec<Arc<str>> = shared
        .hub
        .alerts()
        .into_iter()
        .filter(|json| marked.as_ref().is_none_or(|mark| json.contains(mark)))
        .take(limit)
        .collect();
    // They are JSON already.
    let body = format!("[{}]", alerts.join(","));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}
