//! What was judged, told to people and to programs.

use std::io;

use serde_json::{Map, Value, json};

use super::report::{self, Report as Answer};
use crate::judge::{Detection, Report};

/// Figures of a report by the names that scikit-learn's users know. `names` are the classes, `rates` those at which recall
/// was sought.
pub(super) fn document(judged: &Report, names: &[String], rates: &[f64]) -> Map<String, Value> {
    let areas = |of: fn(&Detection) -> Option<f64>| -> Vec<(f64, f64)> {
        let classes = judged.one_against_rest.iter().zip(&judged.classes);
        classes
            .filter_map(|(detection, class)| Some((of(detection)?, class.support)))
            .collect()
    };
    let plain = |areas: &[(f64, f64)]| {
        (!areas.is_empty())
            .then(|| areas.iter().map(|(area, _)| area).sum::<f64>() / areas.len() as f64)
    };
    let weighed = |areas: &[(f64, f64)]| {
        let sum: f64 = areas.iter().map(|(_, weight)| weight).sum();
        (sum > 0.0).then(|| {
            areas
                .iter()
                .map(|(area, weight)| area * weight)
                .sum::<f64>()
                / sum
        })
    };
    let (roc, pr) = (areas(|d| d.roc_auc), areas(|d| d.pr_auc));
    // Without a harmless class: of two classes the second is what is sought, of more their mean counts.
    let second = judged.one_against_rest.get(1).filter(|_| names.len() == 2);
    let sought = judged.attack.as_ref().or(second);
    let at = |detection: &Detection| -> Vec<Value> {
        let points = rates.iter().zip(&detection.at_false_alarm_rates);
        points
            .map(|(rate, point)| {
                json!({
                    "rate": rate,
                    "threshold": point.threshold,
                    "recall": point.recall,
                    "false_alarm_rate": point.false_alarm_rate,
                })
            })
            .collect()
    };
    let per_class: Map<String, Value> = names
        .iter()
        .enumerate()
        .map(|(class, name)| {
            let (score, detection) = (&judged.classes[class], &judged.one_against_rest[class]);
            let value = json!({
                "precision": score.precision,
                "recall": score.recall,
                "f1": score.f1,
                "support": score.support,
                "roc_auc": detection.roc_auc,
                "pr_auc": detection.pr_auc,
                "recall_at_false_alarm_rates": at(detection),
            });
            (name.clone(), value)
        })
        .collect();
    let (average, weighted) = (&judged.macro_average, &judged.weighted_average);
    let all = json!({
        "rows": judged.rows,
        "roc_auc": sought.map_or_else(|| plain(&roc), |d| d.roc_auc),
        "pr_auc": sought.map_or_else(|| plain(&pr), |d| d.pr_auc),
        "roc_auc_ovr_macro": plain(&roc),
        "roc_auc_ovr_weighted": weighed(&roc),
        "pr_auc_ovr_macro": plain(&pr),
        "accuracy": judged.accuracy,
        "f1_macro": average.f1,
        "f1_weighted": weighted.f1,
        "precision_macro": average.precision,
        "precision_weighted": weighted.precision,
        "recall_macro": average.recall,
        "recall_weighted": weighted.recall,
        "kappa": judged.kappa,
        "log_loss": judged.log_loss,
        "brier": judged.brier,
        "calibration_error": judged.calibration_error,
        "false_alarm_rate": judged.false_alarm_rate,
        "recall_at_false_alarm_rates": sought.map(at),
        "classes": names,
        "per_class": per_class,
        "confusion_matrix": judged.confusion.weights,
    });
    match all {
        Value::Object(all) => all,
        _ => Map::new(),
    }
}

/// A table of the classes, and a line of the whole.
pub(super) fn show(
    out: &mut Answer,
    judged: &Report,
    names: &[String],
    rates: &[f64],
) -> io::Result<()> {
    let area = |area: Option<f64>| area.map_or_else(|| "-".to_owned(), |area| format!("{area:.4}"));
    let mut titles: Vec<String> = [
        "class",
        "rows",
        "precision",
        "recall",
        "F1",
        "ROC-AUC",
        "PR-AUC",
    ]
    .map(str::to_owned)
    .to_vec();
    titles.extend(rates.iter().map(|rate| format!("at {rate:e}")));
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    let mut shown = report::table(&titles);
    let detections = if judged.against_benign.is_empty() {
        &judged.one_against_rest
    } else {
        &judged.against_benign
    };
    for (class, name) in names.iter().enumerate() {
        let (score, detection) = (&judged.classes[class], &detections[class]);
        let mut cells = vec![
            name.clone(),
            format!("{:.0}", score.support),
            format!("{:.3}", score.precision),
            format!("{:.3}", score.recall),
            format!("{:.3}", score.f1),
            area(detection.roc_auc),
            area(detection.pr_auc),
        ];
        let recalls = detection.at_false_alarm_rates.iter();
        cells.extend(recalls.map(|at| format!("{:.3}", at.recall)));
        shown.add_row(cells);
    }
    report::align(&mut shown, &(1..titles.len()).collect::<Vec<_>>());
    out.table(&shown)?;
    out.line(&format!(
        "accuracy {:.4}, macro-F1 {:.4}, weighted F1 {:.4}, kappa {}, log-loss {:.4}, Brier {:.4}",
        judged.accuracy,
        judged.macro_average.f1,
        judged.weighted_average.f1,
        area(judged.kappa),
        judged.log_loss,
        judged.brier
    ))?;
    if let Some(attack) = &judged.attack {
        let recalls = rates.iter().zip(&attack.at_false_alarm_rates);
        let recalls: Vec<String> = recalls
            .map(|(rate, at)| format!("recall {:.3} at {rate:e}", at.recall))
            .collect();
        out.line(&format!(
            "attack or not: ROC-AUC {}, PR-AUC {}, {}",
            area(attack.roc_auc),
            area(attack.pr_auc),
            recalls.join(", ")
        ))?;
    }
    Ok(())
}
