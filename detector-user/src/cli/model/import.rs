//! `detector model import`: a model of another library as a model file.

use std::{fs::File, path::PathBuf};

use super::{
    super::{failure::Failure, report},
    read, write,
};
use crate::model::import::{self, Format, Naming, golden_rows};

// --version is the model's here.
#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub(in super::super) struct Args {
    /// Model file: XGBoost's JSON or UBJSON, LightGBM's text or JSON, or ONNX
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Model file to write
    #[arg(short = 'O', long, value_name = "FILE")]
    output: PathBuf,
    /// Who wrote it, where its first bytes do not tell
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Names of the features in the order of the source's columns, separated by commas, or a file with one on each line
    #[arg(long, value_name = "NAMES|FILE")]
    features: Option<String>,
    /// Names of the classes in the source's order, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    classes: Option<Vec<String>>,
    /// CSV of rows with the source's scores: a column for each feature, and `score:CLASS` for each class; up to 256 of them go
    /// into the model and are checked at each load
    #[arg(long, value_name = "FILE")]
    golden: Option<PathBuf>,
    /// Take all trees of a model whose training was stopped early
    #[arg(long)]
    all_trees: bool,
    /// Name of the model; its file's unless told
    #[arg(long)]
    name: Option<String>,
    /// Version of the model
    #[arg(long, default_value = "1.0.0")]
    version: String,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let of_file =
        |cause: &dyn std::fmt::Display| Failure::Other(format!("{}: {cause}", args.file.display()));
    let bytes = read(&args.file)?;
    let imported =
        import::read(&bytes, args.format, args.all_trees).map_err(|error| of_file(&error))?;
    for note in &imported.notes {
        report::note(note);
    }
    let features = args.features.as_deref().map(names).transpose()?;
    let classes = args.classes.clone();
    let naming = Naming {
        name: args.name.clone().unwrap_or_else(|| {
            let stem = args.file.file_stem().unwrap_or_default();
            stem.to_string_lossy().into_owned()
        }),
        version: args.version.clone(),
        features,
        classes,
    };
    let golden = match &args.golden {
        None => None,
        Some(path) => {
            let of_golden = |cause: &dyn std::fmt::Display| {
                Failure::Other(format!("{}: {cause}", path.display()))
            };
            let file = File::open(path).map_err(|error| of_golden(&error))?;
            let columns = imported
                .source_names(naming.features.clone())
                .map_err(|error| of_file(&error))?;
            let classes = imported
                .class_names(naming.classes.clone())
                .map_err(|error| of_file(&error))?;
            Some(golden_rows(file, &columns, &classes).map_err(|error| of_golden(&error))?)
        }
    };
    let golden = golden
        .as_ref()
        .map(|(rows, scores)| (&rows[..], &scores[..]));
    let model = imported
        .compile(naming, golden, &bytes)
        .map_err(|error| of_file(&error))?;
    write(
        &args.output,
        &model.to_bytes().map_err(|error| of_file(&error))?,
    )?;
    report::note(&format!(
        "{}: {} trees, {} nodes, {} features of `{}`, classes {}",
        args.output.display(),
        model.trees(),
        model.nodes(),
        model.features(),
        model.card().feature_set,
        model.card().classes.join(", ")
    ));
    if golden.is_none() {
        report::warn(
            "no golden rows: nothing checks that it scores as its source does; give some with --golden",
        );
    }
    Ok(())
}

/// Names in a list, or in the file of that name.
fn names(list: &str) -> Result<Vec<String>, Failure> {
    let path = PathBuf::from(list);
    if !path.is_file() {
        return Ok(list.split(',').map(|name| name.trim().to_owned()).collect());
    }
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Failure::Other(format!("reading {}: {error}", path.display())))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(str::to_owned).collect())
}
