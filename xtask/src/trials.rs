//! Trials of the detector: scenarios of attacks in the laboratory, as often as asked for, measured.
//!
//! The way of a trial: [`scenario`] (what happens) → [`attack`] (how it is done) → [`trial`] (the agent, the clients and
//! the attack, from before the onset until after the end) → [`summary`] (all trials of a scenario, and what must hold)
//! → [`show`].

mod agent;
mod attack;
mod crowd;
mod events;
mod page;
pub mod scenario;
mod show;
mod summary;
mod trial;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::Serialize;

use self::attack::Ready;
use self::scenario::{ALL, Attack, Scenario};
use self::summary::Summary;
use self::trial::{Outcome, Props, Stage};
use crate::lab::Lab;
use crate::lab::stop::Stop;
use crate::{setup, tool};

/// Where the shared captures are, relative to the workspace.
const CAPTURES: &str = "../shared/data/pcap";

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table, and what must hold
    Table,
    /// One object with every trial and every scenario's summary; what happens is told on standard error
    Json,
}

/// Try scenarios in the laboratory.
#[derive(clap::Args)]
pub struct Args {
    /// Which: names, or `all`; --list tells them
    #[arg(value_name = "SCENARIO", required_unless_present = "list", value_parser = parse)]
    scenarios: Vec<Choice>,
    /// Try each so often
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// How results are written
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
    /// Tell the scenarios, and do nothing
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    common: Common,
}

/// What the laboratory and its demonstration have in common.
#[derive(clap::Args)]
pub struct Common {
    /// When the last attack is over, keep the laboratory for this long, to look around in
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    keep_going_s: u64,
    /// Keep each trial's events and the agent's log in this folder
    #[arg(long, value_name = "PATH")]
    logs: Option<PathBuf>,
    /// Use this `detector` instead of building it
    #[arg(long, value_name = "PATH")]
    detector: Option<PathBuf>,
    /// Where the captures are; packets like theirs are crafted where they are not [default: ../shared/data/pcap]
    #[arg(long, value_name = "PATH")]
    captures: Option<PathBuf>,
}

/// Scenarios that were asked for by one word.
#[derive(Clone)]
enum Choice {
    All,
    One(&'static Scenario),
}

/// Everything, as it is written in JSON.
#[derive(Serialize)]
struct Everything<'a> {
    holds: bool,
    scenarios: &'a [Summary],
    trials: &'a [Outcome],
}

fn parse(name: &str) -> Result<Choice, String> {
    if name == "all" {
        return Ok(Choice::All);
    }
    let names = || {
        ALL.iter()
            .map(|one| one.name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let found = scenario::find(name).map(Choice::One);
    found.ok_or_else(|| format!("there is no such scenario; there are: all, {}", names()))
}

/// Whether results go to standard output, and all else must not.
static ASIDE: AtomicBool = AtomicBool::new(false);

/// Says something; whether anybody listens is of no matter to what must be removed in the end.
fn say(text: &str) {
    use std::io::Write as _;
    let _ = if ASIDE.load(Ordering::Relaxed) {
        writeln!(std::io::stderr(), "{text}")
    } else {
        writeln!(std::io::stdout(), "{text}")
    };
}

/// Tries what was asked for.
///
/// # Errors
/// Where something could not be done, or does not hold.
pub fn run(args: &Args) -> Result<()> {
    ASIDE.store(args.output == Format::Json, Ordering::Relaxed);
    if args.list {
        list();
        return Ok(());
    }
    let mut scenarios: Vec<&'static Scenario> = Vec::new();
    for choice in &args.scenarios {
        match choice {
            Choice::All => scenarios.extend(&ALL),
            Choice::One(one) => scenarios.push(one),
        }
    }
    perform(&scenarios, args.repeat, &args.common, "")
}

/// Tries scenarios, and shows what came of it.
///
/// # Errors
/// As of [`run`].
pub fn perform(
    scenarios: &[&'static Scenario],
    repeat: u32,
    common: &Common,
    introduction: &str,
) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("network namespaces and BPF take root: run it with `sudo`");
    }
    setup::run()?;
    let binary = match &common.detector {
        Some(path) => path
            .canonicalize()
            .with_context(|| format!("{}", path.display()))?,
        None => tool::build_detector("release")?,
    };
    let begin = Instant::now();
    let stop = Stop::hold();
    say(introduction);
    if let Some(address) = page::listen() {
        say(&format!(
            "\nThe agent's own page, while it runs: http://{address}/"
        ));
    }
    let mut results = Results::default();
    let done = results.fill(scenarios, repeat, common, &binary, &stop);
    let Results {
        summaries,
        outcomes,
    } = results;
    if let Err(error) = done {
        // What was measured until then is not lost.
        if !summaries.is_empty() {
            show::table(&summaries);
        }
        return Err(error);
    }
    show::table(&summaries);
    let failed = show::checks(&summaries);
    say("  ok     after each trial: no namespace, no mount, no folder and no process was left");
    let seconds = begin.elapsed().as_secs_f64();
    say(&format!("\nDone in {seconds:.0} s."));
    if ASIDE.load(Ordering::Relaxed) {
        let everything = Everything {
            holds: failed == 0,
            scenarios: &summaries,
            trials: &outcomes,
        };
        println!("{}", serde_json::to_string_pretty(&everything)?);
    }
    match failed {
        0 => Ok(()),
        failed => bail!("{failed} of the checks failed"),
    }
}

/// What came of the trials so far.
#[derive(Default)]
struct Results {
    summaries: Vec<Summary>,
    outcomes: Vec<Outcome>,
}

impl Results {
    /// Tries scenarios. After a failure it holds what came of the trials before.
    fn fill(
        &mut self,
        scenarios: &[&'static Scenario],
        repeat: u32,
        common: &Common,
        binary: &Path,
        stop: &Stop,
    ) -> Result<()> {
        let captures = common
            .captures
            .clone()
            .unwrap_or_else(|| tool::root().join(CAPTURES));
        for (n, scenario) in scenarios.iter().enumerate() {
            let ready = Ready::new(scenario, &captures)?;
            let (number, count) = (n + 1, scenarios.len());
            say(&format!(
                "\n── {number} of {count}: {} ──\n{}\n  [{}]",
                scenario.name, scenario.story, ready.told
            ));
            let mut outcomes = Vec::new();
            let done = (1..=repeat).try_for_each(|trial| -> Result<()> {
                if repeat > 1 {
                    say(&format!("  trial {trial} of {repeat}"));
                }
                let is_last = (number, trial) == (count, repeat);
                let seconds = if is_last { common.keep_going_s } else { 0 };
                let props = Props {
                    binary,
                    stop,
                    logs: common.logs.as_deref(),
                    keep_going: Duration::from_secs(seconds),
                };
                let name = format!("{}-{trial}", scenario.name);
                let outcome = props.in_a_laboratory(scenario, &ready, &name)?;
                show::tell(&outcome);
                outcomes.push(outcome);
                Ok(())
            });
            if !outcomes.is_empty() {
                self.summaries
                    .push(Summary::new(scenario, ready.genuine, &outcomes));
                self.outcomes.append(&mut outcomes);
            }
            done?;
        }
        Ok(())
    }
}

impl Props<'_> {
    /// One trial, in a laboratory that no other has left a connection in.
    fn in_a_laboratory(
        &self,
        scenario: &'static Scenario,
        ready: &Ready,
        name: &str,
    ) -> Result<Outcome> {
        let mut lab = Lab::new(self.stop)?;
        let stage = Stage {
            lab: &lab,
            props: self,
        };
        let outcome = trial::play(stage, scenario, ready, name);
        let served = lab.check();
        let closed = lab.close();
        if outcome.is_err() {
            let left = match &closed {
                Ok(()) => "nothing of the laboratory is left".to_owned(),
                Err(error) => format!("{error:#}"),
            };
            say(&format!("\nBroken off: {left}."));
        }
        let outcome = outcome?;
        served.and(closed)?;
        Ok(outcome)
    }
}

fn list() {
    for scenario in &ALL {
        let how = match &scenario.attack {
            Attack::None => "no attack".to_owned(),
            Attack::Replayed { capture, .. } => format!("replays {capture}"),
            Attack::Crafted { .. } => "crafted packets".to_owned(),
            Attack::Tool(line) => line.join(" "),
            Attack::Requests { .. } => "requests from 20 addresses".to_owned(),
        };
        let family = scenario.family.unwrap_or("nothing");
        say(&format!(
            "{:22} {}\n{:22} {how}; expected: {family}",
            scenario.name, scenario.story, ""
        ));
    }
}
