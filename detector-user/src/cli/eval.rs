//! `detector eval`: how good a model is on tables of labelled rows.

use std::path::PathBuf;

use serde_json::json;

use super::{
    failure::Failure,
    report::{self, FormatArgs, Report},
    train::tell_counts,
};
use crate::{
    dataset::rows::{Columns, Rows},
    decide::family::Family,
    judge::judge,
    model::Ensemble,
    train::{held_out, predict},
};

/// Rates at which recall is told.
const FALSE_ALARM_RATES: [f64; 2] = [1e-3, 1e-4];

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Model file
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Parquet files of labelled rows, as `detector extract` writes them
    #[arg(required = true, value_name = "DATA")]
    data: Vec<PathBuf>,
    /// Column that says what a row is
    #[arg(long, default_value = "family", value_name = "COLUMN")]
    label: String,
    /// Column that says which rows belong together
    #[arg(long, default_value = "group", value_name = "COLUMN")]
    group: String,
    #[command(flatten)]
    format: FormatArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Other(error.to_string());
    let of_model = |cause: &dyn std::fmt::Display| {
        Failure::Other(format!("model {}: {cause}", args.model.display()))
    };
    let bytes = std::fs::read(&args.model).map_err(|error| of_model(&error))?;
    let ensemble = Ensemble::from_bytes(&bytes).map_err(|error| of_model(&error))?;
    let columns = Columns {
        label: args.label.clone(),
        group: args.group.clone(),
    };
    let classes = &ensemble.card().classes;
    let rows = Rows::read(&args.data, &columns, Some(classes)).map_err(|error| failed(&error))?;
    tell_counts(&rows);
    let table = &rows.table;
    let scores =
        predict(&ensemble, table, &table.all_rows(), 0).map_err(|error| of_model(&error))?;
    let benign = classes
        .iter()
        .position(|class| class == Family::Benign.name());
    let benign = benign.map(|class| class as u16);
    let judged = judge(
        table.labels(),
        &scores,
        table.weights(),
        classes.len(),
        benign,
        &FALSE_ALARM_RATES,
    )
    .map_err(|error| failed(&error))?;
    let at_thresholds =
        benign.map(|benign| held_out(ensemble.card(), table, &rows.groups, &scores, benign));
    let mut out = Report::new(args.format);
    if !out.is_table() {
        let attack = judged.attack.as_ref();
        return Ok(out.document(&json!({
            "model": ensemble.card().name,
            "version": ensemble.card().version,
            "roc_auc": attack.and_then(|attack| attack.roc_auc),
            "pr_auc": attack.and_then(|attack| attack.pr_auc),
            "accuracy": judged.accuracy,
            "f1_macro": judged.macro_average.f1,
            "kappa": judged.kappa,
            "log_loss": judged.log_loss,
            "brier": judged.brier,
            "classes": classes,
            "report": judged,
            "at_thresholds": at_thresholds,
        }))?);
    }
    let mut shown = report::table(&[
        "family",
        "weight",
        "precision",
        "recall",
        "F1",
        "ROC-AUC",
        "PR-AUC",
        "at 1e-3",
        "at 1e-4",
    ]);
    let detections = if benign.is_some() {
        &judged.against_benign
    } else {
        &judged.one_against_rest
    };
    let area = |area: Option<f64>| area.map_or_else(|| "-".to_owned(), |area| format!("{area:.4}"));
    for (class, name) in classes.iter().enumerate() {
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
    report::align(&mut shown, &[1, 2, 3, 4, 5, 6, 7, 8]);
    out.table(&shown)?;
    out.line(&format!(
        "accuracy {:.4}, macro-F1 {:.4}, kappa {}, log-loss {:.4}, Brier {:.4}",
        judged.accuracy,
        judged.macro_average.f1,
        area(judged.kappa),
        judged.log_loss,
        judged.brier
    ))?;
    Ok(())
}
