//! Where everything that outlives a process is pinned:
//!
//! ```text
//! <pin directory>/            default /sys/fs/bpf/detector
//!     maps/<NAME>             the maps
//!     links/ingress_<index>   XDP link of an interface
//!     links/egress_<index>    tcx link of an interface
//!     programs/clock          see wire::clock
//! ```
//!
//! Whoever changes anything below holds the directory's lock.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock, statfs};

/// Default pin directory.
pub const PIN_DIRECTORY: &str = "/sys/fs/bpf/detector";

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
        io::ErrorKind::PermissionDenied => "; run as root, or with CAP_BPF and access to the directory",
        _ => "",
    }
}

impl PinError {
    fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |cause| Self::Io { operation, path, cause }
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

    /// Whether maps are pinned here.
    #[must_use]
    pub fn is_populated(&self) -> bool {
        self.map(detector_common::abi::map::CONTROL).exists()
    }

    /// Makes the directories.
    ///
    /// # Errors
    /// [`PinError::NoBpfFs`] where the parent is no BPF file system.
    pub fn create(&self) -> Result<(), PinError> {
        let existing = self.root.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        let kind = statfs(existing)
            .map_err(|errno| PinError::io("asking for the file system of", existing)(errno.into()))?;
        if kind.f_type as u64 != BPF_FS_MAGIC {
            return Err(PinError::NoBpfFs { path: self.root.clone() });
        }
        for path in [self.maps(), self.root.join("links"), self.root.join("programs")] {
            fs::create_dir_all(&path).map_err(PinError::io("making", &path))?;
        }
        Ok(())
    }

    /// Waits for the directory's lock.
    ///
    /// # Errors
    /// [`PinError::NothingPinned`] where there is no directory.
    pub fn lock(&self) -> Result<PinLock, PinError> {
        let directory = File::open(&self.root).map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => PinError::NothingPinned { path: self.root.clone() },
            _ => PinError::io("opening", &self.root)(cause),
        })?;
        flock(&directory, FlockOperation::LockExclusive)
            .map_err(|errno| PinError::io("locking", &self.root)(errno.into()))?;
        Ok(PinLock { _directory: directory })
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

    /// Removes everything, the directory included.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove_all(&self) -> Result<(), PinError> {
        match fs::remove_dir_all(&self.root) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                Err(PinError::io("removing", &self.root)(cause))
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
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.split_once('_')?.1.parse().ok())
            .collect();
        indices.sort_unstable();
        indices.dedup();
        indices
    }
}
