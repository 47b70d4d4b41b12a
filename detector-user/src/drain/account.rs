//! The books: what became of every packet, over all interfaces and CPUs.

use std::sync::atomic::{Ordering, fence};

use bytemuck::Zeroable as _;
use detector_common::{
    abi::SERVICE_SLOTS,
    config::Interface,
    counters::{Counters, Tally},
    service::ServiceCounters,
    verdict::Hits,
};

use super::reader::{Pass, Which};
use crate::wire::tables::{PerCpu, Tables};

/// The counters could not be read.
#[derive(Debug, thiserror::Error)]
#[error("reading entry {entry} of map {map}: {cause}")]
pub struct AccountError {
    map: &'static str,
    entry: u32,
    cause: String,
}

/// Counters of one attached (or formerly attached) interface.
#[derive(Clone, Copy, Debug)]
pub struct InterfaceAccount {
    /// Which, and how it hangs.
    pub interface: Interface,
    /// What arrived.
    pub ingress: Counters,
    /// What left.
    pub egress: Counters,
}

/// Everything, at about one moment. While packets flow the sums are off by those
/// counted between one reading and the next.
#[derive(Clone, Debug)]
pub struct Account {
    /// By interface.
    pub interfaces: Vec<InterfaceAccount>,
    /// All of them together.
    pub total: Counters,
    /// What the table's records hold, released ones included.
    pub in_records: Tally,
    /// The table.
    pub table: Pass,
    /// Ways of the table.
    pub flow_slots: u32,
}

impl Account {
    /// Seen, less what is accounted for: 0 and 0 unless packets are in flight.
    #[must_use]
    pub fn difference(&self) -> (i64, i64) {
        let seen = self.total.tally(detector_common::counters::Fate::Seen);
        let accounted = self.total.accounted(self.in_records);
        (
            seen.packets.wrapping_sub(accounted.packets).cast_signed(),
            seen.bytes.wrapping_sub(accounted.bytes).cast_signed(),
        )
    }
}

impl Tables {
    /// Reads the books.
    ///
    /// # Errors
    /// [`AccountError`] where a map cannot be read.
    pub fn account(&self) -> Result<Account, AccountError> {
        let mut in_records = Tally::default();
        let table = self.scan(Which::Held, |snapshot| {
            let (packets, bytes) = snapshot.record.totals();
            in_records.add(packets, bytes);
        });
        let mut total = Counters::zeroed();
        let mut interfaces = Vec::new();
        for n in 0..self.interfaces.len() {
            let ingress = self.arrived(n)?;
            let egress = self.counters_of(n * 2 + 1)?;
            total.merge(&ingress);
            total.merge(&egress);
            let interface = self.interfaces.load(n);
            if interface.index != 0 {
                interfaces.push(InterfaceAccount {
                    interface,
                    ingress,
                    egress,
                });
            }
        }
        Ok(Account {
            interfaces,
            total,
            in_records,
            table,
            flow_slots: self.records.len(),
        })
    }

    /// What arrived at the interface in one of [`Tables::interfaces`]' places, read without a look at the flow table.
    ///
    /// # Errors
    /// [`AccountError`] where the map cannot be read.
    pub fn arrived(&self, place: u32) -> Result<Counters, AccountError> {
        self.counters_of(place * 2)
    }

    fn counters_of(&self, entry: u32) -> Result<Counters, AccountError> {
        let mut sum = Counters::zeroed();
        each_cpu(&self.counters, "COUNTERS", entry, |counters: &Counters| {
            sum.merge(counters)
        })?;
        Ok(sum)
    }

    /// How often a verdict dropped and let through, on all CPUs. No system call.
    #[must_use]
    pub fn hits_of(&self, slot: u32) -> Hits {
        let mut sum = Hits::default();
        for entry in self.hits_entries(slot) {
            let hits = self.hits.load(entry);
            sum.dropped_packets += hits.dropped_packets;
            sum.dropped_bytes += hits.dropped_bytes;
            sum.passed_packets += hits.passed_packets;
            sum.passed_bytes += hits.passed_bytes;
        }
        sum
    }

    /// The entries of a verdict's hit counters, one a CPU.
    pub(crate) fn hits_entries(&self, slot: u32) -> impl Iterator<Item = u32> {
        (slot..self.hits.len()).step_by(self.verdicts.len() as usize)
    }

    /// What the table lost by service, each once, the most packets first. No system call.
    #[must_use]
    pub fn services_lost(&self) -> Vec<ServiceCounters> {
        let mut services: Vec<ServiceCounters> = Vec::new();
        for place in 0..SERVICE_SLOTS {
            // A service has the same place on each CPU.
            let others = services.len();
            for entry in (place..self.services.len()).step_by(SERVICE_SLOTS as usize) {
                let Some(one) = self.service_at(entry) else {
                    continue;
                };
                let same = services[others..].iter_mut().find(|s| is_same(s, &one));
                match same {
                    Some(sum) => {
                        sum.refused_packets += one.refused_packets;
                        sum.refused_bytes += one.refused_bytes;
                        sum.evicted_flows += one.evicted_flows;
                        sum.evicted_packets += one.evicted_packets;
                        sum.evicted_bytes += one.evicted_bytes;
                    }
                    None => services.push(one),
                }
            }
        }
        services.sort_by_key(|s| std::cmp::Reverse(s.refused_packets + s.evicted_packets));
        services
    }

    /// The service in an entry; `None` for an empty one, and for one that went from service to service
    /// at each try.
    fn service_at(&self, entry: u32) -> Option<ServiceCounters> {
        const TRIES: u32 = 8;
        let mut before = self.services.load(entry);
        for _ in 0..TRIES {
            if before.refused_packets == 0 && before.evicted_flows == 0 {
                return None;
            }
            fence(Ordering::Acquire);
            let after = self.services.load(entry);
            if is_same(&before, &after) {
                return Some(before);
            }
            before = after;
        }
        None
    }
}

fn is_same(one: &ServiceCounters, other: &ServiceCounters) -> bool {
    (one.destination, one.port_protocol, one.zone)
        == (other.destination, other.port_protocol, other.zone)
}

/// Visits the entry of each CPU.
fn each_cpu<T: bytemuck::Pod, const N: usize>(
    map: &PerCpu<N>,
    name: &'static str,
    entry: u32,
    mut visit: impl FnMut(&T),
) -> Result<(), AccountError> {
    let values = map.get(&entry, 0).map_err(|error| AccountError {
        map: name,
        entry,
        cause: error.to_string(),
    })?;
    for value in values.iter() {
        visit(&bytemuck::pod_read_unaligned(value));
    }
    Ok(())
}
