//! Columns cut into at most 255 bins of about as many rows each, and one for missing values.

use super::{random::Random, table::Table};

/// The bin of a missing value.
pub(super) const MISSING: u8 = 255;
/// Bins of a feature, the one for missing values included.
pub(super) const BINS: usize = 256;

/// Rows from which the edges are found; more change them by less than a row in a thousand.
const SAMPLE_ROWS: usize = 200_000;

/// The bins of some rows of a table.
pub(super) struct Binned {
    /// Per feature, rising: a value is in the first bin whose edge is not below it, or in the
    /// last one. Thresholds are edges, so that `bin <= n` and `x <= edges[n]` say the same.
    pub(super) edges: Vec<Vec<f32>>,
    /// Features × rows.
    bins: Vec<u8>,
    rows: usize,
}

impl Binned {
    /// Cuts every column by the values it has in `rows`.
    pub(super) fn new(table: &Table, rows: &[u32], seed: u64, threads: usize) -> Self {
        let features = table.features();
        let mut edges = vec![Vec::new(); features];
        let mut bins = vec![0; features * rows.len()];
        let sample = sample(rows, seed);
        let share = features.div_ceil(threads);
        std::thread::scope(|scope| {
            let shares = edges
                .chunks_mut(share)
                .zip(bins.chunks_mut(share * rows.len()));
            for (number, (edges, bins)) in shares.enumerate() {
                let sample = &sample;
                scope.spawn(move || {
                    let columns = edges.iter_mut().zip(bins.chunks_mut(rows.len()));
                    for (place, (edges, bins)) in columns.enumerate() {
                        let column = table.column(number * share + place);
                        let values = sample.iter().map(|&row| column[row as usize]);
                        *edges = cut(values.filter(|x| !x.is_nan()).collect());
                        for (bin, &row) in bins.iter_mut().zip(rows) {
                            *bin = bin_of(edges, column[row as usize]);
                        }
                    }
                });
            }
        });
        Self {
            edges,
            bins,
            rows: rows.len(),
        }
    }

    /// A feature's bin in every row.
    pub(super) fn column(&self, feature: usize) -> &[u8] {
        &self.bins[feature * self.rows..][..self.rows]
    }

    /// Features of which rows can differ.
    pub(super) fn usable(&self) -> Vec<u16> {
        let varies = |&feature: &u16| {
            let column = self.column(usize::from(feature));
            column.iter().any(|bin| *bin != column[0])
        };
        (0..self.edges.len() as u16).filter(varies).collect()
    }
}

fn bin_of(edges: &[f32], x: f32) -> u8 {
    if x.is_nan() {
        return MISSING;
    }
    edges.partition_point(|&edge| edge < x) as u8
}

/// At most [`SAMPLE_ROWS`] of the rows, one at random out of every stretch of equal length.
fn sample(rows: &[u32], seed: u64) -> Vec<u32> {
    if rows.len() <= SAMPLE_ROWS {
        return rows.to_vec();
    }
    let mut random = Random::new(seed, u64::MAX);
    let begin = |n: usize| n * rows.len() / SAMPLE_ROWS;
    (0..SAMPLE_ROWS)
        .map(|n| rows[begin(n) + random.below(begin(n + 1) - begin(n))])
        .collect()
}

/// Edges between values, at most 254. A value that fills a bin alone gets one.
fn cut(mut values: Vec<f32>) -> Vec<f32> {
    values.sort_unstable_by(f32::total_cmp);
    let runs: Vec<(f32, usize)> = values
        .chunk_by(|a, b| a == b)
        .map(|run| (run[0], run.len()))
        .collect();
    let bins = BINS - 1;
    let few = runs.len() <= bins;
    let mut edges = Vec::new();
    let (mut rows_left, mut bins_left, mut in_bin) =
        (values.len(), bins, runs.first().map_or(0, |run| run.1));
    for pair in runs.windows(2) {
        let [(value, _), (next, of_next)] = [pair[0], pair[1]];
        let full = in_bin * bins_left >= rows_left;
        let next_fills_one = of_next * bins_left >= rows_left;
        if few || bins_left > 1 && (full || next_fills_one) {
            edges.push(between(value, next));
            rows_left -= in_bin;
            bins_left -= 1;
            in_bin = 0;
        }
        in_bin += of_next;
    }
    edges
}

/// The middle of two values, or the lower one where the middle is no number below the upper.
fn between(low: f32, high: f32) -> f32 {
    let middle = ((f64::from(low) + f64::from(high)) / 2.0) as f32;
    if middle.is_finite() && middle < high {
        middle
    } else {
        low
    }
}

#[cfg(test)]
mod tests {
    use super::{BINS, between, bin_of, cut};

    #[test]
    fn few_values_get_a_bin_each_and_edges_separate_them() {
        let values = [
            3.0,
            1.0,
            f32::INFINITY,
            1.0,
            f32::NEG_INFINITY,
            2.0,
            -0.0,
            0.0,
        ];
        let edges = cut(values.to_vec());
        assert_eq!(edges, [f32::NEG_INFINITY, 0.5, 1.5, 2.5, 3.0]);
        let bins = [-f32::INFINITY, 0.0, 1.0, 2.0, 3.0, f32::INFINITY].map(|x| bin_of(&edges, x));
        assert_eq!(bins, [0, 1, 2, 3, 4, 5]);
        assert_eq!(bin_of(&edges, f32::NAN), 255);
    }

    #[test]
    fn neighbouring_floats_are_separated() {
        for low in [1.0_f32, -1.0, f32::MIN_POSITIVE, f32::MAX.next_down(), 0.1] {
            let edge = between(low, low.next_up());
            assert!(low <= edge && edge < low.next_up());
        }
    }

    #[test]
    fn many_values_get_bins_of_like_size_and_a_frequent_one_its_own() {
        let mut values: Vec<f32> = (0..10_000).map(|n| n as f32).collect();
        values.extend([5_000.0; 10_000]);
        let edges = cut(values.clone());
        assert!(
            edges.len() > 200 && edges.len() < BINS - 1,
            "{}",
            edges.len()
        );
        assert!(edges.is_sorted_by(|a, b| a < b));
        let own = bin_of(&edges, 5_000.0);
        let mut sizes = [0; BINS];
        for x in values {
            sizes[usize::from(bin_of(&edges, x))] += 1;
        }
        assert!((10_000..10_100).contains(&sizes[usize::from(own)]));
        let others = sizes
            .iter()
            .enumerate()
            .filter(|(bin, _)| *bin != usize::from(own));
        assert!(others.map(|(_, size)| size).max() < Some(&120));
    }

    #[test]
    fn no_values_have_no_edges() {
        assert!(cut(Vec::new()).is_empty());
        assert!(cut(vec![1.0; 5]).is_empty());
    }
}
