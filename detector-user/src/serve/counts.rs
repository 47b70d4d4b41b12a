//! What the server counts for the metrics: requests by their answers, problems, how long they took.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::http::StatusCode;

use super::problem::ProblemKind;
use crate::metrics::tallies::Durations;

/// Classes of status, in the order in which they are counted.
pub const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Requests that were answered.
#[derive(Debug, Default)]
pub struct Requests {
    classes: [AtomicU64; CLASSES.len()],
    problems: [AtomicU64; ProblemKind::ALL.len()],
    /// From a request's head to its answer's; what is streamed behind that does not count.
    pub duration: Durations,
}

impl Requests {
    /// Counts one.
    pub fn answered(&self, status: StatusCode, problem: Option<ProblemKind>, us: u64) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        self.classes[class].fetch_add(1, Relaxed);
        if let Some(problem) = problem {
            self.problems[problem as usize].fetch_add(1, Relaxed);
        }
        self.duration.add(us);
    }

    /// How many there were by class of status.
    pub fn by_class(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.classes.iter().map(|count| count.load(Relaxed));
        CLASSES.into_iter().zip(counts)
    }

    /// How many problems there were by kind.
    pub fn by_problem(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.problems.iter().map(|count| count.load(Relaxed));
        ProblemKind::ALL.iter().map(|kind| kind.name()).zip(counts)
    }
}
