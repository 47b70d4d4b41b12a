//! `detector verdicts list`.

use std::{collections::HashMap, time::SystemTime};

use comfy_table::Cell;
use detector_common::{
    rate,
    verdict::{Action, Service},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    super::{
        failure::Failure,
        report::{self, FormatArgs, Report},
    },
    target,
};
use crate::{
    enforce::{
        target::protocol_name,
        writer::{Listed, Writer},
    },
    kubernetes::PodNames,
    output::{Rfc3339, printable, units},
    wire::{clock::Clock, load::unix_ms, pins::Pins, tables::Tables},
};

#[derive(Debug, clap::Args)]
pub(in super::super) struct Args {
    #[command(flatten)]
    format: FormatArgs,
}

/// A verdict as it is shown.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct Shown {
    pub(crate) slot: u32,
    pub(crate) kind: &'static str,
    pub(crate) target: String,
    /// The pod whose address it is, `NAMESPACE/NAME`, where the agent names pods; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pod: Option<String>,
    pub(crate) action: &'static str,
    pub(crate) packets_per_second: Option<u64>,
    pub(crate) bytes_per_second: Option<u64>,
    pub(crate) services: Vec<String>,
    pub(crate) reason: String,
    pub(crate) created: String,
    pub(crate) expires: Option<String>,
    pub(crate) expired: bool,
    pub(crate) dropped_packets: u64,
    pub(crate) dropped_bytes: u64,
    pub(crate) passed_packets: u64,
    pub(crate) passed_bytes: u64,
    #[serde(skip)]
    age_us: u64,
    #[serde(skip)]
    left_us: Option<u64>,
}

impl Shown {
    pub(crate) fn new(listed: &Listed, names: &HashMap<u32, String>, now: SystemTime) -> Self {
        let verdict = &listed.verdict;
        let now = unix_ms(now);
        // Not what stands in the verdict: the wall clock may have been set since.
        let left_us = listed.left.map(|left| left.as_micros() as u64);
        let services =
            &verdict.services[..usize::from(verdict.service_count).min(verdict.services.len())];
        Self {
            slot: listed.slot,
            kind: verdict.kind.name(),
            target: target::text(&listed.target, names),
            pod: None,
            action: verdict.action.name(),
            packets_per_second: per_second(verdict.packet_cost),
            bytes_per_second: per_second(verdict.byte_cost),
            services: services.iter().map(service).collect(),
            reason: verdict.reason_text().to_owned(),
            created: Rfc3339(verdict.created_unix_ms.saturating_mul(1000)).to_string(),
            expires: left_us
                .map(|us| Rfc3339(now.saturating_mul(1000).saturating_add(us)).to_string()),
            expired: listed.is_expired(),
            dropped_packets: listed.hits.dropped_packets,
            dropped_bytes: listed.hits.dropped_bytes,
            passed_packets: listed.hits.passed_packets,
            passed_bytes: listed.hits.passed_bytes,
            age_us: now
                .saturating_sub(verdict.created_unix_ms)
                .saturating_mul(1000),
            left_us,
        }
    }

    /// The same with the name of the pod that it is about.
    pub(crate) fn naming(mut self, pods: &PodNames) -> Self {
        let address = self.target.parse().ok();
        let pod = address.and_then(|address| pods.of(address));
        self.pod = pod.map(|pod| pod.to_string());
        self
    }

    /// Rate and services: what goes with the action.
    fn terms(&self) -> String {
        let packets = self
            .packets_per_second
            .map(|n| format!("{} packets/s", units::count(n)));
        let bytes = self
            .bytes_per_second
            .map(|n| format!("{}/s", units::bytes(n)));
        let services =
            (!self.services.is_empty()).then(|| format!("but {}", self.services.join(",")));
        let all: Vec<String> = packets.into_iter().chain(bytes).chain(services).collect();
        if all.is_empty() {
            "-".to_owned()
        } else {
            all.join(", ")
        }
    }

    fn expiry(&self) -> String {
        match self.left_us {
            _ if self.expired => "EXPIRED".to_owned(),
            Some(us) => units::duration(us),
            None => "never".to_owned(),
        }
    }

    /// All in one line.
    pub(super) fn sentence(&self) -> String {
        let terms = match self.terms() {
            terms if terms == "-" => String::new(),
            terms => format!(" ({terms})"),
        };
        let expiry = match self.left_us {
            _ if self.expired => "expired".to_owned(),
            Some(us) => format!("expires in {}", units::duration(us)),
            None => "does not expire".to_owned(),
        };
        format!(
            "slot {}: {} {} {}{terms}, {expiry}",
            self.slot, self.action, self.kind, self.target
        )
    }
}

/// The rate whose cost this is; `None` where there is no limit.
fn per_second(cost: u64) -> Option<u64> {
    // Rounded, since the cost was rounded down.
    (cost != 0).then(|| ((1_000_000_000u64 << rate::FRACTION_BITS) + cost / 2) / cost)
}

/// A service as it is written: `tcp/22`, or `icmp` for all of a protocol.
fn service(service: &Service) -> String {
    let protocol = protocol_name(service.protocol);
    if service.port == 0 {
        protocol
    } else {
        format!("{protocol}/{}", service.port)
    }
}

pub(super) fn run(args: &Args, pins: &Pins) -> Result<(), Failure> {
    let mut tables = Tables::open(pins)?;
    let clock = Clock::open(pins)?;
    let names = target::zone_names(&tables);
    let listed = Writer::new(pins, &mut tables, &clock)?.list()?;
    let now = SystemTime::now();
    let shown: Vec<Shown> = listed
        .iter()
        .map(|listed| Shown::new(listed, &names, now))
        .collect();
    let mut report = Report::new(args.format);
    if report.is_table() {
        table(&mut report, &shown)?
    } else {
        report.items(&shown)?
    }
    Ok(report.flush()?)
}

fn table(report: &mut Report, shown: &[Shown]) -> std::io::Result<()> {
    if shown.is_empty() {
        return report.line("no verdicts");
    }
    let mut table = report::table(&[
        "SLOT",
        "KIND",
        "TARGET",
        "ACTION",
        "RATE, SERVICES",
        "AGE",
        "EXPIRES IN",
        "DROPPED",
        "PASSED",
        "REASON",
    ]);
    for one in shown {
        let hits = |packets: u64, bytes: u64| {
            if packets == 0 {
                "0".to_owned()
            } else {
                format!("{} ({})", units::count(packets), units::bytes(bytes))
            }
        };
        let action = if one.action == Action::PASS.name() {
            report::good(one.action)
        } else {
            Cell::new(one.action)
        };
        table.add_row(vec![
            Cell::new(one.slot),
            Cell::new(one.kind),
            Cell::new(&one.target),
            action,
            Cell::new(one.terms()),
            Cell::new(units::duration(one.age_us)),
            if one.expired {
                report::notable(one.expiry())
            } else {
                Cell::new(one.expiry())
            },
            Cell::new(hits(one.dropped_packets, one.dropped_bytes)),
            Cell::new(hits(one.passed_packets, one.passed_bytes)),
            Cell::new(printable(&one.reason)),
        ]);
    }
    report::align(&mut table, &[0, 5, 6, 7, 8]);
    report.table(&table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_come_back_as_they_were_given() {
        for n in [1, 7, 1000, 10_000, 1_000_000, 123_456] {
            assert_eq!(per_second(rate::cost(n)), Some(n), "{n}");
        }
        assert_eq!(per_second(0), None);
    }

    #[test]
    fn services_are_shown_as_they_are_written() {
        assert_eq!(
            service(&Service {
                port: 22,
                protocol: 6,
                reserved: 0
            }),
            "tcp/22"
        );
        assert_eq!(
            service(&Service {
                port: 0,
                protocol: 1,
                reserved: 0
            }),
            "icmp"
        );
    }
}
