//! Programs in the laboratory: started so that none of them outlives it, however it ends.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::complain;
use super::namespace::Namespace;
use super::stop::Stop;
use crate::tool;

/// How long a server may take to listen.
const LISTEN_MAX: Duration = Duration::from_secs(10);
/// Between two looks.
const POLL: Duration = Duration::from_millis(20);
/// Lines of a log that an error shows.
const LOG_LINES: usize = 8;
/// Files that a contained program may have open: attackers and servers of many connections need more than the 1,024
/// that most shells allow.
const FILES_MAX: u32 = 8192;

/// A program, running; dropping kills it.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command, from [`Namespace::command`], that writes what it says to a log.
    ///
    /// It is killed when the calling thread ends: call this in one that lives as long as the program is to live.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(name: &str, command: &mut Command, log: PathBuf) -> Result<Self> {
        let file = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            // Ctrl-C is for this process, which ends the others when it is done.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// Starts a program that starts others: they live in a namespace of process ids, and end with it. Its mounts are
    /// its own too: `prepare`, lines for a shell, puts there what the program must find, and hides what it must not
    /// write to.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn contained(
        namespace: &Namespace,
        prepare: &str,
        line: &[&str],
        log: PathBuf,
    ) -> Result<Self> {
        let (name, arguments) = line.split_first().context("no program is named")?;
        let program = find(name)?;
        // The shell stays: it is the first process of its namespace, and as such it inherits the children of others,
        // which not every program takes well (vsftpd crashes).
        let script =
            format!("set -e\nulimit -n {FILES_MAX} || true\n{prepare}\nset +e\n\"$@\"\nexit $?");
        let mut command = namespace.command(&find("unshare")?)?;
        command
            .args(["--mount", "--pid", "--fork", "--kill-child=KILL", "--"])
            .args(["sh", "-c", &script, name])
            .arg(program)
            .args(arguments);
        Self::start(name, &mut command, log)
    }

    /// Its id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// Where the kernel does not tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// Where it ended, saying how.
    pub fn check(&mut self) -> Result<()> {
        match self.ended()? {
            Some(status) => bail!("{} ended with {status}{}", self.name, self.last_words()),
            None => Ok(()),
        }
    }

    /// What it has said.
    #[must_use]
    pub fn said(&self) -> String {
        let said = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&said).into_owned()
    }

    /// The end of what it said, to be put behind an error.
    #[must_use]
    pub fn last_words(&self) -> String {
        let said = self.said();
        let lines: Vec<&str> = said.lines().collect();
        let last = &lines[lines.len().saturating_sub(LOG_LINES)..];
        if last.is_empty() {
            String::new()
        } else {
            format!(":\n  {}", last.join("\n  "))
        }
    }

    /// Waits until it has said a line.
    ///
    /// # Errors
    /// Where it ends before, does not say it in time, or a signal came.
    pub fn until_it_says(&mut self, line: &str, within: Duration, stop: &Stop) -> Result<()> {
        let end = Instant::now() + within;
        while !self.said().lines().any(|said| said.contains(line)) {
            self.check()?;
            if Instant::now() > end {
                bail!(
                    "{} has not said `{line}` within {} s{}",
                    self.name,
                    within.as_secs(),
                    self.last_words()
                );
            }
            stop.sleep(POLL)?;
        }
        Ok(())
    }

    /// Waits until it accepts connections.
    ///
    /// # Errors
    /// Where it ends before, does not listen in time, or a signal came.
    pub fn until_it_listens(
        &mut self,
        namespace: &Namespace,
        address: SocketAddr,
        stop: &Stop,
    ) -> Result<()> {
        let end = Instant::now() + LISTEN_MAX;
        while namespace
            .run(|| TcpStream::connect_timeout(&address, POLL))?
            .is_err()
        {
            self.check()?;
            if Instant::now() > end {
                bail!(
                    "{} does not listen on {address} after {} s{}",
                    self.name,
                    LISTEN_MAX.as_secs(),
                    self.last_words()
                );
            }
            stop.sleep(POLL)?;
        }
        Ok(())
    }

    /// Asks it to end, and waits.
    ///
    /// # Errors
    /// Where it ends with a failure, or not in time; then dropping kills it.
    pub fn terminate(&mut self, within: Duration) -> Result<()> {
        // Where it ended by itself its id may be another's by now.
        self.check()?;
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).with_context(|| format!("cannot end {}", self.name))?;
        let end = Instant::now() + within;
        loop {
            match self.ended()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!(
                    "{}, asked to end, ended with {status}{}",
                    self.name,
                    self.last_words()
                ),
                None if Instant::now() > end => bail!(
                    "{} does not end within {} s of being asked to{}",
                    self.name,
                    within.as_secs(),
                    self.last_words()
                ),
                None => std::thread::sleep(POLL),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Where it ended by itself `kill` knows, and does nothing.
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            complain(&format!("cannot end {}", self.name), &error);
        }
    }
}

/// Where a program of the laboratory is.
fn find(program: &str) -> Result<PathBuf> {
    tool::find(program)
        .with_context(|| format!("{program} is missing: run `cargo xtask setup` as root"))
}

/// The processes in a namespace, with their names.
pub(super) fn in_namespace(namespace: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(own) = fs::metadata(namespace) else {
        return Vec::new();
    };
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| {
            fs::metadata(entry.path().join("ns/net"))
                .is_ok_and(|other| (other.dev(), other.ino()) == (own.dev(), own.ino()))
        })
        .map(|entry| {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            let pid = entry.file_name();
            format!("process {} ({})", pid.to_string_lossy(), name.trim())
        })
        .collect()
}
