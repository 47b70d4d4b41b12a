//! `detector doctor`: what this host has and lacks, why that matters, and what to do.

use comfy_table::Cell;

use super::{
    failure::{Exit, Failure},
    report::{self, FormatArgs, Report},
};
use crate::wire::{
    follow::Pattern,
    interface::{self, Interface},
    pins::Pins,
    preflight::{self, Check, State, Subject},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Interfaces, by name or glob; none: all but the loopback
    #[arg(short, long = "interface", num_args = 1.., value_delimiter = ',', value_name = "IFACE")]
    interfaces: Vec<Pattern>,
    #[command(flatten)]
    format: FormatArgs,
}

pub(super) fn run(args: &Args, pins: &Pins) -> Result<(), Failure> {
    let interfaces = interfaces(&args.interfaces)?;
    let named = !args.interfaces.is_empty();
    let checks = preflight::run(&Subject {
        pins,
        interfaces: &interfaces,
        named,
    });
    let mut report = Report::new(args.format);
    if report.is_table() {
        show(&mut report, &checks)?
    } else {
        report.items(&checks)?
    }
    report.flush()?;
    let mut failed = checks
        .iter()
        .filter(|check| check.state == State::Fail)
        .peekable();
    if failed.peek().is_none() {
        return Ok(());
    }
    let permission = failed.any(|check| check.permission);
    Err(Failure::Said(if permission {
        Exit::NoPermission
    } else {
        Exit::Unavailable
    }))
}

fn interfaces(patterns: &[Pattern]) -> Result<Vec<Interface>, Failure> {
    let present = interface::list();
    if patterns.is_empty() {
        return Ok(present
            .into_iter()
            .filter(|interface| interface.name != "lo")
            .collect());
    }
    for pattern in patterns {
        if !present
            .iter()
            .any(|interface| pattern.matches(&interface.name))
        {
            let names: Vec<&str> = present
                .iter()
                .map(|interface| interface.name.as_str())
                .collect();
            return Err(Failure::Other(format!(
                "{pattern}: no such interface; there are: {}",
                names.join(", ")
            )));
        }
    }
    let wanted = |interface: &Interface| {
        patterns
            .iter()
            .any(|pattern| pattern.matches(&interface.name))
    };
    Ok(present.into_iter().filter(wanted).collect())
}

fn show(out: &mut Report, checks: &[Check]) -> std::io::Result<()> {
    let mut table = report::table(&["STATE", "CHECK", "FOUND"]);
    for check in checks {
        let state = match check.state {
            State::Ok => report::good("ok"),
            State::Warn => report::notable("warn"),
            State::Fail => report::alarming("FAIL"),
        };
        let found: Vec<&str> = check
            .found
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        table.add_row(vec![
            state,
            Cell::new(&check.subject),
            Cell::new(found.join(" | ")),
        ]);
        if check.state != State::Ok {
            table.add_row(vec![
                Cell::new(""),
                Cell::new(""),
                Cell::new(format!("why: {}", check.why)),
            ]);
            table.add_row(vec![
                Cell::new(""),
                Cell::new(""),
                Cell::new(format!("do: {}", check.remedy)),
            ]);
        }
    }
    report::align(&mut table, &[]);
    out.table(&table)?;
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    out.line("")?;
    let things = |n: usize| report::several(n as u64, "thing");
    out.line(&match (count(State::Fail), count(State::Warn)) {
        (0, 0) => "all is well".to_owned(),
        (0, warn) => format!("it works; {} could be better", things(warn)),
        (fail, 0) => format!("{} must be put right", things(fail)),
        (fail, warn) => format!("{} must be put right, {warn} could be better", things(fail)),
    })
}
