//! Bodies and queries, read within bounds.

use axum::{
    body::{Body, to_bytes},
    extract::{FromRequestParts, Query},
    http::request::Parts,
};
use serde::de::DeserializeOwned;

use super::problem::{Problem, ProblemKind};

/// Bodies that are held at one time, at most: so many times `api.body_bytes_max` is what they take.
pub(super) const BODIES_MAX: usize = 8;
/// A body that is one small JSON object needs no place among them.
pub(super) const SMALL_BYTES_MAX: usize = 64 << 10;

/// Reads a body of at most `bytes_max`.
pub(super) async fn read(body: Body, bytes_max: usize) -> Result<bytes::Bytes, Problem> {
    to_bytes(body, bytes_max).await.map_err(|error| {
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            if cause.to_string().contains("length limit") {
                return Problem::new(
                    ProblemKind::TooLarge,
                    "the body is too large",
                    format!("it has more than {bytes_max} bytes"),
                    "send it in parts, or raise api.body_bytes_max",
                );
            }
            source = cause.source();
        }
        Problem::bad_request(
            "the body cannot be read",
            error.to_string(),
            "send it again",
        )
    })
}

/// Reads a small JSON body.
pub(super) async fn json<T: DeserializeOwned>(body: Body) -> Result<T, Problem> {
    let bytes = read(body, SMALL_BYTES_MAX).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Problem::bad_request(
            "the body is not what this route takes",
            error.to_string(),
            "/openapi.json says what it takes",
        )
    })
}

/// The query, an unknown or ill-formed parameter being a problem.
pub(super) struct Params<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(params)| Self(params)).map_err(|error| {
            Problem::bad_request(
                "a parameter means nothing here",
                error.body_text(),
                "/openapi.json lists the parameters and what they may be",
            )
        })
    }
}

/// How many are wanted, the usual number unless told.
pub(super) fn limit(given: Option<usize>, usual: usize, max: usize) -> Result<usize, Problem> {
    match given {
        Some(given) if given > max => Err(Problem::bad_request(
            "a parameter means nothing here",
            format!("limit: {given}, allowed is up to {max}"),
            "mend it and ask again",
        )),
        given => Ok(given.unwrap_or(usual)),
    }
}
