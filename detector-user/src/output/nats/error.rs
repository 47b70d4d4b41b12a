//! Why nothing is published.

/// Why nothing can be published now.
#[derive(Debug, thiserror::Error)]
pub(super) enum NatsError {
    /// The address.
    #[error("nats.url {url:?}: {cause}; write nats://HOST:PORT or tls://HOST:PORT")]
    Address { url: String, cause: std::io::Error },
    /// The credentials.
    #[error("nats.credentials {path}: {cause}; `nsc generate creds` writes such a file")]
    Credentials { path: String, cause: std::io::Error },
    /// No connection.
    #[error(
        "NATS at {url}: {cause}; see whether the server runs, and that nats.url, nats.credentials and nats.tls_ca are right"
    )]
    Connect {
        url: String,
        cause: async_nats::ConnectError,
    },
    /// No stream.
    #[error(
        "NATS at {url}: stream {stream}: {cause}; the server needs JetStream, and a stream of other subjects than nats.subject is no use"
    )]
    Stream {
        url: String,
        stream: String,
        cause: String,
    },
    /// The connection was lost.
    #[error(
        "NATS at {url}: {cause}; see the server's log, and whether stream {stream} takes the subjects below nats.subject"
    )]
    Lost {
        url: String,
        stream: String,
        cause: String,
    },
}
