//! `detector attach`: hangs the programs on interfaces.

use std::time::Duration;

use comfy_table::Cell;
use detector_common::config::hook;
use serde::Serialize;

use super::{
    failure::{Exit, Failure},
    features::{self, Feature},
    quantity,
    report::{self, FormatArgs, Report},
    stop::Stop,
};
use crate::{
    enforce::{floor, never_block::Origin, writer::Writer},
    wire::{
        attach::{self, AttachError, Attached, Mode, Request, hook_name},
        clock::Clock,
        follow::{Follower, Happened, POLL_INTERVAL, Pattern},
        interface::{self, Interface},
        load::Settings,
        pins::Pins,
        tables::Tables,
    },
};

/// While following, the floor is looked at again after this many polls: addresses,
/// gateways and resolvers change.
const FLOOR_POLLS: u32 = 10;

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ModeName {
    /// In the driver; where it refuses, generic, with a warning
    Auto,
    /// In the driver or not at all
    Native,
    /// In the generic stack: works everywhere, and is slow
    Generic,
}

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Interfaces, by name or glob ('veth*')
    #[arg(short, long = "interface", required = true, num_args = 1.., value_delimiter = ',', value_name = "IFACE")]
    interfaces: Vec<Pattern>,
    /// Where XDP runs
    #[arg(long, value_enum, default_value = "auto")]
    mode: ModeName,
    /// Flows that the table holds, a power of two [default: 128Ki, or what is pinned already]
    #[arg(long, value_parser = quantity::slots, value_name = "N")]
    flow_slots: Option<u32>,
    /// Verdicts that there can be [default: 16Ki, or what is pinned already]
    #[arg(long, value_parser = quantity::slots, value_name = "N")]
    verdict_slots: Option<u32>,
    /// Count only what arrives
    #[arg(long)]
    no_egress: bool,
    /// Leave a feature out of the programs, which makes them faster
    #[arg(long, value_enum, num_args = 1.., value_delimiter = ',', value_name = "FEATURE")]
    without: Vec<Feature>,
    /// Do not list this host, its gateways and resolvers and this session as never to be blocked
    #[arg(long)]
    no_floor: bool,
    /// Stay, and attach to interfaces that match as they come, until SIGINT or SIGTERM
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    format: FormatArgs,
}

impl Args {
    fn request(&self, pins: &Pins) -> Result<Request, Failure> {
        let mut settings = Settings { features: features::all_but(&self.without), ..Settings::default() };
        // Where one size is given the other one stays what it is.
        if let Ok(tables) = Tables::open(pins) {
            let control = tables.control.load(0);
            settings.flow_slots = control.flow_slots;
            settings.verdict_slots = control.verdict_slots;
        }
        settings.flow_slots = self.flow_slots.unwrap_or(settings.flow_slots);
        settings.verdict_slots = self.verdict_slots.unwrap_or(settings.verdict_slots);
        settings.check()?;
        Ok(Request {
            settings,
            sizes_given: self.flow_slots.is_some() || self.verdict_slots.is_some(),
            mode: match self.mode {
                ModeName::Auto => Mode::Auto,
                ModeName::Native => Mode::Native,
                ModeName::Generic => Mode::Generic,
            },
            no_egress: self.no_egress,
        })
    }
}

/// What happened, as it is told.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Told {
    Attached {
        interface: String,
        index: u32,
        ingress: &'static str,
        egress: &'static str,
        replaced: bool,
        native_refused: Option<String>,
        left_out: Vec<&'static str>,
    },
    Refused {
        interface: String,
        error: String,
    },
    Floor {
        prefixes: usize,
        added: usize,
    },
    Gone {
        interface: String,
        index: u32,
    },
}

pub(super) fn run(args: &Args, pins: &Pins) -> Result<(), Failure> {
    let request = args.request(pins)?;
    if args.follow {
        return follow(args, pins, request);
    }
    let interfaces = expand(&args.interfaces)?;
    let mut told = Vec::new();
    let mut exits = Vec::new();
    for interface in interfaces {
        let (name, result) = match interface {
            Ok(interface) => (interface.name.clone(), attach::attach(pins, &interface, &request).map_err(Failure::from)),
            Err(failure) => (failure.0, Err(failure.1)),
        };
        match result {
            Ok(attached) => told.push(tell_attached(&attached, &request)),
            Err(failure) => {
                if failure.is_of_host() {
                    return Err(failure);
                }
                report::complain(&failure.to_string());
                exits.push(failure.exit());
                told.push(Told::Refused { interface: name, error: failure.to_string() });
            }
        }
    }
    let any = told.iter().any(|told| matches!(told, Told::Attached { .. }));
    if any && !args.no_floor {
        told.push(write_floor(pins)?);
    }
    let mut report = Report::new(args.format);
    show(&mut report, &told)?;
    report.flush()?;
    match exits.first() {
        None => Ok(()),
        // All failed in one way: that way. Some did not: it failed, in part.
        Some(first) if !any && exits.iter().all(|exit| exit == first) => Err(Failure::Said(*first)),
        Some(_) => Err(Failure::Said(Exit::Failed)),
    }
}

/// Each interface that is meant, once; a name that there is not is a failure of its own.
#[expect(clippy::type_complexity, reason = "one use, right above")]
fn expand(patterns: &[Pattern]) -> Result<Vec<Result<Interface, (String, Failure)>>, Failure> {
    let present = interface::list();
    let mut all: Vec<Result<Interface, (String, Failure)>> = Vec::new();
    for pattern in patterns {
        let mut found: Vec<Interface> = if pattern.is_glob() {
            present.iter().filter(|interface| pattern.matches(&interface.name)).cloned().collect()
        } else {
            match Interface::find(pattern.as_str()) {
                Ok(interface) => vec![interface],
                Err(error) => {
                    all.push(Err((pattern.to_string(), error.into())));
                    continue;
                }
            }
        };
        if found.is_empty() {
            let names: Vec<&str> = present.iter().map(|interface| interface.name.as_str()).collect();
            let text = format!("{pattern}: no interface matches; there are: {}", names.join(", "));
            all.push(Err((pattern.to_string(), Failure::Other(text))));
        }
        found.retain(|interface| !all.iter().any(|other| other.as_ref().is_ok_and(|other| other == interface)));
        all.extend(found.into_iter().map(Ok));
    }
    Ok(all)
}

/// What there is to tell of an attachment; what the user must not miss goes to stderr.
fn tell_attached(attached: &Attached, request: &Request) -> Told {
    let name = &attached.interface.name;
    let generic = attached.ingress == hook::GENERIC;
    if let Some(reason) = &attached.native_refused {
        report::warn(&format!(
            "{name} is attached in GENERIC mode, which is several times SLOWER: native XDP was refused: \
             {reason}. `detector doctor -i {name}` says what its driver can do; --mode native fails instead"
        ));
    } else if attached.replaced && generic && request.mode != Mode::Generic {
        report::warn(&format!(
            "{name} was attached in GENERIC mode, which is several times SLOWER, and stays so: its programs \
             were swapped in place. To try native XDP, `detector detach -i {name} --keep-maps` and attach again"
        ));
    } else if attached.replaced && !generic && request.mode == Mode::Generic {
        report::warn(&format!(
            "{name} was attached in native mode and stays so: its programs were swapped in place. For generic \
             mode, `detector detach -i {name} --keep-maps` and attach again"
        ));
    }
    Told::Attached {
        interface: name.clone(),
        index: attached.interface.index,
        ingress: hook_name(attached.ingress),
        egress: hook_name(attached.egress),
        replaced: attached.replaced,
        native_refused: attached.native_refused.clone(),
        left_out: features::left_out(request.settings.features),
    }
}

/// Lists the floor as never to be blocked. What was asked for by hand stays as it is.
fn write_floor(pins: &Pins) -> Result<Told, Failure> {
    let mut tables = Tables::open(pins)?;
    let clock = Clock::open(pins)?;
    let mut writer = Writer::new(pins, &mut tables, &clock)?;
    let listed = writer.never_blocked()?;
    let floor = floor::prefixes();
    let mut added = 0;
    for (prefix, _) in &floor {
        if !listed.iter().any(|(there, _)| there == prefix) {
            writer.never_block(*prefix, Origin::Floor)?;
            added += 1;
        }
    }
    Ok(Told::Floor { prefixes: floor.len(), added })
}

fn show(report: &mut Report, told: &[Told]) -> Result<(), Failure> {
    if !report.is_table() {
        return Ok(report.items(told)?);
    }
    let mut table = report::table(&["INTERFACE", "INDEX", "INGRESS", "EGRESS", "LEFT OUT", ""]);
    let mut rows = 0;
    for one in told {
        let Told::Attached { interface, index, ingress, egress, replaced, left_out, .. } = one else { continue };
        rows += 1;
        table.add_row(vec![
            Cell::new(interface),
            Cell::new(index),
            if *ingress == "generic" { report::notable(ingress) } else { Cell::new(ingress) },
            Cell::new(egress),
            Cell::new(if left_out.is_empty() { "-".to_owned() } else { left_out.join(",") }),
            Cell::new(if *replaced { "programs swapped" } else { "attached" }),
        ]);
    }
    if rows > 0 {
        report::align(&mut table, &[1]);
        report.table(&table)?;
    }
    for one in told {
        match one {
            Told::Floor { prefixes, added } => report.line(&format!(
                "never to be blocked: this host, its gateways and resolvers and this session, \
                 {prefixes} prefixes, {added} of them new"
            ))?,
            Told::Gone { interface, index } => {
                report.line(&format!("{interface} (index {index}) is gone; its pins are cleared away"))?;
            }
            Told::Attached { .. } | Told::Refused { .. } => {}
        }
    }
    Ok(())
}

fn follow(args: &Args, pins: &Pins, request: Request) -> Result<(), Failure> {
    let stop = Stop::hold();
    pins.create()?;
    let mut report = Report::new(args.format);
    report.as_stream();
    let mut follower = Follower::new(args.interfaces.clone(), request);
    for pattern in args.interfaces.iter().filter(|pattern| !pattern.is_glob()) {
        if Interface::find(pattern.as_str()).is_err() {
            report::note(&format!("{pattern} is not there yet; it is attached when it comes"));
        }
    }
    let mut polls = 0u32;
    loop {
        let happened = follower.poll(pins);
        let came = happened.iter().any(|one| matches!(one, Happened::Attached(_)));
        let mut told = Vec::new();
        for one in happened {
            tell(one, &request, &mut told)?;
        }
        let floor_due = came || polls.is_multiple_of(FLOOR_POLLS);
        if !args.no_floor && floor_due && follower.attached().next().is_some() {
            match write_floor(pins) {
                Ok(Told::Floor { added: 0, .. }) if !came => {}
                Ok(floor) => told.push(floor),
                Err(failure) => report::complain(&failure.to_string()),
            }
        }
        if !told.is_empty() {
            show(&mut report, &told)?;
            report.flush()?;
        }
        polls = polls.wrapping_add(1);
        let wait: Duration = POLL_INTERVAL;
        if stop.within(wait) {
            break;
        }
    }
    let names: Vec<&str> = follower.attached().map(|(_, name)| name).collect();
    if !names.is_empty() {
        report::note(&format!(
            "no longer following; still attached: {} (`detector detach` takes everything off)",
            names.join(", ")
        ));
    }
    Ok(())
}

fn tell(happened: Happened, request: &Request, told: &mut Vec<Told>) -> Result<(), Failure> {
    match happened {
        Happened::Attached(attached) => told.push(tell_attached(&attached, request)),
        Happened::Refused { interface, error } => {
            let failure = Failure::from(error);
            if failure.is_of_host() {
                return Err(failure);
            }
            report::complain(&format!("{failure}; it is tried again"));
            told.push(Told::Refused { interface: interface.name, error: failure.to_string() });
        }
        Happened::Gone { name, index, error } => {
            if let Some(error) = error.filter(|error| !is_nothing_pinned(error)) {
                report::complain(&format!("clearing away what is left of {name}: {error}"));
            }
            told.push(Told::Gone { interface: name, index });
        }
    }
    Ok(())
}

/// Somebody detached everything meanwhile: there is nothing left to clear away.
fn is_nothing_pinned(error: &AttachError) -> bool {
    matches!(error, AttachError::Pin(crate::wire::pins::PinError::NothingPinned { .. }))
}
