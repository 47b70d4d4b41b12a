//! From trees to a model that can be used: calibrated, with thresholds, measured.

use crate::{
    judge::{Detection, JudgeError, Report, judge},
    model::{Card, Curve, Ensemble, ModelError, OperatingPoint},
};

use super::{isotonic::calibration, platt::platt};
use serde::{Deserialize, Serialize};

/// Why a model cannot be finished.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// The scores cannot be judged.
    #[error(transparent)]
    Judge(#[from] JudgeError),
    /// The model refuses its card.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Labelled rows with scores of a model that has not seen them: out of bag, out of fold, or
/// of other data.
#[derive(Clone, Copy, Debug)]
pub struct Unseen<'a> {
    /// Class of each row.
    pub labels: &'a [u16],
    /// Scores before calibration, rows × classes; NaN rows are left out.
    pub scores: &'a [f32],
    /// Weight of each row.
    pub weights: &'a [f32],
}

/// Fits the calibration to unseen rows' scores and writes it into the model's card, with the
/// thresholds at the given false-alarm rates (name and rate, 0 to 1; of the benign rows where a
/// class is benign, else of all others; the benign class's is of an attack of any kind) and the metrics of the calibrated scores, whose names
/// begin with `prefix`. Measures that depend on the scale
/// (log-loss, Brier, calibration error) are of the rows the calibration was fitted to and so
/// flatter it.
///
/// # Errors
/// [`FinishError`] where the rows do not fit the model or none of them has a score.
pub fn finish(
    ensemble: Ensemble,
    unseen: Unseen<'_>,
    benign: Option<u16>,
    false_alarm_rates: &[(&str, f64)],
    prefix: &str,
) -> Result<(Ensemble, Report), FinishError> {
    let classes = ensemble.classes();
    let rates: Vec<f64> = false_alarm_rates.iter().map(|(_, rate)| *rate).collect();
    let judged = |scores: &[f32]| {
        judge(
            unseen.labels,
            scores,
            unseen.weights,
            classes,
            benign,
            &rates,
        )
    };
    // Says what is wrong with the rows before they are relied on.
    judged(unseen.scores)?;
    let curves = calibration(unseen.labels, unseen.scores, unseen.weights, classes);
    let mut scores = unseen.scores.to_vec();
    for row in scores.chunks_mut(classes) {
        Curve::calibrate(&curves, row);
    }
    let report = judged(&scores)?;

    let mut card = ensemble.card().clone();
    card.calibration = curves;
    card.operating_points = operating_points(&report, benign, classes, false_alarm_rates);
    add_metrics(&mut card, &report, false_alarm_rates, prefix);
    Ok((ensemble.with_card(card)?, report))
}

/// How scores become probabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Calibration {
    /// Isotonic where every class has a thousand rows to fit to, else Platt's; but none where that makes the log-loss or the
    /// decisions worse on rows it was not fitted to.
    #[default]
    Auto,
    /// Steps that never fall: true to many rows, coarse with few.
    Isotonic,
    /// A logistic curve: two numbers a class.
    Platt,
    /// Not at all.
    None,
}

/// Rows of the rarest class from which steps are fine enough.
const ISOTONIC_ROWS_MIN: usize = 1_000;

/// How much macro-F1 a calibration may cost and yet be chosen: less is chance.
const F1_SLACK: f64 = 0.002;

impl Calibration {
    /// The curves of this kind; none where scores stay as they are.
    fn curves(self, of: Unseen<'_>, classes: usize) -> Vec<Curve> {
        match self {
            Self::Isotonic => calibration(of.labels, of.scores, of.weights, classes),
            Self::Platt => platt(of.labels, of.scores, of.weights, classes),
            Self::None | Self::Auto => Vec::new(),
        }
    }

    /// What it comes to for these rows: where it is left open, the kind that fits halves of them it was not fitted to.
    fn chosen(self, rows: Unseen<'_>, classes: usize) -> Result<Self, JudgeError> {
        if self != Self::Auto {
            return Ok(self);
        }
        let mut counts = vec![0_usize; classes];
        for label in rows.labels {
            counts[usize::from(*label)] += 1;
        }
        let fewest = counts.iter().copied().filter(|count| *count > 0).min();
        let kind = if fewest.unwrap_or(0) >= ISOTONIC_ROWS_MIN {
            Self::Isotonic
        } else {
            Self::Platt
        };
        let halves = [Half::of(rows, classes, 0), Half::of(rows, classes, 1)];
        let crossed = |kind: Self| -> Result<(f64, f64), JudgeError> {
            let mut all = Half::default();
            for (fitted, other) in [(0, 1), (1, 0)] {
                let curves = kind.curves(halves[fitted].unseen(), classes);
                let mut scores = halves[other].scores.clone();
                for row in scores.chunks_mut(classes) {
                    Curve::calibrate(&curves, row);
                }
                all.scores.extend(scores);
                all.labels.extend(&halves[other].labels);
                all.weights.extend(&halves[other].weights);
            }
            let report = judge(&all.labels, &all.scores, &all.weights, classes, None, &[])?;
            Ok((report.log_loss, report.macro_average.f1))
        };
        let (plain, fitted) = (crossed(Self::None)?, crossed(kind)?);
        let better = fitted.0 < plain.0 && fitted.1 >= plain.1 - F1_SLACK;
        Ok(if better { kind } else { Self::None })
    }
}

/// Every second row of each class.
#[derive(Default)]
struct Half {
    labels: Vec<u16>,
    scores: Vec<f32>,
    weights: Vec<f32>,
}

impl Half {
    fn of(rows: Unseen<'_>, classes: usize, which: usize) -> Self {
        let mut half = Self::default();
        let mut seen = vec![0; classes];
        for (row, &label) in rows.labels.iter().enumerate() {
            let place = &mut seen[usize::from(label)];
            *place += 1;
            if *place % 2 == which {
                half.labels.push(label);
                half.weights.push(rows.weights[row]);
                half.scores
                    .extend_from_slice(&rows.scores[row * classes..][..classes]);
            }
        }
        half
    }

    fn unseen(&self) -> Unseen<'_> {
        Unseen {
            labels: &self.labels,
            scores: &self.scores,
            weights: &self.weights,
        }
    }
}

/// Fits the calibration to `validation` rows, chooses thresholds by them, and measures the result on `test` rows; the names
/// of the measures begin with `prefix`. Neither part may have been learnt from.
///
/// # Errors
/// [`FinishError`] where a part does not fit the model or has no row with a score.
pub fn conclude(
    ensemble: Ensemble,
    (validation, test): (Unseen<'_>, Unseen<'_>),
    calibration: Calibration,
    benign: Option<u16>,
    false_alarm_rates: &[(&str, f64)],
    prefix: &str,
) -> Result<(Ensemble, Report), FinishError> {
    let classes = ensemble.classes();
    let rates: Vec<f64> = false_alarm_rates.iter().map(|(_, rate)| *rate).collect();
    let chosen = calibration.chosen(validation, classes)?;
    let curves = match chosen {
        Calibration::None => ensemble.card().calibration.clone(),
        kind => kind.curves(validation, classes),
    };
    let judged = |rows: Unseen<'_>| {
        let mut scores = rows.scores.to_vec();
        if matches!(chosen, Calibration::Isotonic | Calibration::Platt) {
            for row in scores.chunks_mut(classes) {
                Curve::calibrate(&curves, row);
            }
        }
        judge(rows.labels, &scores, rows.weights, classes, benign, &rates)
    };
    let (by, report) = (judged(validation)?, judged(test)?);
    let mut card = ensemble.card().clone();
    card.calibration = curves;
    if let Ok(name) = serde_json::to_value(chosen) {
        card.training.insert("calibration".to_owned(), name);
    }
    card.operating_points = operating_points(&by, benign, classes, false_alarm_rates);
    add_metrics(&mut card, &report, false_alarm_rates, prefix);
    Ok((ensemble.with_card(card)?, report))
}

/// Thresholds at the rates, as the report has them.
fn operating_points(
    report: &Report,
    benign: Option<u16>,
    classes: usize,
    false_alarm_rates: &[(&str, f64)],
) -> Vec<OperatingPoint> {
    let threshold = |class: usize, place: usize| match (&report.attack, benign) {
        (Some(attack), Some(benign)) if class == usize::from(benign) => {
            attack.at_false_alarm_rates[place].threshold
        }
        (Some(_), _) => report.against_benign[class].at_false_alarm_rates[place].threshold,
        _ => report.one_against_rest[class].at_false_alarm_rates[place].threshold,
    };
    false_alarm_rates
        .iter()
        .enumerate()
        .map(|(place, (name, rate))| OperatingPoint {
            name: (*name).to_owned(),
            false_alarm_rate: *rate,
            thresholds: (0..classes).map(|class| threshold(class, place)).collect(),
        })
        .collect()
}

fn add_metrics(card: &mut Card, report: &Report, rates: &[(&str, f64)], prefix: &str) {
    let named = metrics(report, rates);
    card.metrics.extend(
        named
            .into_iter()
            .map(|(name, value)| (format!("{prefix}{name}"), value)),
    );
}

/// The numbers of a report that a card keeps; what could not be said is left out.
fn metrics(report: &Report, rates: &[(&str, f64)]) -> Vec<(String, f64)> {
    let mut all = vec![
        ("rows".to_owned(), report.rows as f64),
        ("accuracy".to_owned(), report.accuracy),
        ("macro_f1".to_owned(), report.macro_average.f1),
        ("log_loss".to_owned(), report.log_loss),
        ("brier".to_owned(), report.brier),
        ("calibration_error".to_owned(), report.calibration_error),
    ];
    all.extend(report.kappa.map(|kappa| ("kappa".to_owned(), kappa)));
    let mut detection = |of: &str, detection: &Detection| {
        let areas = [("roc_auc", detection.roc_auc), ("pr_auc", detection.pr_auc)];
        let known = areas
            .into_iter()
            .filter_map(|(name, area)| Some((name, area?)));
        all.extend(known.map(|(name, area)| (format!("{of}{name}"), area)));
        for ((name, _), at) in rates.iter().zip(&detection.at_false_alarm_rates) {
            all.push((format!("{of}recall_at_{name}"), at.recall));
        }
    };
    if let Some(attack) = &report.attack {
        detection("attack_", attack);
    }
    let of_classes = [
        ("class_", &report.one_against_rest),
        ("benign_or_class_", &report.against_benign),
    ];
    for (prefix, of_classes) in of_classes {
        for (class, of_class) in of_classes.iter().enumerate() {
            detection(&format!("{prefix}{class}_"), of_class);
        }
    }
    all
}
