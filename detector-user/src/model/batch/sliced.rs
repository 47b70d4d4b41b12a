//! Small trees and the heads of large ones: every node compares for many rows at once, and a bit of a word says which
//! rows came there.
//!
//! In breadth-first order the children of the k-th inner node are nodes 2k + 1 and 2k + 2, so each inner node needs only
//! its own place. The work is that of all nodes of a head whatever the rows, with no branch and no waiting for memory.

use super::{columns::Columns, instructions::Instructions, plan::Plan};

/// Rows that go through a head at once.
pub(super) const SLICE_ROWS: usize = 64;

impl Plan {
    /// Adds to the sums of a slice's rows the values of the leaves that a tree leads them to,
    /// which has nothing but its head.
    pub(super) fn add_leaves(
        &self,
        tree: usize,
        columns: &Columns,
        slice: usize,
        sums: &mut [f32],
    ) {
        let Ok(sums) = <&mut [f32; SLICE_ROWS]>::try_from(sums) else {
            return;
        };
        let head = self.head(tree);
        #[cfg(target_arch = "x86_64")]
        match self.instructions {
            Instructions::Scalar => {}
            // SAFETY: an ensemble's plan is made for `Instructions::here`, that of a test for what it found.
            Instructions::Avx2 => unsafe { super::avx2::add_leaves(head, columns, slice, sums) },
            // SAFETY: as above.
            Instructions::Avx512 => unsafe {
                super::avx512::add_leaves(head, columns, slice, sums)
            },
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (head, columns, slice, sums);
    }

    /// The numbers in their tree of the nodes at which a slice's rows leave its head; the root where it has none.
    pub(super) fn exits(&self, tree: usize, columns: &Columns, slice: usize) -> [u32; SLICE_ROWS] {
        let head = self.head(tree);
        if head.inner.is_empty() {
            return [0; SLICE_ROWS];
        }
        let mut exits = [0; SLICE_ROWS];
        #[cfg(target_arch = "x86_64")]
        match self.instructions {
            Instructions::Scalar => {}
            // SAFETY: an ensemble's plan is made for `Instructions::here`, that of a test for what it found.
            Instructions::Avx2 => unsafe { super::avx2::exits(head, columns, slice, &mut exits) },
            // SAFETY: as above.
            Instructions::Avx512 => unsafe {
                super::avx512::exits(head, columns, slice, &mut exits)
            },
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (columns, slice);
        exits.map(|exit: u8| u32::from(head.exits[usize::from(exit)]))
    }
}
