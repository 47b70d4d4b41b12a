//! Memory for many values of one kind: zero at first, in huge pages where the system has them, given back as a whole.
//!
//! A flow table is read at random, and with small pages finding the page costs as much as reading it.

use std::marker::PhantomData;

use bytemuck::Pod;
use memmap2::{Advice, MmapMut};

/// A fixed number of values.
pub(super) struct Memory<T> {
    map: MmapMut,
    values: PhantomData<T>,
}

impl<T: Pod> Memory<T> {
    /// `count` values, all zero; `None` where the system has no memory left.
    pub(super) fn zeroed(count: usize) -> Option<Self> {
        const { assert!(size_of::<T>() > 0 && align_of::<T>() <= 4096) };
        let map = MmapMut::map_anon(count.checked_mul(size_of::<T>())?).ok()?;
        // Only a matter of speed: a kernel without huge pages refuses.
        let _ = map.advise(Advice::HugePage);
        Some(Self {
            map,
            values: PhantomData,
        })
    }

    /// All of them. The map begins at a page and its length is a multiple of the value's: the cast cannot fail.
    #[inline(always)]
    pub(super) fn all(&self) -> &[T] {
        bytemuck::cast_slice(&self.map)
    }

    /// All of them, to be written.
    #[inline(always)]
    pub(super) fn all_mut(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(&mut self.map)
    }
}
