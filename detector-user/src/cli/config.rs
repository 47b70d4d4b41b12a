//! `detector config`: what is configured, where it comes from, and whether a file may be used.

use std::path::PathBuf;

use clap::Subcommand;
use comfy_table::Cell;
use serde::Serialize;

use super::{
    failure::Failure,
    report::{self, FormatArgs, Report},
};
use crate::agent::config::{
    Config, PATH,
    keys::shown,
    origin::{Origin, Resolved},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what is configured: the environment over the file over the defaults
    Show(ShowArgs),
    /// Check a configuration file, as the agent reads it
    Check(CheckArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// Say where each value comes from
    #[arg(long)]
    origin: bool,
    /// Configuration file [default: /etc/detector/detector.toml, where there is one]
    #[arg(long, env = "DETECTOR_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// The file [default: /etc/detector/detector.toml, where there is one]
    #[arg(env = "DETECTOR_CONFIG", value_name = "FILE")]
    file: Option<PathBuf>,
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Show(args) => show(args),
        Command::Check(args) => {
            resolve(&args.file)?;
            let mut report = Report::new(FormatArgs::default());
            report.line(&format!("{} is sound", place(&args.file)))?;
            Ok(report.flush()?)
        }
    }
}

fn place(file: &Option<PathBuf>) -> String {
    let file = file.clone().unwrap_or_else(|| PATH.into());
    file.display().to_string()
}

fn resolve(file: &Option<PathBuf>) -> Result<Resolved, Failure> {
    Config::resolve(file.as_deref()).map_err(|error| Failure::Configuration(error.to_string()))
}

/// A key as it is shown.
#[derive(Serialize)]
struct Shown {
    key: &'static str,
    value: Option<toml::Value>,
    origin: String,
}

fn show(args: &ShowArgs) -> Result<(), Failure> {
    let resolved = resolve(&args.config)?;
    let file = place(&args.config);
    let all: Vec<Shown> = resolved
        .values()
        .into_iter()
        .map(|(key, value)| Shown {
            key: key.path,
            value,
            origin: match resolved.origin(key.path) {
                Origin::File(line) => format!("{file}:{line}"),
                origin => origin.to_string(),
            },
        })
        .collect();
    let mut report = Report::new(args.format);
    if !report.is_table() {
        report.items(&all)?;
        return Ok(report.flush()?);
    }
    let titles: &[&str] = if args.origin {
        &["KEY", "VALUE", "ORIGIN"]
    } else {
        &["KEY", "VALUE"]
    };
    let mut table = report::table(titles);
    for one in &all {
        let value = one.value.as_ref().map_or_else(|| "-".to_owned(), shown);
        let mut row = vec![Cell::new(one.key), Cell::new(value)];
        if args.origin {
            row.push(Cell::new(&one.origin));
        }
        table.add_row(row);
    }
    report.table(&table)?;
    Ok(report.flush()?)
}
