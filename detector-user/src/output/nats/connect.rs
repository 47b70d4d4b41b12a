//! From an address to a connection that stands and a stream that is there.

use std::time::Duration;

use async_nats::{
    Client, ConnectOptions, ServerAddr,
    jetstream::{self, Context, stream},
};

use super::{NatsSettings, error::NatsError};

/// A connection, an answer or an acknowledgement comes within this or not at all.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Connects, and makes the stream where it is missing.
pub(super) async fn connect(
    url: &str,
    settings: &NatsSettings,
) -> Result<(Client, Context), NatsError> {
    let to = || url.to_owned();
    let servers: Result<Vec<ServerAddr>, _> =
        url.split(',').map(|one| one.trim().parse()).collect();
    let servers = servers.map_err(|cause| NatsError::Address { url: to(), cause })?;
    let mut options = ConnectOptions::new()
        .name("detector")
        .connection_timeout(ANSWER_MAX)
        .request_timeout(Some(ANSWER_MAX))
        // A session that is lost is begun anew here, where it is told.
        .max_reconnects(1);
    if let Some(path) = &settings.credentials {
        let credentials = options.credentials_file(path).await;
        options = credentials.map_err(|cause| NatsError::Credentials {
            path: path.display().to_string(),
            cause,
        })?;
    }
    if let Some(path) = &settings.tls_ca {
        options = options.add_root_certificates(path.clone());
    }
    let connected = options.connect(servers).await;
    let client = connected.map_err(|cause| NatsError::Connect { url: to(), cause })?;
    let mut jetstream = jetstream::new(client.clone());
    jetstream.set_timeout(ANSWER_MAX);
    let wanted = stream::Config {
        name: settings.stream.clone(),
        subjects: vec![format!("{}.>", settings.subject)],
        max_bytes: i64::try_from(settings.stream_bytes_max).unwrap_or(i64::MAX),
        discard: stream::DiscardPolicy::Old,
        description: Some("Events of network attack detectors".to_owned()),
        ..stream::Config::default()
    };
    if let Err(cause) = jetstream.get_or_create_stream(wanted).await {
        return Err(NatsError::Stream {
            url: to(),
            stream: settings.stream.clone(),
            cause: cause.to_string(),
        });
    }
    Ok((client, jetstream))
}
