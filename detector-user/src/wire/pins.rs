//! Where everything that outlives a process is pinned:
//!
//! ```text
//! <pin directory>/            default /sys/fs/bpf/detector
//!     maps/<NAME>             the maps
//!     maps/bursts             link of the program that wire::bursts hangs over them
//!     links/ingress_<index>   XDP link of an interface
//!     links/egress_<index>    tcx link of an interface
//!     programs/clock          see wire::clock
//! ```
//!
//! Whoever changes anything below holds the directory's lock.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock, statfs};

/// Default pin directory.
pub const PIN_DIRECTORY: &str = "/sys/fs/bpf/detector";

/// Below the pin directory: maps that are about to take the place of those that are there,
/// and those whose place was taken. Neither is there but in the midst of a replacement.
pub(super) const PASSING: [&str; 2] = ["next", "former"];

/// See [`Pins::bursts`].
const BURSTS_LINK: &str = "bursts";

/// Times that the directories are made anew because another process removes them meanwhile.
const CREATE_TRIES: u32 = 1000;

/// `statfs` type of a BPF file system.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// Why the pin directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// No BPF file system there.
    #[error(
        "{path}: not on a BPF file system, so nothing pinned there could outlive this process; \
         mount one (`mount -t bpf bpf /sys/fs/bpf`) or choose another place with --pin-dir"
    )]
    NoBpfFs {
        /// The directory.
        path: PathBuf,
    },
    /// Nothing is attached.
    #[error(
        "{path}: nothing is pinned there, so no data plane is attached; \
         run `detector attach -i INTERFACE` first, or point --pin-dir at the right place"
    )]
    NothingPinned {
        /// The directory.
        path: PathBuf,
    },
    /// An operation on the directory failed.
    #[error("{operation} {path}: {cause}{}", remedy(.cause))]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

fn remedy(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::PermissionDenied => "; run as root, or as the user that it belongs to",
        _ => "",
    }
}

impl PinError {
    /// Whether something was not there, perhaps because another process removed it.
    fn is_gone(&self) -> bool {
        match self {
            Self::NothingPinned { .. } => true,
            Self::Io { cause, .. } => cause.kind() == io::ErrorKind::NotFound,
            Self::NoBpfFs { .. } => false,
        }
    }

    /// Whether permission was what lacked.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        matches!(self, Self::Io { cause, .. } if cause.kind() == io::ErrorKind::PermissionDenied)
    }

    pub(super) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |cause| Self::Io {
            operation,
            path,
            cause,
        }
    }
}

/// The pin directory.
#[derive(Clone, Debug)]
pub struct Pins {
    root: PathBuf,
}

/// Holds the directory's lock until dropped.
#[must_use]
pub struct PinLock {
    _directory: File,
}

impl Pins {
    /// The directory at `root`, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Directory of the maps.
    #[must_use]
    pub fn maps(&self) -> PathBuf {
        self.root.join("maps")
    }

    /// Pin of a map.
    #[must_use]
    pub fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    /// Pin of the link for what arrives at an interface.
    #[must_use]
    pub fn ingress(&self, index: u32) -> PathBuf {
        self.root.join("links").join(format!("ingress_{index}"))
    }

    /// Pin of the link for what leaves by an interface.
    #[must_use]
    pub fn egress(&self, index: u32) -> PathBuf {
        self.root.join("links").join(format!("egress_{index}"))
    }

    /// Pin of the clock program.
    #[must_use]
    pub fn clock(&self) -> PathBuf {
        self.root.join("programs").join("clock")
    }

    /// Pin of the link by which bursts end: beside the map that it is for, with which it is
    /// replaced and removed.
    #[must_use]
    pub fn bursts(&self) -> PathBuf {
        self.map(BURSTS_LINK)
    }

    /// Whether maps are pinned here.
    #[must_use]
    pub fn is_populated(&self) -> bool {
        self.map(detector_common::abi::map::CONTROL).exists()
    }

    /// Whether this process may see the maps, and they are there.
    ///
    /// # Errors
    /// [`PinError::NothingPinned`] where they are not, [`PinError::Io`] where that
    /// cannot be told.
    pub fn require_populated(&self) -> Result<(), PinError> {
        let control = self.map(detector_common::abi::map::CONTROL);
        match control.try_exists() {
            Ok(true) => Ok(()),
            Ok(false) => Err(PinError::NothingPinned {
                path: self.root.clone(),
            }),
            Err(cause) => Err(PinError::io("looking for", &control)(cause)),
        }
    }

    /// Makes sure that the directory is, or would be, on a BPF file system.
    ///
    /// # Errors
    /// [`PinError::NoBpfFs`] where it is not.
    pub fn require_bpf_fs(&self) -> Result<(), PinError> {
        let existing = self
            .root
            .ancestors()
            .find(|path| path.exists())
            .unwrap_or(Path::new("/"));
        let kind = statfs(existing).map_err(|errno| {
            PinError::io("asking for the file system of", existing)(errno.into())
        })?;
        if kind.f_type as u64 != BPF_FS_MAGIC {
            return Err(PinError::NoBpfFs {
                path: self.root.clone(),
            });
        }
        Ok(())
    }

    /// Makes the directories.
    ///
    /// # Errors
    /// [`PinError::NoBpfFs`] where the parent is no BPF file system.
    pub fn create(&self) -> Result<(), PinError> {
        self.require_bpf_fs()?;
        for path in [
            self.maps(),
            self.root.join("links"),
            self.root.join("programs"),
        ] {
            fs::create_dir_all(&path).map_err(PinError::io("making", &path))?;
        }
        Ok(())
    }

    /// Makes the directories and waits for their lock.
    ///
    /// # Errors
    /// [`PinError::NoBpfFs`] where the parent is no BPF file system.
    pub fn create_and_lock(&self) -> Result<PinLock, PinError> {
        let mut tries = 0;
        loop {
            match self.create().and_then(|()| self.lock()) {
                Ok(lock) => {
                    // Who held the lock before may have removed what is below.
                    self.create()?;
                    return Ok(lock);
                }
                Err(error) if error.is_gone() && tries < CREATE_TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for the directory's lock.
    ///
    /// # Errors
    /// [`PinError::NothingPinned`] where there is no directory.
    pub fn lock(&self) -> Result<PinLock, PinError> {
        loop {
            let directory = File::open(&self.root).map_err(|cause| match cause.kind() {
                io::ErrorKind::NotFound => PinError::NothingPinned {
                    path: self.root.clone(),
                },
                _ => PinError::io("opening", &self.root)(cause),
            })?;
            flock(&directory, FlockOperation::LockExclusive)
                .map_err(|errno| PinError::io("locking", &self.root)(errno.into()))?;
            // Who held it before may have removed the directory, and another made a new
            // one: a lock on the old one keeps nobody out.
            let held = directory
                .metadata()
                .map_err(PinError::io("looking at", &self.root))?;
            if fs::metadata(&self.root)
                .is_ok_and(|there| (there.dev(), there.ino()) == (held.dev(), held.ino()))
            {
                return Ok(PinLock {
                    _directory: directory,
                });
            }
        }
    }

    /// Removes one pin; whether there was one.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove(&self, path: &Path) -> Result<bool, PinError> {
        match fs::remove_file(path) {
            Ok(()) => Ok(true),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(cause) => Err(PinError::io("removing", path)(cause)),
        }
    }

    /// Removes everything that was pinned, and the directories that are empty then.
    /// What somebody else put there stays, and nothing is removed from any other file
    /// system: a mistaken `--pin-dir` must not cost anybody his files.
    ///
    /// # Errors
    /// [`PinError::NoBpfFs`], and what the file system says.
    pub fn remove_all(&self) -> Result<(), PinError> {
        if !self.root.exists() {
            return Ok(());
        }
        self.require_bpf_fs()?;
        for passing in PASSING {
            let passing = Self::new(self.root.join(passing));
            if passing.root.exists() {
                passing.remove_all()?;
            }
        }
        self.remove_maps()?;
        self.remove_children(&self.root.join("links"), |name| index_of(name).is_some())?;
        self.remove_directory(&self.root)
    }

    /// Removes the maps and what is pinned beside them, and leaves the links.
    pub(super) fn remove_maps(&self) -> Result<(), PinError> {
        // Another version may have other maps.
        let all_maps = self.is_populated();
        self.remove_children(&self.maps(), |name| {
            all_maps || name == BURSTS_LINK || detector_common::abi::map::ALL.contains(&name)
        })?;
        self.remove_children(&self.root.join("programs"), |name| name == "clock")
    }

    fn remove_children(
        &self,
        directory: &Path,
        ours: impl Fn(&str) -> bool,
    ) -> Result<(), PinError> {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(cause) => return Err(PinError::io("listing", directory)(cause)),
        };
        for entry in entries {
            let entry = entry.map_err(PinError::io("listing", directory))?;
            if entry.file_name().to_str().is_some_and(&ours) {
                self.remove(&entry.path())?;
            }
        }
        self.remove_directory(directory)
    }

    /// Removes a directory unless something is in it, or mounted on it.
    fn remove_directory(&self, directory: &Path) -> Result<(), PinError> {
        match fs::remove_dir(directory) {
            Err(cause)
                if !matches!(
                    cause.kind(),
                    io::ErrorKind::NotFound
                        | io::ErrorKind::DirectoryNotEmpty
                        | io::ErrorKind::ResourceBusy
                ) =>
            {
                Err(PinError::io("removing", directory)(cause))
            }
            _ => Ok(()),
        }
    }

    /// Indices of the interfaces with a pinned link.
    #[must_use]
    pub fn linked(&self) -> Vec<u32> {
        let Ok(entries) = fs::read_dir(self.root.join("links")) else {
            return Vec::new();
        };
        let mut indices: Vec<u32> = entries
            .filter_map(|entry| index_of(entry.ok()?.file_name().to_str()?))
            .collect();
        indices.sort_unstable();
        indices.dedup();
        indices
    }
}

/// The interface of a link's pin.
fn index_of(name: &str) -> Option<u32> {
    name.strip_prefix("ingress_")
        .or_else(|| name.strip_prefix("egress_"))?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_removed_from_another_file_system() {
        let directory = tempfile::tempdir().unwrap();
        let kept = directory.path().join("maps");
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("CONTROL"), "somebody's file").unwrap();
        let pins = Pins::new(directory.path());
        assert!(matches!(pins.remove_all(), Err(PinError::NoBpfFs { .. })));
        assert!(kept.join("CONTROL").exists());
    }

    #[test]
    fn links_are_known_by_their_names() {
        assert_eq!(index_of("ingress_12"), Some(12));
        assert_eq!(index_of("egress_1"), Some(1));
        assert_eq!(index_of("somebody_1"), None);
    }
}
