//! The verdict writer: one at a time over a data plane, by the pin directory's lock.

use std::{
    sync::atomic::Ordering,
    time::{Duration, SystemTime},
};

use aya::maps::{MapError, lpm_trie::Key};
use detector_common::{
    abi,
    config::{Control, active},
    key::{Address, FlowKey},
    rate,
    signature::Signature,
    verdict::{FOREVER, Hits, Kind, REASON_BYTES, SERVICES, Service, Verdict},
};

use super::order::check;
pub(super) use super::order::is_missing;
pub use super::order::{Carried, Listed, Order, VerdictError};
use super::{
    addresses, signatures,
    target::{Prefix, Target},
};
use crate::wire::{
    clock::{Clock, Now},
    load::unix_ms,
    pins::{PinLock, Pins},
    tables::Tables,
};

/// Byte offset of [`Control::active`].
const ACTIVE: usize = std::mem::offset_of!(Control, active);
/// Byte offset of a record's verdict slot.
const RECORD_SLOT: usize = std::mem::offset_of!(detector_common::record::FlowRecord, verdict_slot);
/// How far a rate limit may run ahead: within this, a burst passes.
const BURST: Duration = Duration::from_millis(100);
/// How old a packet's time may be: a jiffy where there are fewest a second
/// ([`detector_common::burst`]). A limit is in force for such a packet, too.
const CLOCK_AGE: Duration = Duration::from_millis(10);

/// Writes verdicts; nobody else does meanwhile.
pub struct Writer<'a> {
    pub(super) tables: &'a mut Tables,
    clock: &'a Clock,
    _lock: Option<PinLock>,
}

impl<'a> Writer<'a> {
    /// Waits for the data plane's lock.
    ///
    /// # Errors
    /// [`VerdictError::Tables`].
    pub fn new(
        pins: &Pins,
        tables: &'a mut Tables,
        clock: &'a Clock,
    ) -> Result<Self, VerdictError> {
        let lock = pins.lock()?;
        Ok(Self {
            tables,
            clock,
            _lock: Some(lock),
        })
    }

    /// Over tables that only this process has, or that are only looked at.
    pub fn unshared(tables: &'a mut Tables, clock: &'a Clock) -> Self {
        Self {
            tables,
            clock,
            _lock: None,
        }
    }

    /// Writes a verdict in place of any on the same target; its slot.
    ///
    /// # Errors
    /// [`VerdictError`]; nothing has changed then.
    pub fn add(&mut self, order: &Order) -> Result<u32, VerdictError> {
        check(order)?;
        let now = self.clock.now()?;
        let former = self.find(&order.target);
        if let (Target::Signature(_), None) = (&order.target, former)
            && signatures::free(self.tables).is_none()
            && self.clear_expired(now)? == 0
        {
            return Err(VerdictError::SignaturesFull);
        }
        let mut free = self.free_slot();
        if free.is_none() {
            self.clear_expired(now)?;
            free = self.free_slot();
        }
        let former = former.filter(|slot| self.kind_of(*slot) != Kind::FREE);
        // With no slot free, a verdict is renewed where it is.
        let slot = free.or(former).ok_or(VerdictError::Full {
            slots: self.tables.verdicts.len() - 1,
        })?;
        let number = match former.map(|slot| self.tables.verdicts.load(slot)) {
            Some(verdict) if verdict.kind == Kind::SIGNATURE => {
                Some(u32::from(verdict.target.low_port))
            }
            _ => signatures::free(self.tables),
        };
        self.reset_hits(slot);
        let verdict = self.verdict(order, number, now);
        self.tables.verdicts.store(slot, &verdict);
        // Before anything leads to the slot: a record that a packet makes from here on
        // gets its flow's verdict, one that is there is marked below.
        self.set_active(active_bit(verdict.kind), true);
        if let Err(error) = self.point(&order.target, slot, number) {
            self.tables.verdicts.store(slot, &Verdict::FREE);
            self.deactivate(verdict.kind);
            return Err(error);
        }
        if let Some(former) = former.filter(|former| *former != slot) {
            self.tables.verdicts.store(former, &Verdict::FREE);
        }
        Ok(slot)
    }

    /// Removes the verdict on a target; whether there was one.
    ///
    /// # Errors
    /// [`VerdictError`].
    pub fn remove(&mut self, target: &Target) -> Result<bool, VerdictError> {
        match self.find(target) {
            Some(slot) => self.remove_slot(slot).map(|()| true),
            None => Ok(false),
        }
    }

    /// Removes the verdict in a slot, if there is one.
    ///
    /// # Errors
    /// [`VerdictError`].
    pub fn remove_slot(&mut self, slot: u32) -> Result<(), VerdictError> {
        if slot < self.tables.verdicts.len() && self.kind_of(slot) != Kind::FREE {
            let kind = self.take(slot)?;
            self.deactivate(kind);
        }
        Ok(())
    }

    /// Removes the verdict in a slot, and leaves it to the caller to
    /// [`deactivate`](Self::deactivate) its kind.
    fn take(&mut self, slot: u32) -> Result<Kind, VerdictError> {
        let verdict = self.tables.verdicts.load(slot);
        let target = self.target(&verdict);
        match &target {
            Target::Address(ip) => {
                let removed = addresses::clear(self.tables, &Address::from(*ip), slot);
                gone(removed, "addresses", self.tables.verdicts.len())?;
            }
            Target::Prefix(prefix) => {
                let key = prefix.key();
                let key = Key::new(key.bits, key.octets);
                gone(
                    self.tables.prefix_verdicts.remove(&key),
                    "prefixes",
                    abi::PREFIX_VERDICTS_MAX,
                )?;
            }
            Target::Flow(key) => {
                let bytes: [u8; size_of::<FlowKey>()] = bytemuck::cast(*key);
                gone(
                    self.tables.flow_verdicts.remove(&bytes),
                    "flows",
                    abi::FLOW_VERDICTS_MAX,
                )?;
                self.mark_record(key, 0);
            }
            Target::Signature(_) => {
                signatures::clear(self.tables, u32::from(verdict.target.low_port))
            }
        }
        self.tables.verdicts.store(slot, &Verdict::FREE);
        Ok(verdict.kind)
    }

    /// Spares the lookup of a kind of which there is no verdict left.
    fn deactivate(&mut self, kind: Kind) {
        let others = (1..self.tables.verdicts.len()).any(|n| self.kind_of(n) == kind);
        self.set_active(active_bit(kind), others);
        if kind == Kind::ADDRESS && !others {
            addresses::clear_marks(self.tables);
        }
    }

    /// Removes every verdict; how many there were.
    ///
    /// # Errors
    /// [`VerdictError`].
    pub fn clear(&mut self) -> Result<u32, VerdictError> {
        self.clear_if(|_| true)
    }

    /// Removes expired verdicts; how many there were.
    ///
    /// # Errors
    /// [`VerdictError`].
    pub fn clear_expired(&mut self, now: Now) -> Result<u32, VerdictError> {
        self.clear_if(|verdict| verdict.expires_jiffies <= now.jiffies)
    }

    /// Looks for others of a kind once, at the end: each time would take as many looks
    /// as there are verdicts, squared.
    pub(super) fn clear_if(
        &mut self,
        test: impl Fn(&Verdict) -> bool,
    ) -> Result<u32, VerdictError> {
        let mut removed = 0;
        let mut result = Ok(());
        for slot in 1..self.tables.verdicts.len() {
            if self.kind_of(slot) == Kind::FREE || !test(&self.tables.verdicts.load(slot)) {
                continue;
            }
            if let Err(error) = self.take(slot) {
                result = Err(error);
                break;
            }
            removed += 1;
        }
        if removed > 0 {
            for kind in [Kind::ADDRESS, Kind::PREFIX, Kind::FLOW, Kind::SIGNATURE] {
                self.deactivate(kind);
            }
        }
        result.map(|()| removed)
    }

    /// All verdicts, by slot.
    ///
    /// # Errors
    /// [`VerdictError`].
    pub fn list(&self) -> Result<Vec<Listed>, VerdictError> {
        let now = self.clock.now()?;
        let hz = f64::from(self.tables.control.load(0).jiffies_hz.max(1));
        let mut all = Vec::new();
        for slot in 1..self.tables.verdicts.len() {
            if self.kind_of(slot) == Kind::FREE {
                continue;
            }
            let verdict = self.tables.verdicts.load(slot);
            let hits = self.tables.hits_of(slot);
            let left = (verdict.expires_jiffies != FOREVER).then(|| {
                let jiffies = verdict.expires_jiffies.saturating_sub(now.jiffies);
                Duration::from_secs_f64(jiffies as f64 / hz)
            });
            all.push(Listed {
                slot,
                target: self.target(&verdict),
                verdict,
                hits,
                left,
            });
        }
        Ok(all)
    }

    /// All that is in force.
    ///
    /// # Errors
    /// [`VerdictError`].
    pub fn carry(&self) -> Result<Carried, VerdictError> {
        let mut verdicts = self.list()?;
        verdicts.retain(|listed| !listed.is_expired());
        Ok(Carried {
            verdicts,
            never_block: self.never_blocked()?,
        })
    }

    /// Puts in force what was in force elsewhere, hit counters aside; how many verdicts.
    ///
    /// # Errors
    /// [`VerdictError`].
    pub fn restore(&mut self, carried: &Carried) -> Result<usize, VerdictError> {
        for (prefix, origin) in &carried.never_block {
            self.never_block(*prefix, *origin)?;
        }
        for listed in &carried.verdicts {
            let slots = self.tables.verdicts.len() - 1;
            let slot = self.free_slot().ok_or(VerdictError::Full { slots })?;
            let number = signatures::free(self.tables);
            let mut verdict = Verdict {
                cleared_generation: 0,
                ..listed.verdict
            };
            if verdict.kind == Kind::SIGNATURE {
                verdict.target.low_port = number.ok_or(VerdictError::SignaturesFull)? as u16;
            }
            self.tables.verdicts.store(slot, &verdict);
            self.point(&listed.target, slot, number)?;
            self.set_active(active_bit(verdict.kind), true);
        }
        Ok(carried.verdicts.len())
    }

    /// Slot of the verdict on a target.
    #[must_use]
    pub fn find(&self, target: &Target) -> Option<u32> {
        match target {
            Target::Address(ip) => self
                .tables
                .address_verdicts
                .get(&Address::from(*ip).octets(), 0)
                .ok(),
            Target::Flow(key) => {
                let bytes: [u8; size_of::<FlowKey>()] = bytemuck::cast(*key);
                self.tables.flow_verdicts.get(&bytes, 0).ok()
            }
            // A trie's lookup finds the longest prefix, which may be another one.
            Target::Prefix(_) | Target::Signature(_) => {
                (1..self.tables.verdicts.len()).find(|slot| {
                    let kind = self.kind_of(*slot);
                    (kind == Kind::PREFIX || kind == Kind::SIGNATURE)
                        && self.target(&self.tables.verdicts.load(*slot)) == *target
                })
            }
        }
    }

    pub(super) fn set_active(&mut self, bit: u32, on: bool) {
        let word = self.tables.control.half(0, ACTIVE);
        if on {
            word.fetch_or(bit, Ordering::Release);
        } else {
            word.fetch_and(!bit, Ordering::Release);
        }
    }

    fn kind_of(&self, slot: u32) -> Kind {
        self.tables.verdict_kind(slot)
    }

    fn free_slot(&self) -> Option<u32> {
        (1..self.tables.verdicts.len()).find(|slot| self.kind_of(*slot) == Kind::FREE)
    }

    fn reset_hits(&self, slot: u32) {
        for entry in self.tables.hits_entries(slot) {
            self.tables.hits.store(entry, &Hits::default());
        }
    }

    fn verdict(&self, order: &Order, number: Option<u32>, now: Now) -> Verdict {
        let created = unix_ms(SystemTime::now());
        let hz = u128::from(self.tables.control.load(0).jiffies_hz);
        let (expires_jiffies, expires_unix_ms) = match order.time_to_live {
            None => (FOREVER, FOREVER),
            Some(ttl) => {
                let jiffies = (ttl.as_nanos() * hz).div_ceil(1_000_000_000);
                (
                    now.jiffies
                        .saturating_add(u64::try_from(jiffies).unwrap_or(FOREVER)),
                    created.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(FOREVER)),
                )
            }
        };
        let mut services = [Service::default(); SERVICES];
        services[..order.services.len()].copy_from_slice(&order.services);
        let (kind, target) = match &order.target {
            Target::Address(ip) => (
                Kind::ADDRESS,
                FlowKey {
                    low: Address::from(*ip),
                    ..FlowKey::default()
                },
            ),
            Target::Prefix(prefix) => (
                Kind::PREFIX,
                FlowKey {
                    low: prefix.address(),
                    low_port: u16::from(prefix.mapped_bits()),
                    ..FlowKey::default()
                },
            ),
            Target::Flow(key) => (Kind::FLOW, *key),
            Target::Signature(_) => (
                Kind::SIGNATURE,
                FlowKey {
                    low_port: number.unwrap_or(0) as u16,
                    ..FlowKey::default()
                },
            ),
        };
        let begun = rate::units(now.monotonic_ns.saturating_sub(CLOCK_AGE.as_nanos() as u64));
        let packet_cost = rate::cost(order.packets_per_second);
        Verdict {
            expires_jiffies,
            action: order.action,
            kind,
            service_count: order.services.len() as u8,
            packet_cost,
            byte_cost: rate::cost(order.bytes_per_second),
            burst: rate::units(BURST.as_nanos() as u64),
            packet_state: begun,
            byte_state: begun,
            services,
            target,
            created_unix_ms: created,
            expires_unix_ms,
            reason: reason(&order.reason),
            ..Verdict::FREE
        }
    }

    /// Makes the maps lead to a slot.
    fn point(
        &mut self,
        target: &Target,
        slot: u32,
        number: Option<u32>,
    ) -> Result<(), VerdictError> {
        match target {
            Target::Address(ip) => {
                let entries = self.tables.verdicts.len();
                addresses::set(self.tables, &Address::from(*ip), slot)
                    .map_err(|error| VerdictError::map("address verdicts", entries, &error))
            }
            Target::Prefix(prefix) => {
                let key = prefix.key();
                self.tables
                    .prefix_verdicts
                    .insert(&Key::new(key.bits, key.octets), slot, 0)
                    .map_err(|error| {
                        VerdictError::map("prefix verdicts", abi::PREFIX_VERDICTS_MAX, &error)
                    })
            }
            Target::Flow(key) => {
                let bytes: [u8; size_of::<FlowKey>()] = bytemuck::cast(*key);
                self.tables
                    .flow_verdicts
                    .insert(bytes, slot, 0)
                    .map_err(|error| {
                        VerdictError::map("flow verdicts", abi::FLOW_VERDICTS_MAX, &error)
                    })?;
                self.mark_record(key, slot);
                Ok(())
            }
            Target::Signature(signature) => {
                let number = number.ok_or(VerdictError::SignaturesFull)?;
                signatures::set(self.tables, number, &Signature { slot, ..*signature });
                Ok(())
            }
        }
    }

    /// Writes the slot into the flow's records: none, one, or two where two CPUs made one
    /// each.
    fn mark_record(&self, key: &FlowKey, slot: u32) {
        for way in self.tables.ways_of(key) {
            self.tables
                .records
                .half(way, RECORD_SLOT)
                .store(slot, Ordering::Release);
        }
    }

    fn target(&self, verdict: &Verdict) -> Target {
        match verdict.kind {
            Kind::PREFIX => Target::Prefix(Prefix::from_mapped(
                verdict.target.low,
                u32::from(verdict.target.low_port),
            )),
            Kind::FLOW => Target::Flow(verdict.target),
            Kind::SIGNATURE => {
                let number = u32::from(verdict.target.low_port) % abi::SIGNATURES_MAX;
                Target::Signature(Signature {
                    slot: 0,
                    ..self.tables.signatures.load(number)
                })
            }
            _ => Target::Address(verdict.target.low.to_ip()),
        }
    }
}

fn active_bit(kind: Kind) -> u32 {
    match kind {
        Kind::ADDRESS => active::ADDRESSES,
        Kind::PREFIX => active::PREFIXES,
        Kind::FLOW => active::FLOWS,
        Kind::SIGNATURE => active::SIGNATURES,
        _ => 0,
    }
}

/// The reason, cut between characters where it is too long.
fn reason(text: &str) -> [u8; REASON_BYTES] {
    let mut bytes = [0; REASON_BYTES];
    let end = text.floor_char_boundary(REASON_BYTES);
    bytes[..end].copy_from_slice(&text.as_bytes()[..end]);
    bytes
}

fn gone(result: Result<(), MapError>, map: &'static str, entries: u32) -> Result<(), VerdictError> {
    match result {
        Err(error) if !is_missing(&error) => Err(VerdictError::map(map, entries, &error)),
        _ => Ok(()),
    }
}
