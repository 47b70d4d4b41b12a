//! The `detector` command, run as a user would run it in the server's namespace.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::say;
use crate::lab::{INTERFACE, Namespace};
use crate::tool;

/// Names the pin directory.
const PIN_DIRECTORY: &str = "DETECTOR_PIN_DIR";

/// The command.
pub(super) struct Detector {
    binary: PathBuf,
    pins: PathBuf,
}

/// A flow, as `detector flows` tells it.
#[derive(Debug, PartialEq)]
pub(super) struct Flow<'a> {
    pub(super) community_id: &'a str,
    /// RFC 3339.
    pub(super) first_time: &'a str,
    pub(super) protocol: &'a str,
    pub(super) source: &'a str,
    pub(super) destination_port: u16,
    pub(super) forward_packets: u64,
    pub(super) forward_data_packets: u64,
}

/// The flow table, as `detector flows -o csv` tells it. Not JSON: tens of thousands of flows are looked at several times
/// a second, and xtask is built without optimisation.
pub(super) struct Flows {
    text: String,
}

/// A verdict, as `detector verdicts list` tells it.
#[derive(Debug, Deserialize)]
pub(super) struct Verdict {
    pub(super) kind: String,
    pub(super) target: String,
    pub(super) reason: String,
    pub(super) expired: bool,
    pub(super) dropped_packets: u64,
}

/// The conservation identity, as `detector status` tells it.
#[derive(Debug, Deserialize)]
pub(super) struct Books {
    pub(super) seen: Sum,
    pub(super) difference_packets: i64,
    pub(super) difference_bytes: i64,
    pub(super) balance: String,
}

/// Packets and bytes.
#[derive(Debug, Deserialize)]
pub(super) struct Sum {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

impl Books {
    /// Whether every packet and byte is accounted for.
    pub(super) fn are_exact(&self) -> bool {
        self.balance == "balanced" && (self.difference_packets, self.difference_bytes) == (0, 0)
    }
}

impl Flows {
    const COLUMNS: [&'static str; 7] = [
        "community_id",
        "first_time",
        "protocol_name",
        "source_address",
        "destination_port",
        "forward_packets",
        "forward_data_packets",
    ];

    /// Visits each flow. Of the columns looked at none holds a comma or a quote.
    pub(super) fn each<'a>(&'a self, mut visit: impl FnMut(&Flow<'a>)) -> Result<()> {
        let mut lines = self.text.lines();
        let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
        let mut places = [0; Self::COLUMNS.len()];
        for (place, name) in places.iter_mut().zip(Self::COLUMNS) {
            *place = header
                .iter()
                .position(|column| *column == name)
                .with_context(|| format!("`detector flows` has no column {name}"))?;
        }
        for line in lines {
            let fields: Vec<&str> = line.split(',').collect();
            let field = |n: usize| fields.get(places[n]).copied().unwrap_or_default();
            visit(&Flow {
                community_id: field(0),
                first_time: field(1),
                protocol: field(2),
                source: field(3),
                // Empty where the protocol has none.
                destination_port: field(4).parse().unwrap_or(0),
                forward_packets: field(5).parse()?,
                forward_data_packets: field(6).parse()?,
            });
        }
        Ok(())
    }
}

impl Detector {
    pub(super) fn new(binary: &Path, pins: &Path) -> Self {
        Self {
            binary: binary.to_owned(),
            pins: pins.to_owned(),
        }
    }

    pub(super) fn binary(&self) -> &Path {
        &self.binary
    }

    /// What a shell must export to use the same data plane.
    pub(super) fn environment(&self) -> String {
        format!("{PIN_DIRECTORY}={}", self.pins.display())
    }

    /// Runs a command, and shows it with what it says.
    pub(super) fn show(&self, server: &Namespace, arguments: &[&str]) -> Result<()> {
        let quoted: Vec<String> = arguments.iter().map(|argument| quoted(argument)).collect();
        say(&format!("  server# detector {}", quoted.join(" ")));
        let output = self.run(server, arguments)?;
        for text in [&output.stdout, &output.stderr] {
            for line in String::from_utf8_lossy(text).lines() {
                say(&format!("    {line}"));
            }
        }
        Ok(())
    }

    /// The flows toward an address.
    pub(super) fn flows(&self, server: &Namespace, destination: &str) -> Result<Flows> {
        let arguments = ["flows", "--destination", destination, "-o", "csv"];
        let output = self.run(server, &arguments)?;
        let text = String::from_utf8(output.stdout)?;
        Ok(Flows { text })
    }

    pub(super) fn verdicts(&self, server: &Namespace) -> Result<Vec<Verdict>> {
        self.json(server, &["verdicts", "list", "-o", "json"])
    }

    /// The verdict with a reason.
    pub(super) fn verdict(&self, server: &Namespace, reason: &str) -> Result<Option<Verdict>> {
        let all = self.verdicts(server)?;
        Ok(all.into_iter().find(|verdict| verdict.reason == reason))
    }

    pub(super) fn books(&self, server: &Namespace) -> Result<Books> {
        #[derive(Deserialize)]
        struct Status {
            books: Books,
        }
        self.json(server, &["status", "-o", "json"])
            .map(|status: Status| status.books)
    }

    /// What is left of it on the host after `detach`, which should be nothing.
    pub(super) fn left(&self, server: &Namespace) -> Result<Vec<String>> {
        let mut left = Vec::new();
        if self.pins.exists() {
            left.push(format!("pins in {}", self.pins.display()));
        }
        let ip = tool::find("ip").context("ip is missing")?;
        let link = tool::output_of(Command::new(ip).args([
            "-n",
            server.name(),
            "-j",
            "link",
            "show",
            "dev",
            INTERFACE,
        ]))?;
        let link: serde_json::Value = serde_json::from_slice(&link)?;
        if let Some(xdp) = link.pointer("/0/xdp") {
            left.push(format!("an XDP program on {INTERFACE}: {xdp}"));
        }
        Ok(left)
    }

    fn json<T: DeserializeOwned>(&self, server: &Namespace, arguments: &[&str]) -> Result<T> {
        let output = self.run(server, arguments)?;
        serde_json::from_slice(&output.stdout).with_context(|| {
            format!(
                "`detector {}`: not the JSON that was expected",
                arguments.join(" ")
            )
        })
    }

    fn run(&self, server: &Namespace, arguments: &[&str]) -> Result<Output> {
        let output = server
            .run(|| {
                Command::new(&self.binary)
                    .args(arguments)
                    .env(PIN_DIRECTORY, &self.pins)
                    .env("NO_COLOR", "1")
                    .stdin(Stdio::null())
                    .output()
            })?
            .with_context(|| format!("cannot start {}", self.binary.display()))?;
        if !output.status.success() {
            bail!(
                "`detector {}` ended with {}: {}",
                arguments.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(output)
    }
}

/// As it would be typed into a shell.
fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=".contains(c);
    if argument.chars().all(plain) {
        argument.to_owned()
    } else {
        format!("'{argument}'")
    }
}
