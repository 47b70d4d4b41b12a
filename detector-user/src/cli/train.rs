//! `detector train`: a model from tables of labelled rows.

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use super::{failure::Failure, report};
use crate::{
    dataset::rows::{Columns, Counts, Rows},
    decide::family::Family,
    model::{Curve, Ensemble},
    output::units::grouped,
    train::{
        Bootstrap, ClassWeights, FeaturesPerSplit, ForestOptions, HeldOut, Unseen, finish,
        held_out, importances,
        model_card::{self, About},
        out_of_fold, train_forest,
    },
};

/// Rates at which benign rows may raise an alarm, for each of which a model has its thresholds.
const FALSE_ALARM_RATES: [(&str, f64); 3] = [("1e-2", 1e-2), ("1e-3", 1e-3), ("1e-4", 1e-4)];

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Learner {
    /// A random forest of binned splits, groups drawn with replacement
    Forest,
}

#[derive(Debug, clap::Args)]
// --version is the model's here.
#[command(disable_version_flag = true)]
pub(super) struct Args {
    /// Parquet files of labelled rows, as `detector extract` writes them
    #[arg(required = true, value_name = "DATA")]
    data: Vec<PathBuf>,
    /// What learns
    #[arg(long, value_enum, default_value = "forest")]
    learner: Learner,
    /// Column that says what a row is
    #[arg(long, default_value = "family", value_name = "COLUMN")]
    label: String,
    /// Column that says which rows must not be parted: those of one capture
    #[arg(long, default_value = "group", value_name = "COLUMN")]
    group: String,
    /// The model file to write
    #[arg(short = 'O', long, visible_alias = "out", value_name = "FILE")]
    output: PathBuf,
    /// Also write what a person must know of the model, in Markdown
    #[arg(long, value_name = "FILE")]
    card: Option<PathBuf>,
    /// What else the card says of what the model cannot see; may be given again
    #[arg(long, requires = "card", value_name = "TEXT")]
    note: Vec<String>,
    /// Also write its figures, in JSON
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    /// Name of the model
    #[arg(long, default_value = "forest", value_name = "NAME")]
    name: String,
    /// Version of the model
    #[arg(long, default_value = "0.1.0", value_name = "VERSION")]
    version: String,
    /// Trees
    #[arg(long, default_value_t = 100, value_name = "N")]
    trees: usize,
    /// Splits from a root to a leaf, at most
    #[arg(long, default_value_t = 12, value_name = "N")]
    depth_max: usize,
    /// Least weight of a leaf; a row weighs 1 on average
    #[arg(long, default_value_t = 5.0, value_name = "WEIGHT")]
    leaf_weight_min: f64,
    /// Features that a split chooses among [default: the root of all]
    #[arg(long, value_name = "N")]
    features_per_split: Option<usize>,
    /// Features to learn without; they count as missing
    #[arg(long, value_delimiter = ',', value_name = "FEATURES")]
    without: Vec<String>,
    /// Draw rows rather than groups for each tree
    #[arg(long)]
    draw_rows: bool,
    /// Parts, of whole groups, each judged by a forest that has not seen it; 0: out-of-bag estimates
    #[arg(long, default_value_t = 10, value_name = "N")]
    folds: usize,
    /// Leave out groups whose name contains this; for a look at how such captures fare unseen
    #[arg(long, value_name = "TEXT")]
    leave_out: Vec<String>,
    /// The same seed gives the same bytes
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Threads; no matter for the result [default: one a CPU]
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "N")]
    threads: usize,
}

impl Args {
    fn options(&self) -> ForestOptions {
        let Learner::Forest = self.learner;
        ForestOptions {
            trees: self.trees,
            depth_max: self.depth_max,
            leaf_weight_min: self.leaf_weight_min,
            features_per_split: self
                .features_per_split
                .map_or(FeaturesPerSplit::SquareRoot, FeaturesPerSplit::Count),
            bootstrap: if self.draw_rows {
                Bootstrap::Rows
            } else {
                Bootstrap::Groups
            },
            class_weights: ClassWeights::Balanced,
            seed: self.seed,
            threads: self.threads,
        }
    }
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Other(error.to_string());
    let columns = Columns {
        label: args.label.clone(),
        group: args.group.clone(),
    };
    let mut rows = Rows::read(&args.data, &columns, None).map_err(|error| failed(&error))?;
    tell_counts(&rows);
    rows.forget(&args.without).map_err(Failure::Usage)?;
    let table = &rows.table;
    let kept: Vec<u32> = (0..table.rows() as u32)
        .filter(|&row| {
            let group = &rows.groups[table.groups()[row as usize] as usize];
            !args
                .leave_out
                .iter()
                .any(|text| group.contains(text.as_str()))
        })
        .collect();
    let options = args.options();
    let progress = bar(args.trees * (1 + args.folds));
    let trained = train_forest(table, &kept, &options, &|| progress.inc(1))
        .map_err(|error| failed(&error))?;
    let scores = if args.folds == 0 {
        let classes = table.classes();
        let mut scores = vec![f32::NAN; table.rows() * classes];
        for (row, of_row) in kept.iter().zip(trained.out_of_bag.chunks_exact(classes)) {
            scores[*row as usize * classes..][..classes].copy_from_slice(of_row);
        }
        scores
    } else {
        out_of_fold(table, args.folds, &options, &|| progress.inc(1))
            .map_err(|error| failed(&error))?
    };
    progress.finish_and_clear();

    let benign = (table.schema().classes.iter()).position(|class| class == Family::Benign.name());
    let unseen = Unseen {
        labels: table.labels(),
        scores: &scores,
        weights: table.weights(),
    };
    let (ensemble, report) = finish(
        trained.ensemble,
        unseen,
        benign.map(|class| class as u16),
        &FALSE_ALARM_RATES,
        "held_out_",
    )
    .map_err(|error| failed(&error))?;
    let mut card = ensemble.card().clone();
    card.name.clone_from(&args.name);
    card.version.clone_from(&args.version);
    card.training.insert("folds".to_owned(), args.folds.into());
    let ensemble = ensemble.with_card(card).map_err(|error| failed(&error))?;
    write(
        &args.output,
        &ensemble.to_bytes().map_err(|error| failed(&error))?,
    )?;

    let Some(benign) = benign else {
        report::note("no class is called benign: nothing to measure false alarms by");
        return Ok(());
    };
    let mut calibrated = scores;
    for row in calibrated.chunks_exact_mut(ensemble.classes()) {
        Curve::calibrate(&ensemble.card().calibration, row);
    }
    let results = held_out(
        ensemble.card(),
        table,
        &rows.groups,
        &calibrated,
        benign as u16,
    );
    tell_results(&ensemble, &results);
    let about = About {
        card: ensemble.card(),
        counts: &rows.counts,
        report: &report,
        held_out: &results,
        importances: &importances(&ensemble, table),
        notes: &args.note,
    };
    if let Some(path) = &args.card {
        write(path, model_card::markdown(&about).as_bytes())?;
    }
    if let Some(path) = &args.metrics {
        write(
            path,
            &model_card::json(&about).map_err(|error| failed(&error))?,
        )?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes).map_err(|error| {
        Failure::Other(format!(
            "writing {}: {error}; check the directory and its permissions",
            path.display()
        ))
    })
}

fn bar(trees: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(trees as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} trees, {eta} left") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Tells what was read.
pub(super) fn tell_counts(rows: &Rows) {
    let Counts {
        rows: read,
        duplicates,
        contradictions,
        non_finite,
    } = rows.counts;
    report::note(&format!(
        "{} rows; {} duplicates left out; {} with the features of another label's row; {} values not finite",
        grouped(read),
        grouped(duplicates),
        grouped(contradictions),
        grouped(non_finite)
    ));
}

fn tell_results(ensemble: &Ensemble, results: &HeldOut) {
    let points = &ensemble.card().operating_points;
    let mut titles = vec!["family".to_owned(), "groups".to_owned(), "rows".to_owned()];
    for point in points {
        titles.push(format!("recall at {}", point.name));
        titles.push("as any".to_owned());
    }
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    let mut table = report::table(&titles);
    for family in &results.families {
        let mut cells = vec![
            family.family.clone(),
            family.groups.to_string(),
            grouped(family.rows as u64),
        ];
        for (own, any) in family.recall.iter().zip(&family.recall_as_any) {
            cells.extend([format!("{own:.3}"), format!("{any:.3}")]);
        }
        table.add_row(cells);
    }
    report::align(&mut table, &(1..3 + 2 * points.len()).collect::<Vec<_>>());
    for line in table.lines() {
        report::note(line.trim_end());
    }
}
