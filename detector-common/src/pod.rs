//! The one file with `unsafe`: each shared layout is plain old data, without
//! padding, of a known size.
#![allow(unsafe_code)]

use bytemuck::{Pod, Zeroable};
use core::mem::size_of;

use crate::{
    addresses::AddressSet,
    config::{Control, Interface, ProgramConfig},
    counters::{Counters, EVENTS, FATES, Tally},
    doorkeeper::Line,
    ensemble::RankNode,
    event::{EndedFlow, VerdictHit},
    frame::Malformed,
    key::{Address, FlowKey, HashSeed},
    periods::Periods,
    record::{Direction, FlowRecord, RareFlags},
    returning::Doors,
    service::ServiceCounters,
    set::Set,
    signature::{Range, Signature},
    verdict::{Action, Hits, Kind, PrefixKey, Service, Verdict},
};

/// `$size` is the sum of the fields' sizes: equality with `size_of` means no padding.
macro_rules! pod {
    ($($type:ty: $size:expr;)*) => {$(
        const _: () = assert!(size_of::<$type>() == $size);
        // SAFETY: `repr(C)` or `repr(transparent)` over integers and such types, any
        // bit pattern is valid, and the assertion above rules padding out.
        unsafe impl Zeroable for $type {}
        // SAFETY: as above.
        unsafe impl Pod for $type {}
    )*};
}

pod! {
    Address: 16;
    RankNode: 2 + 2 + 4;
    FlowKey: 16 + 16 + 2 + 2 + 4;
    HashSeed: 11 * 8;
    Direction: 4 * 8 + 4 * 4 + 2 * 2 + 3 * 4;
    RareFlags: 4 * 2;
    FlowRecord: 40 + 2 * 4 + 8 + 2 * 4 + 8 + 2 * 4 + 2 * 2 + 2 * 4 + 2 * 2 + 2 + 2 + 3 * 4 + 2 * 8 + 2 * 64;
    Periods: 2 * 8 + 8 * 4;
    Set: 8 * 8;
    Doors: 16 * 4;
    Line: 16 * 4;
    AddressSet: 8 * 8;
    Tally: 16;
    Counters: FATES * 16 + EVENTS * 8 + Malformed::ALL.len() * 8;
    ServiceCounters: 16 + 4 + 4 + 5 * 8;
    ProgramConfig: 88 + 8 * 4;
    Control: 2 * 4 + 8 + 4 * 4 + 88 + 2 * 8;
    Interface: 2 * 4 + 8 + 16 + 8;
    Action: 1;
    Kind: 1;
    Service: 4;
    Verdict: 8 + 4 + 4 + 5 * 8 + 2 * 4 + 8 * 4 + 40 + 2 * 8 + 104;
    Hits: 4 * 8;
    PrefixKey: 4 + 16;
    Range: 4;
    Signature: 2 * 16 + 4 + 3 * 4 + 8 + 8;
    VerdictHit: 8 + 2 * 16 + 2 * 4 + 2 * 2 + 4;
    EndedFlow: 256 + 48 + 16;
}
