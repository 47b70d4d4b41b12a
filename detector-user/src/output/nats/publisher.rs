//! Publishes what waits, session after session: each from a connection that stands to one that is lost.

use std::{
    collections::VecDeque,
    error::Error as _,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use async_nats::{
    Client, HeaderMap,
    connection::State,
    header,
    jetstream::{
        self, Context,
        context::{PublishError, PublishErrorKind},
    },
};
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::mpsc::Receiver,
    time::{Instant, sleep, sleep_until},
};

use super::{Event, NatsCounts, NatsSettings, Unsent, connect::connect, error::NatsError};
use crate::wire::load::unix_ms;

/// Events that are published and not acknowledged, at most.
const IN_FLIGHT_MAX: usize = 256;
/// Between two tries to connect.
const RETRY: Duration = Duration::from_secs(1);
/// So often it is looked whether the connection stands while nothing is published.
const LOOK: Duration = Duration::from_secs(1);
/// What waits when the agent stops is published within this or dropped.
const STOP_MAX: Duration = Duration::from_secs(1);
/// The host that an event is of: its own text does not say.
const HOST_HEADER: &str = "Detector-Host";

/// What became of an event that was published.
type Outcome = (Event, Result<(), PublishError>);

pub(super) struct Publisher {
    url: String,
    settings: NatsSettings,
    counts: Arc<NatsCounts>,
    waiting: Receiver<Event>,
    complain: Box<dyn Fn(&str) + Send>,
    /// What the server did not acknowledge before it was lost.
    again: VecDeque<Event>,
    /// Which start of which host: what tells this agent's events from all others.
    origin: String,
    host: String,
    away: bool,
}

impl Publisher {
    pub(super) fn new(
        url: &str,
        settings: NatsSettings,
        counts: Arc<NatsCounts>,
        waiting: Receiver<Event>,
        complain: Box<dyn Fn(&str) + Send>,
    ) -> Self {
        let host = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let started_ns = started.map_or(0, |since| since.as_nanos());
        Self {
            url: url.to_owned(),
            settings,
            counts,
            waiting,
            complain,
            again: VecDeque::new(),
            origin: format!("{host}-{started_ns}"),
            host,
            away: false,
        }
    }

    /// Publishes until there is nobody any more who hands events over.
    pub(super) async fn run(mut self) {
        loop {
            let ended = match connect(&self.url, &self.settings).await {
                Ok((client, jetstream)) => {
                    self.counts.connected.store(true, Relaxed);
                    // A stream that does not take what waits is not back.
                    if self.again.is_empty() && self.waiting.is_empty() {
                        self.tell_back();
                    }
                    self.publish(&client, &jetstream).await
                }
                Err(error) => Err(error),
            };
            match ended {
                Ok(()) => return,
                Err(error) => self.tell_away(&error),
            }
            if self.waiting.is_closed() {
                return self.give_up();
            }
            sleep(RETRY).await;
        }
    }

    /// Publishes until the connection is lost, which is the error, or all is published and nobody hands over more.
    async fn publish(&mut self, client: &Client, jetstream: &Context) -> Result<(), NatsError> {
        let mut in_flight = FuturesUnordered::new();
        let mut stop_at: Option<Instant> = None;
        let lost = loop {
            while in_flight.len() < IN_FLIGHT_MAX
                && let Some(event) = self.again.pop_front()
            {
                in_flight.push(self.send(jetstream, event));
            }
            if stop_at.is_some() && in_flight.is_empty() {
                return Ok(());
            }
            let takes = stop_at.is_none() && in_flight.len() < IN_FLIGHT_MAX;
            let wake = stop_at.unwrap_or_else(|| Instant::now() + LOOK);
            tokio::select! {
                Some((event, outcome)) = in_flight.next() => {
                    if let Err(cause) = self.settle(event, outcome) {
                        break cause;
                    }
                }
                event = self.waiting.recv(), if takes => match event {
                    Some(event) => in_flight.push(self.send(jetstream, event)),
                    None => stop_at = Some(Instant::now() + STOP_MAX),
                },
                () = sleep_until(wake) => {
                    if stop_at.is_some() {
                        break "no answer in time before the agent stops".to_owned();
                    }
                    if client.connection_state() != State::Connected {
                        break "the connection was lost".to_owned();
                    }
                }
            }
        };
        // Each answers or gives up soon (`ANSWER_MAX`); what is not acknowledged is published again.
        while let Some((event, outcome)) = in_flight.next().await {
            let _ = self.settle(event, outcome);
        }
        let url = self.url.clone();
        Err(NatsError::Lost {
            url,
            stream: self.settings.stream.clone(),
            cause: lost,
        })
    }

    fn send(&self, jetstream: &Context, event: Event) -> BoxFuture<'static, Outcome> {
        let subject = format!("{}.{}", self.settings.subject, event.subject.name());
        let mut headers = HeaderMap::new();
        let id = format!("{}-{}", self.origin, event.number);
        headers.insert(header::NATS_MESSAGE_ID, id.as_str());
        headers.insert(HOST_HEADER, self.host.as_str());
        let jetstream = jetstream.clone();
        let publish = async move {
            let json = event.json.clone();
            let sent = jetstream.publish_with_headers(subject, headers, json).await;
            let outcome = match sent {
                Ok(acknowledged) => acknowledged.await.map(drop),
                Err(error) => Err(error),
            };
            (event, outcome)
        };
        publish.boxed()
    }

    /// Counts an event that was published, or refused for what it is. Any other is kept to be published again; the
    /// error is what ails the server.
    fn settle(&mut self, event: Event, outcome: Result<(), PublishError>) -> Result<(), String> {
        let counts = &self.counts;
        match outcome {
            Ok(()) => {
                counts.published.fetch_add(1, Relaxed);
                counts.bytes.fetch_add(event.json.len() as u64, Relaxed);
                let now_ms = unix_ms(SystemTime::now());
                counts.succeeded_unix_ms.store(now_ms, Relaxed);
                self.tell_back();
                Ok(())
            }
            Err(error) if is_refusal(&error) => {
                if counts.dropped(Unsent::Refused) == 0 {
                    let subject = event.subject.name();
                    (self.complain)(&format!(
                        "NATS at {}: an event {}.{subject} was refused: {error}; such events are dropped and counted",
                        self.url, self.settings.subject
                    ));
                }
                counts.count_dropped(Unsent::Refused, 1);
                Ok(())
            }
            Err(error) => {
                self.again.push_back(event);
                Err(error.to_string())
            }
        }
    }

    fn tell_back(&mut self) {
        if std::mem::take(&mut self.away) {
            (self.complain)(&format!(
                "events are published to NATS at {} again",
                self.url
            ));
        }
    }

    /// Told once, until it is back.
    fn tell_away(&mut self, error: &NatsError) {
        self.counts.connected.store(false, Relaxed);
        if !std::mem::replace(&mut self.away, true) {
            (self.complain)(&format!(
                "{error}; {} events wait for it and those beyond are dropped, everything else goes on",
                self.settings.queue_max
            ));
        }
    }

    /// The agent stops: what is left is dropped.
    fn give_up(mut self) {
        let waiting = std::iter::from_fn(|| self.waiting.try_recv().ok()).count();
        let left = waiting + self.again.len();
        self.counts.count_dropped(Unsent::Stopped, left as u64);
    }
}

/// Whether an event is refused for what it is, so that it would be again. A server that is short of something (503) is not
/// of that kind.
fn is_refusal(error: &PublishError) -> bool {
    let answer = error
        .source()
        .and_then(|source| source.downcast_ref::<jetstream::Error>());
    match error.kind() {
        PublishErrorKind::Other => answer.is_some_and(|answer| answer.code() < 500),
        PublishErrorKind::StreamNotFound
        | PublishErrorKind::TimedOut
        | PublishErrorKind::BrokenPipe
        | PublishErrorKind::MaxAckPending => false,
        PublishErrorKind::WrongLastMessageId
        | PublishErrorKind::WrongLastSequence
        | PublishErrorKind::MaxPayloadExceeded => true,
    }
}
