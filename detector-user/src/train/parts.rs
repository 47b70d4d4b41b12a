//! Rows to learn from, rows to calibrate by, rows to judge by.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{random::Random, table::Table};

/// Share of the rows that is learnt from.
pub const TRAIN: f64 = 0.7;
/// Share of the rows that calibration and thresholds are chosen by; the rest is judged by.
pub const VALIDATION: f64 = 0.15;

/// How rows are parted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitBy {
    /// By chance, every class in the same shares.
    #[default]
    Stratified,
    /// Of every class the earliest rows to learn from, the next to calibrate by, the latest to judge by.
    Time,
    /// Whole groups, captures or others, classes as even as that allows.
    Group,
}

/// Why rows cannot be parted.
#[derive(Debug, thiserror::Error)]
pub enum PartsError {
    /// Nothing says when rows were.
    #[error(
        "cannot part the rows by time: no column says when a row was; name it with --time, or use --split stratified"
    )]
    NoTimes,
    /// A part would be empty.
    #[error(
        "cannot part {rows} rows into those to learn from, to calibrate by and to judge by: {cause}; {remedy}"
    )]
    TooFew {
        /// Rows there are.
        rows: usize,
        /// What there is too little of.
        cause: String,
        /// What to do.
        remedy: &'static str,
    },
}

/// Row numbers, each in one part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// To learn from.
    pub train: Vec<u32>,
    /// To calibrate by, and to choose thresholds by.
    pub validation: Vec<u32>,
    /// To judge by.
    pub test: Vec<u32>,
}

/// Parts the rows of a table 70 : 15 : 15. A class of fewer than three rows is learnt from only.
///
/// # Errors
/// [`PartsError`].
pub fn parts(
    table: &Table,
    times: Option<&[f64]>,
    by: SplitBy,
    seed: u64,
) -> Result<Parts, PartsError> {
    let mut parts = match by {
        SplitBy::Stratified => of_classes(table, |rows, class| {
            let mut random = Random::new(seed, u64::MAX - class);
            for last in (1..rows.len()).rev() {
                rows.swap(last, random.below(last + 1));
            }
        }),
        SplitBy::Time => {
            let times = times.ok_or(PartsError::NoTimes)?;
            of_classes(table, |rows, _| {
                // Rows without a time come first; those of one time in the table's order.
                let key = |row: &u32| times[*row as usize];
                rows.sort_by(|a, b| {
                    let (a, b) = (key(a), key(b));
                    b.is_nan().cmp(&a.is_nan()).then(a.total_cmp(&b))
                });
            })
        }
        SplitBy::Group => of_groups(table, seed)?,
    };
    for part in [&mut parts.train, &mut parts.validation, &mut parts.test] {
        part.sort_unstable();
    }
    if parts.validation.is_empty() || parts.test.is_empty() || parts.train.is_empty() {
        return Err(PartsError::TooFew {
            rows: table.rows(),
            cause: "no class has three of them".to_owned(),
            remedy: "bring more rows",
        });
    }
    Ok(parts)
}

fn of_classes(table: &Table, mut order: impl FnMut(&mut Vec<u32>, u64)) -> Parts {
    let mut classes: BTreeMap<u16, Vec<u32>> = BTreeMap::new();
    for (row, label) in table.labels().iter().enumerate() {
        classes.entry(*label).or_default().push(row as u32);
    }
    let mut parts = Parts::default();
    for (class, rows) in &mut classes {
        order(rows, u64::from(*class));
        let held = |share: f64| match rows.len() {
            0..=2 => 0,
            all => ((all as f64 * share).round() as usize).max(1),
        };
        let test = held(1.0 - TRAIN - VALIDATION);
        let validation = held(VALIDATION);
        let train = rows.len() - test - validation;
        parts.train.extend(&rows[..train]);
        parts.validation.extend(&rows[train..train + validation]);
        parts.test.extend(&rows[train + validation..]);
    }
    parts
}

/// Groups go, the largest first, to the part that lacks most of what it should have of their classes.
fn of_groups(table: &Table, seed: u64) -> Result<Parts, PartsError> {
    let classes = table.classes();
    let mut groups: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (row, group) in table.groups().iter().enumerate() {
        groups.entry(*group).or_default().push(row as u32);
    }
    if groups.len() < 3 {
        return Err(PartsError::TooFew {
            rows: table.rows(),
            cause: format!(
                "they are of {} groups, and a group is never divided",
                groups.len()
            ),
            remedy: "bring more captures, name another column with --group, or use --split stratified",
        });
    }
    let count = |rows: &[u32]| {
        let mut counts = vec![0.0_f64; classes];
        for row in rows {
            counts[usize::from(table.labels()[*row as usize])] += 1.0;
        }
        counts
    };
    let totals = count(&table.all_rows());
    let mut order: Vec<(u64, Vec<u32>)> = {
        let mut random = Random::new(seed, u64::MAX);
        groups
            .into_values()
            .map(|rows| (random.below(1 << 62) as u64, rows))
            .collect()
    };
    // By chance among groups of one size.
    order.sort_by(|a, b| b.1.len().cmp(&a.1.len()).then(a.0.cmp(&b.0)));
    let shares = [TRAIN, VALIDATION, 1.0 - TRAIN - VALIDATION];
    let mut filled = vec![vec![0.0_f64; classes]; 3];
    let mut parts: [Vec<u32>; 3] = Default::default();
    for (_, rows) in order {
        let counts = count(&rows);
        // Distance of all classes' shares from those wanted, were the group put there.
        let distance = |part: usize| -> f64 {
            let of = |class: usize| -> f64 {
                let gap = |n: usize| {
                    let more = if n == part { counts[class] } else { 0.0 };
                    (filled[n][class] + more) / totals[class] / shares[n] - 1.0
                };
                (0..3).map(|n| gap(n).powi(2) * shares[n]).sum()
            };
            (0..classes)
                .filter(|class| totals[*class] > 0.0)
                .map(of)
                .sum()
        };
        let part = (0..3)
            .min_by(|&a, &b| distance(a).total_cmp(&distance(b)))
            .unwrap_or(0);
        for (filled, count) in filled[part].iter_mut().zip(&counts) {
            *filled += count;
        }
        parts[part].extend(rows);
    }
    let [train, validation, test] = parts;
    for (part, what) in [
        (&train, "learn from"),
        (&validation, "calibrate by"),
        (&test, "judge by"),
    ] {
        if part.is_empty() {
            return Err(PartsError::TooFew {
                rows: table.rows(),
                cause: format!("no group is left to {what}"),
                remedy: "bring more captures, or use --split stratified",
            });
        }
    }
    Ok(Parts {
        train,
        validation,
        test,
    })
}
