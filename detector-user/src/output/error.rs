//! Why flows could not be written.

use std::io;
use std::path::Path;

use super::printable;

/// Why flows could not be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The place cannot be written to.
    #[error("cannot open {place} to write flows: {cause}; {remedy}")]
    Open {
        /// The file, or standard output.
        place: String,
        /// The system's answer.
        cause: io::Error,
        /// What to do about it.
        remedy: &'static str,
    },
    /// Writing failed midway.
    #[error("cannot write flows to {place}: {cause}; {remedy}")]
    Write {
        /// The file, or standard output.
        place: String,
        /// The system's answer.
        cause: io::Error,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The finished file cannot take its name.
    #[error("cannot put the finished file in the place of {place}: {cause}; {remedy}")]
    Replace {
        /// The file.
        place: String,
        /// The system's answer.
        cause: io::Error,
        /// What to do about it.
        remedy: &'static str,
    },
    /// Parquet to a terminal.
    #[error(
        "cannot write Parquet to a terminal: it is binary; name a file with --output, or send standard output to one"
    )]
    ParquetToTerminal,
    /// The Parquet library refuses what it is given.
    #[error(
        "cannot encode flows as Parquet for {place}: {cause}; this is a defect of this program, please report it"
    )]
    Parquet {
        /// The file, or standard output.
        place: String,
        /// The library's answer.
        cause: String,
    },
}

impl OutputError {
    pub(super) fn open(place: &Path, cause: io::Error) -> Self {
        Self::Open {
            place: name(place),
            remedy: remedy(cause.kind()),
            cause,
        }
    }

    /// Writing failed.
    pub fn write(place: &str, cause: io::Error) -> Self {
        Self::Write {
            place: place.to_owned(),
            remedy: remedy(cause.kind()),
            cause,
        }
    }

    pub(super) fn replace(place: &Path, cause: io::Error) -> Self {
        Self::Replace {
            place: name(place),
            remedy: remedy(cause.kind()),
            cause,
        }
    }

    fn cause(&self) -> Option<&io::Error> {
        match self {
            Self::Open { cause, .. } | Self::Write { cause, .. } | Self::Replace { cause, .. } => {
                Some(cause)
            }
            Self::ParquetToTerminal | Self::Parquet { .. } => None,
        }
    }

    /// Whether merely nobody reads on: the reader has all that it wants, and that is success.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        self.cause()
            .is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
    }

    /// What the process ends with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::ParquetToTerminal => 2,
            _ if self.is_closed_pipe() => 0,
            _ if self
                .cause()
                .is_some_and(|cause| cause.kind() == io::ErrorKind::PermissionDenied) =>
            {
                77
            }
            _ => 1,
        }
    }
}

/// A path as messages call it.
pub(super) fn name(place: &Path) -> String {
    printable(&place.to_string_lossy()).into_owned()
}

fn remedy(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::NotFound => {
            "create the directory first, or check the path for a typing error"
        }
        io::ErrorKind::PermissionDenied => {
            "make the file and its directory writable for this user, or name another place with --output"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space there, or name another place with --output"
        }
        io::ErrorKind::IsADirectory => "name a file in it",
        io::ErrorKind::ReadOnlyFilesystem => "name a place on a writable file system with --output",
        io::ErrorKind::BrokenPipe => "its reader has gone",
        _ => "check the path and the file system it lies on",
    }
}
