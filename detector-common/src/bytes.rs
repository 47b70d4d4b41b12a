//! How a parser gets at the bytes of a frame, wherever they lie.

/// A frame whose bytes can be loaded at any offset.
pub trait Bytes {
    /// Bytes of the whole frame, whether or not all of them can be loaded.
    fn len(&self) -> u32;

    /// Bytes of the frame's first buffer, for less than [`Bytes::len`] may cost.
    /// What ends within it need not ask for the whole length.
    fn at_hand(&self) -> u32 {
        self.len()
    }

    /// The `N` bytes at `offset`, or `None` where the frame ends before.
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]>;

    /// Whether the frame has no byte at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Bytes for [u8] {
    #[inline(always)]
    fn len(&self) -> u32 {
        <[u8]>::len(self) as u32
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let start = offset as usize;
        self.get(start..start.checked_add(N)?)?.try_into().ok()
    }
}
