//! The data plane as the server reads and changes it: on a thread of its own, over maps of its own, one job after another. The
//! agent's loop has no part in it.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use detector_common::abi::map;
use tokio::sync::{mpsc, oneshot};

use super::{problem::Problem, yielding};
use crate::{
    cli::{
        status::gather::{self, Status},
        verdicts::{list::Shown, target::zone_names},
    },
    enforce::writer::{Listed, Writer},
    wire::{clock::Clock, pins::Pins, tables::Tables},
};

/// Jobs that wait, at most.
const JOBS_WAITING_MAX: usize = 64;
/// A reading serves all who ask within this.
const FRESH: Duration = Duration::from_millis(900);

/// What is opened, and what was read lately.
pub struct Opened {
    /// Where things are pinned.
    pub pins: Pins,
    /// The maps.
    pub tables: Tables,
    /// The kernel's clock.
    pub clock: Clock,
    /// Tells one data plane from the next at the same place.
    inode: u64,
    status: Option<(Instant, Arc<Status>)>,
    verdicts: Option<(Instant, Arc<Vec<Shown>>)>,
}

type Job = Box<dyn FnOnce(&mut Slot) + Send>;

/// Opens the data plane when it is asked for.
struct Slot {
    root: PathBuf,
    opened: Option<Opened>,
}

/// Hands jobs to the thread.
#[derive(Clone)]
pub struct Plane {
    jobs: mpsc::Sender<Job>,
}

impl Plane {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn start(root: PathBuf) -> std::io::Result<Self> {
        let (jobs, mut waiting) = mpsc::channel::<Job>(JOBS_WAITING_MAX);
        std::thread::Builder::new()
            .name("plane".to_owned())
            .spawn(move || {
                yielding();
                let mut slot = Slot { root, opened: None };
                while let Some(job) = waiting.blocking_recv() {
                    job(&mut slot);
                }
            })?;
        Ok(Self { jobs })
    }

    /// Runs a job on the data plane.
    ///
    /// # Errors
    /// What the job says, and [`Problem`]s where there is no data plane, or too many jobs wait.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Opened) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |slot| {
            let _ = answer.send(slot.open().and_then(job));
        });
        if self.jobs.try_send(job).is_err() {
            return Err(Problem::no_plane(format!(
                "{JOBS_WAITING_MAX} requests for it wait already"
            )));
        }
        answered
            .await
            .map_err(|_| Problem::internal("the thread that reads the data plane is gone"))?
    }

    /// What the maps say, no older than a second.
    ///
    /// # Errors
    /// As [`Plane::run`].
    pub(super) async fn status(&self) -> Result<Arc<Status>, Problem> {
        self.run(Opened::status).await
    }

    /// The verdicts, no older than a second.
    ///
    /// # Errors
    /// As [`Plane::run`].
    pub(super) async fn verdicts(&self) -> Result<Arc<Vec<Shown>>, Problem> {
        self.run(Opened::verdicts).await
    }
}

impl Slot {
    /// The data plane that is pinned now, which may be another than a moment ago.
    fn open(&mut self) -> Result<&mut Opened, Problem> {
        let pins = Pins::new(&self.root);
        let inode = fs::metadata(pins.map(map::CONTROL))
            .ok()
            .map(|pin| pin.ino());
        if self.opened.as_ref().map(|opened| opened.inode) != inode {
            self.opened = None;
        }
        if self.opened.is_none() {
            let failed = |error: &dyn std::fmt::Display| Problem::no_plane(error.to_string());
            let tables = Tables::open(&pins).map_err(|error| failed(&error))?;
            let clock = Clock::open(&pins).map_err(|error| failed(&error))?;
            self.opened = Some(Opened {
                pins,
                tables,
                clock,
                inode: inode.unwrap_or(0),
                status: None,
                verdicts: None,
            });
        }
        self.opened
            .as_mut()
            .ok_or_else(|| Problem::internal("the data plane was opened and is not there"))
    }
}

fn fresh<T>(cached: &Option<(Instant, Arc<T>)>) -> Option<Arc<T>> {
    let (at, value) = cached.as_ref()?;
    (at.elapsed() < FRESH).then(|| value.clone())
}

impl Opened {
    fn status(&mut self) -> Result<Arc<Status>, Problem> {
        if let Some(status) = fresh(&self.status) {
            return Ok(status);
        }
        let status = gather::gather(&self.pins, &self.tables)
            .map_err(|failure| Problem::no_plane(failure.to_string()))?;
        let status = Arc::new(status);
        self.status = Some((Instant::now(), status.clone()));
        Ok(status)
    }

    fn verdicts(&mut self) -> Result<Arc<Vec<Shown>>, Problem> {
        if let Some(verdicts) = fresh(&self.verdicts) {
            return Ok(verdicts);
        }
        let listed = Writer::unshared(&mut self.tables, &self.clock)
            .list()
            .map_err(|error| Problem::no_plane(error.to_string()))?;
        let (names, now) = (self.names(), SystemTime::now());
        let shown = listed.iter().map(|one| Shown::new(one, &names, now));
        let shown = Arc::new(shown.collect::<Vec<_>>());
        self.verdicts = Some((Instant::now(), shown.clone()));
        Ok(shown)
    }

    /// A verdict as it is shown.
    #[must_use]
    pub(super) fn shown(&self, listed: &Listed) -> Shown {
        Shown::new(listed, &self.names(), SystemTime::now())
    }

    fn names(&self) -> HashMap<u32, String> {
        zone_names(&self.tables)
    }

    /// Somebody changed the verdicts: what was read of them is old.
    pub fn changed(&mut self) {
        (self.status, self.verdicts) = (None, None);
    }
}
