//! What the agent's loop counts for the metrics, beside what the kernel counts. Adding is one atomic operation.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::{
    decide::{
        alert::{By, Kind},
        family::Family,
        policy::Step,
    },
    kubernetes::KubernetesCounts,
    output::{archive::ArchiveCounts, nats::NatsCounts},
    serve::counts::Requests,
};

/// The kinds of alert, in the order in which they are counted.
pub const KINDS: [Kind; 6] = [
    Kind::Attack(Step::Alert),
    Kind::Attack(Step::RateLimit),
    Kind::Attack(Step::Drop),
    Kind::Over,
    Kind::Safety,
    Kind::Fault,
];
/// Where evidence is from, in the order in which it is counted.
pub const BYS: [By; 2] = [By::Model, By::Rule];
const FAMILIES: usize = Family::ALL.len();

/// Upper bounds of a duration's buckets, µs.
pub const BOUNDS_US: [u64; 10] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
];

/// Durations, by bucket.
#[derive(Debug, Default)]
pub struct Durations {
    /// Not cumulative; the last is beyond all bounds.
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Durations {
    /// Adds one.
    pub fn add(&self, us: u64) {
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }

    /// Cumulative counts by bound, all of them, and their sum in seconds.
    #[must_use]
    pub fn read(&self) -> (Vec<u64>, u64, f64) {
        let mut count = 0;
        let cumulative = self.buckets.iter().map(|bucket| {
            count += bucket.load(Relaxed);
            count
        });
        let mut cumulative: Vec<u64> = cumulative.collect();
        cumulative.pop();
        (cumulative, count, self.sum_us.load(Relaxed) as f64 / 1e6)
    }
}

/// Everything that is counted outside the kernel.
#[derive(Debug, Default)]
pub struct Tallies {
    alerts: [[[AtomicU64; BYS.len()]; KINDS.len()]; FAMILIES],
    /// The pass over the flow table.
    pub drain: Durations,
    /// Features, scores and decisions.
    pub decide: Durations,
    /// When a pass was last completed, Unix ms.
    pub drained_unix_ms: AtomicU64,
    /// Verdicts that the agent was to write or lift.
    pub verdict_writes: AtomicU64,
    /// Of them, those that failed.
    pub verdict_writes_failed: AtomicU64,
    /// Times that the configuration was read again.
    pub reloads: AtomicU64,
    /// Of them, those that left the former in force.
    pub reloads_failed: AtomicU64,
    /// When the configuration was last read with success, Unix ms.
    pub reloaded_unix_ms: AtomicU64,
    /// Times that a model was to be taken.
    pub model_loads: AtomicU64,
    /// Of them, those that left the former in force.
    pub model_loads_failed: AtomicU64,
    /// Requests to the API.
    pub requests: Requests,
    rows: AtomicU64,
    /// Rows of the archive.
    pub archive: Arc<ArchiveCounts>,
    /// Events to NATS.
    pub nats: Arc<NatsCounts>,
    /// The watch over this node's pods.
    pub kubernetes: Arc<KubernetesCounts>,
}

fn place<T: PartialEq>(all: &[T], one: &T) -> usize {
    all.iter().position(|other| other == one).unwrap_or(0)
}

impl Tallies {
    /// Counts an alert.
    pub fn alert(&self, family: Family, kind: Kind, by: By) {
        let (kind, by) = (place(&KINDS, &kind), place(&BYS, &by));
        self.alerts[family as usize][kind][by].fetch_add(1, Relaxed);
    }

    /// Alerts of a family and kind so far.
    #[must_use]
    pub fn alerts(&self, family: Family, kind: Kind, by: By) -> u64 {
        let (kind, by) = (place(&KINDS, &kind), place(&BYS, &by));
        self.alerts[family as usize][kind][by].load(Relaxed)
    }

    /// Counts rows that were scored because somebody asked.
    pub fn rows_scored(&self, rows: u64) {
        self.rows.fetch_add(rows, Relaxed);
    }

    /// Rows that were scored because somebody asked.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_cumulative() {
        let durations = Durations::default();
        for us in [100, 250, 300, 1_000_000] {
            durations.add(us);
        }
        let (cumulative, count, sum_s) = durations.read();
        assert_eq!(&cumulative[..3], [2, 3, 3]);
        assert_eq!((*cumulative.last().unwrap(), count), (3, 4));
        assert!((sum_s - 1.000_65).abs() < 1e-9);
    }
}
