//! What both formats yield: where a packet's captured bytes lie in the window, and what was said about them.

use super::link::Link;

/// One packet record. It holds a position, not a borrow, so that the reader can pass over a record and go on reading.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) time_ns: u64,
    /// The window position of the first captured byte; valid until the window is read on.
    pub(super) at: usize,
    /// How many bytes were captured.
    pub(super) captured: usize,
    /// How many bytes the packet had on its link.
    pub(super) original: usize,
    pub(super) link: Link,
}

/// The byte order of a file, or of a section of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    /// The 16-bit number at `at`. The caller has checked that `bytes` reaches that far.
    #[inline]
    pub(super) fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let raw = [bytes[at], bytes[at + 1]];
        match self {
            Self::Little => u16::from_le_bytes(raw),
            Self::Big => u16::from_be_bytes(raw),
        }
    }

    /// The 32-bit number at `at`. The caller has checked that `bytes` reaches that far.
    #[inline]
    pub(super) fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let raw = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        match self {
            Self::Little => u32::from_le_bytes(raw),
            Self::Big => u32::from_be_bytes(raw),
        }
    }
}
