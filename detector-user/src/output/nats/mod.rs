//! Events to NATS JetStream: each is published and acknowledged, or counted as dropped.
//!
//! ```text
//! agent's tick → events that wait (bounded) → publisher, a thread of its own → PREFIX.alert, PREFIX.flow, … → stream
//! ```
//!
//! Nobody waits for the server. While it is away events wait as long as there is room; what finds none is counted. An event
//! whose acknowledgement was lost is published again under the same `Nats-Msg-Id`, by which the stream knows it.

mod connect;
mod counts;
mod error;
mod publisher;

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread::JoinHandle,
};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{Sender, channel};

pub use counts::{NatsCounts, Unsent};
use publisher::Publisher;

/// The configuration's section `nats`.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct NatsSettings {
    /// Servers, separated by commas: `nats://HOST:PORT` or `tls://HOST:PORT`; none: nothing is published.
    pub url: Option<String>,
    /// File of credentials (a user's JWT and seed), as `nsc` writes it.
    pub credentials: Option<PathBuf>,
    /// File of certificates in PEM that servers are trusted by, instead of the system's.
    pub tls_ca: Option<PathBuf>,
    /// The stream; made where it is missing, for all subjects below the prefix.
    pub stream: String,
    /// What subjects begin with: events go to `SUBJECT.alert`, `.verdict`, `.drop`, `.flow`.
    pub subject: String,
    /// Bytes that a stream keeps that is made, the newest; 0: no limit.
    pub stream_bytes_max: u64,
    /// Events that wait, at most.
    pub queue_max: u64,
    /// Whether flows that end are published, too.
    pub flow_events: bool,
}

impl Default for NatsSettings {
    fn default() -> Self {
        Self {
            url: None,
            credentials: None,
            tls_ca: None,
            stream: "detector".to_owned(),
            subject: "detector".to_owned(),
            stream_bytes_max: 1 << 30,
            queue_max: 8192,
            flow_events: false,
        }
    }
}

/// What an event tells of: the last part of its subject, and its `event_type` where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An alert.
    Alert,
    /// A verdict that the agent put or lifted.
    Verdict,
    /// A verdict's first hit.
    Drop,
    /// A flow that ended.
    Flow,
}

impl Subject {
    /// As it stands in subjects.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Verdict => "verdict",
            Self::Drop => "drop",
            Self::Flow => "flow",
        }
    }
}

/// An event on its way.
struct Event {
    subject: Subject,
    /// Its number since the start, for `Nats-Msg-Id`.
    number: u64,
    json: bytes::Bytes,
}

/// Takes events.
pub struct Nats {
    events: Option<Sender<Event>>,
    counts: Arc<NatsCounts>,
    thread: Option<JoinHandle<()>>,
}

impl Nats {
    /// Publishes to the servers at `url`. Whether they are there is told through `complain`, on its thread, when they are away
    /// and when they are back.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn start(
        url: &str,
        settings: &NatsSettings,
        counts: Arc<NatsCounts>,
        complain: impl Fn(&str) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (events, waiting) = channel(settings.queue_max.max(1) as usize);
        let publisher = Publisher::new(
            url,
            settings.clone(),
            counts.clone(),
            waiting,
            Box::new(complain),
        );
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new()
            .name("nats".to_owned())
            .spawn(move || {
                crate::serve::yielding();
                runtime.block_on(publisher.run());
            })?;
        Ok(Self {
            events: Some(events),
            counts,
            thread: Some(thread),
        })
    }

    /// Hands over an event, one JSON object. Never waits.
    pub fn event(&self, subject: Subject, json: &str) {
        let Some(events) = &self.events else {
            return;
        };
        let event = Event {
            subject,
            number: self.counts.offered.fetch_add(1, Relaxed),
            json: bytes::Bytes::copy_from_slice(json.trim_end().as_bytes()),
        };
        if events.try_send(event).is_err() {
            self.counts.count_dropped(Unsent::NoRoom, 1);
        }
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        // The thread has a moment to publish what waits, and ends with the channel.
        self.events = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
