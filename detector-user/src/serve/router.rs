//! Every route, and their description.

use std::sync::Arc;

use axum::{Json, Router, middleware, routing::get};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Shared, alerts, batch, changes, events, flows, health, limits, metrics, models, page, score,
    status, verdicts,
};

/// What the description says of the whole.
#[derive(OpenApi)]
#[openapi(info(
    title = "detector",
    description = "What the agent and the data plane say, and what may be asked of them. Over the Unix socket all of it; over \
                   TCP reads and scoring, and changes only with TLS and a token. Every error is a problem object (RFC 9457) \
                   with a remedy."
))]
struct Description;

fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::with_openapi(Description::openapi())
        // Health and metrics.
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
        .routes(routes!(metrics::metrics))
        // Reads.
        .routes(routes!(status::status))
        .routes(routes!(flows::flows))
        .routes(routes!(alerts::alerts))
        .routes(routes!(events::events))
        .routes(routes!(verdicts::list, verdicts::add))
        .routes(routes!(verdicts::remove))
        .routes(routes!(models::models, models::load))
        // Scoring.
        .routes(routes!(score::score))
        .routes(routes!(batch::batch))
        // Changes, with those above that take `MayChange`.
        .routes(routes!(models::rollback))
        .routes(routes!(changes::reload))
        .routes(routes!(changes::mode))
}

/// The description, as it is served.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    routes().into_openapi()
}

/// Everything that is served.
pub(super) fn router(shared: &Arc<Shared>) -> Router {
    let (router, description) = routes().split_for_parts();
    let description = Arc::new(description);
    router
        .route("/", get(page::page))
        .route(
            "/openapi.json",
            get(move || {
                let description = description.clone();
                async move { Json(description.as_ref().clone()) }
            }),
        )
        .fallback(limits::nowhere)
        .method_not_allowed_fallback(limits::other_method)
        .layer(middleware::from_fn_with_state(
            shared.clone(),
            limits::in_time,
        ))
        .layer(middleware::from_fn_with_state(
            shared.clone(),
            limits::answered,
        ))
        .with_state(shared.clone())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_description_is_not_stale() {
        let now = super::openapi().to_pretty_json().unwrap();
        crate::generated::is_current("openapi.json", &format!("{now}\n"));
    }
}
