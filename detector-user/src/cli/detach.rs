//! `detector detach`: takes the programs off, and says what it took.

use detector_common::verdict::Kind;
use serde::Serialize;

use super::{
    failure::{Exit, Failure},
    report::{self, FormatArgs, Report},
};
use crate::{
    drain::reader::Which,
    wire::{
        attach::{self, hook_name},
        follow::Pattern,
        health::{self, Health, Standing},
        interface,
        pins::Pins,
        tables::{Tables, TablesError},
    },
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Interfaces, by name or glob; none: all of them, and everything that is pinned
    #[arg(short, long = "interface", num_args = 1.., value_delimiter = ',', value_name = "IFACE")]
    interfaces: Vec<Pattern>,
    /// Keep flows, counters and verdicts though no interface is left
    #[arg(long)]
    keep_maps: bool,
    #[command(flatten)]
    format: FormatArgs,
}

/// What was done, as it is told.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Told {
    Detached {
        interface: String,
        index: u32,
        ingress: &'static str,
        egress: &'static str,
        was: &'static str,
    },
    Removed {
        path: String,
        flows: u32,
        verdicts: usize,
    },
    Kept {
        path: String,
    },
}

pub(super) fn run(args: &Args, pins: &Pins) -> Result<(), Failure> {
    let tables = match Tables::open(pins) {
        Ok(tables) => Some(tables),
        Err(error) if is_unusable(&error) && args.interfaces.is_empty() && !args.keep_maps => {
            report::warn(&format!("{error}; removing it all the same"));
            None
        }
        // Half made, without the map that tells: removed all the same.
        Err(error)
            if error.is_nothing_pinned() && args.interfaces.is_empty() && pins.maps().exists() =>
        {
            None
        }
        Err(error) => return Err(error.into()),
    };
    let standings = match &tables {
        Some(tables) => health::standings(pins, tables, &interface::list()),
        None => Vec::new(),
    };
    let attached: Vec<&Standing> = standings
        .iter()
        .filter(|standing| standing.health != Health::Detached)
        .collect();
    let mut told = Vec::new();
    let mut missing = false;
    let wanted = wanted(&attached, &args.interfaces, &mut missing);
    let everything = args.interfaces.is_empty() && !args.keep_maps;
    if !everything {
        for standing in &wanted {
            attach::detach(pins, standing.entry.index)?;
            told.push(detached(standing));
        }
    }
    let left = attached.len() - wanted.len();
    if everything {
        let removed = removed(pins, tables.as_ref());
        drop(tables);
        attach::detach_all(pins)?;
        told.extend(wanted.iter().map(|standing| detached(standing)));
        told.push(removed);
    } else if left == 0 && !wanted.is_empty() {
        if args.keep_maps {
            told.push(Told::Kept {
                path: pins.root().display().to_string(),
            });
        } else if let Some(removed) = remove_if_unused(pins)? {
            told.push(removed);
        }
    }
    let mut report = Report::new(args.format);
    show(&mut report, &told)?;
    report.flush()?;
    if missing {
        Err(Failure::Said(Exit::Failed))
    } else {
        Ok(())
    }
}

/// Pinned, but by another version, or damaged.
fn is_unusable(error: &TablesError) -> bool {
    matches!(error, TablesError::Load(_)) && !error.is_permission()
}

/// The attached interfaces that are meant; all where none is named.
fn wanted<'a>(
    attached: &[&'a Standing],
    patterns: &[Pattern],
    missing: &mut bool,
) -> Vec<&'a Standing> {
    if patterns.is_empty() {
        return attached.to_vec();
    }
    let called = |standing: &Standing, pattern: &Pattern| {
        pattern.matches(&standing.name)
            || standing
                .renamed
                .as_ref()
                .is_some_and(|now| pattern.matches(now))
    };
    for pattern in patterns {
        if !attached.iter().any(|standing| called(standing, pattern)) {
            let names: Vec<&str> = attached
                .iter()
                .map(|standing| standing.name.as_str())
                .collect();
            let names = if names.is_empty() {
                "nothing".to_owned()
            } else {
                names.join(", ")
            };
            report::complain(&format!("{pattern}: not attached; attached: {names}"));
            *missing = true;
        }
    }
    attached
        .iter()
        .filter(|standing| patterns.iter().any(|pattern| called(standing, pattern)))
        .copied()
        .collect()
}

/// Removes everything, unless something was attached meanwhile.
fn remove_if_unused(pins: &Pins) -> Result<Option<Told>, Failure> {
    let lock = pins.lock()?;
    let tables = Tables::open(pins)?;
    if (0..tables.interfaces.len()).any(|place| tables.interfaces.load(place).attached == 1) {
        return Ok(None);
    }
    let told = removed(pins, Some(&tables));
    pins.remove_all()?;
    drop(lock);
    Ok(Some(told))
}

fn detached(standing: &Standing) -> Told {
    Told::Detached {
        interface: standing
            .renamed
            .clone()
            .unwrap_or_else(|| standing.name.clone()),
        index: standing.entry.index,
        ingress: hook_name(standing.entry.ingress),
        egress: hook_name(standing.entry.egress),
        was: standing.health.name(),
    }
}

fn removed(pins: &Pins, tables: Option<&Tables>) -> Told {
    let (mut flows, mut verdicts) = (0, 0);
    if let Some(tables) = tables {
        flows = tables.scan(Which::Live, |_| {}).flows;
        let used = |slot: &u32| tables.verdict_kind(*slot) != Kind::FREE;
        verdicts = (1..tables.verdicts.len()).filter(used).count();
    }
    Told::Removed {
        path: pins.root().display().to_string(),
        flows,
        verdicts,
    }
}

fn show(report: &mut Report, told: &[Told]) -> Result<(), Failure> {
    if !report.is_table() {
        return Ok(report.items(told)?);
    }
    for one in told {
        report.line(&match one {
            Told::Detached {
                interface,
                index,
                ingress,
                egress,
                was,
            } => {
                let was = if *was == "attached" {
                    String::new()
                } else {
                    format!("; it was {was}")
                };
                format!(
                    "detached {interface} (index {index}): ingress {ingress}, egress {egress}{was}"
                )
            }
            Told::Removed {
                path,
                flows,
                verdicts,
            } => {
                let flows = report::several(u64::from(*flows), "flow");
                let verdicts = report::several(*verdicts as u64, "verdict");
                format!("removed {path} with {flows} and {verdicts}")
            }
            Told::Kept { path } => format!("kept flows, counters and verdicts in {path}"),
        })?;
    }
    Ok(())
}
