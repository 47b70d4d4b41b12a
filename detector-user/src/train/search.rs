//! The best of a few options, by cross-validation on the rows that are learnt from.

use serde::Serialize;

use super::{
    folds::folds, forest::FeaturesPerSplit, forest::TrainError, learner::Learner, parts::SplitBy,
    predict::predict, random::Random, table::Table,
};
use crate::judge::judge;

/// Parts, each judged by a model of the others.
const FOLDS: usize = 3;
/// Trials of a random search.
const TRIALS: usize = 8;

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Space {
    /// Every combination of a few values.
    Grid,
    /// Eight combinations of more values, at random.
    Random,
}

/// What a search came to.
#[derive(Clone, Debug)]
pub struct Searched {
    /// The best of those tried.
    pub best: Learner,
    /// Each with its macro-F1, the best first.
    pub tried: Vec<(String, f64)>,
}

/// Tries options of a learner on `rows` of a table and takes those with the best macro-F1, of equals those tried first.
/// `progress` is told what is tried.
///
/// # Errors
/// [`TrainError`].
pub fn search(
    table: &Table,
    rows: &[u32],
    learner: &Learner,
    space: Space,
    by: SplitBy,
    seed: u64,
    progress: &dyn Fn(&str),
) -> Result<Searched, TrainError> {
    let fold_of = fold_of(table, rows, by, seed)?;
    let classes = table.classes();
    let mut tried: Vec<(f64, Learner, String)> = Vec::new();
    for (learner, name) in candidates(learner, space, seed, table.features()) {
        progress(&name);
        let mut scores = vec![f32::NAN; rows.len() * classes];
        for fold in 0..FOLDS as u16 {
            let part = |held: bool| -> Vec<usize> {
                (0..rows.len())
                    .filter(|&place| (fold_of[place] == fold) == held)
                    .collect()
            };
            let (held, kept) = (part(true), part(false));
            if held.is_empty() || kept.is_empty() {
                continue;
            }
            let kept: Vec<u32> = kept.into_iter().map(|place| rows[place]).collect();
            let of_held: Vec<u32> = held.iter().map(|&place| rows[place]).collect();
            let (model, _) = learner.fit(table, &kept, None, &|| {})?;
            let found = predict(&model, table, &of_held, 0)?;
            for (place, found) in held.iter().zip(found.chunks(classes)) {
                scores[place * classes..][..classes].copy_from_slice(found);
            }
        }
        let labels: Vec<u16> = rows
            .iter()
            .map(|&row| table.labels()[row as usize])
            .collect();
        let judged = judge(&labels, &scores, &vec![1.0; rows.len()], classes, None, &[]);
        tried.push((
            judged.map_or(0.0, |report| report.macro_average.f1),
            learner,
            name,
        ));
    }
    tried.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(Searched {
        best: tried
            .first()
            .map_or_else(|| learner.clone(), |best| best.1.clone()),
        tried: tried.into_iter().map(|(f1, _, name)| (name, f1)).collect(),
    })
}

/// The fold of each of the rows: whole groups where they are parted so, else every class evenly.
fn fold_of(table: &Table, rows: &[u32], by: SplitBy, seed: u64) -> Result<Vec<u16>, TrainError> {
    let labels: Vec<u16> = rows
        .iter()
        .map(|&row| table.labels()[row as usize])
        .collect();
    if by == SplitBy::Group {
        let groups: Vec<u32> = rows
            .iter()
            .map(|&row| table.groups()[row as usize])
            .collect();
        return Ok(folds(&groups, &labels, FOLDS, seed)?);
    }
    let mut order: Vec<usize> = (0..rows.len()).collect();
    let mut random = Random::new(seed, u64::MAX / 3);
    for last in (1..order.len()).rev() {
        order.swap(last, random.below(last + 1));
    }
    let mut next = vec![0_u16; table.classes()];
    let mut fold_of = vec![0; rows.len()];
    for place in order {
        let next = &mut next[usize::from(labels[place])];
        fold_of[place] = *next;
        *next = (*next + 1) % FOLDS as u16;
    }
    Ok(fold_of)
}

fn candidates(
    learner: &Learner,
    space: Space,
    seed: u64,
    features: usize,
) -> Vec<(Learner, String)> {
    let mut all = Vec::new();
    match learner {
        Learner::Forest(options) => {
            let (depths, leaves): (&[usize], &[f64]) = match space {
                Space::Grid => (&[12, 24], &[1.0, 3.0]),
                Space::Random => (&[8, 12, 16, 24, 32], &[1.0, 2.0, 3.0, 5.0]),
            };
            let third = (FeaturesPerSplit::Count(features.div_ceil(3)), "a third");
            for depth_max in depths {
                for leaf_weight_min in leaves {
                    for (features_per_split, name) in
                        [(FeaturesPerSplit::SquareRoot, "the root"), third]
                    {
                        let mut options = options.clone();
                        options.depth_max = *depth_max;
                        options.leaf_weight_min = *leaf_weight_min;
                        options.features_per_split = features_per_split;
                        let told = format!(
                            "depth {depth_max}, leaves of {leaf_weight_min}, {name} of the features"
                        );
                        all.push((Learner::Forest(options), told));
                    }
                }
            }
        }
        Learner::Boost(options) => {
            let (rates, leaves, regularisations): (&[f64], &[usize], &[f64]) = match space {
                Space::Grid => (&[0.05, 0.15], &[15, 31], &[1.0]),
                Space::Random => (&[0.03, 0.05, 0.1, 0.2], &[7, 15, 31, 63], &[0.1, 1.0, 10.0]),
            };
            for learning_rate in rates {
                for leaves_max in leaves {
                    for regularisation in regularisations {
                        let mut options = options.clone();
                        options.learning_rate = *learning_rate;
                        options.leaves_max = *leaves_max;
                        options.regularisation = *regularisation;
                        // Many slow rounds take long and say little of which options are better.
                        options.patience = 0;
                        let told = format!(
                            "rate {learning_rate}, {leaves_max} leaves, λ {regularisation}"
                        );
                        all.push((Learner::Boost(options), told));
                    }
                }
            }
        }
        Learner::Linfa(options) => {
            for depth_max in [4, 8, 12, 16] {
                let mut options = options.clone();
                options.depth_max = depth_max;
                all.push((Learner::Linfa(options), format!("depth {depth_max}")));
            }
        }
        // Without labels there is nothing to choose by.
        Learner::Isolation(_) => all.push((learner.clone(), "as it is".to_owned())),
    }
    if space == Space::Random {
        let mut random = Random::new(seed, u64::MAX / 5);
        for place in 0..TRIALS.min(all.len()) {
            let other = place + random.below(all.len() - place);
            all.swap(place, other);
        }
        all.truncate(TRIALS);
    }
    all
}
