//! `detector verdicts add`.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use detector_common::verdict::{Action, Kind, REASON_BYTES, Service};

use super::{
    super::{
        failure::Failure,
        features, quantity,
        report::{self, FormatArgs, Report},
    },
    covering, list, target,
};
use crate::{
    enforce::{
        floor,
        target::{Prefix, Target, protocol},
        writer::{Order, Writer},
    },
    flow::protocol::has_ports,
    wire::{
        clock::Clock,
        health::{self, Health},
        interface,
        pins::Pins,
        tables::Tables,
    },
};

/// What is done with the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ActionName {
    /// They pass, whatever later verdicts say
    Pass,
    /// What exceeds --pps or --bps is dropped
    RateLimit,
    /// All is dropped but what goes to an --allow'ed service
    Quarantine,
    /// All is dropped
    Drop,
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(false))]
pub(in super::super) struct Args {
    #[command(flatten)]
    target: target::TargetArgs,
    /// What is done
    #[arg(long, value_enum)]
    action: ActionName,
    /// Rate limit: packets a second (10k)
    #[arg(long, value_parser = quantity::number, value_name = "N")]
    pps: Option<u64>,
    /// Rate limit: bytes a second (10M)
    #[arg(long, value_parser = quantity::number, value_name = "N")]
    bps: Option<u64>,
    /// Quarantine: a service that stays reachable, PROTOCOL/PORT, or PROTOCOL for all of it
    #[arg(long, value_parser = service, num_args = 1.., value_delimiter = ',', value_name = "SERVICE")]
    allow: Vec<Service>,
    /// For how long (90s, 10m, 1h30m, 7d) [default: until removed]
    #[arg(long, value_parser = quantity::duration, value_name = "DURATION")]
    ttl: Option<Duration>,
    /// Why
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "TEXT"
    )]
    reason: String,
    #[command(flatten)]
    format: FormatArgs,
}

fn service(text: &str) -> Result<Service, String> {
    let no = || format!("{text:?}: write PROTOCOL/PORT, such as tcp/22, or PROTOCOL for all of it");
    let (name, port) = match text.split_once('/') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let protocol = protocol(name).map_err(|error| error.to_string())?;
    let port = match port {
        None => 0,
        Some(_) if !has_ports(protocol) => return Err(format!("{text:?}: {name} has no ports")),
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(no)?,
    };
    Ok(Service {
        port,
        protocol,
        reserved: 0,
    })
}

pub(super) fn run(args: &Args, pins: &Pins) -> Result<(), Failure> {
    check(args)?;
    let mut tables = Tables::open(pins)?;
    let clock = Clock::open(pins)?;
    let target = args
        .target
        .target(&tables)?
        .ok_or_else(|| Failure::Usage("say what the verdict is on".to_owned()))?;
    let order = order(args, target);
    let standings = health::standings(pins, &tables, &interface::list());
    let names = target::zone_names(&tables);
    let mut writer = Writer::new(pins, &mut tables, &clock)?;
    let never: Vec<Prefix> = writer
        .never_blocked()?
        .into_iter()
        .map(|(prefix, _)| prefix)
        .collect();
    let former = writer.find(&target);
    let slot = writer.add(&order)?;
    let listed = writer
        .list()?
        .into_iter()
        .find(|listed| listed.slot == slot);

    let attached: Vec<_> = standings
        .iter()
        .filter(|one| one.health != Health::Detached && one.health != Health::Gone)
        .collect();
    if attached.is_empty() {
        report::warn(
            "no interface is attached: the verdict is kept, and acts when one is (`detector attach`)",
        );
    }
    for one in attached {
        if let Some(feature) = features::lacking(one.entry.features, kind(&target), order.action) {
            report::warn(&format!(
                "{} was attached without {feature}: the verdict does nothing there",
                one.name
            ));
        }
    }
    if order.action != Action::PASS {
        warn_of_never_block(&target, &never);
    }
    let mut report = Report::new(args.format);
    if let Some(listed) = listed {
        let shown = list::Shown::new(&listed, &names, SystemTime::now());
        if report.is_table() {
            let verb = if former.is_some() {
                "replaced"
            } else {
                "added"
            };
            report.line(&format!("{verb}: {}", shown.sentence()))?;
        } else {
            report.document(&shown)?;
        }
    }
    Ok(report.flush()?)
}

/// What is wrong with the options that can be told without a data plane.
fn check(args: &Args) -> Result<(), Failure> {
    args.target.check()?;
    let wrong = |text: &str| Err(Failure::Usage(text.to_owned()));
    if args.reason.chars().any(char::is_control) {
        return wrong("--reason: no control characters");
    }
    let limits = args.pps.is_some() || args.bps.is_some();
    if limits && args.action != ActionName::RateLimit {
        return wrong("--pps and --bps belong to --action rate-limit");
    }
    if !limits && args.action == ActionName::RateLimit {
        return wrong("--action rate-limit needs --pps or --bps, or both");
    }
    if [args.pps, args.bps].contains(&Some(0)) {
        return wrong("--pps and --bps: must be more than 0 (for none at all, drop)");
    }
    if !args.allow.is_empty() && args.action != ActionName::Quarantine {
        return wrong("--allow belongs to --action quarantine");
    }
    if args.reason.len() > REASON_BYTES {
        report::warn(&format!(
            "--reason: only {REASON_BYTES} bytes fit; the rest is cut off"
        ));
    }
    Ok(())
}

fn order(args: &Args, target: Target) -> Order {
    Order {
        target,
        action: match args.action {
            ActionName::Pass => Action::PASS,
            ActionName::RateLimit => Action::RATE_LIMIT,
            ActionName::Quarantine => Action::QUARANTINE,
            ActionName::Drop => Action::DROP,
        },
        packets_per_second: args.pps.unwrap_or(0),
        bytes_per_second: args.bps.unwrap_or(0),
        services: args.allow.clone(),
        time_to_live: args.ttl,
        reason: args.reason.clone(),
    }
}

fn kind(target: &Target) -> Kind {
    match target {
        Target::Address(_) => Kind::ADDRESS,
        Target::Prefix(_) => Kind::PREFIX,
        Target::Flow(_) => Kind::FLOW,
        Target::Signature(_) => Kind::SIGNATURE,
    }
}

fn warn_of_never_block(target: &Target, never: &[Prefix]) {
    let of = |address: IpAddr| covering(never, Prefix::host(address));
    match target {
        Target::Address(address) => {
            if let Some(outer) = of(*address) {
                report::warn(&format!(
                    "{address} is never to be blocked ({outer}): the verdict drops nothing \
                     (`detector never-block list`)"
                ));
            }
        }
        Target::Prefix(prefix) => {
            if let Some(outer) = covering(never, *prefix) {
                report::warn(&format!(
                    "{prefix} is never to be blocked ({outer}): the verdict drops nothing \
                     (`detector never-block list`)"
                ));
                return;
            }
            let inner: Vec<String> = never
                .iter()
                .filter(|inner| prefix.covers(**inner))
                .map(ToString::to_string)
                .collect();
            if !inner.is_empty() {
                report::warn(&format!(
                    "part of {prefix} is never to be blocked and stays so: {}",
                    inner.join(", ")
                ));
            }
        }
        Target::Flow(key) => {
            // What this host itself sends does not arrive here, listed or not.
            let own: Vec<Prefix> = floor::prefixes()
                .into_iter()
                .filter(|(_, what)| *what == floor::THIS_HOST)
                .map(|(prefix, _)| prefix)
                .collect();
            for address in [key.low.to_ip(), key.high.to_ip()] {
                let outer = of(address).filter(|_| !own.contains(&Prefix::host(address)));
                if let Some(outer) = outer {
                    report::warn(&format!(
                        "{address} is never to be blocked ({outer}): what it sends in this flow passes \
                         (`detector never-block list`)"
                    ));
                }
            }
        }
        Target::Signature(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_read() {
        assert_eq!(
            service("tcp/22"),
            Ok(Service {
                port: 22,
                protocol: 6,
                reserved: 0
            })
        );
        assert_eq!(
            service("icmp"),
            Ok(Service {
                port: 0,
                protocol: 1,
                reserved: 0
            })
        );
        for text in ["", "tcp/", "tcp/0", "tcp/65536", "22", "icmp/8", "xyz/1"] {
            // A number alone is a protocol.
            assert!(service(text).is_err() || text == "22", "{text}");
        }
    }
}
