//! Network namespaces, and the veth pairs between them.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    process::{Child, Command, Output, Stdio},
    thread,
};

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// A network namespace without a name: it ends when nothing is in it and no descriptor
/// holds it.
pub struct Space {
    file: OwnedFd,
}

impl Space {
    /// A new one, with nothing in it that speaks by itself: IPv6 is off.
    pub fn new() -> Self {
        let space = Self::make().unwrap();
        space.set("ipv6/conf/all/disable_ipv6", "1");
        space.set("ipv6/conf/default/disable_ipv6", "1");
        space.run("ip link set lo up");
        space
    }

    /// The one that another process names by [`Space::path`].
    pub fn at(path: &str) -> Self {
        Self {
            file: File::open(path).unwrap().into(),
        }
    }

    /// Tries whether namespaces can be made.
    pub fn possible() -> io::Result<()> {
        Self::make().map(drop)
    }

    fn make() -> io::Result<Self> {
        let made = thread::spawn(|| {
            // SAFETY: the file descriptor table stays shared; only this thread's network
            // namespace changes, and the thread ends here.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
            File::open("/proc/thread-self/ns/net")
        });
        Ok(Self {
            file: made.join().unwrap()?.into(),
        })
    }

    /// Moves this thread into it, for good.
    pub fn enter(&self) {
        move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    /// Does something in it, on a thread of its own.
    pub fn within<R: Send>(&self, what: impl FnOnce() -> R + Send) -> R {
        let done = thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.enter();
                what()
            });
            inside.join()
        });
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// A path by which any process of this machine can open it while this one lives.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// Runs a program in it, its words separated by blanks, and returns what it printed.
    pub fn run(&self, line: &str) -> String {
        let output = self.try_run(line);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same, whatever becomes of it.
    pub fn try_run(&self, line: &str) -> Output {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().unwrap());
        command.args(words).stdin(Stdio::null());
        self.within(|| command.output()).unwrap()
    }

    /// Starts a program in it that is killed when what is returned is dropped.
    pub fn start(&self, mut command: Command) -> Running {
        command.stdin(Stdio::null());
        Running(self.within(|| command.spawn()).unwrap())
    }

    /// Writes a setting below /proc/sys/net.
    pub fn set(&self, name: impl AsRef<OsStr>, value: &str) {
        let path = std::path::Path::new("/proc/sys/net").join(name.as_ref());
        self.within(|| fs::write(&path, value)).unwrap();
    }

    /// Numbers of an interface from /proc/net/dev: received and sent, each as packets
    /// and dropped.
    pub fn statistics(&self, interface: &str) -> [u64; 4] {
        let table = self
            .within(|| fs::read_to_string("/proc/thread-self/net/dev"))
            .unwrap();
        let line = table
            .lines()
            .find(|line| line.trim_start().starts_with(&format!("{interface}:")));
        let (_, numbers) = line.unwrap().split_once(':').unwrap();
        let numbers: Vec<u64> = numbers
            .split_whitespace()
            .map(|n| n.parse().unwrap())
            .collect();
        [numbers[1], numbers[3], numbers[9], numbers[11]]
    }
}

/// A program that is killed when this is dropped.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// MAC addresses of the two ends of every pair.
pub const MAC_A: [u8; 6] = [0x02, 0, 0, 0, 0, 0x0a];
pub const MAC_B: [u8; 6] = [0x02, 0, 0, 0, 0, 0x0b];

/// A veth pair, up, with two queues a side: `a` in one namespace, `b` in the other.
pub fn veth((space_a, a): (&Space, &str), (space_b, b): (&Space, &str)) {
    let path = space_b.path();
    space_a.run(&format!(
        "ip link add name {a} address 02:00:00:00:00:0a numtxqueues 2 numrxqueues 2 type veth \
         peer name {b} address 02:00:00:00:00:0b numtxqueues 2 numrxqueues 2 netns {path}"
    ));
    space_a.run(&format!("ip link set dev {a} up"));
    space_b.run(&format!("ip link set dev {b} up"));
}
