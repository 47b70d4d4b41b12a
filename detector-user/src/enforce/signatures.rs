//! Signatures in the kernel: their entry, and their bit in every word.

use std::sync::atomic::Ordering;

use detector_common::{
    config::Control,
    signature::{Signature, field},
};

use crate::wire::tables::Tables;

/// Byte offset of [`Control::signatures`].
const SIGNATURES_WORD: usize = std::mem::offset_of!(Control, signatures) / 8;

/// A signature that no slot uses.
pub(super) fn free(tables: &Tables) -> Option<u32> {
    (0..tables.signatures.len()).find(|n| tables.signatures.load(*n).slot == 0)
}

/// Puts a signature in force: first its words, then its entry, its bit last.
pub(super) fn set(tables: &Tables, number: u32, signature: &Signature) {
    let bit = 1u64 << number;
    for index in 0..field::WORDS {
        let word = &tables.signature_bits.words(index)[0];
        if signature.takes(index) {
            word.fetch_or(bit, Ordering::Relaxed);
        } else {
            word.fetch_and(!bit, Ordering::Relaxed);
        }
    }
    tables.signatures.store(number, signature);
    tables.control.words(0)[SIGNATURES_WORD].fetch_or(bit, Ordering::Release);
}

/// Takes a signature out of force: its bit first.
pub(super) fn clear(tables: &Tables, number: u32) {
    let bit = 1u64 << number;
    tables.control.words(0)[SIGNATURES_WORD].fetch_and(!bit, Ordering::Release);
    tables.signatures.store(number, &Signature::ANY);
}
