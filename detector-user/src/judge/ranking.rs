//! What depends on the order of the scores alone: areas under curves, thresholds.

use serde::Serialize;

/// Rows ordered by score, ready for questions.
#[derive(Clone, Debug)]
pub struct Ranking {
    /// Per distinct score, falling: the weights of the positive and of the negative rows at it
    /// or above.
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    score: f32,
    positive: f64,
    negative: f64,
}

/// A threshold and what it catches.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Threshold {
    /// Alarm at this score and above; none where every threshold breaks the limit.
    pub threshold: Option<f32>,
    /// Share of the positive rows' weight at or above it.
    pub recall: f64,
    /// Share of the negative rows' weight at or above it.
    pub false_alarm_rate: f64,
}

/// Points that are no farther from one another than the whole way divided by so many.
fn thinned(points: Vec<(f64, f64)>, points_max: usize) -> Vec<(f64, f64)> {
    let way = |a: (f64, f64), b: (f64, f64)| (a.0 - b.0).abs() + (a.1 - b.1).abs();
    let whole: f64 = points.windows(2).map(|pair| way(pair[0], pair[1])).sum();
    let last = points.len().saturating_sub(1);
    let mut kept: Vec<(f64, f64)> = Vec::new();
    for (place, point) in points.into_iter().enumerate() {
        let far = kept
            .last()
            .is_none_or(|before| way(*before, point) * points_max as f64 >= whole);
        if far || place == last {
            kept.push(point);
        }
    }
    kept
}

impl Ranking {
    /// Orders rows by score: the higher, the more likely positive. A row whose score is NaN or
    /// whose weight is 0 is left out.
    pub fn new(rows: impl Iterator<Item = (bool, f32, f32)>) -> Self {
        let counts = |&(_, score, weight): &(bool, f32, f32)| !score.is_nan() && weight > 0.0;
        let mut rows: Vec<_> = rows.filter(counts).collect();
        rows.sort_by(|a, b| b.1.total_cmp(&a.1));
        let (mut positive, mut negative) = (0.0, 0.0);
        let steps = rows.chunk_by(|a, b| a.1 == b.1).map(|ties| {
            for &(is_positive, _, weight) in ties {
                *if is_positive {
                    &mut positive
                } else {
                    &mut negative
                } += f64::from(weight);
            }
            Step {
                score: ties[0].1,
                positive,
                negative,
            }
        });
        Self {
            steps: steps.collect(),
        }
    }

    fn totals(&self) -> (f64, f64) {
        self.steps
            .last()
            .map_or((0.0, 0.0), |last| (last.positive, last.negative))
    }

    /// Area under the receiver operating characteristic by the trapezoidal rule, 0 to 1: the
    /// chance that a positive row is above a negative one, ties counting half. None where all
    /// rows are of one kind.
    #[must_use]
    pub fn roc_auc(&self) -> Option<f64> {
        let (positive, negative) = self.totals();
        let (mut area, mut before) = (0.0, (0.0, 0.0));
        for step in &self.steps {
            area += (step.negative - before.1) * (step.positive + before.0) / 2.0;
            before = (step.positive, step.negative);
        }
        (positive > 0.0 && negative > 0.0).then(|| area / (positive * negative))
    }

    /// Points of the receiver operating characteristic, (false-alarm rate, recall), from (0, 0) to (1, 1); at most about so
    /// many. Empty where all rows are of one kind.
    #[must_use]
    pub fn roc_curve(&self, points_max: usize) -> Vec<(f64, f64)> {
        let (positive, negative) = self.totals();
        if positive <= 0.0 || negative <= 0.0 {
            return Vec::new();
        }
        let points = self
            .steps
            .iter()
            .map(|step| (step.negative / negative, step.positive / positive));
        thinned(
            std::iter::once((0.0, 0.0)).chain(points).collect(),
            points_max,
        )
    }

    /// Points of the precision–recall curve, (recall, precision), recall rising; at most about so many. Empty where no row is
    /// positive.
    #[must_use]
    pub fn precision_recall_curve(&self, points_max: usize) -> Vec<(f64, f64)> {
        let (positive, _) = self.totals();
        if positive <= 0.0 {
            return Vec::new();
        }
        let point = |step: &Step| {
            (
                step.positive / positive,
                step.positive / (step.positive + step.negative),
            )
        };
        thinned(self.steps.iter().map(point).collect(), points_max)
    }

    /// Average precision, 0 to 1: Σ (recallₙ − recallₙ₋₁) × precisionₙ over falling thresholds,
    /// without interpolation. None where no row is positive.
    #[must_use]
    pub fn average_precision(&self) -> Option<f64> {
        let (positive, _) = self.totals();
        let (mut area, mut before) = (0.0, 0.0);
        for step in &self.steps {
            area += (step.positive - before) * step.positive / (step.positive + step.negative);
            before = step.positive;
        }
        (positive > 0.0).then(|| area / positive)
    }

    /// The lowest threshold at which at most `false_alarm_rate_max` (0 to 1) of the negative
    /// rows' weight is at or above it, and so the one that catches most. Without negative rows
    /// there is nothing to choose by, and no threshold.
    #[must_use]
    pub fn at_false_alarm_rate(&self, false_alarm_rate_max: f64) -> Threshold {
        let (positive, negative) = self.totals();
        let allowed = |step: &&Step| step.negative <= false_alarm_rate_max * negative;
        let found = self.steps.iter().take_while(allowed).last();
        match found.filter(|_| negative > 0.0) {
            None => Threshold {
                threshold: None,
                recall: 0.0,
                false_alarm_rate: 0.0,
            },
            Some(step) => Threshold {
                threshold: Some(step.score),
                recall: if positive > 0.0 {
                    step.positive / positive
                } else {
                    0.0
                },
                false_alarm_rate: step.negative / negative,
            },
        }
    }
}
