//! A forest from the rows that `detector extract` writes: whole groups are drawn, and judged by forests that have not seen them.

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use super::{
    super::{failure::Failure, report},
    args::Args,
};
use crate::{
    dataset::rows::{Columns, Counts, Rows},
    decide::family::Family,
    model::{Curve, Ensemble},
    output::units::grouped,
    train::{
        Bootstrap, ClassWeights, ForestOptions, HeldOut, Unseen, finish, held_out, importances,
        model_card::{self, About},
        out_of_fold, train_forest, usual, with_reference,
    },
};

/// Rates at which benign rows may raise an alarm, for each of which a model has its thresholds.
const FALSE_ALARM_RATES: [(&str, f64); 3] = [("1e-2", 1e-2), ("1e-3", 1e-3), ("1e-4", 1e-4)];

impl Args {
    fn forest(&self) -> ForestOptions {
        ForestOptions {
            trees: self.trees.unwrap_or(100),
            depth_max: self.depth_max.unwrap_or(12),
            leaf_weight_min: self.leaf_weight_min.unwrap_or(5.0),
            features_per_split: self.features_per_split(),
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

pub(super) fn run(args: &Args, paths: &[PathBuf]) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Other(error.to_string());
    let columns = Columns {
        label: args.label.clone().unwrap_or_else(|| "family".to_owned()),
        group: args.group.clone().unwrap_or_else(|| "group".to_owned()),
    };
    let mut rows = Rows::read(paths, &columns, None).map_err(|error| failed(&error))?;
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
    let options = args.forest();
    let folds = args.folds.unwrap_or(10);
    let progress = bar(options.trees * (1 + folds));
    let trained = train_forest(table, &kept, &options, &|| progress.inc(1))
        .map_err(|error| failed(&error))?;
    let scores = if folds == 0 {
        let classes = table.classes();
        let mut scores = vec![f32::NAN; table.rows() * classes];
        for (row, of_row) in kept.iter().zip(trained.out_of_bag.chunks_exact(classes)) {
            scores[*row as usize * classes..][..classes].copy_from_slice(of_row);
        }
        scores
    } else {
        out_of_fold(table, folds, &options, &|| progress.inc(1)).map_err(|error| failed(&error))?
    };
    progress.finish_and_clear();

    let benign = (table.schema().classes.iter())
        .position(|class| class == Family::Benign.name())
        .map(|class| class as u16);
    let unseen = Unseen {
        labels: table.labels(),
        scores: &scores,
        weights: table.weights(),
    };
    let (ensemble, report) = finish(
        trained.ensemble,
        unseen,
        benign,
        &FALSE_ALARM_RATES,
        "held_out_",
    )
    .map_err(|error| failed(&error))?;
    let mut card = ensemble.card().clone();
    card.name = args.name.clone().unwrap_or_else(|| "forest".to_owned());
    card.version.clone_from(&args.version);
    card.training.insert("folds".to_owned(), folds.into());
    let ensemble = ensemble.with_card(card).map_err(|error| failed(&error))?;
    let mut calibrated = scores;
    for row in calibrated.chunks_exact_mut(ensemble.classes()) {
        Curve::calibrate(&ensemble.card().calibration, row);
    }
    let (class, classes) = (usize::from(benign.unwrap_or(0)), ensemble.classes());
    let usual = usual(table, &kept, benign, None);
    let scores = usual
        .iter()
        .map(|&row| calibrated[row as usize * classes + class]);
    let ensemble = with_reference(ensemble, (table, &usual), benign, scores)
        .map_err(|error| failed(&error))?;
    write(
        &args.output,
        &ensemble.to_bytes().map_err(|error| failed(&error))?,
    )?;

    let Some(benign) = benign else {
        report::note("no class is called benign: nothing to measure false alarms by");
        return Ok(());
    };
    let results = held_out(ensemble.card(), table, &rows.groups, &calibrated, benign);
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

pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes).map_err(|error| {
        Failure::Other(format!(
            "writing {}: {error}; check the directory and its permissions",
            path.display()
        ))
    })
}

pub(super) fn bar(trees: usize) -> ProgressBar {
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
pub(in crate::cli) fn tell_counts(rows: &Rows) {
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
