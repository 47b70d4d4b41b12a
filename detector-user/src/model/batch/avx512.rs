//! Bit-sliced trees with AVX-512: 64 rows a word.

use std::{arch::x86_64::*, mem::MaybeUninit};

use super::{
    columns::{BLOCK_ROWS, Columns},
    sliced::{SLICE_ROWS, Slices, WORDS},
};

/// The number of the leaf that each row comes to.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,bmi1,bmi2")]
fn leaves(tree: Slices<'_>, columns: &Columns, from: usize) -> __m512i {
    // Not cleared, which would take as long as some twenty nodes: what is read was written before.
    let mut reached = [const { MaybeUninit::<u64>::uninit() }; WORDS];
    reached[0].write(u64::MAX);
    let values = columns.values();
    assert!(
        columns.fits(tree.features) && from + SLICE_ROWS <= BLOCK_ROWS,
        "columns of another model"
    );
    let mut child = 1;
    for node in tree.inner {
        let threshold = _mm512_set1_ps(node.threshold);
        let column = columns.of_side(node.side.into()) + from;
        let at_most = |part: usize| {
            // SAFETY: asserted above: a column for each feature, of `STRIDE` values, of which `from` and the next 64 are
            // rows. `part` is below 4, and the plan's nodes look at the ensemble's features only.
            let x = unsafe { _mm512_loadu_ps(values.as_ptr().add(column + 16 * part)) };
            // As the walk: not so for NaN.
            u64::from(_mm512_cmp_ps_mask::<_CMP_LE_OQ>(x, threshold)) << (16 * part)
        };
        // In general registers: joining mask registers took a fourth longer.
        let left = at_most(0) | at_most(1) | at_most(2) | at_most(3);
        // SAFETY: `Plan::new` numbers nodes breadth first as `Ensemble::checked` found them: fewer than `WORDS`, each
        // after its parent, whose turn has written its word.
        let here = unsafe { reached.get_unchecked(usize::from(node.at)).assume_init() };
        // SAFETY: as above; the children of the k-th inner node are nodes 2k + 1 and 2k + 2.
        let children = unsafe { reached.get_unchecked_mut(child..child + 2) };
        children[0].write(here & left);
        children[1].write(here & !left);
        child += 2;
    }
    let one = _mm512_set1_epi8(1);
    let mut number = _mm512_setzero_si512();
    // Two at a time do not wait for one another.
    let mut leaves = [_mm512_setzero_si512(); 2];
    for pair in tree.leaves.chunks(2) {
        for (leaves, &at) in leaves.iter_mut().zip(pair) {
            // SAFETY: a leaf's number is below `WORDS`, and its parent's turn has written its word.
            let rows = unsafe { reached.get_unchecked(usize::from(at)).assume_init() };
            *leaves = _mm512_mask_mov_epi8(*leaves, rows, number);
            number = _mm512_add_epi8(number, one);
        }
    }
    _mm512_or_si512(leaves[0], leaves[1])
}

/// Writes the number of the leaf that each row comes to.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,bmi1,bmi2")]
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
#[target_feature(enable = "avx512f,avx512bw,avx512dq,bmi1,bmi2")]
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
