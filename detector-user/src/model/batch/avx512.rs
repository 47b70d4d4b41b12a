//! Bit-sliced heads with AVX-512: 64 rows a word.

use std::{
    arch::{asm, x86_64::*},
    mem::MaybeUninit,
};

use super::{
    columns::{Columns, RankLine},
    plan::{Slices, WORDS},
    ranks::TREE_MIN,
    sliced::SLICE_ROWS,
};

/// Turns sixteen rows of so many values: each value of a row goes to a column of its own, `stride` behind the one before.
/// Columns have sixteen places at least.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,bmi1,bmi2")]
pub(super) fn turn(rows: &[f32], width: usize, columns: &mut [f32], stride: usize) {
    assert!(rows.len() == 16 * width && stride >= 16 && columns.len() >= (width - 1) * stride + 16);
    for first in (0..width).step_by(16) {
        let count = (width - first).min(16);
        let mask = (u32::from(u16::MAX) >> (16 - count)) as u16;
        // SAFETY: masked to the values of the row from `first` on.
        let row = |row: usize| unsafe {
            _mm512_maskz_loadu_ps(mask, rows.as_ptr().add(row * width + first))
        };
        // Of each four rows the same place of each four values: row r, value c of a register's quarter q becomes
        // row c, value r.
        let quads: [[__m512; 4]; 4] = std::array::from_fn(|quad| {
            let [a, b, c, d] = [0, 1, 2, 3].map(|r| row(4 * quad + r));
            let (ab, cd) = (_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d));
            let (ab_high, cd_high) = (_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d));
            [
                _mm512_shuffle_ps::<0x44>(ab, cd),
                _mm512_shuffle_ps::<0xee>(ab, cd),
                _mm512_shuffle_ps::<0x44>(ab_high, cd_high),
                _mm512_shuffle_ps::<0xee>(ab_high, cd_high),
            ]
        });
        // Then the quarters are turned in the same way.
        let mut turned = [_mm512_setzero_ps(); 16];
        for value in 0..4 {
            let [a, b, c, d] = quads.map(|quad| quad[value]);
            let (ab, cd) = (
                _mm512_shuffle_f32x4::<0x44>(a, b),
                _mm512_shuffle_f32x4::<0x44>(c, d),
            );
            let (ab_high, cd_high) = (
                _mm512_shuffle_f32x4::<0xee>(a, b),
                _mm512_shuffle_f32x4::<0xee>(c, d),
            );
            turned[value] = _mm512_shuffle_f32x4::<0x88>(ab, cd);
            turned[4 + value] = _mm512_shuffle_f32x4::<0xdd>(ab, cd);
            turned[8 + value] = _mm512_shuffle_f32x4::<0x88>(ab_high, cd_high);
            turned[12 + value] = _mm512_shuffle_f32x4::<0xdd>(ab_high, cd_high);
        }
        for (number, values) in turned.into_iter().enumerate().take(count) {
            // SAFETY: asserted above: there are sixteen places in each of `width` columns.
            unsafe { _mm512_storeu_ps(columns.as_mut_ptr().add((first + number) * stride), values) }
        }
    }
}

/// Writes the ranks of a slice's values in a search tree, as [`RankColumn::tree`](super::ranks::RankColumn::tree).
#[target_feature(enable = "avx512f,avx512bw,avx512dq,bmi1,bmi2")]
pub(super) fn rank(tree: &[f32], values: &[f32], into: &mut RankLine) {
    match tree.len() {
        16 => rank_in::<1>(tree, values, into),
        32 => rank_in::<2>(tree, values, into),
        64 => rank_in::<4>(tree, values, into),
        128 => rank_in::<8>(tree, values, into),
        _ => rank_in::<16>(tree, values, into),
    }
}

/// The same with a search tree of so many registers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,bmi1,bmi2")]
fn rank_in<const REGISTERS: usize>(tree: &[f32], values: &[f32], into: &mut RankLine) {
    let (parts, _) = tree.as_chunks::<TREE_MIN>();
    let Some(parts) = parts.first_chunk::<REGISTERS>() else {
        return;
    };
    // SAFETY: each reads sixteen values.
    let load = |values: &[f32; 16]| unsafe { _mm512_loadu_ps(values.as_ptr()) };
    let parts = parts.each_ref().map(load);
    let one = _mm512_set1_epi32(1);
    let step = |place, x, threshold| {
        // As the walk: NaN is above all.
        let above = _mm512_cmp_ps_mask::<_CMP_NLE_UQ>(x, threshold);
        let left = _mm512_add_epi32(place, place);
        _mm512_mask_add_epi32(left, above, left, one)
    };
    // The thresholds at places of two, four and eight registers, by the lowest bits of the places.
    let of_two = |first, place| _mm512_permutex2var_ps(parts[first], place, parts[first + 1]);
    let of_four = |first, place| {
        let is_high = _mm512_test_epi32_mask(place, _mm512_set1_epi32(32));
        _mm512_mask_blend_ps(is_high, of_two(first, place), of_two(first + 2, place))
    };
    let of_eight = |first, place| {
        let is_high = _mm512_test_epi32_mask(place, _mm512_set1_epi32(64));
        _mm512_mask_blend_ps(is_high, of_four(first, place), of_four(first + 4, place))
    };
    let (values, _) = values.as_chunks::<16>();
    let (into, _) = into.0.as_chunks_mut::<16>();
    for (values, into) in values.iter().zip(into) {
        let x = load(values);
        let mut place = one;
        for _ in 0..4 {
            place = step(place, x, _mm512_permutexvar_ps(place, parts[0]));
        }
        if REGISTERS >= 2 {
            place = step(place, x, _mm512_permutexvar_ps(place, parts[1]));
        }
        if REGISTERS >= 4 {
            place = step(place, x, of_two(2, place));
        }
        if REGISTERS >= 8 {
            place = step(place, x, of_four(4, place));
        }
        if REGISTERS >= 16 {
            place = step(place, x, of_eight(8, place));
        }
        let rank = _mm512_sub_epi32(place, _mm512_set1_epi32(16 * REGISTERS as i32));
        // SAFETY: `into` has sixteen bytes.
        unsafe { _mm_storeu_si128(into.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(rank)) }
    }
}

/// The number of the exit that each row comes to.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,bmi1,bmi2")]
fn exits_of_slice(tree: Slices<'_>, columns: &Columns, slice: usize) -> __m512i {
    // Not cleared, which would take as long as some twenty nodes: what is read was written before.
    let mut reached = [const { MaybeUninit::<u64>::uninit() }; WORDS];
    reached[0].write(u64::MAX);
    let ranks = columns.ranks(slice, tree.rank_columns);
    let mut child = 1;
    for node in tree.inner {
        let column = columns.rank_column(node.rank_side);
        // SAFETY: the plan's nodes look at its own columns only, all of which are there. A line has 64 bytes.
        let ranks = unsafe { _mm512_load_si512(ranks.get_unchecked(column).0.as_ptr().cast()) };
        let mut left = _mm512_cmple_epu8_mask(ranks, _mm512_set1_epi8(node.rank as i8));
        // SAFETY: no instruction. In general registers: what follows took longer in mask registers.
        unsafe {
            asm!("/* {0} */", inout(reg) left, options(pure, nomem, nostack, preserves_flags))
        }
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
    // SAFETY: an exit's number is below `WORDS`, and its parent's turn has written its word.
    let rows = |at: u16| unsafe { reached.get_unchecked(usize::from(at)).assume_init() };
    // Two at a time do not wait for one another.
    let (pairs, last) = tree.exits.as_chunks::<2>();
    let (mut number, mut even, mut odd) = (
        _mm512_setzero_si512(),
        _mm512_setzero_si512(),
        _mm512_setzero_si512(),
    );
    for &[a, b] in pairs {
        even = _mm512_mask_mov_epi8(even, rows(a), number);
        number = _mm512_add_epi8(number, one);
        odd = _mm512_mask_mov_epi8(odd, rows(b), number);
        number = _mm512_add_epi8(number, one);
    }
    if let [at] = last {
        even = _mm512_mask_mov_epi8(even, rows(*at), number);
    }
    _mm512_or_si512(even, odd)
}

/// Writes the number of the exit that each row comes to.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,bmi1,bmi2")]
pub(super) fn exits(
    tree: Slices<'_>,
    columns: &Columns,
    slice: usize,
    into: &mut [u8; SLICE_ROWS],
) {
    let exits = exits_of_slice(tree, columns, slice);
    // SAFETY: `into` has 64 bytes.
    unsafe { _mm512_storeu_si512(into.as_mut_ptr().cast(), exits) }
}

/// Adds the value of the leaf that each row comes to.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,bmi1,bmi2")]
pub(super) fn add_leaves(
    tree: Slices<'_>,
    columns: &Columns,
    slice: usize,
    sums: &mut [f32; SLICE_ROWS],
) {
    let leaves = exits_of_slice(tree, columns, slice);
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
