//! The status as it is told: everything that the maps say, in one piece.

use std::{
    thread,
    time::{Duration, SystemTime},
};

use detector_common::{
    config::hook,
    counters::{Counters, Event, Fate, Tally},
    frame::Malformed,
    verdict::{FOREVER, Kind},
};
use serde::{Serialize, Serializer};

use super::super::{ethertype, features};
use crate::{
    drain::account::{Account, AccountError},
    output::Rfc3339,
    wire::{
        attach::hook_name,
        clock::Clock,
        health::{self, Health, Standing},
        interface,
        load::unix_ms,
        pins::Pins,
        tables::Tables,
    },
};

/// While packets flow a reading does not add up: it is tried so often.
const READINGS: u32 = 5;
/// Between one reading and the next.
const READING_PAUSE: Duration = Duration::from_millis(20);

/// Names and their values, in their order.
#[derive(Debug)]
pub(crate) struct Named<T>(pub(crate) Vec<(&'static str, T)>);

impl<T: Serialize> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Sum {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

impl From<Tally> for Sum {
    fn from(tally: Tally) -> Self {
        Self {
            packets: tally.packets,
            bytes: tally.bytes,
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Status {
    pub(crate) pin_dir: String,
    pub(crate) created: String,
    pub(crate) interfaces: Vec<InterfaceStatus>,
    pub(crate) table: TableStatus,
    pub(crate) books: Books,
    pub(crate) malformed: Named<u64>,
    pub(crate) non_ip: Vec<EtherType>,
    pub(crate) events: Named<u64>,
    pub(crate) verdicts: VerdictStatus,
}

#[derive(Debug, Serialize)]
pub(crate) struct InterfaceStatus {
    pub(crate) name: String,
    pub(crate) renamed: Option<String>,
    pub(crate) index: u32,
    pub(crate) state: &'static str,
    pub(crate) complaint: Option<String>,
    pub(crate) ingress_mode: &'static str,
    pub(crate) egress_mode: &'static str,
    pub(crate) attached: String,
    pub(crate) left_out: Vec<&'static str>,
    pub(crate) ingress: Named<Sum>,
    pub(crate) egress: Named<Sum>,
    #[serde(skip)]
    pub(crate) attached_unix_ms: u64,
    #[serde(skip)]
    pub(crate) detached: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct TableStatus {
    pub(crate) capacity: u32,
    pub(crate) live: u32,
    pub(crate) protected: u32,
    pub(crate) probation: u32,
    pub(crate) released: u32,
    pub(crate) torn: u32,
}

/// Whether what was seen is accounted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Balance {
    /// To the packet and byte.
    Balanced,
    /// Packets came while the counters were read.
    InFlight,
    /// An interface's programs do not count flows.
    Uncounted,
    /// No packet came, and yet it does not add up.
    Unbalanced,
}

/// The conservation identity: seen = in records + every other fate.
#[derive(Debug, Serialize)]
pub(crate) struct Books {
    pub(crate) seen: Sum,
    pub(crate) in_records: Sum,
    pub(crate) fates: Named<Sum>,
    pub(crate) difference_packets: i64,
    pub(crate) difference_bytes: i64,
    pub(crate) balance: Balance,
}

#[derive(Debug, Serialize)]
pub(crate) struct EtherType {
    /// `None` for frames that have a length in its place.
    pub(crate) number: Option<String>,
    pub(crate) name: Option<&'static str>,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct VerdictStatus {
    pub(crate) capacity: u32,
    pub(crate) total: u32,
    /// `None` where the kernel's clock cannot be asked.
    pub(crate) expired: Option<u32>,
    pub(crate) by_kind: Named<u32>,
    pub(crate) never_block: usize,
}

pub(crate) fn gather(pins: &Pins, tables: &Tables) -> Result<Status, AccountError> {
    let (account, balance) = settled(tables)?;
    let (difference_packets, difference_bytes) = account.difference();
    let control = tables.control.load(0);
    let standings = health::standings(pins, tables, &interface::list());
    let table = &account.table;
    Ok(Status {
        pin_dir: pins.root().display().to_string(),
        created: Rfc3339(control.created_unix_ms.saturating_mul(1000)).to_string(),
        interfaces: standings
            .iter()
            .filter_map(|standing| {
                let account = account
                    .interfaces
                    .iter()
                    .find(|account| account.interface.index == standing.entry.index)?;
                Some(interface_status(
                    standing,
                    &account.ingress,
                    &account.egress,
                ))
            })
            .collect(),
        table: TableStatus {
            capacity: account.flow_slots,
            live: table.flows,
            protected: table.protected,
            probation: table.flows - table.protected,
            released: table.released,
            torn: table.torn,
        },
        books: Books {
            seen: account.total.tally(Fate::Seen).into(),
            in_records: account.in_records.into(),
            fates: fates(&account.total, |fate| fate != Fate::Seen),
            difference_packets,
            difference_bytes,
            balance,
        },
        malformed: Named(
            Malformed::ALL
                .into_iter()
                .map(|one| (one.name(), account.total.malformed[one as usize]))
                .collect(),
        ),
        non_ip: ethertypes(tables),
        events: Named(
            Event::ALL
                .into_iter()
                .map(|event| (event.name(), account.total.event(event)))
                .collect(),
        ),
        verdicts: verdicts(pins, tables),
    })
}

/// A reading that adds up, where one can be had.
fn settled(tables: &Tables) -> Result<(Account, Balance), AccountError> {
    let first = tables.account()?;
    let seen_first = first.total.tally(Fate::Seen).packets;
    let mut account = first;
    for reading in 1..=READINGS {
        if account.difference() == (0, 0) {
            return Ok((account, Balance::Balanced));
        }
        if reading < READINGS {
            thread::sleep(READING_PAUSE);
            account = tables.account()?;
        }
    }
    let uncounted = account
        .interfaces
        .iter()
        .any(|one| one.interface.features & detector_common::config::feature::FLOWS == 0);
    let balance = if uncounted {
        Balance::Uncounted
    } else if account.total.tally(Fate::Seen).packets != seen_first || account.table.torn > 0 {
        Balance::InFlight
    } else {
        Balance::Unbalanced
    };
    Ok((account, balance))
}

fn interface_status(standing: &Standing, ingress: &Counters, egress: &Counters) -> InterfaceStatus {
    let entry = &standing.entry;
    InterfaceStatus {
        name: standing.name.clone(),
        renamed: standing.renamed.clone(),
        index: entry.index,
        state: standing.health.name(),
        complaint: standing.health.complaint(&standing.name).or_else(|| {
            (standing.health == Health::Sound && entry.ingress == hook::GENERIC).then(|| {
                format!(
                    "attached in GENERIC mode, which is several times slower than native; \
                     `detector doctor -i {}` says why",
                    standing.name
                )
            })
        }),
        ingress_mode: hook_name(entry.ingress),
        egress_mode: hook_name(entry.egress),
        attached: Rfc3339(entry.attached_unix_ms.saturating_mul(1000)).to_string(),
        left_out: features::left_out(entry.features),
        ingress: fates(ingress, |_| true),
        egress: fates(egress, |_| true),
        attached_unix_ms: entry.attached_unix_ms,
        detached: standing.health == Health::Detached,
    }
}

fn fates(counters: &Counters, wanted: impl Fn(Fate) -> bool) -> Named<Sum> {
    Named(
        Fate::ALL
            .into_iter()
            .filter(|fate| wanted(*fate))
            .map(|fate| (fate.name(), counters.tally(fate).into()))
            .collect(),
    )
}

/// Those that were seen, most packets first; lengths, which take an EtherType's place in
/// 802.3, as one.
fn ethertypes(tables: &Tables) -> Vec<EtherType> {
    let load = |number: u32| tables.ethertypes.load(number);
    let mut lengths = Tally::default();
    for number in 0..ethertype::FIRST {
        let tally = load(number.into());
        lengths.add(tally.packets, tally.bytes);
    }
    let rest = (ethertype::FIRST..=u16::MAX).map(|number| (Some(number), load(number.into())));
    let mut seen: Vec<(Option<u16>, Tally)> = std::iter::once((None, lengths))
        .chain(rest)
        .filter(|(_, tally)| tally.packets > 0)
        .collect();
    seen.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.packets));
    seen.into_iter()
        .map(|(number, tally)| EtherType {
            number: number.map(|number| format!("0x{number:04x}")),
            name: ethertype::name(number.unwrap_or(0)),
            packets: tally.packets,
            bytes: tally.bytes,
        })
        .collect()
}

fn verdicts(pins: &Pins, tables: &Tables) -> VerdictStatus {
    const KINDS: [Kind; 4] = [Kind::ADDRESS, Kind::PREFIX, Kind::FLOW, Kind::SIGNATURE];
    let now = Clock::open(pins).and_then(|clock| clock.now()).ok();
    let mut by_kind = [0u32; KINDS.len()];
    let mut expired = 0;
    for slot in 1..tables.verdicts.len() {
        let kind = tables.verdict_kind(slot);
        let Some(number) = KINDS.iter().position(|one| *one == kind) else {
            continue;
        };
        by_kind[number] += 1;
        let expires = tables.verdicts.load(slot).expires_jiffies;
        let over = now.is_some_and(|now| expires <= now.jiffies);
        expired += u32::from(over && expires != FOREVER);
    }
    VerdictStatus {
        capacity: tables.verdicts.len() - 1,
        total: by_kind.iter().sum(),
        expired: now.map(|_| expired),
        by_kind: Named(KINDS.iter().map(|kind| kind.name()).zip(by_kind).collect()),
        never_block: tables.never_block.iter().filter(Result::is_ok).count(),
    }
}

impl Status {
    /// What the user must not miss.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut all: Vec<String> = self
            .interfaces
            .iter()
            .filter_map(|one| {
                one.complaint
                    .as_ref()
                    .map(|complaint| format!("{}: {complaint}", one.name))
            })
            .collect();
        if self.interfaces.iter().all(|one| one.detached) {
            all.push(
                "no interface is attached: nothing is counted or dropped (`detector attach`)"
                    .to_owned(),
            );
        }
        if self.books.balance == Balance::Unbalanced {
            all.push(format!(
                "{} packets ({} bytes) are not accounted for though none came meanwhile: this is a defect, \
                 please report it with the output of `detector status -o json`",
                self.books.difference_packets, self.books.difference_bytes
            ));
        }
        all
    }

    /// How long ago an interface was attached, µs.
    pub(crate) fn age_us(interface: &InterfaceStatus) -> u64 {
        unix_ms(SystemTime::now())
            .saturating_sub(interface.attached_unix_ms)
            .saturating_mul(1000)
    }
}
