//! What was found in tables and what became of it, told to people and to programs.

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    super::{
        failure::Failure,
        judged,
        report::{self, Report as Answer},
    },
    args::Args,
    extracted::write,
    tables::{FALSE_ALARM_RATES, failed},
};
use crate::{
    dataset::tables::prepare::Prepared, judge::Report, model::Ensemble, output::units::grouped,
};

/// How long learning took.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Seconds {
    /// From the rows to learn from.
    pub(super) parts: f64,
    /// From all rows.
    pub(super) all: f64,
}

/// Tells what was found in tables.
pub(in crate::cli) fn tell_found(prepared: &Prepared) {
    let counts = &prepared.counts;
    report::note(&format!(
        "{} rows read, {} kept; {} duplicates; {} with the features of another class's row; {} values missing, {} infinite, {} absurd, \
         {} no numbers",
        grouped(counts.read),
        grouped(counts.rows),
        grouped(counts.duplicates),
        grouped(counts.contradictions),
        grouped(counts.missing),
        grouped(counts.infinite),
        grouped(counts.absurd),
        grouped(counts.not_numbers)
    ));
    for (count, what) in [
        (counts.bad_rows, "broken rows left out"),
        (counts.unlabelled, "rows without a label left out"),
        (counts.unmapped, "rows left out by their label"),
    ] {
        if count > 0 {
            report::note(&format!("{} {what}", grouped(count)));
        }
    }
    for note in &prepared.notes {
        report::note(note);
    }
    if !prepared.left_out.is_empty() {
        let named: Vec<String> = (prepared.left_out.iter())
            .map(|(name, reason)| format!("{name} ({reason})"))
            .collect();
        report::note(&format!("columns left out: {}", named.join(", ")));
    }
    let schema = prepared.table.schema();
    match prepared.benign {
        Some(benign) => report::note(&format!(
            "{} features, {} classes; no attack: {}",
            schema.features.len(),
            schema.classes.len(),
            schema.classes[usize::from(benign)]
        )),
        None => report::note(&format!(
            "{} features, {} classes; none is known to be no attack: name it with --benign",
            schema.features.len(),
            schema.classes.len()
        )),
    }
}

/// Tells what became of it, and writes the card and the figures.
pub(super) fn tell(
    args: &Args,
    model: &Ensemble,
    prepared: &Prepared,
    report: Option<&Report>,
    refit: bool,
    seconds: Seconds,
) -> Result<(), Failure> {
    let card = model.card();
    let rates = FALSE_ALARM_RATES.map(|(_, rate)| rate);
    let figures = report.map(|report| judged::document(report, &card.classes, &rates));
    let document = json!({
        "model": card.name,
        "version": card.version,
        "file": args.output,
        "learner": card.training.get("learner"),
        "trees": model.trees(),
        "features": card.features,
        "counts": counts(prepared),
        "left_out": prepared.left_out,
        "training": card.training,
        "held_out": figures,
    });
    if let Some(path) = &args.metrics {
        let mut bytes = serde_json::to_vec_pretty(&document).map_err(failed)?;
        bytes.push(b'\n');
        write(path, &bytes)?;
    }
    if let Some(path) = &args.card {
        write(
            path,
            super::card::markdown(model, prepared, report, &args.note).as_bytes(),
        )?;
    }
    let mut out = Answer::new(args.format);
    if !out.is_table() {
        // Told, and not among the figures that a file keeps: the same data and seed give the same bytes.
        let mut document = document;
        document["fit_seconds"] = json!(seconds);
        return Ok(out.document(&document)?);
    }
    if let Some(report) = report {
        out.line(&format!(
            "held out: {} rows{}",
            grouped(report.rows as u64),
            if refit {
                "; the model written is made the same way from all rows"
            } else {
                ""
            }
        ))?;
        judged::show(&mut out, report, &card.classes, &rates)?;
    }
    out.line(&format!(
        "{}: {} trees",
        args.output.display(),
        model.trees()
    ))?;
    Ok(())
}

/// What was found, for programs.
pub(in crate::cli) fn counts(prepared: &Prepared) -> Value {
    let counts = &prepared.counts;
    json!({
        "read": counts.read,
        "rows": counts.rows,
        "duplicates": counts.duplicates,
        "contradictions": counts.contradictions,
        "bad_rows": counts.bad_rows,
        "unlabelled": counts.unlabelled,
        "unmapped": counts.unmapped,
        "missing_values": counts.missing,
        "infinite_values": counts.infinite,
        "absurd_values": counts.absurd,
        "not_numbers": counts.not_numbers,
    })
}
