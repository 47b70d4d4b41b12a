//! The archive's folder while the agent writes there.

use std::{
    fmt,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::atomic::Ordering::Relaxed,
};

use rustix::{
    fs::{FlockOperation, flock, fstatvfs},
    io::Errno,
};

use super::{super::units, ArchiveCounts, error::ArchiveError, files};

/// A folder that no other agent may write to.
pub(super) struct Held {
    path: PathBuf,
    folder: File,
}

/// What an agent that was killed left.
pub(super) struct Left {
    path: PathBuf,
    files: u64,
    bytes: u64,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "archive folder {}: removed {} unfinished {} of {} that an agent which was killed left; archive.flush_s says what \
             that may cost",
            self.path.display(),
            self.files,
            if self.files == 1 { "file" } else { "files" },
            units::bytes(self.bytes),
        )
    }
}

impl Held {
    /// Holds a folder, which is made where it is missing, and clears away what an agent that was killed left unfinished.
    pub(super) fn new(path: &Path) -> Result<(Self, Option<Left>), ArchiveError> {
        let path = path.to_owned();
        let unusable = |cause| ArchiveError::Folder {
            path: path.clone(),
            cause,
        };
        fs::create_dir_all(&path).map_err(unusable)?;
        let folder = File::open(&path).map_err(unusable)?;
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(ArchiveError::Taken { path }),
            Err(error) => return Err(unusable(error.into())),
        }
        let (files, bytes) = files::clear_unfinished(&path).map_err(unusable)?;
        let left = (files > 0).then(|| Left {
            path: path.clone(),
            files,
            bytes,
        });
        Ok((Self { path, folder }, left))
    }

    fn unusable(&self, cause: io::Error) -> ArchiveError {
        let path = self.path.clone();
        ArchiveError::Folder { path, cause }
    }

    /// Bytes that are left on the disk for who is not root; `None` where that cannot be told.
    pub(super) fn room(&self) -> Option<u64> {
        let disk = fstatvfs(&self.folder).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// The path of the next part of an hour.
    pub(super) fn next(&self, hour: u64) -> Result<PathBuf, ArchiveError> {
        files::next(&self.path, hour).map_err(|cause| self.unusable(cause))
    }

    /// Removes the oldest files as far as the limits (bytes of all, and age in s) ask for it, where a file that is being
    /// written has grown to so many bytes.
    pub(super) fn prune(
        &self,
        now_s: u64,
        limits: (u64, u64),
        growing: u64,
        counts: &ArchiveCounts,
    ) -> Result<(), ArchiveError> {
        let all = files::list(&self.path).map_err(|cause| self.unusable(cause))?;
        let mut stored: u64 = all.iter().map(|one| one.bytes).sum();
        for (one, why) in files::excess(&all, now_s, limits, growing) {
            let path = self.path.join(one.name.text());
            fs::remove_file(path).map_err(|cause| self.unusable(cause))?;
            counts.count_removed(why);
            stored -= one.bytes;
        }
        counts.stored_bytes.store(stored, Relaxed);
        Ok(())
    }
}
