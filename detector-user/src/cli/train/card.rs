//! What a person must know of a model made from tables, in Markdown.

use std::fmt::Write as _;

use crate::{dataset::tables::prepare::Prepared, judge::Report, model::Ensemble, train::leaks_of};

/// The card: nothing in it is by hand but notes, and nothing by the clock.
pub(super) fn markdown(
    model: &Ensemble,
    prepared: &Prepared,
    report: Option<&Report>,
    notes: &[String],
) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut text, model, prepared, report, notes);
    text
}

fn write(
    out: &mut String,
    model: &Ensemble,
    prepared: &Prepared,
    report: Option<&Report>,
    notes: &[String],
) -> std::fmt::Result {
    let card = model.card();
    let training = |key: &str| {
        card.training
            .get(key)
            .map_or_else(|| "-".to_owned(), ToString::to_string)
    };
    let counts = &prepared.counts;
    writeln!(out, "# {} {}\n", card.name, card.version)?;
    writeln!(
        out,
        "- learner: {}, {} trees; seed {}; calibration {}\n\
         - data: {} rows read, {} kept, {} duplicates, {} contradict another's class; SHA-256 `{}`\n\
         - values: {} missing, {} infinite, {} absurd, {} no numbers; all count as missing\n\
         - parts: {} ({}); the model is made of all rows: {}\n",
        training("learner"),
        model.trees(),
        training("seed"),
        training("calibration"),
        counts.read,
        counts.rows,
        counts.duplicates,
        counts.contradictions,
        card.data_fingerprint,
        counts.missing,
        counts.infinite,
        counts.absurd,
        counts.not_numbers,
        training("parts"),
        training("split"),
        training("refit"),
    )?;
    if let Some(report) = report {
        writeln!(out, "## On rows held out\n")?;
        writeln!(
            out,
            "| class | rows | precision | recall | F1 | ROC-AUC |\n|---|---:|---:|---:|---:|---:|"
        )?;
        for (class, name) in card.classes.iter().enumerate() {
            let score = &report.classes[class];
            let area = report.one_against_rest[class].roc_auc;
            writeln!(
                out,
                "| {name} | {:.0} | {:.3} | {:.3} | {:.3} | {} |",
                score.support,
                score.precision,
                score.recall,
                score.f1,
                area.map_or_else(|| "–".to_owned(), |area| format!("{area:.4}"))
            )?;
        }
        writeln!(
            out,
            "\nAccuracy {:.4}, macro-F1 {:.4}, κ {:.4}, log-loss {:.4}, Brier {:.4}.\n",
            report.accuracy,
            report.macro_average.f1,
            report.kappa.unwrap_or(f64::NAN),
            report.log_loss,
            report.brier
        )?;
    }
    writeln!(out, "## What it was not shown\n")?;
    for (name, reason) in &prepared.left_out {
        writeln!(out, "- `{name}`: {reason}")?;
    }
    writeln!(out, "\n## Beware\n")?;
    match leaks_of(card) {
        Some(leaks) if !leaks.is_empty() => {
            for leak in leaks {
                writeln!(out, "- {leak}")?;
            }
        }
        _ => writeln!(out, "- no sign of a leak was found")?,
    }
    for note in notes {
        writeln!(out, "- {note}")?;
    }
    Ok(())
}
