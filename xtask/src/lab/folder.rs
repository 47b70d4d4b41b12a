//! The laboratory's folder, and the BPF file system in it.
//!
//! The folder's lock is held as long as the process lives: a folder whose lock is free was left by one that was killed,
//! and with it what bears its name.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::complain;
use super::namespace::{self, Register};

/// What the folder's name begins with; the process id follows.
const PREFIX: &str = "xtask-lab-";
const LOCK: &str = "lock";
const BPF: &str = "bpf";
/// A file that says that the folder of `ip netns` is the laboratory's doing.
const MARKER: &str = "netns-made";

/// The folder; dropping removes it.
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    pub(super) fn new() -> Result<Self> {
        let name = format!("{PREFIX}{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        // It gets its name when it is locked, so that nobody takes it for one left behind.
        let unlocked = std::env::temp_dir().join(format!(".{name}"));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&unlocked)
            .with_context(|| format!("cannot make {}", unlocked.display()))?;
        let locked = File::create_new(unlocked.join(LOCK))
            .context("cannot make the lock")
            .and_then(|lock| {
                lock.try_lock().context("cannot lock")?;
                fs::rename(&unlocked, &path)?;
                Ok(lock)
            });
        match locked {
            Ok(lock) => Ok(Self { path, _lock: lock }),
            Err(error) => {
                let _ = fs::remove_dir_all(&unlocked);
                Err(error.context(format!("{}", path.display())))
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// See [`MARKER`].
    pub(super) fn marker(&self) -> PathBuf {
        self.path.join(MARKER)
    }

    /// Its name, which is unique as long as the process lives.
    pub(super) fn name(&self) -> String {
        format!("{PREFIX}{}", std::process::id())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A mount that could not be removed must not be emptied.
        if is_mounted(&self.path.join(BPF)) {
            complain(
                "kept",
                &format!("{}, with a mount in it", self.path.display()),
            );
        } else if let Err(error) = fs::remove_dir_all(&self.path) {
            complain(&format!("cannot remove {}", self.path.display()), &error);
        }
    }
}

/// A BPF file system; dropping unmounts it, and with it goes what is pinned there.
pub(super) struct BpfFs {
    path: PathBuf,
}

impl BpfFs {
    pub(super) fn mount(path: PathBuf) -> Result<Self> {
        fs::create_dir(&path)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount(c"bpf", &path, c"bpf", flags, Some(c"mode=0700"))
            .with_context(|| format!("cannot mount a BPF file system on {}", path.display()))?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for BpfFs {
    fn drop(&mut self) {
        if let Err(error) = take_down(&self.path) {
            complain(&format!("cannot unmount {}", self.path.display()), &error);
        }
    }
}

/// Unmounts; a shell that stands in it does not keep it.
fn take_down(path: &Path) -> rustix::io::Result<()> {
    unmount(path, UnmountFlags::empty()).or_else(|_| unmount(path, UnmountFlags::DETACH))
}

fn is_mounted(path: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).ok().map(|metadata| metadata.dev());
    let parent = path.parent().and_then(device);
    device(path).is_some_and(|own| Some(own) != parent)
}

/// Removes what killed processes left.
pub(super) fn sweep() -> Result<()> {
    let entries = fs::read_dir(std::env::temp_dir())?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| is_name(name)) else {
            continue;
        };
        let path = entry.path();
        if is_ours(&path) && is_abandoned(&path) {
            complain("removing what a killed process left", &path.display());
            namespace::delete_all(name)?;
            drop(Register::left(&path.join(MARKER)));
            let bpf = path.join(BPF);
            if is_mounted(&bpf) {
                take_down(&bpf).with_context(|| format!("cannot unmount {}", bpf.display()))?;
            }
            fs::remove_dir_all(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Anybody can make a folder of this name where temporary files are.
fn is_ours(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == 0)
}

fn is_abandoned(path: &Path) -> bool {
    match File::open(path.join(LOCK)) {
        Ok(lock) => !matches!(lock.try_lock(), Err(TryLockError::WouldBlock)),
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_with_a_number_are_swept() {
        assert!(is_name("xtask-lab-12"));
        for name in [
            "xtask-lab-",
            "xtask-lab-1x",
            "xtask-lab-../x",
            ".xtask-lab-1",
        ] {
            assert!(!is_name(name), "{name}");
        }
    }
}
