//! `/api/v1/events`: alerts, verdicts and changes as they happen, as server-sent events or over a WebSocket. Whoever does not
//! read is dropped; nobody waits for it.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{
        State,
        ws::{Message, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{SinkExt as _, StreamExt as _, stream};
use tokio::time::{interval, timeout};

use super::{
    Shared,
    hub::Follower,
    problem::{Problem, ProblemKind},
};

/// So often something is sent where nothing happens.
const ALIVE: Duration = Duration::from_secs(10);
/// A WebSocket that has answered no ping for so long is dropped.
const SILENT_MAX: Duration = Duration::from_secs(25);
/// A message to a WebSocket takes at most so long.
const SEND_MAX: Duration = Duration::from_secs(5);
/// Bytes of a message from a follower, who has nothing to say.
const MESSAGE_BYTES_MAX: usize = 4096;

/// Alerts, verdicts and changes of the agent as they happen; with `Upgrade: websocket` over a WebSocket, else as server-sent events
#[utoipa::path(get, path = "/api/v1/events", responses(
    (status = 200, description = "Events named alert, verdict or agent, each one JSON object", body = str, content_type = "text/event-stream"),
    (status = 101, description = "A WebSocket: messages {\"topic\":…,\"event\":…}"),
    (status = 503, description = "All places are taken", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn events(
    State(shared): State<Arc<Shared>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Some(follower) = shared.hub.follow() else {
        return Problem::new(
            ProblemKind::Followers,
            "no place is left",
            format!("{} follow events already", shared.settings.followers_max),
            "close one of them, or raise api.followers_max",
        )
        .into_response();
    };
    match upgrade {
        Ok(upgrade) => upgrade
            .max_message_size(MESSAGE_BYTES_MAX)
            .on_upgrade(|socket| over_socket(socket, follower)),
        Err(_) => over_sse(follower).into_response(),
    }
}

/// The stream ends where the follower is too far behind: it asks again and knows that something is missing.
fn over_sse(follower: Follower) -> impl IntoResponse {
    let events = stream::unfold(follower, |mut follower| async move {
        let told = follower.events.recv().await.ok()?;
        let event = Event::default().event(told.topic.name()).data(&*told.json);
        Some((Ok::<_, Infallible>(event), follower))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE))
}

async fn over_socket(socket: WebSocket, mut follower: Follower) {
    let (mut to, mut from) = socket.split();
    let mut alive = interval(ALIVE);
    let mut heard = Instant::now();
    loop {
        let message = tokio::select! {
            told = follower.events.recv() => match told {
                Ok(told) => Message::Text(
                    format!("{{\"topic\":\"{}\",\"event\":{}}}", told.topic.name(), told.json).into(),
                ),
                // Too far behind, or the agent is gone.
                Err(_) => break,
            },
            _ = alive.tick() => {
                if heard.elapsed() > SILENT_MAX {
                    break;
                }
                Message::Ping(Default::default())
            }
            said = from.next() => match said {
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => {
                    heard = Instant::now();
                    continue;
                }
            },
        };
        if !matches!(timeout(SEND_MAX, to.send(message)).await, Ok(Ok(()))) {
            break;
        }
    }
    let _ = timeout(SEND_MAX, to.close()).await;
}
