//! Who may change things: whoever may open the Unix socket, and over TLS whoever has the token. Everybody else reads.

use std::{fmt, fs, io, path::Path};

use axum::{
    extract::FromRequestParts,
    http::{HeaderValue, header, request::Parts},
    response::{IntoResponse, Response},
};
use sha2::{Digest as _, Sha256};

use super::problem::{Problem, ProblemKind};

/// A token has at least so many characters.
pub const TOKEN_CHARACTERS_MIN: usize = 16;

/// SHA-256 of a token. The token itself is kept nowhere, and so cannot be told by accident.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

impl TokenHash {
    /// Of a token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Reads the token from a file; white space around it does not count.
    ///
    /// # Errors
    /// Where it cannot be read, or the token is too short to be one.
    pub fn read(path: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(path)?;
        let token = text.trim();
        if token.chars().count() < TOKEN_CHARACTERS_MIN {
            return Err(io::Error::other(format!(
                "a token has at least {TOKEN_CHARACTERS_MIN} characters; make one with: openssl rand -hex 32"
            )));
        }
        Ok(Self::of(token))
    }
}

/// What a listener allows.
#[derive(Clone, Copy, Debug)]
pub enum Access {
    /// The Unix socket: changes.
    Socket,
    /// TLS: changes with this token.
    Token(TokenHash),
    /// Reads.
    Reads,
}

impl Access {
    /// As `/api/v1/status` tells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Socket => "allowed",
            Self::Token(_) => "token",
            Self::Reads => "refused",
        }
    }

    fn check(self, parts: &Parts) -> Result<(), Refusal> {
        match self {
            Self::Socket => Ok(()),
            Self::Reads => Err(Refusal::Reads),
            Self::Token(wanted) => {
                let given = parts
                    .headers
                    .get(header::AUTHORIZATION)
                    .and_then(|value| value.to_str().ok())
                    .and_then(|value| value.strip_prefix("Bearer "));
                // Hashes are compared: how long it takes says nothing of the token.
                match given {
                    Some(token) if TokenHash::of(token.trim()) == wanted => Ok(()),
                    _ => Err(Refusal::Token),
                }
            }
        }
    }
}

/// Why a change is refused.
#[derive(Clone, Copy, Debug)]
pub enum Refusal {
    /// The listener only serves reads.
    Reads,
    /// The token is missing or wrong.
    Token,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Reads => Problem::new(ProblemKind::ChangesRefused,
                "no changes over this listener",
                "over TCP without TLS and a token there are only reads",
                "use the Unix socket (api.socket), or configure api.tls_certificate, api.tls_key and api.token_file",
            )
            .into_response(),
            Self::Token => {
                let problem = Problem::new(ProblemKind::Token,
                    "no changes without the token",
                    "the Authorization header is missing or its token is another",
                    "send `Authorization: Bearer TOKEN`, the token being that of api.token_file",
                );
                let mut response = problem.into_response();
                let bearer = HeaderValue::from_static("Bearer");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
                response
            }
        }
    }
}

/// Proof that whoever asks may change things: a handler that takes it is not reached otherwise.
pub struct MayChange(());

impl<S: Sync> FromRequestParts<S> for MayChange {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let access = parts.extensions.get::<Access>().copied();
        access.unwrap_or(Access::Reads).check(parts)?;
        Ok(Self(()))
    }
}
