//! `/api/v1/reload` and `/api/v1/mode`: what is asked of the agent's loop.

use std::sync::Arc;

use axum::{Json, body::Body, extract::State};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::{
    Shared,
    access::MayChange,
    body,
    change::{Asked, Change},
    problem::{Problem, ProblemKind},
    shapes::{NoBody, NoChange},
};

/// What was done.
#[derive(Serialize, ToSchema)]
pub(super) struct Done {
    /// In a sentence.
    done: String,
}

/// Asks the agent, and waits for its answer.
pub(super) async fn ask(shared: &Shared, change: Change) -> Result<Json<Done>, Problem> {
    let (answer, answered) = oneshot::channel();
    let asked = Asked { change, answer };
    if shared.changes.try_send(asked).is_err() {
        return Err(Problem::new(
            ProblemKind::Busy,
            "the agent takes no more changes now",
            "others wait already, or it is not attached yet",
            "try again in a moment; /readyz says whether the agent watches",
        ));
    }
    match answered.await {
        Ok(Ok(done)) => Ok(Json(Done { done })),
        Ok(Err(refused)) => Err(Problem::new(
            ProblemKind::Refused,
            "the agent did not make the change",
            refused.to_string(),
            "what was in force stays in force; mend what is said and ask again",
        )),
        Err(_) => Err(Problem::internal("the agent ended before it answered")),
    }
}

/// Read the configuration and the model again; a bad one leaves the former in force
#[utoipa::path(post, path = "/api/v1/reload", responses(
    (status = 200, body = Done),
    (status = 409, description = "It is bad; the former stays in force", body = Problem, content_type = "application/problem+json"),
    NoChange,
))]
pub(super) async fn reload(
    _: MayChange,
    State(shared): State<Arc<Shared>>,
) -> Result<Json<Done>, Problem> {
    ask(&shared, Change::Reload).await
}

/// What the agent does with its decisions.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ModeName {
    /// Tells, and drops nothing.
    Monitor,
    /// Acts.
    Enforce,
}

/// The mode that is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Mode {
    mode: ModeName,
}

/// Act, or only tell, until the next start. To monitor lifts the agent's own verdicts
#[utoipa::path(put, path = "/api/v1/mode", request_body = Mode, responses(
    (status = 200, body = Done),
    (status = 409, description = "Verdicts could not be lifted", body = Problem, content_type = "application/problem+json"),
    NoBody,
    NoChange,
))]
pub(super) async fn mode(
    _: MayChange,
    State(shared): State<Arc<Shared>>,
    body: Body,
) -> Result<Json<Done>, Problem> {
    let Mode { mode } = body::json(body).await?;
    let enforce = matches!(mode, ModeName::Enforce);
    ask(&shared, Change::Mode { enforce }).await
}
