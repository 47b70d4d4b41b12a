//! Atomic operations on map memory. `core::sync::atomic` has no
//! compare-and-exchange for the BPF target; the intrinsics become its instructions.

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd, atomic_xchg};

const SEQ_CST: AtomicOrdering = AtomicOrdering::SeqCst;

/// Replaces `*target` by `new` if it is `old`; whether it was.
///
/// # Safety
/// `target` is valid and aligned.
#[inline(always)]
pub unsafe fn swap_if_u64(target: *mut u64, old: u64, new: u64) -> bool {
    // SAFETY: the caller's pointer is valid and aligned.
    let (was, _) = unsafe { atomic_cxchg::<u64, SEQ_CST, SEQ_CST>(target, old, new) };
    was == old
}

/// Replaces `*target` by `new` if it is `old`; whether it was.
///
/// # Safety
/// `target` is valid and aligned.
#[inline(always)]
pub unsafe fn swap_if_u32(target: *mut u32, old: u32, new: u32) -> bool {
    // SAFETY: the caller's pointer is valid and aligned.
    let (was, _) = unsafe { atomic_cxchg::<u32, SEQ_CST, SEQ_CST>(target, old, new) };
    was == old
}

/// Stores `new` with a full barrier.
///
/// # Safety
/// `target` is valid and aligned.
#[inline(always)]
pub unsafe fn store_u32(target: *mut u32, new: u32) {
    // SAFETY: the caller's pointer is valid and aligned.
    unsafe { atomic_xchg::<u32, SEQ_CST>(target, new) };
}

/// Adds to `*target`.
///
/// # Safety
/// `target` is valid and aligned.
#[inline(always)]
pub unsafe fn add_u64(target: *mut u64, n: u64) {
    // SAFETY: the caller's pointer is valid and aligned.
    unsafe { atomic_xadd::<u64, u64, SEQ_CST>(target, n) };
}
