//! `detector model show`: what a model file says of itself.

use std::path::PathBuf;

use serde_json::json;

use super::{
    super::{
        failure::Failure,
        report::{self, FormatArgs, Report},
    },
    read,
};
use crate::model::{Ensemble, Reference, signed_by};

#[derive(Debug, clap::Args)]
pub(in super::super) struct Args {
    /// Model file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    format: FormatArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let of_model = |cause: &dyn std::fmt::Display| {
        Failure::Other(format!("model {}: {cause}", args.file.display()))
    };
    let bytes = read(&args.file)?;
    let model = Ensemble::from_bytes(&bytes).map_err(|error| of_model(&error))?;
    let signer = signed_by(&bytes)
        .map_err(|error| of_model(&error))?
        .map(|key| key.name());
    let card = model.card();
    let mut out = Report::new(args.format);
    if !out.is_table() {
        return Ok(out.document(&json!({
            "bytes": bytes.len(),
            "trees": model.trees(),
            "nodes": model.nodes(),
            "depth": model.depth(),
            "signed_by": signer,
            "card": card,
        }))?);
    }
    let list = |names: &[String]| names.join(", ");
    let mut rows = vec![
        ("name", format!("{} {}", card.name, card.version)),
        ("feature set", card.feature_set.clone()),
        (
            "features",
            format!("{}: {}", card.features.len(), list(&card.features)),
        ),
        ("classes", list(&card.classes)),
        (
            "trees",
            format!(
                "{}, {} nodes, depth {}",
                model.trees(),
                model.nodes(),
                model.depth()
            ),
        ),
        ("scores", card.post_transform.name().to_owned()),
        ("calibrated", yes(!card.calibration.is_empty())),
        ("golden rows", yes(card.golden.is_some())),
        (
            "reference",
            card.reference
                .as_ref()
                .map_or_else(|| "no".to_owned(), Reference::shown),
        ),
        ("signed by", signer.unwrap_or_else(|| "nobody".to_owned())),
        ("data", card.data_fingerprint.clone()),
        ("bytes", bytes.len().to_string()),
    ];
    for point in &card.operating_points {
        let thresholds = card.classes.iter().zip(&point.thresholds);
        let thresholds: Vec<String> = thresholds
            .map(|(class, threshold)| match threshold {
                Some(threshold) => format!("{class} {threshold:.4}"),
                None => format!("{class} -"),
            })
            .collect();
        rows.push((
            "thresholds",
            format!("{}: {}", point.name, thresholds.join(", ")),
        ));
    }
    rows.extend(
        card.training
            .iter()
            .map(|(key, value)| ("training", format!("{key} {value}"))),
    );
    rows.extend(
        card.metrics
            .iter()
            .map(|(key, value)| ("metric", format!("{key} {value:.6}"))),
    );
    let mut table = report::table(&[]);
    for (key, value) in rows.into_iter().filter(|(_, value)| !value.is_empty()) {
        table.add_row([key.to_owned(), value]);
    }
    report::align(&mut table, &[]);
    out.table(&table)?;
    Ok(())
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}
