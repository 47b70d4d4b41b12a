//! Errors as problem details (RFC 9457): what failed, why, and what to do about it.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

/// An error as it is answered.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// A name for the kind of problem, stable over versions.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What failed.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Why.
    pub detail: String,
    /// What to do about it.
    pub remedy: String,
}

impl Problem {
    /// A problem of this status.
    #[must_use]
    pub fn new(
        status: StatusCode,
        kind: &'static str,
        title: impl Into<String>,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            title: title.into(),
            status: status.as_u16(),
            detail: detail.into(),
            remedy: remedy.into(),
        }
    }

    /// What was sent cannot be read.
    #[must_use]
    pub fn bad_request(title: &str, detail: impl Into<String>, remedy: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "bad-request",
            title,
            detail,
            remedy,
        )
    }

    /// There is no data plane, or it cannot be read.
    #[must_use]
    pub fn no_plane(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no-data-plane",
            "the data plane cannot be read",
            detail,
            "`detector doctor` says what this host lacks; `detector status` what is attached",
        )
    }

    /// Something that cannot happen did.
    #[must_use]
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the server failed",
            detail,
            "this is a defect: please report it with the agent's log",
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // Strings and a number: there is nothing to fail.
        let body = serde_json::to_string(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let soon = HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, soon);
        }
        response
    }
}
