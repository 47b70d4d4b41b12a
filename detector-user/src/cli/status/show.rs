//! The status as tables.

use std::io;

use comfy_table::Cell;
use detector_common::counters::Fate;

use super::{
    super::report::{self, Report},
    gather::{Balance, Books, InterfaceStatus, Named, Status, Sum},
};
use crate::output::units::{self, grouped};

pub(super) fn show(report: &mut Report, status: &Status) -> io::Result<()> {
    interfaces(report, status)?;
    report.line("")?;
    packets(report, status)?;
    report.line("")?;
    let table = &status.table;
    report.line(&format!(
        "flow table: {} live ({} established, {} on probation), {} released, {} slots{}",
        grouped(table.live.into()),
        grouped(table.protected.into()),
        grouped(table.probation.into()),
        grouped(table.released.into()),
        grouped(table.capacity.into()),
        if table.torn == 0 {
            String::new()
        } else {
            format!("; {} being written", table.torn)
        }
    ))?;
    verdicts(report, status)?;
    report.line("")?;
    books(report, &status.books)?;
    some(report, "malformed, by reason", &status.malformed)?;
    non_ip(report, status)?;
    some(report, "events", &status.events)
}

fn interfaces(report: &mut Report, status: &Status) -> io::Result<()> {
    let mut table = report::table(&[
        "INTERFACE",
        "INDEX",
        "STATE",
        "INGRESS",
        "EGRESS",
        "ATTACHED (UTC)",
        "AGO",
        "LEFT OUT",
    ]);
    for one in &status.interfaces {
        let name = match &one.renamed {
            Some(now) => format!("{} (now {now})", one.name),
            None => one.name.clone(),
        };
        let state = match one.state {
            "attached" => report::good(one.state),
            "detached" => report::notable(one.state),
            wrong => report::alarming(wrong.to_uppercase()),
        };
        let ingress = match one.ingress_mode {
            "generic" if !one.detached => report::notable("GENERIC (slow)"),
            mode => Cell::new(mode),
        };
        table.add_row(vec![
            Cell::new(name),
            Cell::new(one.index),
            state,
            ingress,
            Cell::new(one.egress_mode),
            Cell::new(
                one.attached
                    .get(..19)
                    .unwrap_or(&one.attached)
                    .replacen('T', " ", 1),
            ),
            Cell::new(units::duration(Status::age_us(one))),
            Cell::new(if one.left_out.is_empty() {
                "-".to_owned()
            } else {
                one.left_out.join(",")
            }),
        ]);
    }
    if status.interfaces.is_empty() {
        return report.line("no interface was ever attached");
    }
    report::align(&mut table, &[1, 6]);
    report.table(&table)
}

fn packets(report: &mut Report, status: &Status) -> io::Result<()> {
    let mut table = report::table(&[
        "PACKETS",
        "",
        "SEEN",
        "BYTES",
        "NOT IP",
        "MALFORMED",
        "NOT ADMITTED",
        "DROPPED",
    ]);
    for one in &status.interfaces {
        for (way, fates) in [("in", &one.ingress), ("out", &one.egress)] {
            table.add_row(packet_row(one, way, fates));
        }
    }
    report::align(&mut table, &[2, 3, 4, 5, 6, 7]);
    report.table(&table)
}

fn packet_row(one: &InterfaceStatus, way: &str, fates: &Named<Sum>) -> Vec<Cell> {
    let of = |fate: Fate| {
        let named = fates.0.iter().find(|(name, _)| *name == fate.name());
        named.map_or(
            Sum {
                packets: 0,
                bytes: 0,
            },
            |(_, sum)| *sum,
        )
    };
    let seen = of(Fate::Seen);
    let dropped: u64 = [
        Fate::DroppedAddress,
        Fate::DroppedPrefix,
        Fate::DroppedFlow,
        Fate::DroppedSignature,
    ]
    .into_iter()
    .map(|fate| of(fate).packets)
    .sum();
    let refused = of(Fate::NotAdmitted).packets;
    vec![
        Cell::new(&one.name),
        Cell::new(way),
        Cell::new(grouped(seen.packets)),
        Cell::new(grouped(seen.bytes)),
        Cell::new(grouped(of(Fate::NonIp).packets)),
        Cell::new(grouped(of(Fate::Malformed).packets)),
        if refused == 0 {
            Cell::new(0)
        } else {
            report::notable(grouped(refused))
        },
        Cell::new(grouped(dropped)),
    ]
}

fn verdicts(report: &mut Report, status: &Status) -> io::Result<()> {
    let verdicts = &status.verdicts;
    let kinds: Vec<String> = verdicts
        .by_kind
        .0
        .iter()
        .filter(|(_, n)| *n > 0)
        .map(|(kind, n)| format!("{n} {kind}"))
        .collect();
    let kinds = if kinds.is_empty() {
        String::new()
    } else {
        format!(" ({})", kinds.join(", "))
    };
    let expired = match verdicts.expired {
        Some(0) => String::new(),
        Some(n) => format!(", {n} of them EXPIRED"),
        None => ", how many have expired cannot be told".to_owned(),
    };
    report.line(&format!(
        "verdicts: {}{kinds}{expired}, {} slots; {} prefixes never to be blocked",
        grouped(verdicts.total.into()),
        grouped(verdicts.capacity.into()),
        verdicts.never_block
    ))
}

/// What the fates are called in the sum.
fn words(fate: &str) -> &str {
    match fate {
        "non_ip" => "not IP",
        "not_admitted" => "not admitted: the table had no room",
        "evicted_probation" => "in evicted flows on probation",
        "evicted_idle" => "in evicted flows that were idle",
        "released" => "in flows that were read and released",
        "ended" => "in flows that ended and began anew",
        "dropped_address" => "dropped by address",
        "dropped_prefix" => "dropped by prefix",
        "dropped_flow" => "dropped by flow",
        "dropped_signature" => "dropped by signature",
        other => other,
    }
}

fn books(report: &mut Report, books: &Books) -> io::Result<()> {
    let mut table = report::table(&["EVERY PACKET", "PACKETS", "BYTES"]);
    let row = |name: String, sum: Sum| {
        vec![
            Cell::new(name),
            Cell::new(grouped(sum.packets)),
            Cell::new(grouped(sum.bytes)),
        ]
    };
    table.add_row(row("seen".to_owned(), books.seen));
    table.add_row(row("= in the table's records".to_owned(), books.in_records));
    for (fate, sum) in &books.fates.0 {
        table.add_row(row(format!("+ {}", words(fate)), *sum));
    }
    let cell = |n: i64| match books.balance {
        Balance::Balanced => report::good(n),
        Balance::InFlight | Balance::Uncounted => report::notable(n),
        Balance::Unbalanced => report::alarming(n),
    };
    let name = match books.balance {
        Balance::Balanced => "difference",
        Balance::InFlight => "difference: in flight while the counters were read",
        Balance::Uncounted => "difference: seen where flows are not counted",
        Balance::Unbalanced => "difference: NOT ACCOUNTED FOR",
    };
    table.add_row(vec![
        Cell::new(name),
        cell(books.difference_packets),
        cell(books.difference_bytes),
    ]);
    report::align(&mut table, &[1, 2]);
    report.table(&table)
}

/// Those of them that are not 0.
fn some(report: &mut Report, title: &str, all: &Named<u64>) -> io::Result<()> {
    let some: Vec<String> = all
        .0
        .iter()
        .filter(|(_, n)| *n > 0)
        .map(|(name, n)| format!("{} {}", name.replace('_', " "), grouped(*n)))
        .collect();
    if some.is_empty() {
        Ok(())
    } else {
        report.line(&format!("{title}: {}", some.join(", ")))
    }
}

fn non_ip(report: &mut Report, status: &Status) -> io::Result<()> {
    let all: Vec<String> = status
        .non_ip
        .iter()
        .map(|one| {
            let parts: Vec<String> = one
                .name
                .map(str::to_owned)
                .into_iter()
                .chain(one.number.as_ref().map(|number| format!("({number})")))
                .collect();
            format!("{} {}", parts.join(" "), grouped(one.packets))
        })
        .collect();
    if all.is_empty() {
        Ok(())
    } else {
        report.line(&format!("not IP, by EtherType: {}", all.join(", ")))
    }
}
