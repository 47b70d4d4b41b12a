//! `detector model card`: what a person must know of a model, in Markdown, from its file alone.

use std::{fmt::Write as _, path::PathBuf};

use super::{super::failure::Failure, read, write};
use crate::{
    model::{Card, Ensemble, Reference, signed_by},
    train::leaks_of,
};

#[derive(Debug, clap::Args)]
pub(in super::super) struct Args {
    /// Model file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where to write it [default: standard output]
    #[arg(short = 'O', long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let of_model = |cause: &dyn std::fmt::Display| {
        Failure::Other(format!("model {}: {cause}", args.file.display()))
    };
    let bytes = read(&args.file)?;
    let model = Ensemble::from_bytes(&bytes).map_err(|error| of_model(&error))?;
    let signer = signed_by(&bytes).map_err(|error| of_model(&error))?;
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = tell(&mut text, &model, signer.map(|key| key.name()));
    match &args.output {
        Some(path) => write(path, text.as_bytes()),
        None => {
            print!("{text}");
            Ok(())
        }
    }
}

fn tell(out: &mut String, model: &Ensemble, signer: Option<String>) -> std::fmt::Result {
    let card = model.card();
    writeln!(out, "# {} {}\n", card.name, card.version)?;
    let made_from = card.parent.as_deref().unwrap_or("nothing before");
    writeln!(
        out,
        "- {} trees, {} nodes, depth {}; scores: {}; calibrated: {}\n\
         - features: {} ({}); classes: {}\n\
         - made from {made_from}; signed by {}\n\
         - data: SHA-256 `{}`\n\
         - drift is told against: {}\n",
        model.trees(),
        model.nodes(),
        model.depth(),
        card.post_transform.name(),
        if card.calibration.is_empty() {
            "no"
        } else {
            "yes"
        },
        card.features.len(),
        card.feature_set,
        card.classes.join(", "),
        signer.as_deref().unwrap_or("nobody"),
        card.data_fingerprint,
        card.reference
            .as_ref()
            .map_or_else(|| "nothing".to_owned(), Reference::shown),
    )?;
    training(out, card)?;
    figures(out, card)?;
    thresholds(out, card)?;
    writeln!(out, "## Beware\n")?;
    match leaks_of(card) {
        None => writeln!(out, "- nobody looked for leaks when it was made"),
        Some(leaks) if leaks.is_empty() => writeln!(out, "- no sign of a leak was found"),
        Some(leaks) => leaks.iter().try_for_each(|leak| writeln!(out, "- {leak}")),
    }
}

fn training(out: &mut String, card: &Card) -> std::fmt::Result {
    if card.training.is_empty() {
        return Ok(());
    }
    writeln!(out, "## How it was made\n\n| | |\n|---|---|")?;
    for (key, value) in card.training.iter().filter(|(key, _)| *key != "leaks") {
        // A bar would end the cell.
        writeln!(out, "| {key} | {} |", value.to_string().replace('|', "\\|"))?;
    }
    writeln!(out)
}

fn figures(out: &mut String, card: &Card) -> std::fmt::Result {
    if card.metrics.is_empty() {
        return Ok(());
    }
    writeln!(out, "## Figures\n\n| | |\n|---|---:|")?;
    for (name, value) in &card.metrics {
        writeln!(out, "| {name} | {value:.4} |")?;
    }
    writeln!(out)
}

fn thresholds(out: &mut String, card: &Card) -> std::fmt::Result {
    if card.operating_points.is_empty() {
        return Ok(());
    }
    let columns = "---:|".repeat(card.classes.len());
    writeln!(
        out,
        "## Thresholds, by the rate of false alarms\n\n| | {} |\n|---|{columns}",
        card.classes.join(" | ")
    )?;
    for point in &card.operating_points {
        let thresholds = point.thresholds.iter().map(|threshold| {
            threshold.map_or_else(|| "–".to_owned(), |threshold| format!("{threshold:.4}"))
        });
        let cells: Vec<String> = thresholds.collect();
        writeln!(out, "| {} | {} |", point.name, cells.join(" | "))?;
    }
    writeln!(out)
}
