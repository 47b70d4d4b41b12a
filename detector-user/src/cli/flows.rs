//! `detector flows`: the live flow table, and what it had no room for.

use std::{
    io::{self, Write as _},
    time::{Duration, SystemTime},
};

use comfy_table::Cell;
use detector_common::service::ServiceCounters;
use rustix::{
    termios::tcgetwinsize,
    time::{ClockId, clock_gettime},
};
use serde::Serialize;

use super::{
    failure::Failure,
    output::OutputArgs,
    quantity,
    report::{self, FormatArgs, Report},
    stop::Stop,
};
use crate::{
    drain::reader::Which,
    enforce::target::protocol_name,
    flow::{Flow, FlowFilter, Ports, Prefix, protocol::has_ports},
    output::{Format, Rfc3339, Sort, units},
    wire::{attach::name_of, load::unix_ms, pins::Pins, tables::Tables},
};

/// Services that a table shows unless told otherwise.
const SERVICES_LIMIT: usize = 50;
/// Rows that a screen has when it does not say.
const ROWS_DEFAULT: u16 = 24;
/// Lines of a screen that are no flows: the heading, the columns' names, the sum, the cursor.
const ROWS_KEPT: usize = 4;

/// To the upper left, clear what is below, cut long lines off; and wrap them again.
const CLEAR: &str = "\x1b[H\x1b[J\x1b[?7l";
const WRAP: &str = "\x1b[?7h";

#[derive(Debug, clap::Args)]
#[command(
    mut_arg("sort", |arg| arg.help("Put flows in this order [default: packets in a table, else as they lie]")),
    mut_arg("output", |arg| arg.conflicts_with_all(["watch", "services"])),
    mut_arg("source", |arg| arg.conflicts_with("services")),
    mut_arg("sort", |arg| arg.conflicts_with("services")),
)]
pub(super) struct Args {
    #[command(flatten)]
    filter: FlowFilter,
    #[command(flatten)]
    output: OutputArgs,
    /// Only flows on this interface
    #[arg(short, long, value_name = "IFACE", help_heading = "Which flows")]
    interface: Option<String>,
    /// Look again every so often (2, 500ms, 1m), until SIGINT or SIGTERM
    #[arg(short, long, value_parser = quantity::interval, num_args = 0..=1, default_missing_value = "2",
          value_name = "SECONDS")]
    watch: Option<Duration>,
    /// Show instead, by destination and service, what found no place in the table or lost it
    #[arg(long)]
    services: bool,
}

pub(super) fn run(args: &Args, pins: &Pins) -> Result<(), Failure> {
    if args.output.format() == Format::Parquet && args.watch.is_some() {
        return Err(Failure::Usage(
            "--watch: Parquet is one file, which does not go on".to_owned(),
        ));
    }
    let tables = Tables::open(pins)?;
    let zone = zone(args, &tables)?;
    let Some(time) = args.watch else {
        return once(args, &tables, zone, args.output.limit);
    };
    let stop = Stop::hold();
    let screen = args.output.format() == Format::Table && report::is_terminal();
    loop {
        if args.output.format() == Format::Table {
            head(pins, screen)?;
        }
        let limit = if screen {
            Some(on_screen(args.output.limit))
        } else {
            args.output.limit
        };
        once(args, &tables, zone, limit)?;
        if screen {
            put(WRAP)?;
        }
        if stop.within(time) {
            return Ok(());
        }
        if !screen && args.output.format() == Format::Table {
            put("\n")?;
        }
    }
}

/// What comes before each look: on a screen, in the place of the one before.
fn head(pins: &Pins, screen: bool) -> Result<(), Failure> {
    let now = Rfc3339(unix_ms(SystemTime::now()).saturating_mul(1000));
    let clear = if screen { CLEAR } else { "" };
    put(&format!("{clear}{now}  {}\n", pins.root().display()))
}

fn put(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// The limit that was asked for, but no more than the screen has room for.
fn on_screen(limit: Option<usize>) -> usize {
    let rows = tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_row);
    let rows = if rows == 0 { ROWS_DEFAULT } else { rows };
    let room = usize::from(rows).saturating_sub(ROWS_KEPT).max(1);
    match limit {
        None | Some(0) => room,
        Some(limit) => limit.min(room),
    }
}

fn once(
    args: &Args,
    tables: &Tables,
    zone: Option<u32>,
    limit: Option<usize>,
) -> Result<(), Failure> {
    if args.services {
        return services(args, tables, zone, limit);
    }
    let mut output = args.output.clone();
    output.limit = limit;
    if output.format() == Format::Table && output.sort.is_none() {
        output.sort = Some(Sort::Packets);
    }
    let epoch_us = boot_unix_us();
    let mut flows = output.open(args.filter.clone())?;
    let pass = tables.scan(Which::Live, |snapshot| {
        let here = zone.is_none_or(|zone| snapshot.record.key.zone() == zone);
        if here && !flows.has_failed() {
            let periods = tables.periods_of(snapshot);
            flows.take(Flow::new(&snapshot.record, periods.as_ref(), epoch_us));
        }
    });
    let shown = flows.finish()?;
    if pass.torn > 0 {
        report::warn(&format!(
            "{} flows were being written at every try and are left out",
            pass.torn
        ));
    }
    if output.format() == Format::Table && output.output.is_none() {
        let matching = if args.filter.takes_all() && zone.is_none() {
            ""
        } else {
            "matching "
        };
        put(&format!(
            "{} of {} {matching}flows shown; {} in the table, {} of them established\n",
            shown.written, shown.matched, pass.flows, pass.protected
        ))?;
    }
    Ok(())
}

/// Unix time at which the kernel's monotonic clock was 0, in µs.
fn boot_unix_us() -> u64 {
    let micros = |clock| {
        let time = clock_gettime(clock);
        time.tv_sec.cast_unsigned() * 1_000_000 + time.tv_nsec.cast_unsigned() / 1_000
    };
    micros(ClockId::Realtime).saturating_sub(micros(ClockId::Monotonic))
}

/// The zone of the interface that is asked for.
fn zone(args: &Args, tables: &Tables) -> Result<Option<u32>, Failure> {
    let Some(name) = &args.interface else {
        return Ok(None);
    };
    let entries: Vec<_> = (0..tables.interfaces.len())
        .map(|place| tables.interfaces.load(place))
        .filter(|entry| entry.index != 0)
        .collect();
    let found = entries
        .iter()
        .filter(|entry| name_of(entry) == *name)
        .max_by_key(|entry| entry.attached);
    match found {
        Some(entry) => Ok(Some(entry.index & detector_common::key::ZONE_MAX)),
        None => {
            let names: Vec<String> = entries.iter().map(name_of).collect();
            Err(Failure::Other(format!(
                "{name}: not attached; attached: {}",
                names.join(", ")
            )))
        }
    }
}

/// Whether a service meets the options that can be said of one.
fn takes(filter: &FlowFilter, counters: &ServiceCounters) -> bool {
    let number = counters.port_protocol as u8;
    let port = (counters.port_protocol >> 16) as u16;
    let address = counters.destination.to_ip();
    let in_any = |prefixes: &[Prefix]| {
        prefixes.is_empty() || prefixes.iter().any(|prefix| prefix.contains(address))
    };
    (filter.protocol.is_empty() || filter.protocol.contains(&number))
        && (filter.port.is_empty()
            || has_ports(number) && filter.port.iter().any(|Ports(range)| range.contains(&port)))
        && in_any(&filter.address)
        && in_any(&filter.destination)
}

/// What the table lost of a service.
#[derive(Serialize)]
struct Service {
    destination: String,
    protocol: String,
    port: Option<u16>,
    zone: u32,
    refused_packets: u64,
    refused_bytes: u64,
    evicted_flows: u64,
    evicted_packets: u64,
    evicted_bytes: u64,
}

impl Service {
    fn new(counters: &ServiceCounters) -> Self {
        let number = counters.port_protocol as u8;
        Self {
            destination: counters.destination.to_ip().to_string(),
            protocol: protocol_name(number),
            port: has_ports(number).then_some((counters.port_protocol >> 16) as u16),
            zone: counters.zone,
            refused_packets: counters.refused_packets,
            refused_bytes: counters.refused_bytes,
            evicted_flows: counters.evicted_flows,
            evicted_packets: counters.evicted_packets,
            evicted_bytes: counters.evicted_bytes,
        }
    }

    fn name(&self) -> String {
        match self.port {
            Some(port) => format!("{}/{port}", self.protocol),
            None => self.protocol.clone(),
        }
    }
}

fn services(
    args: &Args,
    tables: &Tables,
    zone: Option<u32>,
    limit: Option<usize>,
) -> Result<(), Failure> {
    let format = match args.output.format() {
        Format::Table => report::Format::Table,
        Format::Json => report::Format::Json,
        Format::Jsonl => report::Format::Jsonl,
        Format::Csv | Format::Parquet => {
            return Err(Failure::Usage(
                "--services: as table, json or jsonl only".to_owned(),
            ));
        }
    };
    let all = tables.services_lost();
    let limit = match limit {
        None if format == report::Format::Table => SERVICES_LIMIT,
        None | Some(0) => usize::MAX,
        Some(limit) => limit,
    };
    let wanted: Vec<Service> = all
        .iter()
        .filter(|counters| zone.is_none_or(|zone| counters.zone == zone))
        .filter(|counters| takes(&args.filter, counters))
        .take(limit)
        .map(Service::new)
        .collect();
    let mut report = Report::new(FormatArgs { format });
    if !report.is_table() {
        report.items(&wanted)?;
    } else if all.is_empty() {
        report.line("the table has refused no packet and evicted no flow")?;
    } else {
        let mut table = report::table(&[
            "DESTINATION",
            "SERVICE",
            "ZONE",
            "REFUSED PACKETS",
            "BYTES",
            "EVICTED FLOWS",
            "PACKETS",
            "BYTES",
        ]);
        for one in &wanted {
            table.add_row(vec![
                Cell::new(&one.destination),
                Cell::new(one.name()),
                Cell::new(one.zone),
                Cell::new(units::count(one.refused_packets)),
                Cell::new(units::bytes(one.refused_bytes)),
                Cell::new(units::count(one.evicted_flows)),
                Cell::new(units::count(one.evicted_packets)),
                Cell::new(units::bytes(one.evicted_bytes)),
            ]);
        }
        report::align(&mut table, &[2, 3, 4, 5, 6, 7]);
        report.table(&table)?;
        report.line(&format!("{} of {} services shown", wanted.len(), all.len()))?;
    }
    Ok(report.flush()?)
}
