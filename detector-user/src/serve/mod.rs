//! The server: what the agent and the data plane say, over HTTP, and what may be asked of them.
//!
//! It runs on threads of its own that yield to the agent's. The agent's loop publishes plain values ([`published`]) and takes
//! changes between two ticks ([`change`]); everything else is read from the kernel's maps by a thread of the server's ([`plane`]).
//! [`router`] lists every route.

pub mod access;
mod alerts;
mod batch;
mod body;
pub mod change;
mod changes;
pub mod counts;
mod events;
mod flows;
mod health;
pub mod hub;
mod limits;
pub mod listen;
mod metrics;
mod models;
mod notify;
mod page;
mod patient;
mod places;
mod plane;
pub mod problem;
pub mod published;
pub mod router;
mod score;
pub mod settings;
mod shapes;
mod status;
mod verdicts;

use std::{io, path::Path, sync::Arc, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    sync::{Semaphore, mpsc},
};

use change::Asked;
use hub::Hub;
use listen::Listeners;
use places::Places;
use plane::Plane;
use published::{Ends, Published};
use settings::ApiSettings;

use crate::privilege::hold_nothing;

/// Threads that serve.
const WORKERS: usize = 2;
/// Threads that score batches, at most.
const SCORERS: usize = 2;
/// Connections have so long to end when the agent does.
const STOP_MAX: Duration = Duration::from_millis(250);
/// How far the server's threads stand back behind the agent's (nice).
const NICENESS: i32 = 5;

/// What every handler has.
pub struct Shared {
    /// From the agent's loop.
    pub published: Arc<Published>,
    /// To the agent's loop.
    pub changes: mpsc::Sender<Asked>,
    /// The data plane.
    plane: Plane,
    /// Who follows events.
    pub hub: Hub,
    /// The configuration.
    pub settings: ApiSettings,
    /// Bodies that are being read or scored.
    pub bodies: Arc<Semaphore>,
    /// Connections over TCP and over the Unix socket.
    pub(crate) places: [Places; 2],
}

/// The server; it ends with this.
pub struct Server {
    runtime: Option<Runtime>,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
#[error("starting the API's threads: {0}; the agent goes on without it")]
pub struct StartError(#[from] io::Error);

impl Server {
    /// Serves at what is bound.
    ///
    /// # Errors
    /// Where there are no threads to be had.
    pub fn start(
        settings: &ApiSettings,
        pins: &Path,
        published: Arc<Published>,
        ends: Ends,
        listeners: Listeners,
    ) -> Result<Self, StartError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(SCORERS)
            .thread_name("serve")
            .on_thread_start(|| {
                yielding();
                hold_nothing();
            })
            .enable_io()
            .enable_time()
            .build()?;
        let hub = Hub::new(settings.followers_max);
        runtime.spawn(hub.clone().pass_on(ends.events));
        let shared = Arc::new(Shared {
            published,
            changes: ends.changes,
            plane: Plane::start(pins.to_owned())?,
            hub,
            settings: settings.clone(),
            bodies: Arc::new(Semaphore::new(body::BODIES_MAX)),
            places: [(); 2].map(|()| Places::new(settings.connections_max)),
        });
        runtime.spawn(notify::tell(shared.clone()));
        let router = router::router(&shared);
        let [over_tcp, over_unix] = shared.places.clone();
        if let Some(tcp) = listeners.tcp {
            runtime.spawn(tcp.serve(router.clone(), over_tcp));
        }
        if let Some(unix) = listeners.unix {
            runtime.spawn(unix.serve(router, over_unix));
        }
        Ok(Self {
            runtime: Some(runtime),
        })
    }

    /// Does something more on the threads that serve, for as long as they do.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(work);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        notify::stopping();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(STOP_MAX);
        }
    }
}

/// Lets the agent's threads go first.
pub(crate) fn yielding() {
    // SAFETY: no pointer is passed; 0 is the calling thread. Where it is refused the thread stands level.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS);
    }
}
