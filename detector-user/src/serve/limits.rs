//! What holds for every request: how long it may take, and the headers of every answer.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::time::timeout;

use super::{Shared, problem::Problem};

const HEADERS: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

/// Ends a request that takes too long. A stream of events is an answer at once.
pub(super) async fn in_time(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let limit = Duration::from_secs(shared.settings.timeout_s);
    let mut response = match timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "timeout",
            "the request took too long",
            format!("it was not answered within {} s", limit.as_secs()),
            "send less at once, or raise api.timeout_s",
        )
        .into_response(),
    };
    for (name, value) in HEADERS {
        let headers = response.headers_mut();
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

/// There is no such route.
pub(super) async fn nowhere(request: Request) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no-such-route",
        "there is nothing here",
        format!("no route is {}", request.uri().path()),
        "/openapi.json lists the routes",
    )
}

/// There is, but not for this method.
pub(super) async fn other_method(method: Method) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method",
        "this route takes another method",
        format!("{method} means nothing here"),
        "/openapi.json lists the routes and their methods",
    )
}
