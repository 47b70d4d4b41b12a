//! What became of events.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Why an event is not in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// As many waited as may.
    NoRoom,
    /// The server or the stream refused it.
    Refused,
    /// The agent stopped before it could be published.
    Stopped,
}

impl Unsent {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::NoRoom, Self::Refused, Self::Stopped];

    /// As it stands in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoRoom => "queue_full",
            Self::Refused => "refused",
            Self::Stopped => "stopped",
        }
    }
}

/// What became of events.
#[derive(Debug, Default)]
pub struct NatsCounts {
    /// Events that were handed over.
    pub offered: AtomicU64,
    /// Events that the stream acknowledged.
    pub published: AtomicU64,
    /// Their bytes, without headers.
    pub bytes: AtomicU64,
    dropped: [AtomicU64; Unsent::ALL.len()],
    /// Whether there is a server with the stream.
    pub connected: AtomicBool,
    /// When an event was last acknowledged, Unix ms.
    pub succeeded_unix_ms: AtomicU64,
}

impl NatsCounts {
    pub(super) fn count_dropped(&self, why: Unsent, events: u64) {
        self.dropped[why as usize].fetch_add(events, Relaxed);
    }

    /// Events that are not in the stream, by reason.
    #[must_use]
    pub fn dropped(&self, why: Unsent) -> u64 {
        self.dropped[why as usize].load(Relaxed)
    }

    /// Events that wait, or are not acknowledged yet.
    #[must_use]
    pub fn pending(&self) -> u64 {
        let dropped: u64 = Unsent::ALL.iter().map(|why| self.dropped(*why)).sum();
        let settled = self.published.load(Relaxed) + dropped;
        self.offered.load(Relaxed).saturating_sub(settled)
    }
}
