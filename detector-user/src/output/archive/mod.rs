//! The flow archive: each flow that is over as a row of a Parquet file, a file an hour, up to a size and an age.
//!
//! ```text
//! agent's tick → rows that wait (bounded) → keeper, a thread of its own → folder/flows-2026-11-21T07Z-0000.parquet
//! ```
//!
//! Nobody waits for the disk: rows that find no room are counted, as are those that a full or broken disk loses. At any
//! time rows offered = rows written + rows dropped + rows pending.

mod counts;
mod error;
mod files;
mod folder;
mod keeper;
mod row;
#[cfg(test)]
mod tests;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

pub use counts::{ArchiveCounts, Dropped, Removed};
use keeper::Keeper;

use crate::agent::flow_log::Finished;

/// Ticks whose rows wait, at most.
const BATCHES_WAITING_MAX: usize = 1024;
/// The keeper looks after its files at least so often.
const TEND: Duration = Duration::from_secs(1);

/// The configuration's section `archive`.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct ArchiveSettings {
    /// Where the files are; none: no archive.
    pub folder: Option<PathBuf>,
    /// All files together have so many bytes at most: the oldest go.
    pub bytes_max: u64,
    /// A file goes when its hour is so long over, s; 0: never.
    pub age_max_s: u64,
    /// Rows that are held in memory, at most.
    pub rows_max: u64,
    /// A file is completed after so long, s, and when its hour is over: what a crash may cost.
    pub flush_s: u64,
}

impl Default for ArchiveSettings {
    fn default() -> Self {
        Self {
            folder: None,
            bytes_max: 10 << 30,
            age_max_s: 30 * 86_400,
            rows_max: 65_536,
            flush_s: 3600,
        }
    }
}

impl ArchiveSettings {
    /// Half of the rows may wait, and half be in the row group that is put together.
    fn half(&self) -> u64 {
        (self.rows_max / 2).max(1)
    }
}

/// The rows of a tick.
struct Batch {
    rows: Vec<Finished>,
    unix_s: u64,
}

/// Takes flows that are over.
pub struct Archive {
    batches: Option<SyncSender<Batch>>,
    waiting_max: u64,
    counts: Arc<ArchiveCounts>,
    thread: Option<JoinHandle<()>>,
}

impl Archive {
    /// An archive in a folder, which is made where it is missing; what of it fails, at the start too, is told through
    /// `complain`, on its thread, and costs rows only.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn start(
        folder: PathBuf,
        settings: &ArchiveSettings,
        counts: Arc<ArchiveCounts>,
        complain: impl Fn(&str) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (batches, waiting) = sync_channel(BATCHES_WAITING_MAX);
        let keeper = Keeper::new(folder, settings.clone(), counts.clone(), Box::new(complain));
        let thread = std::thread::Builder::new()
            .name("archive".to_owned())
            .spawn(move || {
                crate::serve::yielding();
                run(keeper, &waiting);
            })?;
        Ok(Self {
            batches: Some(batches),
            waiting_max: settings.half(),
            counts,
            thread: Some(thread),
        })
    }

    /// Hands over the flows that ended in a tick, at a Unix time in s. Never waits.
    pub fn offer(&self, mut rows: Vec<Finished>, unix_s: u64) {
        let Some(batches) = self.batches.as_ref().filter(|_| !rows.is_empty()) else {
            return;
        };
        let counts = &self.counts;
        let offered = rows.len() as u64;
        let room = self
            .waiting_max
            .saturating_sub(counts.waiting.load(Relaxed));
        rows.truncate(room as usize);
        let taken = rows.len() as u64;
        counts.offered.fetch_add(offered, Relaxed);
        counts.count_dropped(Dropped::NoRoom, offered - taken);
        counts.waiting.fetch_add(taken, Relaxed);
        if taken > 0 && batches.try_send(Batch { rows, unix_s }).is_err() {
            counts.waiting.fetch_sub(taken, Relaxed);
            counts.count_dropped(Dropped::NoRoom, taken);
        }
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        // The thread writes what waits, completes its file, and ends with the channel.
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(mut keeper: Keeper, waiting: &Receiver<Batch>) {
    keeper.tend(unix_s());
    loop {
        match waiting.recv_timeout(TEND) {
            Ok(batch) => keeper.take(&batch.rows, batch.unix_s),
            Err(RecvTimeoutError::Timeout) => keeper.tend(unix_s()),
            Err(RecvTimeoutError::Disconnected) => return keeper.close(unix_s()),
        }
    }
}

fn unix_s() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
