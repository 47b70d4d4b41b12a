//! Typed views of memory-mapped BPF arrays.
//!
//! The kernel writes what is mapped here at any time. Every access is therefore an
//! atomic of a machine word; a whole entry is a sequence of such words and may be
//! torn, which each caller that minds must detect (see the flow reader).

use std::{
    io,
    marker::PhantomData,
    os::fd::BorrowedFd,
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use bytemuck::Pod;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Whether a mapping may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and writing.
    Write,
}

/// Which cache something is brought into before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// The nearest: for what is read next.
    First,
    /// The next: for what is read after that.
    Second,
}

/// A mapped array of `T`, whose size is a multiple of eight bytes.
pub struct Mapping<T> {
    base: NonNull<AtomicU64>,
    bytes: usize,
    len: u32,
    access: Access,
    entry: PhantomData<T>,
}

// SAFETY: the memory is shared by nature and accessed through atomics only.
unsafe impl<T> Send for Mapping<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Mapping<T> {}

impl<T: Pod> Mapping<T> {
    const WORDS: usize = {
        assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>() <= 64);
        size_of::<T>() / 8
    };

    /// Maps the `len` entries of an array.
    ///
    /// # Errors
    /// What `mmap` says; EPERM where the map was not made to be mapped.
    pub fn new(map: BorrowedFd<'_>, len: u32, access: Access) -> io::Result<Self> {
        let page = rustix::param::page_size();
        let bytes = (len as usize * size_of::<T>()).next_multiple_of(page);
        let protection = match access {
            Access::Read => ProtFlags::READ,
            Access::Write => ProtFlags::READ | ProtFlags::WRITE,
        };
        // SAFETY: a fresh shared mapping at an address of the kernel's choice.
        let base = unsafe {
            mmap(
                std::ptr::null_mut(),
                bytes,
                protection,
                MapFlags::SHARED,
                map,
                0,
            )
        }?;
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self {
            base,
            bytes,
            len,
            access,
            entry: PhantomData,
        })
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The words of an entry.
    ///
    /// # Panics
    /// Where there is no such entry.
    #[inline]
    #[must_use]
    pub fn words(&self, index: u32) -> &[AtomicU64] {
        assert!(index < self.len, "entry {index} of {}", self.len);
        // SAFETY: within the mapping, which lives as long as self; aligned, since it
        // begins on a page; atomics allow any other writer.
        unsafe {
            std::slice::from_raw_parts(
                self.base.as_ptr().add(index as usize * Self::WORDS),
                Self::WORDS,
            )
        }
    }

    /// Has the first `count` words of an entry brought into a cache. Nothing happens where
    /// the compiler has no way to.
    ///
    /// # Panics
    /// Where there is no such entry, or it has fewer words.
    #[inline(always)]
    pub fn prefetch(&self, index: u32, count: usize, into: Cache) {
        for line in self.words(index)[..count].chunks(64 / 8) {
            #[cfg(target_arch = "x86_64")]
            {
                use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
                let line = line.as_ptr().cast();
                // SAFETY: hints, which read and write nothing.
                unsafe {
                    match into {
                        Cache::First => _mm_prefetch::<_MM_HINT_T0>(line),
                        Cache::Second => _mm_prefetch::<_MM_HINT_T1>(line),
                    }
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            let _ = (line, into);
        }
    }

    /// A copy of an entry, word by word.
    #[inline]
    #[must_use]
    pub fn load(&self, index: u32) -> T {
        let mut entry = T::zeroed();
        let target = bytemuck::bytes_of_mut(&mut entry);
        for (bytes, word) in target.chunks_exact_mut(8).zip(self.words(index)) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        entry
    }

    /// Writes an entry, word by word.
    ///
    /// # Panics
    /// Where the mapping is for reading only.
    pub fn store(&self, index: u32, entry: &T) {
        assert_eq!(self.access, Access::Write, "a mapping for reading only");
        for (bytes, word) in bytemuck::bytes_of(entry)
            .chunks_exact(8)
            .zip(self.words(index))
        {
            let mut value = [0; 8];
            value.copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(value), Ordering::Relaxed);
        }
    }

    /// The 32-bit word at a byte offset of an entry.
    ///
    /// # Panics
    /// Where there is no such entry or offset.
    #[inline]
    #[must_use]
    pub fn half(&self, index: u32, offset: usize) -> &AtomicU32 {
        let words = self.words(index);
        assert!(
            offset.is_multiple_of(4) && offset < words.len() * 8,
            "offset {offset}"
        );
        // SAFETY: within the entry, aligned to four bytes, accessed atomically.
        unsafe { AtomicU32::from_ptr(words.as_ptr().cast_mut().cast::<u32>().add(offset / 4)) }
    }
}

impl<T> Drop for Mapping<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made, with no borrow left.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}
