//! Bit-sliced heads with AVX2: twice 32 rows a word.

use std::arch::x86_64::*;

use super::{
    columns::Columns,
    plan::{Slices, WORDS},
    sliced::SLICE_ROWS,
};

/// Rows of a half.
const HALF: usize = SLICE_ROWS / 2;

/// The number of the exit that each of 32 rows comes to.
#[inline]
#[target_feature(enable = "avx2")]
fn exits_of_half(tree: Slices<'_>, columns: &Columns, slice: usize, half: usize) -> __m256i {
    let mut reached = [0_u32; WORDS];
    reached[0] = u32::MAX;
    let mut child = 1;
    for node in tree.inner {
        let threshold = _mm256_set1_ps(node.threshold);
        let column = &columns.values(slice, node.side.into())[half * HALF..][..HALF];
        let at_most = |part: usize| {
            // SAFETY: `part` is below 4, and `column` has four times eight values.
            let x = unsafe { _mm256_loadu_ps(column.as_ptr().add(8 * part)) };
            // As the walk: not so for NaN.
            (_mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LE_OQ>(x, threshold)) as u32) << (8 * part)
        };
        let left = at_most(0) | at_most(1) | at_most(2) | at_most(3);
        let here = reached[usize::from(node.at) % WORDS];
        reached[child % WORDS] = here & left;
        reached[(child + 1) % WORDS] = here & !left;
        child += 2;
    }
    // Byte n of a word's four is brought to the eight bytes of its rows, in each of which one bit counts.
    let spread = _mm256_setr_epi64x(
        0,
        0x0101_0101_0101_0101,
        0x0202_0202_0202_0202,
        0x0303_0303_0303_0303,
    );
    let bits = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
    let mut exits = _mm256_setzero_si256();
    for (number, &at) in tree.exits.iter().enumerate() {
        let word = _mm256_set1_epi32(reached[usize::from(at) % WORDS] as i32);
        let rows = _mm256_and_si256(_mm256_shuffle_epi8(word, spread), bits);
        let rows = _mm256_cmpeq_epi8(rows, bits);
        exits = _mm256_or_si256(
            exits,
            _mm256_and_si256(rows, _mm256_set1_epi8(number as i8)),
        );
    }
    exits
}

/// Writes the number of the exit that each row comes to.
#[target_feature(enable = "avx2")]
pub(super) fn exits(
    tree: Slices<'_>,
    columns: &Columns,
    slice: usize,
    into: &mut [u8; SLICE_ROWS],
) {
    let (halves, _) = into.as_chunks_mut::<HALF>();
    for (half, into) in halves.iter_mut().enumerate() {
        let exits = exits_of_half(tree, columns, slice, half);
        // SAFETY: `into` has 32 bytes.
        unsafe { _mm256_storeu_si256(into.as_mut_ptr().cast(), exits) }
    }
}

/// Adds the value of the leaf that each row comes to.
#[target_feature(enable = "avx2")]
pub(super) fn add_leaves(
    tree: Slices<'_>,
    columns: &Columns,
    slice: usize,
    sums: &mut [f32; SLICE_ROWS],
) {
    let mut leaves = [0; SLICE_ROWS];
    exits(tree, columns, slice, &mut leaves);
    for (sum, leaf) in sums.iter_mut().zip(leaves) {
        *sum += tree.values[usize::from(leaf) % tree.values.len()];
    }
}
