//! Keeps the files: opens, fills and completes one after the other, and removes what is too old or too much. It reads no
//! clock.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use rustix::fs::{FlockOperation, flock, fstatvfs};

use super::{
    super::{
        Destination,
        parquet::{GROUP_ROWS_MAX, ParquetWriter},
        units,
    },
    ArchiveCounts, ArchiveSettings, Dropped,
    error::ArchiveError,
    files::{self, HOUR_S, UNFINISHED},
};
use crate::agent::flow_log::Finished;

/// After a failure it is tried again after this, s.
const RETRY_S: u64 = 5;
/// The limits are looked at so often, s, and after each file.
const PRUNE_S: u64 = 60;
/// With so little room left on the disk the file is completed while it can be, and no other begun, bytes.
const ROOM_MIN_BYTES: u64 = 1 << 20;
/// A file is completed when it has this share of what all may have: what goes is never much of what there is.
const PARTS_MIN: u64 = 4;

/// The file that is being written.
struct Part {
    hour: u64,
    begun_s: u64,
    rows: u64,
    path: PathBuf,
    writer: ParquetWriter<Finished>,
}

pub(super) struct Keeper {
    folder: PathBuf,
    settings: ArchiveSettings,
    counts: Arc<ArchiveCounts>,
    complain: Box<dyn Fn(&str) + Send>,
    /// The folder while it is held: another agent that writes there is refused.
    held: Option<File>,
    part: Option<Part>,
    /// When it failed last and why, while it fails.
    failed: Option<(u64, Dropped)>,
    pruned_s: Option<u64>,
    /// Told that old files cannot be removed.
    stuck: bool,
}

impl Keeper {
    pub(super) fn new(
        folder: PathBuf,
        settings: ArchiveSettings,
        counts: Arc<ArchiveCounts>,
        complain: Box<dyn Fn(&str) + Send>,
    ) -> Self {
        Self {
            folder,
            settings,
            counts,
            complain,
            held: None,
            part: None,
            failed: None,
            pruned_s: None,
            stuck: false,
        }
    }

    /// Takes rows.
    pub(super) fn take(&mut self, rows: &[Finished], now_s: u64) {
        self.tend(now_s);
        let count = rows.len() as u64;
        if self.part.is_none()
            && self.may_try(now_s)
            && let Err(error) = self.begin(now_s)
        {
            self.fail(&error, now_s);
        }
        if let Some(part) = &mut self.part {
            part.rows += count;
            let mut rows = rows.iter();
            if let Err(error) = rows.try_for_each(|row| part.writer.write(row)) {
                self.lose(&error.into(), now_s);
            }
        } else {
            let why = self.failed.map_or(Dropped::Unwritable, |(_, why)| why);
            self.counts.count_dropped(why, count);
        }
        self.counts.waiting.fetch_sub(count, Relaxed);
    }

    /// Completes the file whose time is over, and keeps to the limits.
    pub(super) fn tend(&mut self, now_s: u64) {
        if self.held.is_none()
            && self.may_try(now_s)
            && let Err(error) = self.hold()
        {
            self.fail(&error, now_s);
        }
        let Some(part) = &self.part else {
            return self.prune_now_and_then(now_s);
        };
        let (written, held) = part.writer.bytes();
        let over = part.hour != now_s / HOUR_S
            || now_s.abs_diff(part.begun_s) >= self.settings.flush_s
            || written + held >= self.settings.bytes_max / PARTS_MIN;
        // While there is room for what is held, it can be completed.
        let tight = self.room().is_some_and(|room| room < ROOM_MIN_BYTES + held);
        if over || tight {
            self.complete(now_s);
        }
        self.prune_now_and_then(now_s);
    }

    /// Completes what there is.
    pub(super) fn close(&mut self, now_s: u64) {
        self.complete(now_s);
        self.prune(now_s);
    }

    /// Opens a file to write to.
    fn begin(&mut self, now_s: u64) -> Result<(), ArchiveError> {
        if self.held.is_none() {
            self.hold()?;
        }
        if let Some(room) = self.room().filter(|room| *room < 2 * ROOM_MIN_BYTES) {
            let path = self.folder.clone();
            return Err(ArchiveError::Full { path, room });
        }
        let hour = now_s / HOUR_S;
        let path = files::next(&self.folder, hour).map_err(|cause| self.unusable(cause))?;
        let destination = Destination::fresh(&path, UNFINISHED)?;
        let group_rows = (self.settings.half() as usize).min(GROUP_ROWS_MAX);
        self.part = Some(Part {
            hour,
            begun_s: now_s,
            rows: 0,
            path,
            writer: ParquetWriter::new(destination, group_rows)?,
        });
        Ok(())
    }

    /// Holds the folder, which is made where it is missing, and clears away what an agent that was killed left.
    fn hold(&mut self) -> Result<(), ArchiveError> {
        let unusable = |cause| self.unusable(cause);
        fs::create_dir_all(&self.folder).map_err(unusable)?;
        let folder = File::open(&self.folder).map_err(unusable)?;
        if let Err(error) = flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            let path = self.folder.clone();
            return Err(match error {
                rustix::io::Errno::WOULDBLOCK => ArchiveError::Taken { path },
                error => self.unusable(error.into()),
            });
        }
        let (files, bytes) = files::clear_unfinished(&self.folder).map_err(unusable)?;
        if files > 0 {
            (self.complain)(&format!(
                "archive folder {}: removed {files} unfinished {} of {} that an agent which was killed left; archive.flush_s says \
                 what that may cost",
                self.folder.display(),
                if files == 1 { "file" } else { "files" },
                units::bytes(bytes),
            ));
        }
        self.held = Some(folder);
        Ok(())
    }

    fn unusable(&self, cause: io::Error) -> ArchiveError {
        let path = self.folder.clone();
        ArchiveError::Folder { path, cause }
    }

    /// Bytes that are left on the disk for who is not root; `None` where that cannot be told.
    fn room(&self) -> Option<u64> {
        let disk = fstatvfs(self.held.as_ref()?).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn complete(&mut self, now_s: u64) {
        let Some(part) = self.part.take() else {
            return;
        };
        match part.writer.finish() {
            Ok(()) => {
                self.counts.written.fetch_add(part.rows, Relaxed);
                let bytes = fs::metadata(&part.path).map_or(0, |file| file.len());
                self.counts.bytes.fetch_add(bytes, Relaxed);
                self.counts.succeeded_unix_ms.store(now_s * 1000, Relaxed);
                self.pruned_s = None;
                if self.failed.take().is_some() {
                    (self.complain)(&format!(
                        "flows are archived in {} again",
                        self.folder.display()
                    ));
                }
            }
            Err(error) => {
                let error = ArchiveError::from(error);
                self.counts.count_dropped(error.why(), part.rows);
                self.fail(&error, now_s);
            }
        }
    }

    /// The file is lost with all its rows.
    fn lose(&mut self, error: &ArchiveError, now_s: u64) {
        if let Some(part) = self.part.take() {
            self.counts.count_dropped(error.why(), part.rows);
        }
        self.fail(error, now_s);
    }

    /// Told once, until a file is completed.
    fn fail(&mut self, error: &ArchiveError, now_s: u64) {
        // The folder may have been replaced: it is looked up anew.
        self.held = None;
        if self.failed.replace((now_s, error.why())).is_none() {
            (self.complain)(&format!(
                "{error}; flows are not archived until that is mended, everything else goes on"
            ));
        }
    }

    fn may_try(&self, now_s: u64) -> bool {
        self.failed
            .is_none_or(|(failed_s, _)| now_s.abs_diff(failed_s) >= RETRY_S)
    }

    fn prune_now_and_then(&mut self, now_s: u64) {
        let growing = self.part.as_ref().map_or(0, |part| part.writer.bytes().0);
        let stored = self.counts.stored_bytes.load(Relaxed);
        let due = self
            .pruned_s
            .is_none_or(|at_s| now_s.abs_diff(at_s) >= PRUNE_S);
        if due || stored + growing > self.settings.bytes_max {
            self.prune(now_s);
        }
    }

    /// Removes the oldest files as far as the limits ask for it. What cannot be removed is tried again.
    fn prune(&mut self, now_s: u64) {
        if self.held.is_none() {
            return;
        }
        self.pruned_s = Some(now_s);
        let growing = self.part.as_ref().map_or(0, |part| part.writer.bytes().0);
        match self.remove_excess(&self.folder, now_s, growing) {
            Ok(()) => self.stuck = false,
            Err(cause) => {
                if !std::mem::replace(&mut self.stuck, true) {
                    let error = self.unusable(cause);
                    (self.complain)(&format!("{error}; files beyond the limits stay until then"));
                }
            }
        }
    }

    fn remove_excess(&self, folder: &Path, now_s: u64, growing: u64) -> io::Result<()> {
        let all = files::list(folder)?;
        let limits = (self.settings.bytes_max, self.settings.age_max_s);
        for (name, why) in files::excess(&all, now_s, limits, growing) {
            fs::remove_file(folder.join(name.text()))?;
            self.counts.count_removed(why);
        }
        let left = files::list(folder)?.iter().map(|one| one.bytes).sum();
        self.counts.stored_bytes.store(left, Relaxed);
        Ok(())
    }
}
