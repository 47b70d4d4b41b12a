//! Events, from the agent to whoever follows them, and the last ones for those who come later.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc};

use super::published::{Told, Topic};

/// Alerts that are kept for those who ask later.
pub const ALERTS_KEPT: usize = 1000;
/// Events that a follower may be behind; one that is further behind is dropped.
const BEHIND_MAX: usize = 256;

/// Passes events on.
#[derive(Clone)]
pub struct Hub {
    sender: broadcast::Sender<Told>,
    alerts: Arc<Mutex<VecDeque<Arc<str>>>>,
    places: Arc<Semaphore>,
    places_max: usize,
}

/// Somebody who follows.
pub struct Follower {
    /// What comes from now on.
    pub events: broadcast::Receiver<Told>,
    _place: OwnedSemaphorePermit,
}

impl Hub {
    /// With room for so many followers.
    #[must_use]
    pub fn new(followers_max: usize) -> Self {
        Self {
            sender: broadcast::channel(BEHIND_MAX).0,
            alerts: Arc::default(),
            places: Arc::new(Semaphore::new(followers_max)),
            places_max: followers_max,
        }
    }

    /// Passes on what the agent tells, until it is gone.
    pub async fn pass_on(self, mut events: mpsc::Receiver<Told>) {
        while let Some(told) = events.recv().await {
            if told.topic == Topic::Alert {
                let mut alerts = self.alerts.lock().unwrap_or_else(PoisonError::into_inner);
                if alerts.len() == ALERTS_KEPT {
                    alerts.pop_front();
                }
                alerts.push_back(told.json.clone());
            }
            // Nobody may be there to hear it.
            let _ = self.sender.send(told);
        }
    }

    /// The last alerts, newest first.
    #[must_use]
    pub fn alerts(&self) -> Vec<Arc<str>> {
        let alerts = self.alerts.lock().unwrap_or_else(PoisonError::into_inner);
        alerts.iter().rev().cloned().collect()
    }

    /// A place among the followers; `None` where all are taken.
    #[must_use]
    pub fn follow(&self) -> Option<Follower> {
        let place = self.places.clone().try_acquire_owned().ok()?;
        Some(Follower {
            events: self.sender.subscribe(),
            _place: place,
        })
    }

    /// Who follows now.
    #[must_use]
    pub fn followers(&self) -> usize {
        self.places_max - self.places.available_permits()
    }
}
