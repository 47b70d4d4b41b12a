//! What became of rows and files.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why a row is in no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// As many waited as may.
    NoRoom,
    /// The disk is full, or so nearly that no file could be completed.
    DiskFull,
    /// The folder or a file cannot be written.
    Unwritable,
}

impl Dropped {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::NoRoom, Self::DiskFull, Self::Unwritable];

    /// As it stands in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoRoom => "queue_full",
            Self::DiskFull => "disk_full",
            Self::Unwritable => "unwritable",
        }
    }
}

/// Why a file was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// Its hour was over for too long.
    Age,
    /// All together were too large.
    Size,
}

impl Removed {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Age, Self::Size];

    /// As it stands in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Size => "size",
        }
    }
}

/// What became of rows and files.
#[derive(Debug, Default)]
pub struct ArchiveCounts {
    /// Rows that were handed over.
    pub offered: AtomicU64,
    /// Rows in files that are complete.
    pub written: AtomicU64,
    dropped: [AtomicU64; Dropped::ALL.len()],
    /// Rows that wait for the keeper.
    pub waiting: AtomicU64,
    /// Bytes of files that were completed.
    pub bytes: AtomicU64,
    /// Bytes of all files that are there.
    pub stored_bytes: AtomicU64,
    removed: [AtomicU64; Removed::ALL.len()],
    /// When a file was last completed, Unix ms.
    pub succeeded_unix_ms: AtomicU64,
}

impl ArchiveCounts {
    pub(super) fn count_dropped(&self, why: Dropped, rows: u64) {
        self.dropped[why as usize].fetch_add(rows, Relaxed);
    }

    pub(super) fn count_removed(&self, why: Removed) {
        self.removed[why as usize].fetch_add(1, Relaxed);
    }

    /// Rows that are in no file, by reason.
    #[must_use]
    pub fn dropped(&self, why: Dropped) -> u64 {
        self.dropped[why as usize].load(Relaxed)
    }

    /// Files that were removed, by reason.
    #[must_use]
    pub fn removed(&self, why: Removed) -> u64 {
        self.removed[why as usize].load(Relaxed)
    }

    /// Rows that wait, or are in a file that is not complete yet.
    #[must_use]
    pub fn pending(&self) -> u64 {
        let dropped: u64 = Dropped::ALL.iter().map(|why| self.dropped(*why)).sum();
        let settled = self.written.load(Relaxed) + dropped;
        self.offered.load(Relaxed).saturating_sub(settled)
    }
}
