//! Verdicts on addresses: the hash map of all, and the index before it.

use std::sync::atomic::Ordering;

use aya::maps::MapError;
use detector_common::{
    addresses::{self, AddressSet},
    key::Address,
};

use crate::wire::tables::Tables;

/// An address' set: its number and what stands there, and its tag.
fn place(tables: &Tables, address: &Address) -> (u32, AddressSet, u64) {
    let seed = tables.control.load(0).seed;
    let (index, tag) = addresses::place(address, &seed, tables.address_sets.len() - 1);
    (index, tables.address_sets.load(index), tag)
}

fn store(tables: &Tables, index: u32, (way, word): (usize, u64)) {
    tables.address_sets.words(index)[way].store(word, Ordering::Release);
}

/// Leads an address to a slot. The index first: what it leads to holds even if this process
/// ends here, and is found by its slot.
pub(super) fn set(tables: &mut Tables, address: &Address, slot: u32) -> Result<(), MapError> {
    let former = tables.address_verdicts.get(&address.octets(), 0);
    let former = former.unwrap_or(0);
    let (index, words, tag) = place(tables, address);
    store(tables, index, words.put(tag, former, slot));
    let inserted = tables.address_verdicts.insert(address.octets(), slot, 0);
    if inserted.is_err() {
        let (index, words, tag) = place(tables, address);
        if let Some(way) = words.way_of(tag, slot) {
            let word = if former == 0 {
                0
            } else {
                tag | u64::from(former)
            };
            store(tables, index, (way, word));
        }
    }
    inserted
}

/// Takes an address out, if it leads to this slot.
pub(super) fn clear(tables: &mut Tables, address: &Address, slot: u32) -> Result<(), MapError> {
    let (index, words, tag) = place(tables, address);
    if let Some(way) = words.way_of(tag, slot) {
        store(tables, index, (way, 0));
    }
    let key = address.octets();
    if tables.address_verdicts.get(&key, 0).ok() != Some(slot) {
        return Ok(());
    }
    tables.address_verdicts.remove(&key)
}

/// Forgets which sets were full: there is no verdict on an address left.
pub(super) fn clear_marks(tables: &Tables) {
    for index in 0..tables.address_sets.len() {
        let words = tables.address_sets.words(index);
        if words.iter().any(|word| word.load(Ordering::Relaxed) != 0) {
            tables.address_sets.store(index, &AddressSet::default());
        }
    }
}
