//! What the engine needs of the machine that it runs on: the kernel's maps and helpers, or
//! a test's memory.

use crate::{
    counters::{Event, Fate},
    frame::Malformed,
    key::{Address, FlowKey, HashSeed},
    packet::Packet,
    periods::{Gap, Periods},
    record::FlowRecord,
    returning::Doors,
    service::Lost,
    signature::Taken,
    verdict::Verdict,
    verdicts::Bucket,
};

/// What the engine needs of the machine: constants, clocks, counters, tables.
///
/// Handles (`Set`, `Record`, `Verdict`, `AddressSet`) are obtained once and used several times
/// for one packet; they are pointers in the kernel.
pub trait Maps {
    /// A set of the flow table.
    type Set: Copy;
    /// A record of the flow table.
    type Record: Copy;
    /// A verdict's slot.
    type Verdict: Copy;
    /// A set of the addresses' index.
    type AddressSet: Copy;

    /// Bits of [`crate::config::feature`].
    fn features(&self) -> u32;
    /// Zone of the interface.
    fn zone(&self) -> u32;
    /// Sets, less one.
    fn set_mask(&self) -> u32;
    /// Places of the doorkeeper, less one.
    fn doorkeeper_mask(&self) -> u32;
    /// Sets of the addresses' index, less one.
    fn address_mask(&self) -> u32;
    /// Keys of the flow hash.
    fn seed(&self) -> HashSeed;

    /// Puts the summary where the rest of the run reads it from. In the kernel that
    /// is map memory, of whose contents the verifier knows nothing: the many ways
    /// through the parser end in one state, and what follows is verified once.
    fn hold(&self, packet: Packet) -> &Packet;

    /// The same number, taken through such memory, for the same reason.
    fn forget(&self, n: u32) -> u32;

    /// Time that passes evenly, ns. Costly: asked at most once a packet and stage.
    fn now_ns(&self) -> u64;
    /// Coarse time in which verdicts expire. Costs next to nothing.
    fn jiffies(&self) -> u64;

    /// Counts a fate.
    fn tally(&self, fate: Fate, packets: u64, bytes: u64);
    /// Counts an event.
    fn event(&self, event: Event);
    /// Counts a reason of [`Fate::Malformed`].
    fn malformed(&self, reason: Malformed);
    /// Counts a frame by EtherType.
    fn ethertype(&self, ethertype: u16, bytes: u64);
    /// Counts what the table lost of a service.
    fn service(&self, destination: (&Address, u16), zone_protocol: u32, lost: Lost, of: (u64, u64));

    /// A set.
    fn set(&self, index: u32) -> Option<Self::Set>;
    /// A way's word.
    fn word(&self, set: Self::Set, way: u32) -> u64;
    /// Replaces a way's word if it is still `old`.
    fn swap_word(&self, set: Self::Set, way: u32, old: u64, new: u64) -> bool;
    /// A record.
    fn record(&self, index: u32) -> Option<Self::Record>;
    /// Whether a record is of this flow.
    fn key_is(&self, record: Self::Record, key: &FlowKey) -> bool;
    /// Slot of the record's flow verdict.
    fn verdict_slot(&self, record: Self::Record) -> u32;
    /// State of the record's flow, as it is at the moment.
    fn state(&self, record: Self::Record) -> u32;
    /// Locks a record for writing; `false` where another CPU holds it for too long.
    fn lock(&self, record: Self::Record) -> bool;
    /// Unlocks it.
    fn unlock(&self, record: Self::Record);
    /// Reads or writes a record that is locked.
    fn with<R>(&self, record: Self::Record, f: impl FnOnce(&mut FlowRecord) -> R) -> R;
    /// [`FlowRecord::update`] of a record that is locked. Apart from [`Maps::with`]
    /// because a closure as large as that becomes a function of its own in the kernel,
    /// whose return costs as much as a third of its work.
    #[inline(always)]
    fn update(
        &self,
        record: Self::Record,
        from_low: bool,
        packet: &Packet,
        now_us: u64,
    ) -> Option<Gap> {
        self.with(record, |r| r.update(from_low, packet, now_us))
    }
    /// Writes a flow's periods while its record is locked.
    fn periods(&self, index: u32, f: impl FnOnce(&mut Periods));
    /// Hands an ended flow to the reader while its record is locked.
    fn ended(&self, record: Self::Record, index: u32) -> bool;
    /// Counts an eviction that is about to be; how many this CPU has had at this coarse time.
    fn evictions(&self, now: u32) -> u32;
    /// Leaves a fingerprint at the door; whether it was there already.
    fn knock(&self, place: u32, fingerprint: u32) -> bool;

    /// Bits of [`crate::config::active`].
    fn active(&self) -> u32;
    /// [`crate::config::Control::never_block_generation`].
    fn never_block_generation(&self) -> u32;
    /// [`crate::config::Control::signatures`].
    fn signatures(&self) -> u64;
    /// A set of the addresses' index.
    fn address_set(&self, index: u32) -> Option<Self::AddressSet>;
    /// A way's word.
    fn address_word(&self, set: Self::AddressSet, way: usize) -> u64;
    /// Slot of the verdict on an address, from the hash map of all.
    fn address_verdict(&self, address: &Address) -> Option<u32>;
    /// Slot of the verdict on the longest prefix of an address.
    fn prefix_verdict(&self, address: &Address) -> Option<u32>;
    /// Slot of the verdict on a flow.
    fn flow_verdict(&self, key: &FlowKey) -> Option<u32>;
    /// Whether an address is in a never-block prefix.
    fn never_blocked(&self, address: &Address) -> bool;
    /// A verdict.
    fn verdict(&self, slot: u32) -> Option<Self::Verdict>;
    /// Reads a verdict, or writes what only marks it.
    fn with_verdict<R>(&self, verdict: Self::Verdict, f: impl FnOnce(&mut Verdict) -> R) -> R;
    /// Replaces the state of a verdict's bucket if it is still `old`.
    fn swap_bucket(&self, verdict: Self::Verdict, bucket: Bucket, old: u64, new: u64) -> bool;
    /// Counts a verdict's hit.
    fn hit(&self, slot: u32, dropped: bool, packets: u64, bytes: u64);
    /// Reports a verdict's first hit; whether there was room.
    fn first_hit(&self, slot: u32, packet: &Packet, dropped: bool) -> bool;
    /// A word of the signatures' bits.
    fn signature_bits(&self, word: u32) -> u64;
    /// A signature; `None` where its prefix does not take the destination.
    fn signature(&self, number: u32, destination: &Address) -> Option<Taken>;
    /// Reads or writes a set of doors; `false` where there is no such set.
    fn doors(&self, index: u32, f: impl FnOnce(&mut Doors) -> bool) -> bool;
}
