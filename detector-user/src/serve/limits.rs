//! What holds for every request: how long it may take, the headers of its answer, and that it is counted.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::time::timeout;

use super::{
    Shared,
    problem::{Problem, ProblemKind},
};

const HEADERS: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

/// Counts what a request came to, and adds the headers of every answer.
pub(super) async fn answered(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        let headers = response.headers_mut();
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    let problem = response.extensions().get().copied();
    let us = began.elapsed().as_micros() as u64;
    let requests = &shared.published.tallies.requests;
    requests.answered(response.status(), problem, us);
    response
}

/// Ends a request that takes too long. A stream of events is an answer at once.
pub(super) async fn in_time(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let limit = Duration::from_secs(shared.settings.timeout_s);
    timeout(limit, next.run(request)).await.unwrap_or_else(|_| {
        Problem::new(
            ProblemKind::Timeout,
            "the request took too long",
            format!("it was not answered within {} s", limit.as_secs()),
            "send less at once, or raise api.timeout_s",
        )
        .into_response()
    })
}

/// There is no such route.
pub(super) async fn nowhere(request: Request) -> Problem {
    Problem::new(
        ProblemKind::NoSuchRoute,
        "there is nothing here",
        format!("no route is {}", request.uri().path()),
        "/openapi.json lists the routes",
    )
}

/// There is, but not for this method.
pub(super) async fn other_method(method: Method) -> Problem {
    Problem::new(
        ProblemKind::Method,
        "this route takes another method",
        format!("{method} means nothing here"),
        "/openapi.json lists the routes and their methods",
    )
}
