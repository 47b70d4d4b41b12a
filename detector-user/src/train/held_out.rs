//! How a model fares on captures that it has not seen, family by family and capture by capture.

use std::collections::BTreeMap;

use serde::Serialize;

use super::table::Table;
use crate::model::Card;

/// What is found of one family's rows that were held out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FamilyResult {
    /// Its name.
    pub family: String,
    /// Captures, or groups of such, that it is in.
    pub groups: usize,
    /// Its rows.
    pub rows: usize,
    /// By operating point: the weight's share that reaches the family's own threshold.
    pub recall: Vec<f64>,
    /// By operating point: the weight's share that reaches any threshold: its own, another family's, or that of an attack of any kind.
    pub recall_as_any: Vec<f64>,
}

/// What is found of one group's rows of one family.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupResult {
    /// The group.
    pub group: String,
    /// The family.
    pub family: String,
    /// Its rows.
    pub rows: usize,
    /// By operating point, as of a family; of benign rows the share that raises an alarm.
    pub recall: Vec<f64>,
    /// By operating point, as of a family.
    pub recall_as_any: Vec<f64>,
}

/// Results on rows that were held out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeldOut {
    /// By class.
    pub families: Vec<FamilyResult>,
    /// By class, then the group's name.
    pub groups: Vec<GroupResult>,
}

#[derive(Clone, Default)]
struct Sum {
    rows: usize,
    weight: f64,
    own: Vec<f64>,
    any: Vec<f64>,
}

impl Sum {
    fn share(&self, part: &[f64]) -> Vec<f64> {
        part.iter().map(|part| part / self.weight).collect()
    }
}

/// Sums up calibrated scores (rows × classes) of rows that were held out, by the thresholds on the card. `benign` is the
/// class that is no attack.
#[must_use]
pub fn held_out(
    card: &Card,
    table: &Table,
    groups: &[String],
    scores: &[f32],
    benign: u16,
) -> HeldOut {
    let (classes, points) = (card.classes.len(), card.operating_points.len());
    let mut sums: BTreeMap<(u16, u32), Sum> = BTreeMap::new();
    for (row, scores) in scores.chunks_exact(classes).enumerate() {
        let (class, group) = (table.labels()[row], table.groups()[row]);
        let weight = f64::from(table.weights()[row]);
        let sum = sums.entry((class, group)).or_default();
        sum.rows += 1;
        sum.weight += weight;
        sum.own.resize(points, 0.0);
        sum.any.resize(points, 0.0);
        for (place, point) in card.operating_points.iter().enumerate() {
            let reaches = |class: usize| {
                let p = scores[class];
                let attack = if class == usize::from(benign) {
                    1.0 - p
                } else {
                    p
                };
                point.thresholds[class].is_some_and(|threshold| attack >= threshold)
            };
            let any = (0..classes).any(reaches);
            let own = if class == benign {
                any
            } else {
                reaches(usize::from(class))
            };
            sum.own[place] += if own { weight } else { 0.0 };
            sum.any[place] += if any { weight } else { 0.0 };
        }
    }
    let families = (0..classes as u16).map(|class| {
        let mut all = Sum {
            own: vec![0.0; points],
            any: vec![0.0; points],
            ..Sum::default()
        };
        let of_class: Vec<&Sum> = sums
            .range((class, 0)..=(class, u32::MAX))
            .map(|(_, s)| s)
            .collect();
        for sum in &of_class {
            all.rows += sum.rows;
            all.weight += sum.weight;
            for place in 0..points {
                all.own[place] += sum.own[place];
                all.any[place] += sum.any[place];
            }
        }
        FamilyResult {
            family: card.classes[usize::from(class)].clone(),
            groups: of_class.len(),
            rows: all.rows,
            recall: all.share(&all.own),
            recall_as_any: all.share(&all.any),
        }
    });
    let mut of_groups: Vec<GroupResult> = (sums.iter())
        .map(|((class, group), sum)| GroupResult {
            group: groups[*group as usize].clone(),
            family: card.classes[usize::from(*class)].clone(),
            rows: sum.rows,
            recall: sum.share(&sum.own),
            recall_as_any: sum.share(&sum.any),
        })
        .collect();
    let place = |family: &str| card.classes.iter().position(|class| class == family);
    of_groups.sort_by(|a, b| (place(&a.family), &a.group).cmp(&(place(&b.family), &b.group)));
    HeldOut {
        families: families.collect(),
        groups: of_groups,
    }
}
