//! A laboratory for tests in the real kernel: network namespaces without names, veth
//! pairs, a private BPF file system, raw frames.
//!
//! Everything goes when its owner is dropped, after a panic too. What a killed test
//! left (a mounted BPF file system) the next laboratory clears away; namespaces have no
//! name and end with the process.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test crate takes the part that it needs"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

pub mod agent;
pub mod bpf;
pub mod capture;
pub mod cast;
pub mod certificate;
pub mod child;
pub mod frames;
pub mod kubernetes;
pub mod model;
pub mod nats;
#[path = "../needs/mod.rs"]
mod needs;
pub mod plane;
pub mod raw;
pub mod root;
pub mod space;
pub mod unit;

pub use needs::skip;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::{Duration, Instant},
};

use detector_user::wire::pins::Pins;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

const PREFIX: &str = "detector-lab-";

/// A directory of this test's own with a BPF file system on it.
pub struct Lab {
    directory: PathBuf,
}

impl Lab {
    /// Sets a laboratory up, or says why it cannot be and returns `None`. `tools` are the
    /// programs that the test starts.
    pub fn new(tools: &[&str]) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if let Some(reason) = lacking(tools) {
            skip(&reason);
            return None;
        }
        clear_away();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        if let Err(error) = mount("bpf", &directory, "bpf", MountFlags::empty(), None) {
            fs::remove_dir(&directory).unwrap();
            skip(&format!(
                "needs a BPF file system, which cannot be mounted ({error})"
            ));
            return None;
        }
        Some(Self { directory })
    }

    /// A pin directory that does not exist yet.
    pub fn pins(&self) -> Pins {
        Pins::new(self.directory.join("detector"))
    }

    /// The BPF file system.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        clear(&self.directory);
    }
}

fn clear(directory: &Path) {
    let _ = unmount(directory, UnmountFlags::DETACH);
    let _ = fs::remove_dir(directory);
}

/// Clears away what killed tests left.
fn clear_away() {
    for entry in fs::read_dir(std::env::temp_dir())
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else {
            continue;
        };
        let owner = rest.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(owner).exists() {
            clear(&entry.path());
        }
    }
}

/// What this machine lacks for a test.
fn lacking(tools: &[&str]) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root (namespaces, BPF)".to_owned());
    }
    for tool in ["ip"].iter().chain(tools) {
        if Command::new(tool).arg("--version").output().is_err() {
            return Some(format!("needs the program {tool}"));
        }
    }
    if cpus().len() < 2 {
        return Some("needs two CPUs".to_owned());
    }
    space::Space::possible()
        .err()
        .map(|error| format!("needs network namespaces ({error})"))
}

/// The CPUs that this process may run on, whatever this thread is pinned to.
pub fn cpus() -> Vec<usize> {
    let set = rustix::thread::sched_getaffinity(Some(rustix::process::getpid())).unwrap();
    (0..rustix::thread::CpuSet::MAX_CPU)
        .filter(|n| set.is_set(*n))
        .collect()
}

/// A thread stays on its CPU until this is dropped.
#[must_use]
pub struct Pinned {
    before: rustix::thread::CpuSet,
}

/// Pins this thread to the `n`-th CPU.
pub fn pin(n: usize) -> Pinned {
    let before = rustix::thread::sched_getaffinity(None).unwrap();
    let cpus = cpus();
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpus[n % cpus.len()]);
    rustix::thread::sched_setaffinity(None, &set).unwrap();
    Pinned { before }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = rustix::thread::sched_setaffinity(None, &self.before);
    }
}

/// Tells other threads to stop when it is dropped, after a panic too: a scope waits for them.
pub struct StopAtEnd<'a>(pub &'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until `test` is true; whether it became so within `limit`.
pub fn wait_for(limit: Duration, mut test: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    while !test() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Random numbers that are the same in every run (xorshift64*).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }
}
