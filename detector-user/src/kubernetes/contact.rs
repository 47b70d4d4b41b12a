//! How it stands with the API server: counted, told once, and told when it is over.

use std::{
    mem::{Discriminant, discriminant},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use super::{error::PodsError, names::PodNames};
use crate::wire::load::unix_ms;

/// How it stands, for the metrics.
#[derive(Debug, Default)]
pub struct KubernetesCounts {
    /// Whether it is told of every change of this node's pods.
    pub watching: AtomicBool,
    /// Pods that have a name.
    pub pods: AtomicU64,
    /// Times that a pod found no room.
    pub left_out: AtomicU64,
    /// Requests that failed, or had no answer in time.
    pub failures: AtomicU64,
    /// When the API server last answered, Unix ms.
    pub succeeded_unix_ms: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Since when it does not answer.
    lost: Option<Instant>,
    told: Option<Discriminant<PodsError>>,
}

/// What is known of the server.
pub(super) struct Contact {
    node: String,
    names: Arc<PodNames>,
    pub(super) counts: Arc<KubernetesCounts>,
    complain: Box<dyn Fn(&str) + Send + Sync>,
    state: Mutex<State>,
}

impl Contact {
    pub(super) fn new(
        node: &str,
        names: Arc<PodNames>,
        counts: Arc<KubernetesCounts>,
        complain: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        Self {
            node: node.to_owned(),
            names,
            counts,
            complain: Box::new(complain),
            state: Mutex::default(),
        }
    }

    /// It answered. Only who is told of changes, too, knows which pods there are.
    pub(super) fn answered(&self, to_a_watch: bool) {
        let now_ms = unix_ms(SystemTime::now());
        self.counts.succeeded_unix_ms.store(now_ms, Relaxed);
        if !to_a_watch {
            return;
        }
        self.counts.watching.store(true, Relaxed);
        self.names.complain(None);
        let mut state = self.state();
        state.lost = None;
        if state.told.take().is_some() {
            (self.complain)(&format!("the pods of node {} are named again", self.node));
        }
    }

    /// A request failed.
    pub(super) fn failed(&self) {
        self.counts.failures.fetch_add(1, Relaxed);
    }

    /// It does not answer: told once, and again where something else is wrong. Returns for how long now.
    pub(super) fn lost(&self, error: &PodsError) -> Duration {
        self.counts.watching.store(false, Relaxed);
        let text = format!(
            "{error}; until then no new pod is named, and those that are known for a minute more; everything else goes on"
        );
        let mut state = self.state();
        if state.told.replace(discriminant(error)) != Some(discriminant(error)) {
            (self.complain)(&text);
        }
        self.names.complain(Some(text));
        state.lost.get_or_insert_with(Instant::now).elapsed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
