//! Why rows are not archived.

use std::{io, path::PathBuf};

use super::{
    super::{OutputError, units},
    Dropped,
};

/// Why rows are lost, and nothing else.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    /// The folder.
    #[error("archive folder {}: {cause}; make it writable for the agent, or name another as archive.folder", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Somebody else writes there.
    #[error("archive folder {}: another agent writes there; name a folder for each as archive.folder", path.display())]
    Taken {
        /// Which.
        path: PathBuf,
    },
    /// The disk.
    #[error("archive folder {}: only {} are left on its disk; free some, or lower archive.bytes_max", path.display(), units::bytes(*room))]
    Full {
        /// Which.
        path: PathBuf,
        /// Bytes that are left.
        room: u64,
    },
    /// A file.
    #[error("archive: {0}")]
    File(#[from] OutputError),
}

impl ArchiveError {
    /// As what the rows are counted.
    pub(super) fn why(&self) -> Dropped {
        match self {
            Self::Full { .. } => Dropped::DiskFull,
            Self::File(OutputError::Write { cause, .. })
                if matches!(
                    cause.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                ) =>
            {
                Dropped::DiskFull
            }
            _ => Dropped::Unwritable,
        }
    }
}
