//! Where what happens is told: the event log, the archive and NATS. None of them makes the loop wait.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::super::{failure::Failure, report};
use crate::{
    agent::{config::Config, flow_log::Finished},
    kubernetes::PodNames,
    output::{
        archive::Archive,
        eve,
        nats::{Nats, Subject},
        sink::{Place, Sink},
    },
    serve::published::Published,
};

/// All places that are told.
pub(super) struct Sinks {
    events: Option<Sink>,
    archive: Option<Archive>,
    nats: Option<Nats>,
    pods: Arc<PodNames>,
}

/// Opens the event log, if one is configured.
pub(super) fn open_events(config: &Config) -> Result<Option<Sink>, Failure> {
    let Some(place) = &config.events else {
        return Ok(None);
    };
    let Ok(place) = place.parse::<Place>();
    let shown = place.to_string();
    Sink::open(place, report::warn)
        .map(Some)
        .map_err(|error| Failure::Other(format!("writing events to {shown}: {error}")))
}

/// Whether somebody is to be told of flows that end.
pub(super) fn wants_flows(config: &Config) -> bool {
    config.flow_events && config.events.is_some()
        || config.archive.folder.is_some()
        || config.nats.flow_events && config.nats.url.is_some()
}

impl Sinks {
    /// The event log, and what else is configured.
    pub(super) fn open(
        events: Option<Sink>,
        config: &Config,
        published: &Published,
    ) -> Result<Self, Failure> {
        let tallies = &published.tallies;
        let no_thread = |error| Failure::Other(format!("starting a thread: {error}"));
        let archive = config.archive.folder.clone().map(|folder| {
            let counts = tallies.archive.clone();
            Archive::start(folder, &config.archive, counts, report::warn)
        });
        let nats = config.nats.url.as_deref().map(|url| {
            let counts = tallies.nats.clone();
            Nats::start(url, &config.nats, counts, report::warn)
        });
        Ok(Self {
            events,
            archive: archive.transpose().map_err(no_thread)?,
            nats: nats.transpose().map_err(no_thread)?,
            pods: published.pods.clone(),
        })
    }

    /// Whether there is an event log.
    pub(super) fn has_log(&self) -> bool {
        self.events.is_some()
    }

    /// An event, as a line with its end.
    pub(super) fn tell(&self, subject: Subject, line: String) {
        self.publish(subject, &line);
        self.log(line);
    }

    /// A line of the event log alone.
    pub(super) fn log(&self, line: String) {
        if let Some(events) = &self.events {
            events.line(line);
        }
    }

    /// An event to NATS alone.
    pub(super) fn publish(&self, subject: Subject, json: &str) {
        if let Some(nats) = &self.nats {
            nats.event(subject, json);
        }
    }

    /// Flows that are over, which are taken away. `epoch_us`: Unix time of the flows' time 0.
    pub(super) fn flows(
        &self,
        flows: &mut Vec<Finished>,
        config: &Config,
        epoch_us: u64,
        unix_s: u64,
    ) {
        let mut flows = mem::take(flows);
        let logged = config.flow_events && self.events.is_some();
        let published = config.nats.flow_events && self.nats.is_some();
        for one in &mut flows {
            one.flow.epoch_us = epoch_us;
            one.source_pod = self.pods.of(one.flow.source());
            one.destination_pod = self.pods.of(one.flow.destination());
            if logged || published {
                let line = eve::flow(one, epoch_us);
                if published {
                    self.publish(Subject::Flow, &line);
                }
                if logged {
                    self.log(line);
                }
            }
        }
        if let Some(archive) = &self.archive {
            archive.offer(flows, unix_s);
        }
    }

    /// Lines of the event log: written, and lost.
    pub(super) fn counts(&self) -> (u64, u64) {
        let load = |n: &AtomicU64| n.load(Relaxed);
        self.events.as_ref().map_or((0, 0), |events| {
            let counts = events.counts();
            (load(&counts.written), load(&counts.lost))
        })
    }
}
