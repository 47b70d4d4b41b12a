//! Errors as problem details (RFC 9457): what failed, why, and what to do about it.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

macro_rules! kinds {
    ($($kind:ident $name:tt $status:ident;)*) => {
        /// The kinds of problem. Their names are stable over versions, and each has one status.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
        #[allow(missing_docs, reason = "each says it by its name")]
        pub enum ProblemKind {
            $(#[serde(rename = $name)] $kind,)*
        }

        impl ProblemKind {
            /// All of them, in the order in which they are counted.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// As it is told.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }

            /// The HTTP status that goes with it.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self {
                    $(Self::$kind => StatusCode::$status,)*
                }
            }
        }
    };
}

kinds! {
    BadRequest "bad-request" BAD_REQUEST;
    Token "token" UNAUTHORIZED;
    ChangesRefused "changes-refused" FORBIDDEN;
    NoSuchRoute "no-such-route" NOT_FOUND;
    NoSuchVerdict "no-such-verdict" NOT_FOUND;
    Method "method" METHOD_NOT_ALLOWED;
    Timeout "timeout" REQUEST_TIMEOUT;
    Refused "refused" CONFLICT;
    TooLarge "too-large" PAYLOAD_TOO_LARGE;
    MediaType "media-type" UNSUPPORTED_MEDIA_TYPE;
    Internal "internal" INTERNAL_SERVER_ERROR;
    Busy "busy" SERVICE_UNAVAILABLE;
    Followers "followers" SERVICE_UNAVAILABLE;
    NoDataPlane "no-data-plane" SERVICE_UNAVAILABLE;
    NoModel "no-model" SERVICE_UNAVAILABLE;
    NotReady "not-ready" SERVICE_UNAVAILABLE;
    Full "full" INSUFFICIENT_STORAGE;
}

/// An error as it is answered.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: ProblemKind,
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
    /// A problem of this kind.
    #[must_use]
    pub fn new(
        kind: ProblemKind,
        title: impl Into<String>,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            title: title.into(),
            status: kind.status().as_u16(),
            detail: detail.into(),
            remedy: remedy.into(),
        }
    }

    /// What was sent cannot be read.
    #[must_use]
    pub fn bad_request(title: &str, detail: impl Into<String>, remedy: &str) -> Self {
        Self::new(ProblemKind::BadRequest, title, detail, remedy)
    }

    /// There is no data plane, or it cannot be read.
    #[must_use]
    pub fn no_plane(detail: impl Into<String>) -> Self {
        Self::new(
            ProblemKind::NoDataPlane,
            "the data plane cannot be read",
            detail,
            "`detector doctor` says what this host lacks; `detector status` what is attached",
        )
    }

    /// Something that cannot happen did.
    #[must_use]
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(
            ProblemKind::Internal,
            "the server failed",
            detail,
            "this is a defect: please report it with the agent's log",
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.kind.status();
        // Strings and a number: there is nothing to fail.
        let body = serde_json::to_string(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let soon = HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, soon);
        }
        response.extensions_mut().insert(self.kind);
        response
    }
}
