//! Network namespaces with names, as `ip netns` knows them.

use std::fs::{self, File};
use std::io::Write as _;
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Signal, set_parent_process_death_signal};
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

    /// What `ip` shows of the namespace.
    pub(super) fn ip_shows(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let mut command = Command::new(find_ip()?);
        command.args(["-n", &self.name, "-j"]).args(arguments);
        Ok(serde_json::from_slice(&tool::output_of(&mut command)?)?)
    }

    /// Many commands of `ip` in the namespace, at once.
    pub(super) fn ip_all(&self, lines: &[String]) -> Result<()> {
        let mut child = Command::new(find_ip()?)
            .args(["-n", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start ip")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(lines.join("\n").as_bytes())?;
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("ip in {}: {}", self.name, said.trim());
        }
        Ok(())
    }

    /// Gives one interface IPv6 back.
    pub(super) fn allow_ipv6(&self, interface: &str) -> Result<()> {
        self.run(|| {
            for (name, value) in [("accept_ra", "0"), ("disable_ipv6", "0")] {
                let path = format!("/proc/sys/net/ipv6/conf/{interface}/{name}");
                fs::write(&path, value)
                    .with_context(|| format!("{path}: does this kernel speak IPv6?"))?;
            }
            Ok(())
        })?
    }

    /// A program that will run in the namespace, and is killed when the thread that starts it ends.
    ///
    /// # Errors
    /// Where the namespace is gone.
    pub fn command(&self, program: &Path) -> Result<Command> {
        let door = self.door()?;
        let mut command = Command::new(program);
        let prepare = move || {
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(door.file.as_fd(), network)?;
            set_parent_process_death_signal(Some(Signal::KILL))?;
            accept_signals()
        };
        // SAFETY: between fork and exec it makes three system calls, allocates nothing and takes no lock.
        unsafe { command.pre_exec(prepare) };
        Ok(command)
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

/// Turns IPv6 off, whose stack speaks unasked, so that nothing moves unless the laboratory moves it. Interfaces that
/// are to speak it get it back, without what it says unasked.
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

/// Lets the signals in that this process holds back (see [`super::stop::Stop::hold`]).
fn accept_signals() -> std::io::Result<()> {
    let mut none = MaybeUninit::uninit();
    // SAFETY: the set is made empty before it is used.
    let result = unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut())
    };
    match result {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
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
    tool::output_of(Command::new(find_ip()?).args(arguments)).map(drop)
}

fn find_ip() -> Result<PathBuf> {
    tool::find("ip").context("ip is missing: run `cargo xtask setup` as root")
}
