//! The agent under test, run as a user would run it in the server's namespace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::events::{self, Alert};
use super::page::Shown;
use crate::lab::process::Process;
use crate::lab::stop::Stop;
use crate::lab::{INTERFACE, Lab};
use crate::tool;

/// Names the pin directory.
const PIN_DIRECTORY: &str = "DETECTOR_PIN_DIR";
/// What it says when it is at work.
const READY: &str = "ready";
/// How long it may take to get there.
const READY_MAX: Duration = Duration::from_secs(20);
/// How long it may take to end.
const END_MAX: Duration = Duration::from_secs(5);

/// The agent, at work; dropping ends it and detaches its programs.
pub(super) struct Agent<'a> {
    lab: &'a Lab,
    binary: &'a Path,
    pins: PathBuf,
    events: PathBuf,
    /// `None` when it has ended.
    process: Option<Process>,
    _shown: Shown,
}

/// A verdict, as `detector verdicts list` tells it.
#[derive(Debug, Deserialize)]
pub(super) struct Verdict {
    pub(super) kind: String,
    pub(super) target: String,
    pub(super) action: String,
    pub(super) reason: String,
    pub(super) dropped_packets: u64,
}

impl<'a> Agent<'a> {
    /// Starts it, and waits until it is at work.
    pub(super) fn start(lab: &'a Lab, binary: &'a Path, stop: &Stop) -> Result<Self> {
        let mut agent = Self {
            lab,
            binary,
            pins: lab.bpf().join("detector"),
            events: lab.folder().join("events.jsonl"),
            process: None,
            _shown: Shown::new(lab)?,
        };
        // What an agent before told is not this one's.
        let _ = fs::remove_file(&agent.events);
        // The defaults, and not what this host may have configured.
        let configuration = lab.folder().join("detector.toml");
        let socket = lab.folder().join("detector.sock");
        fs::write(&configuration, format!("[api]\nsocket = {socket:?}\n"))?;
        let mut command = agent.command()?;
        command.args(["run", "-i", INTERFACE, "--enforce"]);
        command.arg("--config").arg(&configuration);
        command.arg("--events").arg(&agent.events);
        let process = agent
            .process
            .insert(Process::start("detector run", &mut command, log(lab))?);
        process.until_it_says(READY, READY_MAX, stop)?;
        // XDP on a veth turns it on, and then a frame behind the programs may be several frames before them.
        agent.without_gro()?;
        Ok(agent)
    }

    /// What a shell must export to use the same data plane.
    pub(super) fn environment(&self) -> String {
        format!("{PIN_DIRECTORY}={}", self.pins.display())
    }

    pub(super) fn pins(&self) -> &Path {
        &self.pins
    }

    /// Whether it still runs.
    pub(super) fn check(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), Process::check)
    }

    /// CPU time that it has used, in all threads. Not as `/proc` tells it: a program that wakes by the clock's tick runs
    /// when nobody looks.
    pub(super) fn cpu(&self) -> Result<Duration> {
        let process = self.process.as_ref().context("the agent has ended")?;
        let mut clock = 0;
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: both are written to within their calls.
        let read = unsafe {
            libc::clock_getcpuclockid(process.pid().cast_signed(), &raw mut clock) == 0
                && libc::clock_gettime(clock, &raw mut time) == 0
        };
        if !read {
            bail!("cannot read the CPU time of process {}", process.pid());
        }
        Ok(Duration::new(
            time.tv_sec.cast_unsigned(),
            time.tv_nsec as u32,
        ))
    }

    pub(super) fn verdicts(&self) -> Result<Vec<Verdict>> {
        self.json(&["verdicts", "list", "-o", "json"])
    }

    /// What it has told so far.
    pub(super) fn alerts(&self) -> Result<Vec<Alert>> {
        events::read(&self.events)
    }

    /// Where it tells and logs.
    pub(super) fn files(&self) -> impl Iterator<Item = (&'static str, PathBuf)> {
        let log = log(self.lab);
        [("events.jsonl", self.events.clone()), ("agent.log", log)].into_iter()
    }

    /// Ends it, takes its programs off, and makes sure that nothing of it is left.
    pub(super) fn end(mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.terminate(END_MAX)?;
        }
        self.run(&["detach"])?;
        if self.pins.exists() {
            bail!("left by `detector detach`: {}", self.pins.display());
        }
        if let Some(program) = self.program()? {
            bail!("left by `detector detach`: an XDP program on {INTERFACE}: {program}");
        }
        Ok(())
    }

    /// The XDP program on the server's interface.
    fn program(&self) -> Result<Option<String>> {
        let ip = tool::find("ip").context("ip is missing")?;
        let server = self.lab.server().name();
        let link = tool::output_of(
            Command::new(ip).args(["-n", server, "-j", "link", "show", "dev", INTERFACE]),
        )?;
        let link: serde_json::Value = serde_json::from_slice(&link)?;
        Ok(link.pointer("/0/xdp").map(ToString::to_string))
    }

    fn without_gro(&self) -> Result<()> {
        let ethtool = tool::find("ethtool").context("ethtool is missing")?;
        let mut command = self.lab.server().command(&ethtool)?;
        tool::output_of(command.args(["-K", INTERFACE, "gro", "off"])).map(drop)
    }

    fn command(&self) -> Result<Command> {
        let mut command = self.lab.server().command(self.binary)?;
        command.env(PIN_DIRECTORY, &self.pins).env("NO_COLOR", "1");
        Ok(command)
    }

    fn run(&self, arguments: &[&str]) -> Result<Vec<u8>> {
        tool::output_of(self.command()?.args(arguments))
    }

    fn json<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let output = self.run(arguments)?;
        serde_json::from_slice(&output).with_context(|| {
            format!(
                "`detector {}`: not the JSON that was expected",
                arguments.join(" ")
            )
        })
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        // After `end` nothing is there; after a failure what is there may be half made.
        drop(self.process.take());
        if self.pins.exists() {
            let _ = self.run(&["detach"]);
        }
    }
}

fn log(lab: &Lab) -> PathBuf {
    lab.folder().join("agent.log")
}
