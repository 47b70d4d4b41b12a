//! Where the bytes go. A file appears under its name only when it is complete: it is written beside it and renamed, so
//! that neither a full disk nor an interruption leaves half a file in the place of a whole one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::OutputError;
use super::error::name;

const BUFFER_BYTES: usize = 256 * 1024;

/// How the name of a file ends that is not complete.
pub const PARTIAL: &str = ".partial";
/// Mode of a new file, less the user's mask.
const FILE_MODE: u32 = 0o666;

/// An open place to write to. Dropped without [`Destination::finish`], it leaves no file.
pub struct Destination {
    to: BufWriter<To>,
    place: String,
}

enum To {
    /// Standard output, or something that is no regular file: a pipe, a device.
    Stream(File),
    /// A file that is not yet under its name, and may replace one that is.
    Temporary {
        file: NamedTempFile,
        path: PathBuf,
        replaces: bool,
    },
}

impl Destination {
    /// Opens `path`; standard output where there is none or it is `-`.
    ///
    /// # Errors
    /// Where it cannot be written to.
    pub fn open(path: Option<&Path>) -> Result<Self, OutputError> {
        match path {
            Some(path) if path != Path::new("-") => {
                let to = open(path).map_err(|cause| OutputError::open(path, cause))?;
                Ok(Self::new(to, name(path)))
            }
            _ => {
                let place = "standard output".to_owned();
                match io::stdout().as_fd().try_clone_to_owned() {
                    Ok(fd) => Ok(Self::new(To::Stream(File::from(fd)), place)),
                    Err(cause) => Err(OutputError::open(Path::new(&place), cause)),
                }
            }
        }
    }

    /// Opens a file that takes the place of no other: where its name is taken when it is finished, that is an error. Until
    /// then its name begins with `prefix` and ends with [`PARTIAL`].
    ///
    /// # Errors
    /// Where its folder cannot be written to.
    pub fn fresh(path: &Path, prefix: &str) -> Result<Self, OutputError> {
        let file = temporary(path, prefix).map_err(|cause| OutputError::open(path, cause))?;
        let to = To::Temporary {
            file,
            path: path.to_owned(),
            replaces: false,
        };
        Ok(Self::new(to, name(path)))
    }

    fn new(to: To, place: String) -> Self {
        Self {
            to: BufWriter::with_capacity(BUFFER_BYTES, to),
            place,
        }
    }

    /// Whether a person looks at it as it is written.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        match self.to.get_ref() {
            To::Stream(file) => file.is_terminal(),
            To::Temporary { .. } => false,
        }
    }

    /// What it is called in messages.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// `cause` as an error of writing here.
    pub(super) fn failed(&self, cause: io::Error) -> OutputError {
        OutputError::write(&self.place, cause)
    }

    /// Writes what is left in the buffer and gives a file its name.
    ///
    /// # Errors
    /// Where either fails; the file that had the name is untouched then.
    pub fn finish(self) -> Result<(), OutputError> {
        let Self { to, place } = self;
        let to = to
            .into_inner()
            .map_err(|error| OutputError::write(&place, error.into_error()))?;
        match to {
            To::Stream(_) => Ok(()),
            To::Temporary {
                file,
                path,
                replaces,
            } => {
                // A name must not outlive a crash without its content.
                file.as_file()
                    .sync_data()
                    .map_err(|cause| OutputError::write(&place, cause))?;
                let persisted = if replaces {
                    file.persist(&path)
                } else {
                    file.persist_noclobber(&path)
                };
                persisted
                    .map(drop)
                    .map_err(|error| OutputError::replace(&path, error.error))
            }
        }
    }
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes)
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl Write for To {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stream(file) => file.write(bytes),
            Self::Temporary { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<To> {
    // The file that is there decides, not a link to it: a link is written through.
    let (path, permissions) = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(metadata) => {
            // Renaming would replace even a file that must not be written.
            let file = OpenOptions::new().write(true).open(path)?;
            if !metadata.is_file() {
                return Ok(To::Stream(file));
            }
            (fs::canonicalize(path)?, Some(metadata.permissions()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => (path.to_owned(), None),
        Err(error) => return Err(error),
    };
    let file = temporary(&path, ".detector-")?;
    if let Some(permissions) = permissions {
        file.as_file().set_permissions(permissions)?;
    }
    Ok(To::Temporary {
        file,
        path,
        replaces: true,
    })
}

/// A file beside `path`, removed where it is dropped.
fn temporary(path: &Path, prefix: &str) -> io::Result<NamedTempFile> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    tempfile::Builder::new()
        .prefix(prefix)
        .suffix(PARTIAL)
        .make_in(directory, |path| {
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(FILE_MODE)
                .open(path)
        })
}
