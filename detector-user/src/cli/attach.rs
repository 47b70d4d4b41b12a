//! `detector attach`: hangs the programs on interfaces.

pub(super) mod follow;
pub(super) mod told;

use super::{
    failure::{Exit, Failure},
    features::{self, Feature},
    quantity,
    report::{self, FormatArgs, Report},
};
use crate::{
    enforce::{floor, never_block::Origin, writer::Writer},
    wire::{
        attach::{self, Mode, Request},
        clock::Clock,
        follow::Pattern,
        interface::{self, Interface},
        load::Settings,
        pins::{PinError, Pins},
        replace,
        tables::Tables,
    },
};
use told::{Told, show, tell_attached};

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ModeName {
    /// In the driver; where it refuses, generic, with a warning
    Auto,
    /// In the driver or not at all
    Native,
    /// In the generic stack: works everywhere, and is slow
    Generic,
}

/// Where the programs are to hang, and how they are made: for `attach` and `run`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct PlaneArgs {
    /// Interfaces, by name or glob ('veth*')
    #[arg(short, long = "interface", required_unless_present = "replace", num_args = 1..,
          value_delimiter = ',', value_name = "IFACE")]
    pub(super) interfaces: Vec<Pattern>,
    /// Where XDP runs
    #[arg(long, value_enum, default_value = "auto")]
    mode: ModeName,
    /// Flows that the table holds, a power of two [default: 128Ki, or what is pinned already]
    #[arg(long, value_parser = quantity::slots, value_name = "N")]
    flow_slots: Option<u32>,
    /// Verdicts that there can be [default: 16Ki, or what is pinned already]
    #[arg(long, value_parser = quantity::slots, value_name = "N")]
    verdict_slots: Option<u32>,
    /// Put maps of these sizes, and of this version, in the place of those that are pinned: verdicts are
    /// carried over, flows and counters begin anew, and no packet passes uncounted
    #[arg(long)]
    pub(super) replace: bool,
    /// Count only what arrives
    #[arg(long)]
    no_egress: bool,
    /// Leave a feature out of the programs, which makes them faster
    #[arg(long, value_enum, num_args = 1.., value_delimiter = ',', value_name = "FEATURE")]
    without: Vec<Feature>,
    /// Do not list this host, its gateways and resolvers and this session as never to be blocked
    #[arg(long)]
    pub(super) no_floor: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    plane: PlaneArgs,
    /// Stay, and attach to interfaces that match as they come, until SIGINT or SIGTERM
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    format: FormatArgs,
}

impl PlaneArgs {
    pub(super) fn request(&self, pins: &Pins) -> Result<Request, Failure> {
        let mut settings = Settings {
            features: features::all_but(&self.without),
            ..Settings::default()
        };
        // Where one size is given, the other one stays what it is.
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
            sizes_given: !self.replace
                && (self.flow_slots.is_some() || self.verdict_slots.is_some()),
            mode: match self.mode {
                ModeName::Auto => Mode::Auto,
                ModeName::Native => Mode::Native,
                ModeName::Generic => Mode::Generic,
            },
            no_egress: self.no_egress,
        })
    }
}

pub(super) fn run(args: &Args, pins: &Pins) -> Result<(), Failure> {
    let plane = &args.plane;
    let request = plane.request(pins)?;
    let mut told = Vec::new();
    if plane.replace {
        told.extend(replace(plane, pins, &request)?);
    }
    if args.follow {
        return follow::run(args, pins, request, told);
    }
    let interfaces = expand(&plane.interfaces)?;
    let mut exits = Vec::new();
    for interface in interfaces {
        let (name, result) = match interface {
            Ok(interface) => (
                interface.name.clone(),
                attach::attach(pins, &interface, &request).map_err(Failure::from),
            ),
            Err(failure) => (failure.0, Err(failure.1)),
        };
        match result {
            Ok(attached) => told.push(tell_attached(&attached, &request)),
            Err(failure) => {
                // Any other interface would fail likewise.
                if told.is_empty() && failure.is_of_host() {
                    return Err(failure);
                }
                report::complain(&failure.to_string());
                exits.push(failure.exit());
                told.push(Told::Refused {
                    interface: name,
                    error: failure.to_string(),
                });
            }
        }
    }
    let any = told
        .iter()
        .any(|told| matches!(told, Told::Attached { .. } | Told::Replaced { .. }));
    if any && !plane.no_floor {
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

/// Puts other maps in the place of those that are there, if any are.
pub(super) fn replace(
    args: &PlaneArgs,
    pins: &Pins,
    request: &Request,
) -> Result<Option<Told>, Failure> {
    match pins.require_populated() {
        // With nothing to replace it is an attachment like any other.
        Err(PinError::NothingPinned { .. }) if !args.interfaces.is_empty() => return Ok(None),
        other => other?,
    }
    let replaced = replace::replace(pins, request)?;
    if replaced.unreadable {
        report::warn(
            "the maps that were replaced could not be read: verdicts and never-block prefixes are not carried over",
        );
    }
    for attached in &replaced.attached {
        tell_attached(attached, request);
    }
    Ok(Some(Told::Replaced {
        interfaces: replaced
            .attached
            .into_iter()
            .map(|attached| attached.interface.name)
            .collect(),
        flow_slots: request.settings.flow_slots,
        verdict_slots: request.settings.verdict_slots,
        verdicts_carried: replaced.verdicts,
    }))
}

/// Each interface that is meant, once; a name that there is not is a failure of its own.
#[expect(clippy::type_complexity, reason = "one use, right above")]
fn expand(patterns: &[Pattern]) -> Result<Vec<Result<Interface, (String, Failure)>>, Failure> {
    let present = interface::list();
    let mut all: Vec<Result<Interface, (String, Failure)>> = Vec::new();
    for pattern in patterns {
        let mut found: Vec<Interface> = if pattern.is_glob() {
            present
                .iter()
                .filter(|interface| pattern.matches(&interface.name))
                .cloned()
                .collect()
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
            let names: Vec<&str> = present
                .iter()
                .map(|interface| interface.name.as_str())
                .collect();
            let text = format!(
                "{pattern}: no interface matches; there are: {}",
                names.join(", ")
            );
            all.push(Err((pattern.to_string(), Failure::Other(text))));
        }
        found.retain(|interface| {
            !all.iter()
                .any(|other| other.as_ref().is_ok_and(|other| other == interface))
        });
        all.extend(found.into_iter().map(Ok));
    }
    Ok(all)
}

/// Lists the floor as never to be blocked. What was asked for by hand stays as it is.
pub(super) fn write_floor(pins: &Pins) -> Result<Told, Failure> {
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
    Ok(Told::Floor {
        prefixes: floor.len(),
        added,
    })
}
