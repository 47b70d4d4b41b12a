//! Keeps the files: opens, fills and completes one after the other, and removes what is too old or too much. It reads no
//! clock.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use super::{
    super::{
        Destination,
        parquet::{GROUP_ROWS_MAX, ParquetWriter},
    },
    ArchiveCounts, ArchiveSettings, Dropped,
    error::ArchiveError,
    files::{HOUR_S, UNFINISHED},
    folder::Held,
};
use crate::agent::flow_log::Finished;

/// After a failure it is tried again after this, s.
const RETRY_S: u64 = 5;
/// The limits are looked at so often, s, and after each file.
const PRUNE_S: u64 = 60;
/// With so little room left on the disk the file is completed while it can be, and no other begun, bytes.
const ROOM_MIN_BYTES: u64 = 1 << 20;
/// Rows between two looks at the room and the limits, at most.
const AT_ONCE: usize = 1024;
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
    /// While it is held.
    held: Option<Held>,
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
        for some in rows.chunks(AT_ONCE) {
            self.take_some(some, now_s);
        }
    }

    fn take_some(&mut self, rows: &[Finished], now_s: u64) {
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
        if self.may_try(now_s)
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
        let room = self.held.as_ref().and_then(Held::room);
        let tight = room.is_some_and(|room| room < ROOM_MIN_BYTES + held);
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

    /// The folder, held from now on.
    fn hold(&mut self) -> Result<&Held, ArchiveError> {
        let held = match self.held.take() {
            Some(held) => held,
            None => {
                let (held, left) = Held::new(&self.folder)?;
                if let Some(left) = left {
                    (self.complain)(&left.to_string());
                }
                held
            }
        };
        Ok(self.held.insert(held))
    }

    /// Opens a file to write to.
    fn begin(&mut self, now_s: u64) -> Result<(), ArchiveError> {
        let held = self.hold()?;
        if let Some(room) = held.room().filter(|room| *room < 2 * ROOM_MIN_BYTES) {
            let path = self.folder.clone();
            return Err(ArchiveError::Full { path, room });
        }
        let hour = now_s / HOUR_S;
        let path = held.next(hour)?;
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
        let Some(held) = &self.held else {
            return;
        };
        self.pruned_s = Some(now_s);
        let limits = (self.settings.bytes_max, self.settings.age_max_s);
        let growing = self.part.as_ref().map_or(0, |part| part.writer.bytes().0);
        match held.prune(now_s, limits, growing, &self.counts) {
            Ok(()) => self.stuck = false,
            Err(error) => {
                if !std::mem::replace(&mut self.stuck, true) {
                    (self.complain)(&format!("{error}; files beyond the limits stay until then"));
                }
            }
        }
    }
}
