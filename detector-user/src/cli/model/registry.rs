//! `detector model push|list|history|promote|rollback|diff`: models in a registry.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use semver::Version;
use serde_json::json;

use super::{
    super::{
        failure::Failure,
        report::{self, FormatArgs, Report},
    },
    read,
};
use crate::{
    output::Rfc3339,
    registry::{Entry, Figures, Gate, Promotion, Registry, RegistryError, Stage, Store, version},
    wire::load::unix_ms,
};

#[derive(Debug, clap::Args)]
struct Place {
    /// The registry: a directory, file:///DIRECTORY or s3://BUCKET/PREFIX (credentials by the AWS_ variables)
    #[arg(long, env = "DETECTOR_MODELS_REGISTRY", value_name = "ADDRESS")]
    registry: String,
}

impl Place {
    fn open(&self) -> Result<Registry, Failure> {
        Ok(Registry::new(Store::open(&self.registry)?))
    }
}

#[derive(Debug, clap::Args)]
pub(in super::super) struct PushArgs {
    /// Model file; its name and version are those of its card
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Debug, clap::Args)]
pub(in super::super) struct ListArgs {
    /// Model [default: all]
    #[arg(value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Debug, clap::Args)]
pub(in super::super) struct HistoryArgs {
    /// Model
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum To {
    /// Agents that follow the registry run it; in front of it stands the gate
    Production,
    /// To be tried
    Staging,
    /// Kept, and not run again
    Archived,
}

#[derive(Debug, clap::Args)]
// VERSION is the model's here.
#[command(disable_version_flag = true)]
pub(in super::super) struct PromoteArgs {
    /// Model
    #[arg(value_name = "NAME")]
    name: String,
    /// Version
    #[arg(value_name = "VERSION")]
    version: String,
    /// The stage it is given
    #[arg(long, value_enum, default_value = "production")]
    to: To,
    /// What the version shows on a hold-out: the output of `detector eval -o json`
    #[arg(long, value_name = "FILE")]
    figures: Option<PathBuf>,
    /// What the version in production shows on the same hold-out
    #[arg(long, value_name = "FILE")]
    production_figures: Option<PathBuf>,
    /// Least area under the ROC curve
    #[arg(long, default_value_t = Gate::default().roc_auc_min, value_name = "AREA")]
    roc_auc_min: f64,
    /// Least F1, mean over the classes
    #[arg(long, default_value_t = Gate::default().f1_macro_min, value_name = "F1")]
    f1_macro_min: f64,
    /// Least kappa
    #[arg(long, default_value_t = Gate::default().kappa_min, value_name = "KAPPA", allow_negative_numbers = true)]
    kappa_min: f64,
    /// Greatest share of benign rows that are found to be an attack
    #[arg(long, default_value_t = Gate::default().false_alarm_rate_max, value_name = "SHARE")]
    false_alarm_rate_max: f64,
    /// By how much it may be worse than the version in production, by area and by F1
    #[arg(long, default_value_t = Gate::default().worse_max, value_name = "DIFFERENCE")]
    worse_max: f64,
    /// Into production without a gate
    #[arg(long, conflicts_with_all = ["figures", "production_figures"])]
    no_gate: bool,
    /// Why; it stands in the history
    #[arg(long, default_value = "", value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Debug, clap::Args)]
pub(in super::super) struct RollbackArgs {
    /// Model
    #[arg(value_name = "NAME")]
    name: String,
    /// Why; it stands in the history
    #[arg(long, default_value = "", value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Debug, clap::Args)]
pub(in super::super) struct DiffArgs {
    /// Model
    #[arg(value_name = "NAME")]
    name: String,
    /// A version
    #[arg(value_name = "VERSION")]
    one: String,
    /// Another
    #[arg(value_name = "VERSION")]
    other: String,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    format: FormatArgs,
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Address { .. } | RegistryError::Word { .. } => {
                Self::Usage(error.to_string())
            }
            error => Self::Other(error.to_string()),
        }
    }
}

fn now() -> String {
    Rfc3339(unix_ms(SystemTime::now()).saturating_mul(1000)).to_string()
}

fn entry(registry: &Registry, name: &str, text: &str) -> Result<Entry, Failure> {
    Ok(registry.entry(name, &version(text)?)?)
}

pub(super) fn push(args: &PushArgs) -> Result<(), Failure> {
    let entry = args.place.open()?.push(&read(&args.file)?, &now())?;
    let mut out = Report::new(args.format);
    if !out.is_table() {
        return Ok(out.document(&entry)?);
    }
    let (name, version) = (&entry.name, &entry.version);
    Ok(out.line(&format!(
        "pushed {name} {version}; `detector model promote {name} {version}` puts it into production"
    ))?)
}

pub(super) fn list(args: &ListArgs) -> Result<(), Failure> {
    let registry = args.place.open()?;
    let names = match &args.name {
        Some(name) => vec![name.clone()],
        None => registry.names()?,
    };
    let mut all = Vec::new();
    for name in names {
        let stages = registry.stages(&name)?;
        for entry in registry.versions(&name)? {
            all.push((stages.of(&entry.version).map(Stage::name), entry));
        }
    }
    let mut out = Report::new(args.format);
    if !out.is_table() {
        let items: Vec<_> = all
            .iter()
            .map(|(stage, entry)| json!({"stage": stage, "entry": entry}))
            .collect();
        return Ok(out.items(&items)?);
    }
    if all.is_empty() {
        return Ok(out.line("no models")?);
    }
    let mut table = report::table(&["NAME", "VERSION", "STAGE", "PUSHED", "FEATURE SET", "BYTES"]);
    for (stage, entry) in &all {
        table.add_row([
            entry.name.clone(),
            entry.version.to_string(),
            stage.unwrap_or("-").to_owned(),
            entry.pushed.clone(),
            entry.feature_set.clone(),
            entry.bytes.to_string(),
        ]);
    }
    report::align(&mut table, &[5]);
    Ok(out.table(&table)?)
}

pub(super) fn history(args: &HistoryArgs) -> Result<(), Failure> {
    let changes = args.place.open()?.history(&args.name)?;
    let mut out = Report::new(args.format);
    if !out.is_table() {
        return Ok(out.items(&changes)?);
    }
    if changes.is_empty() {
        return Ok(out.line("no changes")?);
    }
    let mut table = report::table(&["AT", "VERSION", "STAGE", "ROC-AUC", "REASON"]);
    for change in &changes {
        let area = change.figures.as_ref().and_then(|figures| figures.roc_auc);
        table.add_row([
            change.at.clone(),
            change.version.to_string(),
            change.stage.name().to_owned(),
            area.map_or_else(|| "-".to_owned(), |area| format!("{area:.4}")),
            change.reason.clone(),
        ]);
    }
    report::align(&mut table, &[3]);
    Ok(out.table(&table)?)
}

/// The figures in a file that `detector eval -o json` wrote.
fn figures(path: &Path) -> Result<Figures, Failure> {
    serde_json::from_slice(&read(path)?).map_err(|error| {
        Failure::Other(format!(
            "{}: {error}; figures are what `detector eval -o json` writes",
            path.display()
        ))
    })
}

pub(super) fn promote(args: &PromoteArgs) -> Result<(), Failure> {
    let registry = args.place.open()?;
    let entry = entry(&registry, &args.name, &args.version)?;
    let stage = match args.to {
        To::Production => Stage::Production,
        To::Staging => Stage::Staging,
        To::Archived => Stage::Archived,
    };
    let gate = Gate {
        roc_auc_min: args.roc_auc_min,
        f1_macro_min: args.f1_macro_min,
        kappa_min: args.kappa_min,
        false_alarm_rate_max: args.false_alarm_rate_max,
        worse_max: args.worse_max,
    };
    let gated = stage == Stage::Production && !args.no_gate;
    let candidate = match &args.figures {
        Some(path) => Some(figures(path)?),
        None if gated => {
            return Err(Failure::Usage(format!(
                "{} {} does not go into production unseen: give --figures (`detector eval -o json`), or --no-gate",
                entry.name, entry.version
            )));
        }
        None => None,
    };
    let running = registry.stages(&args.name)?.production;
    let production = args
        .production_figures
        .as_deref()
        .map(figures)
        .transpose()?;
    if gated && production.is_none() && running.as_ref().is_some_and(|v| *v != entry.version) {
        return Err(Failure::Usage(format!(
            "{} {} is in production: give what it shows on the same hold-out as --production-figures, or --no-gate",
            entry.name,
            running.map_or_else(String::new, |version| version.to_string())
        )));
    }
    let stages = registry.promote(
        &entry,
        &Promotion {
            stage,
            reason: &args.reason,
            gate: candidate
                .as_ref()
                .filter(|_| gated)
                .map(|candidate| (&gate, candidate, production.as_ref())),
            at: &now(),
        },
    )?;
    let mut out = Report::new(args.format);
    if !out.is_table() {
        return Ok(out.document(&stages)?);
    }
    Ok(out.line(&format!(
        "{} {} is in {}",
        entry.name,
        entry.version,
        stage.name()
    ))?)
}

pub(super) fn rollback(args: &RollbackArgs) -> Result<(), Failure> {
    let version: Version = args
        .place
        .open()?
        .roll_back(&args.name, &args.reason, &now())?;
    let mut out = Report::new(args.format);
    if !out.is_table() {
        return Ok(out.document(&json!({"name": args.name, "production": version}))?);
    }
    Ok(out.line(&format!("{} {version} is in production again", args.name))?)
}

pub(super) fn diff(args: &DiffArgs) -> Result<(), Failure> {
    let registry = args.place.open()?;
    let one = entry(&registry, &args.name, &args.one)?;
    let other = entry(&registry, &args.name, &args.other)?;
    let flat = |entry: &Entry| {
        let mut all = vec![
            ("parent".to_owned(), json!(entry.parent)),
            ("feature_set".to_owned(), json!(entry.feature_set)),
            ("classes".to_owned(), json!(entry.classes)),
            ("data_fingerprint".to_owned(), json!(entry.data_fingerprint)),
            ("bytes".to_owned(), json!(entry.bytes)),
        ];
        let training = entry.training.iter();
        all.extend(training.map(|(key, value)| (format!("training.{key}"), value.clone())));
        let metrics = entry.metrics.iter();
        all.extend(metrics.map(|(key, value)| (format!("metrics.{key}"), json!(value))));
        all.into_iter()
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let (one, other) = (flat(&one), flat(&other));
    let keys: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let differing: Vec<_> = keys
        .into_iter()
        .filter(|key| one.get(*key) != other.get(*key))
        .map(|key| (key, one.get(key), other.get(key)))
        .collect();
    let mut out = Report::new(args.format);
    if !out.is_table() {
        let items: Vec<_> = differing
            .iter()
            .map(|(key, one, other)| json!({"what": key, "one": one, "other": other}))
            .collect();
        return Ok(out.items(&items)?);
    }
    if differing.is_empty() {
        return Ok(out.line("no difference")?);
    }
    let mut table = report::table(&["WHAT", &args.one, &args.other]);
    let text = |value: &Option<&serde_json::Value>| {
        value.map_or_else(|| "-".to_owned(), ToString::to_string)
    };
    for (key, one, other) in &differing {
        table.add_row([(*key).clone(), text(one), text(other)]);
    }
    Ok(out.table(&table)?)
}
