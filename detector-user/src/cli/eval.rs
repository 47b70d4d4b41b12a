//! `detector eval`: how good a model is on tables of labelled flows.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::{
    failure::Failure,
    judged,
    report::{self, FormatArgs, Report as Answer},
    train::{BadRowsKind, counts, of_tables, tell_counts, tell_found},
};
use crate::{
    dataset::{
        rows::{Columns, Rows, is_extracted},
        tables::{
            self, Wanted, expand,
            labels::LabelMap,
            prepare::{Options, Prepared, prepare_for, remembered},
        },
    },
    decide::family::Family,
    features,
    judge::{Report, judge, page},
    model::Ensemble,
    train::{HeldOut, Table, held_out, predict},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum MissingFeatures {
    /// The tables are refused
    Refuse,
    /// They count as missing values
    Allow,
}

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Model file
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Tables of labelled flows: Parquet, CSV, Zeek's conn.log or JSON lines, plain, .gz or .zst; files, directories, patterns
    #[arg(required = true, value_name = "DATA")]
    data: Vec<PathBuf>,
    /// Column that says what a row is [default: that which the model was trained by]
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// From labels to the model's classes, as of `detector train`; goes before the model's own map
    #[arg(long, value_name = "MAP")]
    map: Vec<String>,
    /// The label that is no attack [default: the model's]
    #[arg(long, value_name = "LABEL")]
    benign: Option<String>,
    /// Of extracted rows: column that says which rows belong together
    #[arg(long, default_value = "group", value_name = "COLUMN")]
    group: String,
    /// Features that the model has and the tables lack; what only some dialects of CICFlowMeter have may always be missing
    #[arg(long, value_enum, default_value = "refuse")]
    missing_features: MissingFeatures,
    /// What is done with a broken row
    #[arg(long, value_enum, default_value = "skip")]
    bad_rows: BadRowsKind,
    /// Judge rows that are there twice once
    #[arg(long)]
    drop_duplicates: bool,
    /// False-alarm rates, 0 to 1, at which recall and threshold are told
    #[arg(long, value_delimiter = ',', default_values_t = [1e-2, 1e-3, 1e-4], value_name = "RATES")]
    false_alarm_rate: Vec<f64>,
    /// Also write figures and curves as a page of HTML
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArgs,
}

/// Rows to judge by.
struct Rowed {
    table: Table,
    /// The model's classes, then those it does not know.
    names: Vec<String>,
    benign: Option<u16>,
    counts: Value,
    groups: Vec<String>,
    missing_features: Vec<String>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Other(error.to_string());
    let of_model = |cause: &dyn std::fmt::Display| {
        Failure::Other(format!("model {}: {cause}", args.model.display()))
    };
    if let Some(rate) = args
        .false_alarm_rate
        .iter()
        .find(|rate| !(0.0..=1.0).contains(*rate))
    {
        return Err(Failure::Usage(format!(
            "--false-alarm-rate is {rate}; allowed is 0 to 1"
        )));
    }
    let bytes = std::fs::read(&args.model).map_err(|error| of_model(&error))?;
    let model = Ensemble::from_bytes(&bytes).map_err(|error| of_model(&error))?;
    let paths = expand(&args.data).map_err(of_tables)?;
    let extracted = model.card().feature_set == features::SET
        && paths.iter().all(|path| is_extracted(path))
        && args.map.is_empty()
        && remembered(model.card()).2.is_none();
    let rows = if extracted {
        of_extracted(args, &model, &paths)?
    } else {
        of_tables_at(args, &model, &paths)?
    };
    let table = &rows.table;
    let known = model.classes();
    // The table names classes that the model does not know: to it they have no probability.
    let fitting = table
        .clone()
        .with_classes(model.card().classes.clone(), vec![0; table.rows()]);
    let fitting = fitting.map_err(|error| failed(&error))?;
    let of_known =
        predict(&model, &fitting, &fitting.all_rows(), 0).map_err(|error| of_model(&error))?;
    drop(fitting);
    let classes = rows.names.len();
    let mut scores = vec![0.0; table.rows() * classes];
    for (wide, narrow) in scores.chunks_mut(classes).zip(of_known.chunks(known)) {
        wide[..known].copy_from_slice(narrow);
    }
    let judged = judge(
        table.labels(),
        &scores,
        table.weights(),
        classes,
        rows.benign,
        &args.false_alarm_rate,
    )
    .map_err(|error| failed(&error))?;
    let at_thresholds = (rows.benign.filter(|_| classes == known))
        .map(|benign| held_out(model.card(), table, &rows.groups, &scores, benign));
    let document = document(args, &model, &rows, &judged, at_thresholds.as_ref());
    if let Some(path) = &args.report {
        let title = format!("{} {}", model.card().name, model.card().version);
        let of_page = page::Of {
            title: &title,
            names: &rows.names,
            judged: &judged,
            labels: table.labels(),
            scores: &scores,
            benign: rows.benign,
            rates: &args.false_alarm_rate,
        };
        write(path, &page::html(&of_page))?;
    }
    let mut out = Answer::new(args.format);
    if !out.is_table() {
        return Ok(out.document(&document)?);
    }
    judged::show(&mut out, &judged, &rows.names, &args.false_alarm_rate)?;
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| {
        Failure::Other(format!(
            "writing {}: {error}; check the directory and its permissions",
            path.display()
        ))
    })
}

fn document(
    args: &Args,
    model: &Ensemble,
    rows: &Rowed,
    judged: &Report,
    at_thresholds: Option<&HeldOut>,
) -> Map<String, Value> {
    let mut all = judged::document(judged, &rows.names, &args.false_alarm_rate);
    let card = model.card();
    let more = [
        ("model", json!(card.name)),
        ("version", json!(card.version)),
        (
            "benign",
            json!(rows.benign.map(|benign| &rows.names[usize::from(benign)])),
        ),
        ("unknown_classes", json!(&rows.names[model.classes()..])),
        ("missing_features", json!(rows.missing_features)),
        ("counts", rows.counts.clone()),
        ("report", json!(judged)),
        ("at_thresholds", json!(at_thresholds)),
    ];
    all.extend(more.map(|(key, value)| (key.to_owned(), value)));
    all
}

/// The rows that `detector extract` writes, weighed as in training.
fn of_extracted(args: &Args, model: &Ensemble, paths: &[PathBuf]) -> Result<Rowed, Failure> {
    let columns = Columns {
        label: args.label.clone().unwrap_or_else(|| "family".to_owned()),
        group: args.group.clone(),
    };
    let names = &model.card().classes;
    let rows = Rows::read(paths, &columns, Some(names))
        .map_err(|error| Failure::Other(error.to_string()))?;
    tell_counts(&rows);
    let benign = names
        .iter()
        .position(|class| class == Family::Benign.name());
    Ok(Rowed {
        names: names.clone(),
        benign: benign.map(|class| class as u16),
        counts: json!({"read": rows.counts.rows, "duplicates": rows.counts.duplicates}),
        groups: rows.groups,
        table: rows.table,
        missing_features: Vec::new(),
    })
}

/// Any tables, made to fit the model.
fn of_tables_at(args: &Args, model: &Ensemble, paths: &[PathBuf]) -> Result<Rowed, Failure> {
    let card = model.card();
    let (own, benign, column) = remembered(card);
    let mut pairs = own.pairs().clone();
    pairs.extend(
        LabelMap::parse(&args.map)
            .map_err(of_tables)?
            .pairs()
            .clone(),
    );
    let wanted = Wanted {
        label: args.label.clone().or(column),
        needs_label: true,
        // What the model learnt from is no identity, whatever it is called.
        keep: card.features.clone(),
        bad_rows: args.bad_rows.into(),
        ..Wanted::default()
    };
    let gathered = tables::read(paths, &wanted, &|_| {}).map_err(of_tables)?;
    if let Some(benign) = &benign {
        let here =
            gathered.benign_label(args.benign.as_deref(), &LabelMap::from_pairs(pairs.clone()));
        if let Some(label) = here
            && !label.eq_ignore_ascii_case(benign)
            && !pairs.contains_key(&label)
        {
            report::note(&format!(
                "label {label:?} is taken for the model's {benign:?}"
            ));
            pairs.insert(label, benign.clone());
        }
    }
    let map = LabelMap::from_pairs(pairs);
    let options = Options {
        map: &map,
        benign: benign.as_deref().or(args.benign.as_deref()),
        drop_duplicates: args.drop_duplicates,
        allow_missing: args.missing_features == MissingFeatures::Allow,
    };
    let prepared = prepare_for(gathered, card, &options).map_err(of_tables)?;
    tell_found(&prepared);
    if !prepared.missing_features.is_empty() {
        report::note(&format!(
            "features of the model that these tables lack, counted as missing: {}",
            prepared.missing_features.join(", ")
        ));
    }
    let Prepared { table, .. } = &prepared;
    let names = table.schema().classes.clone();
    let of_model = card.classes.len();
    let is_known = |label: &u16| usize::from(*label) < of_model;
    if !table.labels().iter().any(is_known) {
        return Err(Failure::Other(format!(
            "no row has a label that the model knows: here are {}, there {}; map the labels to the model's classes with --map LABEL=CLASS",
            names[of_model..].join(", "),
            card.classes.join(", ")
        )));
    }
    if names.len() > of_model {
        report::note(&format!(
            "the model does not know {}: such rows count as attacks, and as decided wrongly; --map LABEL=CLASS makes them another",
            names[of_model..].join(", ")
        ));
    }
    Ok(Rowed {
        names,
        benign: prepared.benign,
        counts: counts(&prepared),
        groups: prepared.groups,
        table: prepared.table,
        missing_features: prepared.missing_features,
    })
}
