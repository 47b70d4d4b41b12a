//! Signs that figures are better than the model.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{
    bins::{BINS, Binned},
    parts::Parts,
    table::Table,
};
use crate::{dataset::tables::roles, model::Card};

/// Mean recall over the classes from which one feature alone decides.
const DECIDES: f64 = 0.98;

/// A sign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "leak")]
pub enum Leak {
    /// Rows that are judged by have the features of rows that were learnt from.
    SameRows {
        /// How many.
        rows: usize,
        /// Of how many.
        of: usize,
    },
    /// One feature, cut into bins, tells the classes apart as well as a model could.
    OneFeature {
        /// Which.
        feature: String,
        /// Mean over the classes of the share of rows it finds.
        mean_recall: f64,
    },
    /// A feature says who it was, when, or in which capture.
    Identity {
        /// Which.
        feature: String,
        /// What it says.
        what: String,
    },
    /// A feature names a service: what is attacked in one network is not in another.
    Port {
        /// Which.
        feature: String,
    },
}

impl std::fmt::Display for Leak {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SameRows { rows, of } => write!(
                f,
                "{rows} of the {of} rows judged by have the features of rows learnt from: known, not recognised"
            ),
            Self::OneFeature {
                feature,
                mean_recall,
            } => write!(
                f,
                "{feature} alone tells the classes apart (mean recall {mean_recall:.3}): the data may be easier than the world; try --without {feature}"
            ),
            Self::Identity { feature, what } => write!(
                f,
                "{feature} is {what}: what is learnt from it holds for this data alone"
            ),
            Self::Port { feature } => write!(
                f,
                "{feature} names the service: attacks on another one may go unseen; try --without {feature}"
            ),
        }
    }
}

/// The signs that were found when a model was made, from its card; `None` where nobody looked.
#[must_use]
pub fn leaks_of(card: &Card) -> Option<Vec<Leak>> {
    let leaks = card.training.get("leaks")?.as_array()?;
    let read = |leak: &serde_json::Value| Leak::deserialize(leak).ok();
    Some(leaks.iter().filter_map(read).collect())
}

/// Looks for signs in the parts of a table.
#[must_use]
pub fn leaks(table: &Table, parts: &Parts) -> Vec<Leak> {
    let mut found = Vec::new();
    let rows = same_rows(table, parts);
    if rows > 0 {
        found.push(Leak::SameRows {
            rows,
            of: parts.test.len(),
        });
    }
    for feature in &table.schema().features {
        if let Some(what) = roles::role(feature).reason() {
            found.push(Leak::Identity {
                feature: feature.clone(),
                what: what.to_owned(),
            });
        } else if roles::is_port(feature) {
            found.push(Leak::Port {
                feature: feature.clone(),
            });
        }
    }
    found.extend(deciding(table, parts));
    found
}

fn same_rows(table: &Table, parts: &Parts) -> usize {
    let mut values = vec![0.0; table.features()];
    let mut bits = |row: &u32| -> Vec<u32> {
        table.row(*row as usize, &mut values);
        // NaN has one form.
        let bits = values
            .iter()
            .map(|x| if x.is_nan() { f32::NAN } else { *x });
        bits.map(f32::to_bits).collect()
    };
    let wanted: HashMap<Vec<u32>, usize> =
        parts.test.iter().fold(HashMap::new(), |mut all, row| {
            *all.entry(bits(row)).or_default() += 1;
            all
        });
    let mut known: Vec<Vec<u32>> = parts
        .train
        .iter()
        .map(&mut bits)
        .filter(|row| wanted.contains_key(row))
        .collect();
    known.sort_unstable();
    known.dedup();
    known.iter().map(|row| wanted[row]).sum()
}

/// Features that decide alone: the commonest class of each bin among rows learnt from, asked of rows judged by.
fn deciding(table: &Table, parts: &Parts) -> Vec<Leak> {
    if parts.train.is_empty() || parts.test.is_empty() {
        return Vec::new();
    }
    let rows: Vec<u32> = parts.train.iter().chain(&parts.test).copied().collect();
    let binned = Binned::new(table, &rows, 0, 1);
    let classes = table.classes();
    let label = |row: u32| usize::from(table.labels()[row as usize]);
    let mut of_class = vec![0.0; classes];
    for &row in &parts.train {
        of_class[label(row)] += 1.0;
    }
    let mut in_test = vec![0.0; classes];
    for &row in &parts.test {
        in_test[label(row)] += 1.0;
    }
    let judged = in_test.iter().filter(|count| **count > 0.0).count();
    if judged < 2 {
        return Vec::new();
    }
    let mut found = Vec::new();
    for feature in 0..table.features() {
        let column = binned.column(feature);
        // Classes count the same, however many rows they have.
        let mut shares = vec![0.0_f64; BINS * classes];
        for (bin, &row) in column.iter().zip(&parts.train) {
            shares[usize::from(*bin) * classes + label(row)] += 1.0 / of_class[label(row)];
        }
        let commonest: Vec<usize> = shares
            .chunks(classes)
            .map(|bin| {
                (0..classes)
                    .max_by(|&a, &b| bin[a].total_cmp(&bin[b]))
                    .unwrap_or(0)
            })
            .collect();
        let mut hits = vec![0.0; classes];
        for (bin, &row) in column[parts.train.len()..].iter().zip(&parts.test) {
            if commonest[usize::from(*bin)] == label(row) {
                hits[label(row)] += 1.0;
            }
        }
        let recalls = hits.iter().zip(&in_test).filter(|(_, all)| **all > 0.0);
        let mean = recalls.map(|(hits, all)| hits / all).sum::<f64>() / judged as f64;
        if mean >= DECIDES {
            found.push(Leak::OneFeature {
                feature: table.schema().features[feature].clone(),
                mean_recall: mean,
            });
        }
    }
    found
}
