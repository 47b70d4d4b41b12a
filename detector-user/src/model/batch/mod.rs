//! Scoring many rows at once, with the same bits as one by one.
//!
//! Small trees, and the first levels of large ones, are gone through bit-sliced, on columns, where the processor has the
//! instructions; the rest is walked by several rows in step. Either way each row adds up its leaves in the order of the
//! trees.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod columns;
mod instructions;
mod plan;
mod ranks;
mod sliced;
mod walk;

#[cfg(test)]
mod tests;

use columns::{BLOCK_ROWS, Columns, Rows};
pub(super) use instructions::Instructions;
pub(super) use plan::Plan;

use super::{calibration::Curve, ensemble::Ensemble};

/// Fewer rows than these are scored one by one: a block costs as much as if it were full.
const ROWS_FEW: usize = 10;

/// What scoring many rows needs beside the model; kept from one call to the next it saves allocating.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    columns: Columns,
    /// Rows × features, of blocks that miss values.
    sides: Vec<[f32; 2]>,
    /// Of models with one value a node: sums × [`BLOCK_ROWS`].
    sums: Vec<f32>,
}

impl Ensemble {
    /// The scores of many rows (rows × features, one after the other) as [`Ensemble::score`] gives them: rows × classes.
    ///
    /// # Panics
    /// Where a slice has another length.
    pub fn score_rows(&self, rows: &[f32], scores: &mut [f32], scratch: &mut Scratch) {
        self.score_rows_raw(rows, scores, scratch);
        if !self.card.calibration.is_empty() {
            for scores in scores.chunks_exact_mut(self.classes()) {
                Curve::calibrate(&self.card.calibration, scores);
            }
        }
    }

    /// The same without the calibration.
    ///
    /// # Panics
    /// As [`Ensemble::score_rows`].
    pub fn score_rows_raw(&self, rows: &[f32], scores: &mut [f32], scratch: &mut Scratch) {
        self.score_rows_with(&self.plan, rows, scores, scratch);
    }

    /// The same, by the instructions of a plan made for this ensemble.
    fn score_rows_with(
        &self,
        plan: &Plan,
        rows: &[f32],
        scores: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let (features, classes) = (self.features(), self.classes());
        let count = rows.len() / features;
        assert_eq!(rows.len(), count * features, "values in rows");
        assert_eq!(scores.len(), count * classes, "scores of rows");
        let blocks = rows.chunks(BLOCK_ROWS * features);
        for (rows, scores) in blocks.zip(scores.chunks_mut(BLOCK_ROWS * classes)) {
            if rows.len() < ROWS_FEW * features {
                let each = rows
                    .chunks_exact(features)
                    .zip(scores.chunks_exact_mut(classes));
                for (row, scores) in each {
                    self.score_raw(row, scores);
                }
            } else {
                self.score_block(plan, rows, scores, scratch);
            }
        }
    }

    fn score_block(&self, plan: &Plan, rows: &[f32], scores: &mut [f32], scratch: &mut Scratch) {
        let classes = self.classes();
        let base = &self.card.summation.base[..];
        let rows = Rows::new(rows, self.features(), &mut scratch.sides);
        if plan.slices_any() {
            scratch.columns.fill(rows, self.features(), plan);
        }
        let narrow = self.card.node_values() == 1;
        if narrow {
            scratch.sums.resize(self.card.sums() * BLOCK_ROWS, 0.0);
            for (sum, sums) in scratch.sums.chunks_exact_mut(BLOCK_ROWS).enumerate() {
                sums.fill(base.get(sum).copied().unwrap_or(0.0));
            }
            self.sum_narrow(plan, rows, &scratch.columns, &mut scratch.sums);
            for (row, scores) in scores.chunks_exact_mut(classes).enumerate() {
                let sums = scratch.sums.chunks_exact(BLOCK_ROWS);
                for (score, sums) in scores.iter_mut().zip(sums) {
                    *score = sums[row];
                }
            }
        } else {
            // There are as many sums as classes: they are made where they are wanted.
            match base {
                [] => scores.fill(0.0),
                base => scores
                    .chunks_exact_mut(classes)
                    .for_each(|scores| scores.copy_from_slice(base)),
            }
            self.sum_wide(plan, rows, &scratch.columns, scores);
        }
        for scores in scores.chunks_exact_mut(classes) {
            self.card.transform(scores, self.trees());
        }
    }
}
