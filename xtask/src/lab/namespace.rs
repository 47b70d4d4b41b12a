//! Network namespaces with names, as `ip netns` knows them.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow};
use rustix::mount::{UnmountFlags, unmount};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::complain;
use crate::tool;

/// Where `ip netns` keeps them.
const FOLDER: &str = "/run/netns";

/// The folder of the names. Where it is not there, `ip netns add` makes it and mounts it on itself; dropping takes away
/// what was made so, unless somebody else has come to use it.
pub(super) struct Register {
    ours: bool,
}

impl Register {
    /// `marker` tells the next laboratory, should this process be killed.
    pub(super) fn new(marker: &Path) -> Result<Self> {
        let ours = !Path::new(FOLDER).exists();
        if ours {
            fs::write(marker, "")?;
        }
        Ok(Self { ours })
    }

    /// That of a laboratory whose process was killed.
    pub(super) fn left(marker: &Path) -> Self {
        Self {
            ours: marker.exists(),
        }
    }
}

impl Drop for Register {
    fn drop(&mut self) {
        // Both fail, and nothing is lost, where a name is in it.
        if self.ours && unmount(FOLDER, UnmountFlags::empty()).is_ok() {
            let _ = fs::remove_dir(FOLDER);
        }
    }
}

/// A namespace; dropping deletes its name, and when the last thread, process and socket in it are gone, its interfaces.
pub struct Namespace {
    name: String,
}

impl Namespace {
    pub(super) fn new(name: String) -> Result<Self> {
        ip(&["netns", "add", &name])?;
        let namespace = Self { name };
        namespace.run(quieten)??;
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that holds it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        Path::new(FOLDER).join(&self.name)
    }

    /// `ip` in the namespace.
    pub(super) fn ip(&self, arguments: &[&str]) -> Result<()> {
        ip(&[&["-n", &self.name], arguments].concat())
    }

    /// The way in, for a thread that may live longer than this borrow.
    ///
    /// # Errors
    /// Where the namespace is gone.
    pub fn door(&self) -> Result<Door> {
        let path = self.path();
        let file = File::open(&path).with_context(|| format!("{}", path.display()))?;
        Ok(Door { file })
    }

    /// Does something in the namespace, in a thread of its own.
    ///
    /// # Errors
    /// Where the namespace cannot be entered.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let door = self.door()?;
            let thread = scope.spawn(move || {
                door.enter()?;
                Ok(work())
            });
            thread
                .join()
                .unwrap_or_else(|_| Err(anyhow!("a thread in {} panicked", self.name)))
        })
    }
}

/// A way into a namespace.
pub struct Door {
    file: File,
}

impl Door {
    /// Moves the calling thread into the namespace; processes that it starts are there too. Unlike `ip netns exec`,
    /// this leaves the mounts below /sys as they are.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn enter(&self) -> Result<()> {
        move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
            .context("cannot enter a network namespace")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = ip(&["netns", "delete", &self.name]) {
            complain("cannot remove a namespace", &error);
        }
    }
}

/// Turns IPv6 off, whose stack speaks unasked, so that nothing moves unless the laboratory moves it.
fn quieten() -> Result<()> {
    // What a thread sees here is its own namespace's.
    for whom in ["all", "default"] {
        let path = format!("/proc/sys/net/ipv6/conf/{whom}/disable_ipv6");
        if Path::new(&path).exists() {
            fs::write(&path, "1").with_context(|| path)?;
        }
    }
    Ok(())
}

/// Deletes the namespaces of a laboratory that is gone.
pub(super) fn delete_all(laboratory: &str) -> Result<()> {
    let Ok(entries) = fs::read_dir(FOLDER) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name
            .strip_prefix(laboratory)
            .is_some_and(|rest| rest.starts_with('-'))
        {
            ip(&["netns", "delete", name])?;
        }
    }
    Ok(())
}

fn ip(arguments: &[&str]) -> Result<()> {
    let ip = tool::find("ip").context("ip is missing: run `cargo xtask setup`")?;
    tool::output_of(Command::new(ip).args(arguments)).map(drop)
}
