//! The section `[api]` of the configuration.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where and how the agent serves.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct ApiSettings {
    /// Address and port of the TCP listener, or `off`. Reads only, unless TLS and a token are configured.
    pub listen: String,
    /// The Unix socket, mode 0660, or `off`. Who may open it may change things.
    pub socket: String,
    /// Certificate chain (PEM) for TLS on the TCP listener.
    pub tls_certificate: Option<PathBuf>,
    /// Its private key (PEM).
    pub tls_key: Option<PathBuf>,
    /// A file with the token that changes over TCP need; only with TLS.
    pub token_file: Option<PathBuf>,
    /// Bytes that a request's body may have.
    pub body_bytes_max: usize,
    /// Connections at one time, on each listener.
    pub connections_max: usize,
    /// Seconds that a request may take, its body included.
    pub timeout_s: u64,
    /// Followers of events at one time.
    pub followers_max: usize,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:9190".to_owned(),
            socket: "/run/detector/detector.sock".to_owned(),
            tls_certificate: None,
            tls_key: None,
            token_file: None,
            body_bytes_max: 16 << 20,
            connections_max: 1024,
            timeout_s: 30,
            followers_max: 32,
        }
    }
}

/// What stands for no listener.
pub const OFF: &str = "off";
