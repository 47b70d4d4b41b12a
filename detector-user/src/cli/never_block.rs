//! `detector never-block`: the prefixes that no verdict may deny.

use comfy_table::Cell;
use serde::Serialize;

use super::{
    failure::{Exit, Failure},
    report::{self, FormatArgs, Report},
};
use crate::{
    enforce::{never_block::Origin, target::Prefix, writer::Writer},
    wire::{clock::Clock, pins::Pins, tables::Tables},
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Show the list
    List(ListArgs),
    /// List prefixes
    Add(PrefixArgs),
    /// Take prefixes off the list
    Remove(PrefixArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct PrefixArgs {
    /// Prefixes or addresses: 192.0.2.0/24, 2001:db8::1
    #[arg(required = true, value_name = "PREFIX")]
    prefixes: Vec<Prefix>,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Serialize)]
struct Entry {
    prefix: String,
    origin: &'static str,
}

#[derive(Serialize)]
struct Change {
    prefix: String,
    change: &'static str,
}

fn origin_name(origin: Origin) -> &'static str {
    match origin {
        Origin::Asked => "asked",
        Origin::Floor => "floor",
        Origin::Configured => "configured",
    }
}

pub(super) fn run(command: &Command, pins: &Pins) -> Result<(), Failure> {
    let mut tables = Tables::open(pins)?;
    let clock = Clock::open(pins)?;
    let mut writer = Writer::new(pins, &mut tables, &clock)?;
    match command {
        Command::List(args) => list(args, &writer),
        Command::Add(args) => add(args, &mut writer),
        Command::Remove(args) => remove(args, &mut writer),
    }
}

fn list(args: &ListArgs, writer: &Writer<'_>) -> Result<(), Failure> {
    let entries: Vec<Entry> = writer
        .never_blocked()?
        .into_iter()
        .map(|(prefix, origin)| Entry {
            prefix: prefix.to_string(),
            origin: origin_name(origin),
        })
        .collect();
    let mut report = Report::new(args.format);
    if !report.is_table() {
        report.items(&entries)?;
    } else if entries.is_empty() {
        report.line("no prefixes: anything may be blocked")?;
    } else {
        let mut table = report::table(&["PREFIX", "ORIGIN", ""]);
        for entry in &entries {
            let meaning = match entry.origin {
                "floor" => "this host, a gateway, a resolver or an operator's session",
                "configured" => "never_block of the agent's configuration",
                _ => "",
            };
            table.add_row(vec![
                Cell::new(&entry.prefix),
                Cell::new(entry.origin),
                Cell::new(meaning),
            ]);
        }
        report::align(&mut table, &[]);
        report.table(&table)?;
    }
    Ok(report.flush()?)
}

fn add(args: &PrefixArgs, writer: &mut Writer<'_>) -> Result<(), Failure> {
    let listed = writer.never_blocked()?;
    let mut changes = Vec::new();
    for prefix in &args.prefixes {
        let there = listed
            .iter()
            .any(|(other, origin)| other == prefix && *origin == Origin::Asked);
        writer.never_block(*prefix, Origin::Asked)?;
        changes.push(Change {
            prefix: prefix.to_string(),
            change: if there { "unchanged" } else { "added" },
        });
    }
    show(args.format, &changes)
}

fn remove(args: &PrefixArgs, writer: &mut Writer<'_>) -> Result<(), Failure> {
    let listed = writer.never_blocked()?;
    let mut changes = Vec::new();
    let mut missing = false;
    for prefix in &args.prefixes {
        if writer.block_again(*prefix)? {
            if listed.contains(&(*prefix, Origin::Floor)) {
                report::warn(&format!(
                    "{prefix} was part of the floor: this host, a gateway, a resolver or an operator's \
                     session can be blocked now. The next `detector attach` lists it again unless --no-floor"
                ));
            }
            if listed.contains(&(*prefix, Origin::Configured)) {
                report::warn(&format!(
                    "{prefix} stands in never_block of the agent's configuration, which lists it again when it is read next"
                ));
            }
            changes.push(Change {
                prefix: prefix.to_string(),
                change: "removed",
            });
        } else {
            let covered: Vec<String> = listed
                .iter()
                .filter(|(outer, _)| outer.covers(*prefix))
                .map(|(outer, _)| outer.to_string())
                .collect();
            let hint = if covered.is_empty() {
                String::new()
            } else {
                format!("; listed is {}", covered.join(", "))
            };
            report::complain(&format!("{prefix}: not listed{hint}"));
            missing = true;
        }
    }
    show(args.format, &changes)?;
    if missing {
        Err(Failure::Said(Exit::Failed))
    } else {
        Ok(())
    }
}

fn show(format: FormatArgs, changes: &[Change]) -> Result<(), Failure> {
    let mut report = Report::new(format);
    if report.is_table() {
        for change in changes {
            report.line(&format!("{}: {}", change.change, change.prefix))?;
        }
    } else {
        report.items(changes)?;
    }
    Ok(report.flush()?)
}
