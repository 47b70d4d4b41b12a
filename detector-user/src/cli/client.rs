//! Asks the agent over its Unix socket: one connection for each question, each with a time limit.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use serde_json::Value;

use super::failure::Failure;
use crate::agent::config::Config;

/// An answer takes at most so long.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of an answer, at most.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Which agent is asked.
#[derive(Debug, clap::Args)]
pub(super) struct AgentArgs {
    /// The agent's socket [default: api.socket of the configuration]
    #[arg(long, env = "DETECTOR_API_SOCKET", value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Configuration file [default: /etc/detector/detector.toml, where there is one]
    #[arg(long, env = "DETECTOR_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl AgentArgs {
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let socket = match &self.socket {
            Some(socket) => socket.clone(),
            None => {
                let config = Config::read(self.config.as_deref())
                    .map_err(|error| Failure::Configuration(error.to_string()))?;
                config.api.socket.into()
            }
        };
        Ok(Client { socket })
    }
}

/// Where the agent is asked.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) socket: PathBuf,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// Nobody listens, or the answer is cut off.
    #[error(
        "asking the agent at {}: {cause}; is it running (`detector run`), with this api.socket, and may this user open it?",
        socket.display()
    )]
    Io {
        /// Where.
        socket: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The agent says no.
    #[error("{0}")]
    Problem(String),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Io { .. } => Self::Unavailable(error.to_string()),
            ClientError::Problem(text) => Self::Other(text),
        }
    }
}

impl Client {
    pub(super) fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.ask("GET", path, None)
    }

    /// Asks, with a JSON body where there is one.
    pub(super) fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let (status, text) =
            self.exchange(method, path, body)
                .map_err(|cause| ClientError::Io {
                    socket: self.socket.clone(),
                    cause,
                })?;
        let value: Value = serde_json::from_slice(&text).unwrap_or(Value::Null);
        if (200..300).contains(&status) {
            return Ok(value);
        }
        let part = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let (title, detail, remedy) = (part("title"), part("detail"), part("remedy"));
        Err(ClientError::Problem(format!("{title}: {detail}; {remedy}")))
    }

    fn exchange(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> io::Result<(u16, Vec<u8>)> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let body = body.map(Value::to_string).unwrap_or_default();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: detector\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut reader = BufReader::new(stream.take(ANSWER_BYTES_MAX));
        let cut_off = || io::Error::other("the answer is no HTTP");
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(cut_off)?;
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Err(cut_off());
            }
        }
        // The agent closes the connection at the answer's end, whose length it tells: it sends no chunks.
        let mut text = Vec::new();
        reader.read_to_end(&mut text)?;
        Ok((status, text))
    }
}
