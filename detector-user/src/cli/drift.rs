//! `detector drift`: whether tables of flows still look like what a model was trained on.

use std::path::PathBuf;

use serde_json::json;

use super::{
    failure::Failure,
    report::{self, FormatArgs, Report as Answer},
    train::{BadRowsKind, of_tables},
};
use crate::{
    dataset::tables::{
        self, Wanted, expand,
        prepare::{Options, prepare_for, remembered},
    },
    drift::{DriftSettings, Tally},
    model::Ensemble,
    output::units::grouped,
    train::predict,
};

/// Features that a person is shown.
const SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Model file
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Tables of flows, labelled or not: Parquet, CSV, Zeek's conn.log or JSON lines, plain, .gz or .zst; files, directories, patterns
    #[arg(required = true, value_name = "DATA")]
    data: Vec<PathBuf>,
    /// Only rows of this class: the reference is of benign rows, where the model knows such
    #[arg(long, value_name = "CLASS")]
    only: Option<String>,
    /// Column that says what a row is [default: that which the model was trained by]
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// What is done with a broken row
    #[arg(long, value_enum, default_value = "skip")]
    bad_rows: BadRowsKind,
    #[command(flatten)]
    format: FormatArgs,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let of_model = |cause: &dyn std::fmt::Display| {
        Failure::Other(format!("model {}: {cause}", args.model.display()))
    };
    let bytes = std::fs::read(&args.model).map_err(|error| of_model(&error))?;
    let model = Ensemble::from_bytes(&bytes).map_err(|error| of_model(&error))?;
    let card = model.card();
    let mut tally = Tally::of(card).ok_or_else(|| {
        of_model(&"it has no reference of what it was trained on; `detector train` makes one")
    })?;
    let (map, benign, column) = remembered(card);
    let wanted = Wanted {
        label: args.label.clone().or(column),
        needs_label: args.only.is_some(),
        // What the model learnt from is no identity, whatever it is called.
        keep: card.features.clone(),
        bad_rows: args.bad_rows.into(),
        ..Wanted::default()
    };
    let paths = expand(&args.data).map_err(of_tables)?;
    let gathered = tables::read(&paths, &wanted, &|_| {}).map_err(of_tables)?;
    let options = Options {
        map: &map,
        benign: benign.as_deref(),
        drop_duplicates: false,
        allow_missing: true,
    };
    let prepared = prepare_for(gathered, card, &options).map_err(of_tables)?;
    if !prepared.missing_features.is_empty() {
        report::note(&format!(
            "features of the model that these tables lack, counted as missing: {}",
            prepared.missing_features.join(", ")
        ));
    }
    let labels = prepared.table.labels().to_vec();
    let names = prepared.table.schema().classes.clone();
    let only = match &args.only {
        None => None,
        Some(only) => Some(names.iter().position(|name| name == only).ok_or_else(|| {
            Failure::Usage(format!(
                "no row is of class {only:?}, named with --only; there are {}",
                names.join(", ")
            ))
        })?),
    };
    // The classes do not matter to the scores, but must be the model's.
    let rows = prepared.table.rows();
    let table = (prepared.table)
        .with_classes(card.classes.clone(), vec![0; rows])
        .map_err(|error| of_model(&error))?;
    let is_wanted = |row: &u32| only.is_none_or(|only| usize::from(labels[*row as usize]) == only);
    let rows: Vec<u32> = table.all_rows().into_iter().filter(is_wanted).collect();
    if rows.is_empty() {
        return Err(Failure::Other("there is no such row".to_owned()));
    }
    let scores = predict(&model, &table, &rows, 0).map_err(|error| of_model(&error))?;
    let mut values = vec![0.0; table.features()];
    for (row, scores) in rows.iter().zip(scores.chunks(model.classes())) {
        table.row(*row as usize, &mut values);
        tally.add(&values, scores);
    }
    let told = tally.take();
    let settings = DriftSettings::default();
    let (state, moved) = (settings.state(&told), told.moved(settings.drifted));
    let mut out = Answer::new(args.format);
    if !out.is_table() {
        return Ok(out.document(&json!({
            "model": card.name,
            "version": card.version,
            "state": state,
            "rows": told.rows,
            "score_psi": told.score_psi,
            "features_moved": moved,
            "features": told.features,
        }))?);
    }
    out.line(&format!(
        "{}: PSI of the score {:.3} in {} rows; {moved} of {} features have moved",
        state.name(),
        told.score_psi,
        grouped(told.rows),
        told.features.len()
    ))?;
    let mut shown = report::table(&["feature", "PSI"]);
    for one in told.features.iter().take(SHOWN) {
        shown.add_row([one.feature.clone(), format!("{:.3}", one.psi)]);
    }
    report::align(&mut shown, &[1]);
    out.table(&shown)?;
    Ok(())
}
