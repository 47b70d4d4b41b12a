//! A block of rows, turned to columns, a slice of [`SLICE_ROWS`] after the other.

use super::{instructions::Instructions, plan::Plan, sliced::SLICE_ROWS};
use crate::model::node::sides;

/// Rows of a block. A forest that is larger than the caches comes from memory once a block.
pub(super) const BLOCK_ROWS: usize = 1024;
/// From one column of values to the next: with a power of two, columns would compete for the same places in the cache.
const STRIDE: usize = SLICE_ROWS + 16;
/// Rows that are turned at once: a column of them fills a line of the cache.
const TURNED: usize = 16;

/// A column of a slice as ranks, in one line of the cache: no load straddles two.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct RankLine(pub(super) [u8; SLICE_ROWS]);

/// A block's columns: of each slice one a feature, or where a value is missing two, for either way that a node may send it.
/// What lies behind the last row is of no meaning.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    /// Of each slice, or where there are ranks of the last one.
    values: Vec<f32>,
    /// Of each slice, the same as ranks: so many columns for each of [`Plan::ranks`].
    ranks: Vec<RankLine>,
    /// How many bits of [`Node::side`](crate::model::node::Node::side) do not matter.
    shift: u32,
    /// Columns of values of a slice.
    values_width: usize,
    /// Columns of ranks of a slice.
    ranks_width: usize,
}

impl Columns {
    /// Takes up to [`BLOCK_ROWS`] rows.
    pub(super) fn fill(&mut self, rows: Rows<'_>, features: usize, plan: &Plan) {
        self.shift = u32::from(!rows.missing);
        let ways = 2 >> self.shift;
        self.values_width = features * ways;
        self.ranks_width = plan.ranks.columns.len() * ways;
        let slices = rows.count.div_ceil(SLICE_ROWS);
        let kept = if plan.ranks.columns.is_empty() {
            slices
        } else {
            1
        };
        self.values.resize(kept * self.values_width * STRIDE, 0.0);
        self.ranks
            .resize(slices * self.ranks_width, RankLine([0; SLICE_ROWS]));
        for (slice, rows) in rows
            .values
            .chunks(SLICE_ROWS * self.values_width)
            .enumerate()
        {
            self.turn(slice % kept, rows, plan.instructions);
            self.rank(slice, plan);
        }
    }

    /// Turns the rows of a slice.
    fn turn(&mut self, slice: usize, rows: &[f32], instructions: Instructions) {
        let width = self.values_width;
        let columns = &mut self.values[slice * width * STRIDE..][..width * STRIDE];
        for (part, rows) in rows.chunks(TURNED * width).enumerate() {
            #[cfg(target_arch = "x86_64")]
            if instructions == Instructions::Avx512 && rows.len() == TURNED * width {
                // SAFETY: a plan for AVX-512 is made where there is AVX-512.
                unsafe { super::avx512::turn(rows, width, &mut columns[part * TURNED..], STRIDE) }
                continue;
            }
            #[cfg(not(target_arch = "x86_64"))]
            let _ = instructions;
            for (number, column) in columns.chunks_exact_mut(STRIDE).enumerate() {
                let values = rows[number..].iter().step_by(width);
                for (into, value) in column[part * TURNED..][..TURNED].iter_mut().zip(values) {
                    *into = *value;
                }
            }
        }
    }

    /// Makes ranks of the slice that was turned last.
    fn rank(&mut self, slice: usize, plan: &Plan) {
        let ways = 2 >> self.shift;
        let into = &mut self.ranks[slice * self.ranks_width..][..self.ranks_width];
        for (column, into) in plan.ranks.columns.iter().zip(into.chunks_exact_mut(ways)) {
            for (way, into) in into.iter_mut().enumerate() {
                let values = &self.values[(column.feature * ways + way) * STRIDE..][..SLICE_ROWS];
                // SAFETY: only a plan for AVX-512 has ranks.
                #[cfg(target_arch = "x86_64")]
                unsafe {
                    super::avx512::rank(&column.tree, values, into);
                }
                #[cfg(not(target_arch = "x86_64"))]
                let _ = (into, values);
            }
        }
    }

    /// The values of a slice in the column that a node looks at.
    #[inline(always)]
    pub(super) fn values(&self, slice: usize, side: usize) -> &[f32] {
        let column = slice * self.values_width + (side >> self.shift);
        &self.values[column * STRIDE..][..SLICE_ROWS]
    }

    /// The columns of ranks of a slice, of which there are as many as a plan for so many ranked columns expects.
    ///
    /// # Panics
    /// Where there are not, or where the slice is not there.
    #[inline(always)]
    pub(super) fn ranks(&self, slice: usize, columns: usize) -> &[RankLine] {
        assert_eq!(
            self.ranks_width,
            columns * (2 >> self.shift),
            "columns of another model"
        );
        &self.ranks[slice * self.ranks_width..][..self.ranks_width]
    }

    /// Which of them a node looks at.
    #[inline(always)]
    pub(super) fn rank_column(&self, rank_side: u32) -> usize {
        (rank_side >> self.shift) as usize
    }
}

/// A block's rows as they are, or where a value is missing with two values a feature.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a> {
    pub(super) values: &'a [f32],
    pub(super) missing: bool,
    /// Rows in it.
    pub(super) count: usize,
}

impl<'a> Rows<'a> {
    /// Of rows × features, with `sides` to lay them out in where that is needed.
    pub(super) fn new(rows: &'a [f32], features: usize, both: &'a mut Vec<[f32; 2]>) -> Self {
        let missing = rows.iter().any(|x| x.is_nan());
        let count = rows.len() / features;
        if !missing {
            return Self {
                values: rows,
                missing,
                count,
            };
        }
        both.clear();
        both.extend(rows.iter().map(|x| sides(*x)));
        Self {
            values: both.as_flattened(),
            missing,
            count,
        }
    }
}
