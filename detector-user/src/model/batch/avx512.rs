//! Bit-sliced trees with AVX-512: 64 rows a word.

use std::arch::x86_64::*;

use super::{
    columns::Columns,
    sliced::{SLICE_ROWS, Slices, WORDS},
};

/// The number of the leaf that each row comes to.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
fn leaves(tree: Slices<'_>, columns: &Columns, from: usize) -> __m512i {
    let mut reached = [0_u64; WORDS];
    reached[0] = u64::MAX;
    let values = columns.values();
    let mut child = 1;
    for node in tree.inner {
        let threshold = _mm512_set1_ps(node.threshold);
        let column = &values[columns.of_side(node.side.into()) + from..][..SLICE_ROWS];
        let at_most = |part: usize| {
            // SAFETY: `part` is below 4, and `column` has four times sixteen values.
            let x = unsafe { _mm512_loadu_ps(column.as_ptr().add(16 * part)) };
            // As the walk: not so for NaN.
            u64::from(_mm512_cmp_ps_mask::<_CMP_LE_OQ>(x, threshold)) << (16 * part)
        };
        let left = at_most(0) | at_most(1) | at_most(2) | at_most(3);
        let here = reached[usize::from(node.at) % WORDS];
        reached[child % WORDS] = here & left;
        reached[(child + 1) % WORDS] = here & !left;
        child += 2;
    }
    let mut leaves = _mm512_setzero_si512();
    for (number, &at) in tree.leaves.iter().enumerate() {
        let rows = reached[usize::from(at) % WORDS];
        leaves = _mm512_mask_mov_epi8(leaves, rows, _mm512_set1_epi8(number as i8));
    }
    leaves
}

/// Writes the number of the leaf that each row comes to.
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
pub(super) fn store_leaves(
    tree: Slices<'_>,
    columns: &Columns,
    from: usize,
    into: &mut [u8; SLICE_ROWS],
) {
    let leaves = leaves(tree, columns, from);
    // SAFETY: `into` has 64 bytes.
    unsafe { _mm512_storeu_si512(into.as_mut_ptr().cast(), leaves) }
}

/// Adds the value of the leaf that each row comes to.
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
pub(super) fn add_leaves(
    tree: Slices<'_>,
    columns: &Columns,
    from: usize,
    sums: &mut [f32; SLICE_ROWS],
) {
    let leaves = leaves(tree, columns, from);
    let sixteen = [
        _mm512_extracti32x4_epi32::<0>(leaves),
        _mm512_extracti32x4_epi32::<1>(leaves),
        _mm512_extracti32x4_epi32::<2>(leaves),
        _mm512_extracti32x4_epi32::<3>(leaves),
    ];
    let (parts, _) = sums.as_chunks_mut::<16>();
    let (tables, _) = tree.values.as_chunks::<16>();
    // SAFETY: each reads the sixteen values of a part or a table.
    let load = |values: &[f32; 16]| unsafe { _mm512_loadu_ps(values.as_ptr()) };
    let add = |part: &mut [f32; 16], values: __m512| {
        let sum = _mm512_add_ps(load(part), values);
        // SAFETY: a part has sixteen values.
        unsafe { _mm512_storeu_ps(part.as_mut_ptr(), sum) }
    };
    match tables {
        [a, b] => {
            let (a, b) = (load(a), load(b));
            for (part, leaves) in parts.iter_mut().zip(sixteen) {
                add(
                    part,
                    _mm512_permutex2var_ps(a, _mm512_cvtepu8_epi32(leaves), b),
                );
            }
        }
        [a, b, c, d] => {
            let (a, b, c, d) = (load(a), load(b), load(c), load(d));
            for (part, leaves) in parts.iter_mut().zip(sixteen) {
                let leaves = _mm512_cvtepu8_epi32(leaves);
                let low = _mm512_permutex2var_ps(a, leaves, b);
                let high = _mm512_permutex2var_ps(c, leaves, d);
                let is_high = _mm512_test_epi32_mask(leaves, _mm512_set1_epi32(32));
                add(part, _mm512_mask_blend_ps(is_high, low, high));
            }
        }
        _ => {
            for (part, leaves) in parts.iter_mut().zip(sixteen) {
                let leaves = _mm512_cvtepu8_epi32(leaves);
                // SAFETY: there is a value for each leaf's number, which is all that `leaves` holds.
                let values = unsafe { _mm512_i32gather_ps::<4>(leaves, tree.values.as_ptr()) };
                add(part, values);
            }
        }
    }
}
