//! All measures at once.

use serde::Serialize;

use super::{
    classes::{ClassScore, Confusion},
    probability::{brier, calibration_error, decide, log_loss},
    ranking::{Ranking, Threshold},
};

/// Bins of the expected calibration error, as in the paper.
const CALIBRATION_BINS: usize = 15;

/// Why probabilities cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// A part has another length than the rest.
    #[error(
        "cannot judge a model: {part} has {found} entries where {wanted} are due; every row needs its own"
    )]
    Length {
        /// The part.
        part: &'static str,
        /// What it has.
        found: usize,
        /// What it should have.
        wanted: usize,
    },
    /// A label, or the class of no attack, is not there.
    #[error("cannot judge a model: class {class} was named and there are {classes}")]
    Class {
        /// The class named.
        class: usize,
        /// Classes there are.
        classes: usize,
    },
    /// No row is left.
    #[error(
        "cannot judge a model: no row has both probabilities and a weight above 0; choose others"
    )]
    Empty,
}

/// How well something is detected.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Detection {
    /// [`Ranking::roc_auc`].
    pub roc_auc: Option<f64>,
    /// [`Ranking::average_precision`].
    pub pr_auc: Option<f64>,
    /// [`Ranking::at_false_alarm_rate`], for each rate asked for.
    pub at_false_alarm_rates: Vec<Threshold>,
}

impl Detection {
    fn new(ranking: &Ranking, rates: &[f64]) -> Self {
        let at = |&rate: &f64| ranking.at_false_alarm_rate(rate);
        Self {
            roc_auc: ranking.roc_auc(),
            pr_auc: ranking.average_precision(),
            at_false_alarm_rates: rates.iter().map(at).collect(),
        }
    }
}

/// All measures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Rows judged.
    pub rows: usize,
    /// Rows left out because they have no probabilities (NaN: never out of bag) or no weight.
    pub rows_left_out: usize,
    /// Attack or not: by 1 − p of the class that is none.
    pub attack: Option<Detection>,
    /// Each class against all others, by its p.
    pub one_against_rest: Vec<Detection>,
    /// Each class against the rows of the one that is no attack alone: what a person who is called out for nothing minds.
    /// Empty where no class is.
    pub against_benign: Vec<Detection>,
    /// By the class of the largest p.
    pub confusion: Confusion,
    /// The same, per class.
    pub classes: Vec<ClassScore>,
    /// Mean over the classes.
    pub macro_average: ClassScore,
    /// Mean over the classes, each counting as its rows weigh. Not among the figures that a model's metrics file keeps.
    #[serde(skip)]
    pub weighted_average: ClassScore,
    /// Share decided rightly.
    pub accuracy: f64,
    /// Share of the rows of no attack that are decided to be one.
    pub false_alarm_rate: Option<f64>,
    /// [`Confusion::kappa`].
    pub kappa: Option<f64>,
    /// [`log_loss`], in nats.
    pub log_loss: f64,
    /// [`brier`].
    pub brier: f64,
    /// [`calibration_error`] over 15 bins.
    pub calibration_error: f64,
}

/// Judges probabilities (rows × classes) by the rows' labels and weights. `benign` is the
/// class that is no attack, if there is one; `false_alarm_rates` (0 to 1) are those at which
/// thresholds are sought.
///
/// # Errors
/// [`JudgeError`] where the parts do not fit together or no row is left.
pub fn judge(
    labels: &[u16],
    probabilities: &[f32],
    weights: &[f32],
    classes: usize,
    benign: Option<u16>,
    false_alarm_rates: &[f64],
) -> Result<Report, JudgeError> {
    for (part, found, wanted) in [
        ("probabilities", probabilities.len(), labels.len() * classes),
        ("weights", weights.len(), labels.len()),
    ] {
        if found != wanted {
            return Err(JudgeError::Length {
                part,
                found,
                wanted,
            });
        }
    }
    let unknown = |class: &&u16| usize::from(**class) >= classes;
    if let Some(&class) = labels.iter().chain(&benign).find(unknown) {
        let class = usize::from(class);
        return Err(JudgeError::Class { class, classes });
    }
    let (mut kept_labels, mut kept, mut kept_weights) = (Vec::new(), Vec::new(), Vec::new());
    let rows = labels.iter().zip(weights);
    for (place, (&label, &weight)) in rows.enumerate() {
        let row = &probabilities[place * classes..][..classes];
        if weight > 0.0 && !row.iter().any(|p| p.is_nan()) {
            kept_labels.push(label);
            kept_weights.push(weight);
            kept.extend_from_slice(row);
        }
    }
    if kept_labels.is_empty() {
        return Err(JudgeError::Empty);
    }
    let (l, p, w) = (&kept_labels[..], &kept[..], &kept_weights[..]);
    let rows = || l.iter().zip(p.chunks_exact(classes)).zip(w);
    let against_rest = |class: usize| {
        Ranking::new(rows().map(|((&label, row), &w)| (usize::from(label) == class, row[class], w)))
    };
    let against_benign = |class: usize, benign: u16| {
        let two =
            rows().filter(|((label, _), _)| **label == benign || usize::from(**label) == class);
        Ranking::new(two.map(|((&label, row), &w)| (usize::from(label) == class, row[class], w)))
    };
    let attack = |benign: u16| {
        let score = |row: &[f32]| 1.0 - row[usize::from(benign)];
        Ranking::new(rows().map(|((&label, row), &w)| (label != benign, score(row), w)))
    };
    let decided = rows().map(|((&label, row), &w)| (usize::from(label), decide(row), w));
    let confusion = Confusion::new(classes, decided);
    Ok(Report {
        rows: l.len(),
        rows_left_out: labels.len() - l.len(),
        attack: benign.map(|class| Detection::new(&attack(class), false_alarm_rates)),
        one_against_rest: (0..classes)
            .map(|class| Detection::new(&against_rest(class), false_alarm_rates))
            .collect(),
        against_benign: benign.map_or_else(Vec::new, |benign| {
            (0..classes)
                .map(|class| Detection::new(&against_benign(class, benign), false_alarm_rates))
                .collect()
        }),
        classes: (0..classes).map(|class| confusion.class(class)).collect(),
        macro_average: confusion.macro_average(),
        weighted_average: confusion.weighted_average(),
        accuracy: confusion.accuracy(),
        false_alarm_rate: benign
            .map(|benign| confusion.class(usize::from(benign)))
            .filter(|benign| benign.support > 0.0)
            .map(|benign| 1.0 - benign.recall),
        kappa: confusion.kappa(),
        confusion,
        log_loss: log_loss(l, p, w, classes),
        brier: brier(l, p, w, classes),
        calibration_error: calibration_error(l, p, w, classes, CALIBRATION_BINS),
    })
}
