//! What the agent's loop hands over for others to read: plain values, replaced whole, and events over a bounded channel. Nothing
//! here makes the loop wait.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::mpsc;

use super::change::Asked;
use crate::{
    decide::alert::Alert,
    drift::{self, Drift},
    kubernetes::PodNames,
    metrics::tallies::Tallies,
    privilege::Held,
    score::Scorer,
};

/// Events that wait for the server, at most; those beyond are counted and lost to subscribers (the event log has them).
const EVENTS_WAITING_MAX: usize = 1024;
/// Changes that wait for the agent's next tick, at most.
const CHANGES_WAITING_MAX: usize = 16;

/// How the agent fares, as of its last tick.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AgentView {
    /// Whether there is a data plane that it reads.
    pub attached: bool,
    /// Whether it acts, or only tells.
    pub enforce: bool,
    /// Between two ticks, ms.
    pub tick_ms: u64,
    /// Ticks so far.
    pub ticks: u64,
    /// Ticks that began more than a whole tick late.
    pub late_ticks: u64,
    /// When the last one ended, Unix ms.
    pub ticked_unix_ms: u64,
    /// How long it took, µs.
    pub tick_us: u64,
    /// Flows that were scored, each as often as it was.
    pub scored: u64,
    /// Flows for which a tick had no room.
    pub left_out: u64,
    /// Hosts, services and pairs for which there was no room.
    pub hosts_refused: u64,
    /// Sources that have the agent's verdict, or would have one.
    pub denied_sources: u64,
    /// Destinations under attack.
    pub attacked_destinations: u64,
    /// Flows that the last pass over the table saw.
    pub flows: u64,
    /// Event lines that were written.
    pub events_written: u64,
    /// Event lines that were lost.
    pub events_lost: u64,
    /// Rows that the watch over drift has counted.
    pub drift: drift::Counts,
}

/// What an event tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// An alert.
    Alert,
    /// A verdict that the agent put or lifted.
    Verdict,
    /// Another model, mode or configuration.
    Agent,
}

impl Topic {
    /// As it stands in the stream.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Verdict => "verdict",
            Self::Agent => "agent",
        }
    }
}

/// An event for whoever follows.
#[derive(Clone, Debug)]
pub struct Told {
    /// What it tells of.
    pub topic: Topic,
    /// One JSON object, without an end of line.
    pub json: Arc<str>,
}

/// The agent's side and the server's side meet here.
pub struct Published {
    /// As of the last tick.
    pub agent: ArcSwap<AgentView>,
    /// What it may do; settled before it serves.
    pub held: Held,
    /// The model in force.
    pub scorer: ArcSwapOption<Scorer>,
    /// Whether traffic still looks like what it was trained on; in Unix time.
    pub drift: ArcSwap<Drift>,
    /// The names of this node's pods, where they are asked for.
    pub pods: Arc<PodNames>,
    /// What the loop counts for the metrics.
    pub tallies: Tallies,
    events: mpsc::Sender<Told>,
    lost: AtomicU64,
}

/// The server's ends of the channels.
pub struct Ends {
    /// What the agent tells.
    pub events: mpsc::Receiver<Told>,
    /// What is asked of the agent.
    pub changes: mpsc::Sender<Asked>,
}

impl Published {
    /// The place, the server's ends, and the agent's end for changes.
    #[must_use]
    pub fn new(held: Held) -> (Arc<Self>, Ends, mpsc::Receiver<Asked>) {
        let (events, told) = mpsc::channel(EVENTS_WAITING_MAX);
        let (changes, asked) = mpsc::channel(CHANGES_WAITING_MAX);
        let published = Arc::new(Self {
            agent: ArcSwap::default(),
            held,
            scorer: ArcSwapOption::empty(),
            drift: ArcSwap::default(),
            pods: Arc::default(),
            tallies: Tallies::default(),
            events,
            lost: AtomicU64::new(0),
        });
        let ends = Ends {
            events: told,
            changes,
        };
        (published, ends, asked)
    }

    /// Tells an event. Never waits: one that finds no room is counted.
    pub fn tell(&self, topic: Topic, json: &str) {
        let json = json.trim_end().into();
        if self.events.try_send(Told { topic, json }).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts an alert.
    pub fn count_alert(&self, alert: &Alert) {
        self.tallies.alert(alert.family, alert.kind, alert.by);
    }

    /// Events that found no room so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// The name of the model in force.
    #[must_use]
    pub fn model(&self) -> Option<String> {
        self.scorer.load().as_ref().map(|scorer| scorer.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_beyond_the_bound_are_counted_and_nobody_waits() {
        let (published, mut ends, _asked) = Published::new(Held::default());
        for _ in 0..EVENTS_WAITING_MAX + 5 {
            published.tell(Topic::Alert, "{}\n");
        }
        assert_eq!(published.lost(), 5);
        assert_eq!(&*ends.events.try_recv().unwrap().json, "{}");
        drop(ends);
        published.tell(Topic::Alert, "{}");
        assert_eq!(published.lost(), 6);
    }
}
