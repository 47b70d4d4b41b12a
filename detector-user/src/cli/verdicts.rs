//! `detector verdicts`: what is done with packets, written and read by hand.

mod add;
pub(crate) mod list;
pub(crate) mod target;

use clap::Subcommand;

use super::{
    failure::Failure,
    report::{FormatArgs, Report, several},
};
use crate::{
    enforce::{target::Prefix, writer::Writer},
    wire::{clock::Clock, pins::Pins, tables::Tables},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the verdicts and how often each acted
    List(list::Args),
    /// Write a verdict, in place of any on the same target
    Add(Box<add::Args>),
    /// Remove the verdict on a target
    Remove(Box<RemoveArgs>),
    /// Remove all verdicts
    Clear(ClearArgs),
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(false))]
pub(super) struct RemoveArgs {
    /// The verdict in this slot, as listed
    #[arg(long, group = "which", value_name = "N")]
    slot: Option<u32>,
    #[command(flatten)]
    target: target::TargetArgs,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct ClearArgs {
    /// Only those that have expired
    #[arg(long)]
    expired: bool,
    #[command(flatten)]
    format: FormatArgs,
}

pub(super) fn run(command: &Command, pins: &Pins) -> Result<(), Failure> {
    match command {
        Command::List(args) => list::run(args, pins),
        Command::Add(args) => add::run(args, pins),
        Command::Remove(args) => remove(args, pins),
        Command::Clear(args) => clear(args, pins),
    }
}

fn remove(args: &RemoveArgs, pins: &Pins) -> Result<(), Failure> {
    args.target.check()?;
    let mut tables = Tables::open(pins)?;
    let clock = Clock::open(pins)?;
    let target = match args.slot {
        Some(_) => None,
        None => args.target.target(&tables)?,
    };
    let names = target::zone_names(&tables);
    let mut writer = Writer::new(pins, &mut tables, &clock)?;
    let listed = writer
        .list()?
        .into_iter()
        .find(|listed| match (&target, args.slot) {
            (Some(target), _) => listed.target == *target,
            (None, slot) => Some(listed.slot) == slot,
        });
    let Some(listed) = listed else {
        let what = match (&target, args.slot) {
            (Some(target), _) => target::text(target, &names),
            (None, slot) => format!("slot {}", slot.unwrap_or(0)),
        };
        return Err(Failure::Other(format!(
            "{what}: there is no such verdict (`detector verdicts list`)"
        )));
    };
    writer.remove_slot(listed.slot)?;
    let mut report = Report::new(args.format);
    let shown = list::Shown::new(&listed, &names, std::time::SystemTime::now());
    if report.is_table() {
        report.line(&format!("removed: {}", shown.sentence()))?;
    } else {
        report.document(&shown)?;
    }
    Ok(report.flush()?)
}

fn clear(args: &ClearArgs, pins: &Pins) -> Result<(), Failure> {
    let mut tables = Tables::open(pins)?;
    let clock = Clock::open(pins)?;
    let mut writer = Writer::new(pins, &mut tables, &clock)?;
    let removed = if args.expired {
        let now = clock.now()?;
        writer.clear_expired(now)?
    } else {
        writer.clear()?
    };
    let mut report = Report::new(args.format);
    if report.is_table() {
        let noun = if args.expired {
            "expired verdict"
        } else {
            "verdict"
        };
        report.line(&format!("removed {}", several(removed.into(), noun)))?;
    } else {
        report.document(&serde_json::json!({ "removed": removed }))?;
    }
    Ok(report.flush()?)
}

/// The first of the prefixes that holds all of another.
fn covering(prefixes: &[Prefix], inner: Prefix) -> Option<Prefix> {
    prefixes.iter().copied().find(|outer| outer.covers(inner))
}
