//! A block of rows, turned to columns.

use crate::model::node::sides;

/// Rows of a block.
pub(super) const BLOCK_ROWS: usize = 256;
/// From one column to the next: with a power of two, columns would compete for the same places in the cache.
pub(super) const STRIDE: usize = BLOCK_ROWS + 16;

/// A block's columns: one a feature, or where a value is missing two, for either way that a node may send it.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    values: Vec<f32>,
    /// Rows in it.
    pub(super) rows: usize,
    /// How many bits of [`Node::side`](crate::model::node::Node::side) do not matter.
    shift: u32,
}

impl Columns {
    /// Takes up to [`BLOCK_ROWS`] rows. What lies behind the last row is of no meaning.
    pub(super) fn fill(&mut self, rows: &[f32], features: usize) {
        let missing = rows.iter().any(|x| x.is_nan());
        self.rows = (rows.len() / features).min(BLOCK_ROWS);
        self.shift = u32::from(!missing);
        let columns = if missing { 2 * features } else { features };
        self.values.resize(columns * STRIDE, 0.0);
        if missing {
            for (row, values) in rows.chunks_exact(features).enumerate() {
                for (columns, &x) in self.values.chunks_exact_mut(2 * STRIDE).zip(values) {
                    [columns[row], columns[STRIDE + row]] = sides(x);
                }
            }
        } else {
            for (row, values) in rows.chunks_exact(features).enumerate() {
                for (column, &x) in self.values.chunks_exact_mut(STRIDE).zip(values) {
                    column[row] = x;
                }
            }
        }
    }

    /// Where in the values the column begins that a node looks at.
    #[inline(always)]
    pub(super) fn of_side(&self, side: usize) -> usize {
        (side >> self.shift) * STRIDE
    }

    #[inline(always)]
    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    /// Whether every node of an ensemble of so many features finds a column of [`STRIDE`] values.
    #[inline(always)]
    pub(super) fn fits(&self, features: usize) -> bool {
        self.values.len() >= self.of_side(2 * features - 1) + STRIDE
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
