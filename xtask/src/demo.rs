//! The demonstration: real attacks in an isolated laboratory, found and dropped, while a client goes on being served.
//!
//! It drives the `detector` command as a user would. Detection by a model is not in this version: the demonstration
//! plays the operator, who looks at the flow table and writes verdicts by a rule ([`operator`]).

mod act;
mod attack;
mod detector;
mod operator;
mod results;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::act::{Act, Stage};
use self::attack::{ATTACKS, Attack};
use self::detector::Detector;
use self::results::Results;
use crate::lab::client::{Client, REQUESTS_PER_SECOND};
use crate::lab::stop::Stop;
use crate::lab::{INTERFACE, Lab, SERVER};
use crate::{setup, tool};

/// Where the shared captures are, relative to the workspace.
const CAPTURES: &str = "../shared/data/pcap";
/// Until the client's first requests are answered and the wire is quiet.
const SETTLE: Duration = Duration::from_millis(500);

/// Show it at work.
#[derive(clap::Args)]
pub struct Args {
    /// When the attacks are over, keep the laboratory for this long, to look around in
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    keep_going_s: u64,
    /// Use this `detector` instead of building it
    #[arg(long, value_name = "PATH")]
    detector: Option<PathBuf>,
    /// Where the captures are; packets like theirs are crafted where they are not [default: ../shared/data/pcap]
    #[arg(long, value_name = "PATH")]
    captures: Option<PathBuf>,
}

/// Says something; whether anybody listens is of no matter to what must be removed in the end.
fn say(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Runs the demonstration.
///
/// # Errors
/// Where something could not be done, or was not as it must be.
pub fn run(args: &Args) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("network namespaces and BPF take root: run `sudo cargo xtask demo`");
    }
    setup::run()?;
    let binary = match &args.detector {
        Some(path) => path
            .canonicalize()
            .with_context(|| format!("{}", path.display()))?,
        None => build()?,
    };
    let captures = args
        .captures
        .clone()
        .unwrap_or_else(|| tool::root().join(CAPTURES));
    let begin = Instant::now();
    let stop = Stop::hold();
    let mut lab = Lab::new(&stop)?;
    say(&introduction(&lab));
    let results = perform(args, &binary, &captures, &mut lab, &stop);
    let closed = lab.close();
    let left = match &closed {
        Ok(()) => "no namespace, no mount, no folder and no process is left".to_owned(),
        Err(error) => format!("{error:#}"),
    };
    let results = match results {
        Ok(results) => results,
        Err(error) => {
            say(&format!("\nBroken off: {left}."));
            return Err(error);
        }
    };
    results.show();
    let mut checks = results.checks();
    checks.push((closed.is_ok(), left));
    say("");
    for (fine, text) in &checks {
        say(&format!(
            "  {} {text}",
            if *fine { "ok    " } else { "FAILED" }
        ));
    }
    say(&format!(
        "\nDone in {:.0} s.",
        begin.elapsed().as_secs_f64()
    ));
    match checks.iter().filter(|(fine, _)| !fine).count() {
        0 => Ok(()),
        failed => bail!("{failed} of {} checks failed", checks.len()),
    }
}

fn introduction(lab: &Lab) -> String {
    format!(
        "
A laboratory of four network namespaces, which nothing leaves:
  {}
A web server (nginx, {SERVER}), a client that asks it for a page {REQUESTS_PER_SECOND} times a second, and an attacker
who replays captured attacks. The detector sits on the server's interface.

Detection by the model is not in this version: the demonstration plays the operator, who looks at `detector flows` and
writes verdicts by this rule:
{}",
        lab.names().join("  "),
        operator::RULE
    )
}

/// Builds the `detector` command; where it is.
fn build() -> Result<PathBuf> {
    say("Building the detector (cargo build --release -p detector-user)");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(tool::root())
        .args(["build", "--release", "--package", "detector-user"])
        .args([
            "--bin",
            "detector",
            "--message-format",
            "json-render-diagnostics",
        ])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("the detector does not build: {}", output.status);
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "detector")
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
        .context("cargo does not say where it put the detector")
}

fn perform(
    args: &Args,
    binary: &std::path::Path,
    captures: &std::path::Path,
    lab: &mut Lab,
    stop: &Stop,
) -> Result<Results> {
    let detector = Detector::new(binary, &lab.bpf().join("detector"));
    say(
        "\nThe detector is attached: from here on it counts, and drops nothing unless a verdict says so.",
    );
    detector.show(lab.server(), &["attach", "-i", INTERFACE])?;
    let mut client = Client::start(lab.client())?;
    stop.sleep(SETTLE)?;
    let mut outcomes = Vec::new();
    for (n, attack) in ATTACKS.iter().enumerate() {
        say(&format!(
            "\n── {} of {}: {} ──",
            n + 1,
            ATTACKS.len(),
            attack.name
        ));
        let packets = packets(attack, captures)?;
        let stage = Stage {
            lab,
            detector: &detector,
            client: &client,
            stop,
        };
        outcomes.push(Act::new(attack, packets).play(stage)?);
        lab.check()?;
    }
    if args.keep_going_s > 0 {
        keep_going(args.keep_going_s, &detector, lab, stop)?;
    }
    client.end()?;
    say(
        "\n── the end ──\nThe client has ended, nothing moves: the books must balance to the packet.",
    );
    stop.sleep(SETTLE)?;
    detector.show(lab.server(), &["status"])?;
    let books = detector.books(lab.server())?;
    detector.show(lab.server(), &["verdicts", "list"])?;
    let verdicts = detector.verdicts(lab.server())?;
    detector.show(lab.server(), &["detach"])?;
    let left = detector.left(lab.server())?;
    Ok(Results::new(outcomes, &client, books, &verdicts, left))
}

/// The attack's packets, saying where they are from.
fn packets(
    attack: &Attack,
    captures: &std::path::Path,
) -> Result<Vec<crate::lab::traffic::Packet>> {
    let path = captures.join(attack.capture);
    let (packets, captured) = attack.packets(&path)?;
    say(attack.story);
    let count = packets.len();
    say(&if captured {
        format!(
            "Replayed: {count} packets of the attacker in {}, {}.",
            attack.capture,
            attack.pace_text()
        )
    } else {
        let path = path.display();
        format!(
            "{path} is not there: {count} packets like it are crafted, sent {}.",
            attack.pace_text()
        )
    });
    Ok(packets)
}

fn keep_going(seconds: u64, detector: &Detector, lab: &mut Lab, stop: &Stop) -> Result<()> {
    say(&format!(
        "\nThe laboratory stays for {seconds} s (Ctrl-C ends it). In another terminal, as root:\n  export {}\n  \
         ip netns exec {} {} flows --watch",
        detector.environment(),
        lab.server().name(),
        detector.binary().display()
    ));
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        let left = end.saturating_duration_since(Instant::now());
        // Here a signal ends the stay, and nothing else.
        if stop.sleep(left.min(Duration::from_secs(1))).is_err() {
            return Ok(());
        }
        lab.check()?;
    }
    Ok(())
}
