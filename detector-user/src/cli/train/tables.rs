//! A model from any labelled tables: parted, learnt, calibrated, judged on what was held out.

use std::{path::PathBuf, time::Instant};

use indicatif::ProgressStyle;
use serde_json::{Value, json};

use super::{
    super::{failure::Failure, report},
    args::{Args, LearnerKind, SplitKind, Weights},
    extracted::{bar, write},
    isolation,
    told::{Seconds, tell, tell_found},
};
use crate::{
    dataset::tables::{
        self, Gathered, TablesError, Wanted,
        labels::LabelMap,
        prepare::{Options, Prepared, prepare, remember},
    },
    judge::Report,
    model::{Card, Ensemble},
    output::units::grouped,
    train::{
        BoostOptions, Bootstrap, Calibration, ClassWeights, FeaturesPerSplit, ForestOptions,
        Learner, LinfaOptions, Parts, PartsError, SplitBy, Table, Unseen, conclude, leaks, parts,
        predict, search, smote, usual, with_reference,
    },
};

/// Rates at which benign rows may raise an alarm, for each of which a model has its thresholds.
pub(super) const FALSE_ALARM_RATES: [(&str, f64); 3] =
    [("1e-2", 1e-2), ("1e-3", 1e-3), ("1e-4", 1e-4)];
/// A class grows by SMOTE to at most so many times its size: what is made of few rows is like them.
const SMOTE_GROWTH_MAX: usize = 20;

/// How a table's fault ends the process.
pub(in crate::cli) fn of_tables(error: TablesError) -> Failure {
    if error.is_usage() {
        Failure::Usage(error.to_string())
    } else {
        Failure::Other(error.to_string())
    }
}

pub(super) fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Other(error.to_string())
}

pub(super) fn run(args: &Args, paths: &[PathBuf]) -> Result<(), Failure> {
    if args.contamination.is_some() && args.learner != LearnerKind::Isolation {
        return Err(Failure::Usage(
            "--contamination is for --learner isolation; leave it out, or take that learner"
                .to_owned(),
        ));
    }
    let gathered = gather(args, paths)?;
    let map = LabelMap::parse(&args.map).map_err(of_tables)?;
    let options = Options {
        map: &map,
        benign: args.benign.as_deref(),
        // How many rows are alike is what an isolation forest goes by.
        drop_duplicates: !args.keep_duplicates && args.learner != LearnerKind::Isolation,
        allow_missing: false,
    };
    let prepared = prepare(gathered, &options).map_err(of_tables)?;
    tell_found(&prepared);
    if let (Some(named), None) = (&args.benign, prepared.benign) {
        let classes = prepared.table.schema().classes.join(", ");
        return Err(Failure::Usage(format!(
            "no class is called {named:?}, named with --benign; there are {classes}"
        )));
    }
    if args.learner == LearnerKind::Isolation {
        return isolation::run(args, prepared, &map);
    }
    supervised(args, &prepared, &map)
}

fn gather(args: &Args, paths: &[PathBuf]) -> Result<Gathered, Failure> {
    let wanted = Wanted {
        label: args.label.clone(),
        needs_label: args.learner != LearnerKind::Isolation || args.label.is_some(),
        group: args.group.clone(),
        time: args.time.clone(),
        keep: args.keep.clone(),
        without: args.without.clone(),
        bad_rows: args.bad_rows.into(),
    };
    let progress = bar(0);
    progress.set_style(ProgressStyle::default_spinner());
    let gathered = tables::read(paths, &wanted, &|rows| progress.inc(rows));
    progress.finish_and_clear();
    gathered.map_err(of_tables)
}

/// How rows are parted.
pub(super) fn split_by(args: &Args) -> Result<SplitBy, Failure> {
    Ok(match args.split {
        Some(SplitKind::Stratified) => SplitBy::Stratified,
        Some(SplitKind::Time) => SplitBy::Time,
        Some(SplitKind::Capture) if args.group.is_some() => {
            return Err(Failure::Usage(
                "--split capture goes by captures, --group names other groups; take --split group"
                    .to_owned(),
            ));
        }
        Some(SplitKind::Capture) => SplitBy::Group,
        Some(SplitKind::Group) if args.group.is_none() => {
            return Err(Failure::Usage(
                "--split group needs the groups' column; name it with --group".to_owned(),
            ));
        }
        Some(SplitKind::Group) => SplitBy::Group,
        None if args.group.is_some() => SplitBy::Group,
        None if args.time.is_some() => SplitBy::Time,
        None => SplitBy::Stratified,
    })
}

pub(super) fn parted(args: &Args, prepared: &Prepared) -> Result<(SplitBy, Parts), Failure> {
    let by = split_by(args)?;
    let parts = parts(&prepared.table, prepared.times.as_deref(), by, args.seed);
    let parts = parts.map_err(|error| match error {
        PartsError::NoTimes => Failure::Usage(error.to_string()),
        PartsError::TooFew { .. } => failed(error),
    })?;
    report::note(&format!(
        "{} rows to learn from, {} to calibrate by, {} to judge by",
        grouped(parts.train.len() as u64),
        grouped(parts.validation.len() as u64),
        grouped(parts.test.len() as u64)
    ));
    Ok((by, parts))
}

/// What was asked for, on so many features. Of tables' features many say the same or nothing, so that twice the root of them
/// are looked at.
fn learner(args: &Args, features: usize) -> Learner {
    let class_weights = match args.class_weights {
        Some(Weights::Balanced) => ClassWeights::Balanced,
        Some(Weights::None) | None => ClassWeights::None,
    };
    match args.learner {
        LearnerKind::Boost => {
            let plain = BoostOptions::default();
            Learner::Boost(BoostOptions {
                rounds: args.rounds.or(args.trees).unwrap_or(300),
                learning_rate: args.learning_rate.unwrap_or(plain.learning_rate),
                leaves_max: args.leaves_max.unwrap_or(plain.leaves_max),
                depth_max: args.depth_max.unwrap_or(plain.depth_max),
                leaf_rows_min: args
                    .leaf_weight_min
                    .map_or(plain.leaf_rows_min, |rows| rows as u32),
                class_weights,
                seed: args.seed,
                threads: args.threads,
                ..plain
            })
        }
        LearnerKind::Linfa => Learner::Linfa(LinfaOptions {
            depth_max: args.depth_max.unwrap_or(12),
            leaf_weight_min: args.leaf_weight_min.unwrap_or(1.0),
            class_weights,
        }),
        LearnerKind::Forest | LearnerKind::Isolation => Learner::Forest(ForestOptions {
            trees: args.trees.unwrap_or(100),
            depth_max: args.depth_max.unwrap_or(24),
            leaf_weight_min: args.leaf_weight_min.unwrap_or(1.0),
            features_per_split: FeaturesPerSplit::Count(
                args.features_per_split
                    .unwrap_or(2 * features.isqrt().max(1)),
            ),
            bootstrap: Bootstrap::Rows,
            class_weights,
            seed: args.seed,
            threads: args.threads,
        }),
    }
}

fn supervised(args: &Args, prepared: &Prepared, map: &LabelMap) -> Result<(), Failure> {
    let table = &prepared.table;
    if let [only] = &table.schema().classes[..] {
        return Err(Failure::Other(format!(
            "the labels are of one class only, {only:?}: there is nothing to tell it from; bring rows of another, or learn what is \
             odd with --learner isolation"
        )));
    }
    let (by, parts) = parted(args, prepared)?;
    let mut learner = learner(args, table.features());
    let mut searched = Vec::new();
    if let Some(space) = args.search {
        let found = search(
            table,
            &parts.train,
            &learner,
            space.into(),
            by,
            args.seed,
            &|told| {
                report::note(&format!("trying {told}"));
            },
        )
        .map_err(failed)?;
        report::note(&format!(
            "best of {}: {} (macro-F1 {:.4})",
            found.tried.len(),
            found.tried[0].0,
            found.tried[0].1
        ));
        learner = found.best;
        searched = found.tried;
    }
    let is_word: Vec<bool> = (table.schema().features.iter())
        .map(|feature| prepared.encodings.contains_key(feature))
        .collect();
    let refit = !args.no_refit;
    let progress = bar(learner.steps() * if refit { 2 } else { 1 });
    let fit = |learner: &Learner, rows: &[u32], validation: Option<(&Table, &[u32])>| {
        if args.smote {
            let more = smote(table, rows, &is_word, SMOTE_GROWTH_MAX, args.seed).map_err(failed)?;
            let all = more.all_rows();
            return learner
                .fit(&more, &all, validation, &|| progress.inc(1))
                .map_err(failed);
        }
        learner
            .fit(table, rows, validation, &|| progress.inc(1))
            .map_err(failed)
    };
    let mut seconds = Seconds::default();
    let begun = Instant::now();
    let (model, again) = fit(&learner, &parts.train, Some((table, &parts.validation)))?;
    seconds.parts = begun.elapsed().as_secs_f64();
    let (model, report) = held_out(args.calibration.into(), model, prepared, &parts)?;
    let unseen = unseen_scores(&model, prepared, &parts)?;
    let (model, learnt) = if refit {
        let begun = Instant::now();
        let all = table.all_rows();
        let (of_all, _) = fit(&again, &all, None)?;
        seconds.all = begun.elapsed().as_secs_f64();
        (with_findings(of_all, model.card())?, all)
    } else {
        (model, parts.train.clone())
    };
    let model = with_reference(
        model,
        (table, &usual_of(prepared, &learnt)),
        prepared.benign,
        unseen,
    )
    .map_err(failed)?;
    progress.finish_and_clear();
    let leaks = leaks(table, &parts);
    let more = [
        ("split".to_owned(), json!(by)),
        ("refit".to_owned(), json!(refit)),
        ("smote".to_owned(), json!(args.smote)),
        (
            "parts".to_owned(),
            json!({"train": parts.train.len(), "validation": parts.validation.len(), "test": parts.test.len()}),
        ),
        ("searched".to_owned(), json!(searched)),
        ("leaks".to_owned(), json!(leaks)),
    ];
    let extra: Vec<(String, Value)> = remember(prepared, map).into_iter().chain(more).collect();
    let model = save(args, model, extra)?;
    for leak in &leaks {
        report::note(&format!("beware: {leak}"));
    }
    tell(args, &model, prepared, Some(&report), refit, seconds)
}

/// Rows of a part, scored.
struct Scored {
    labels: Vec<u16>,
    scores: Vec<f32>,
    weights: Vec<f32>,
}

impl Scored {
    fn unseen(&self) -> Unseen<'_> {
        Unseen {
            labels: &self.labels,
            scores: &self.scores,
            weights: &self.weights,
        }
    }
}

/// The model calibrated, with thresholds, and the figures of the rows held out.
pub(super) fn held_out(
    calibration: Calibration,
    model: Ensemble,
    prepared: &Prepared,
    parts: &Parts,
) -> Result<(Ensemble, Report), Failure> {
    let table = &prepared.table;
    let of = |rows: &[u32]| -> Result<Scored, Failure> {
        let scores = predict(&model, table, rows, 0).map_err(failed)?;
        let labels = rows
            .iter()
            .map(|&row| table.labels()[row as usize])
            .collect();
        Ok(Scored {
            labels,
            scores,
            weights: vec![1.0; rows.len()],
        })
    };
    let (validation, test) = (of(&parts.validation)?, of(&parts.test)?);
    conclude(
        model.clone(),
        (validation.unseen(), test.unseen()),
        calibration,
        prepared.benign,
        &FALSE_ALARM_RATES,
        "held_out_",
    )
    .map_err(failed)
}

/// What the model says of the usual rows that it has not learnt from: the probability of the benign class, or of the first.
pub(super) fn unseen_scores(
    model: &Ensemble,
    prepared: &Prepared,
    parts: &Parts,
) -> Result<impl Iterator<Item = f32> + use<>, Failure> {
    let unseen = [&parts.validation[..], &parts.test[..]].concat();
    scores_of_usual(model, prepared, &unseen)
}

/// The usual of some rows, each as often as it is in the tables.
pub(super) fn usual_of(prepared: &Prepared, rows: &[u32]) -> Vec<u32> {
    let copies = Some(&prepared.copies[..]);
    usual(&prepared.table, rows, prepared.benign, copies)
}

/// The same of these rows.
pub(super) fn scores_of_usual(
    model: &Ensemble,
    prepared: &Prepared,
    rows: &[u32],
) -> Result<impl Iterator<Item = f32> + use<>, Failure> {
    let rows = usual_of(prepared, rows);
    let scores = predict(model, &prepared.table, &rows, 0).map_err(failed)?;
    let class = usize::from(prepared.benign.unwrap_or(0));
    Ok(scores.into_iter().skip(class).step_by(model.classes()))
}

/// A model of all rows, with what was found by one of some.
fn with_findings(model: Ensemble, found: &Card) -> Result<Ensemble, Failure> {
    let mut card = model.card().clone();
    card.calibration.clone_from(&found.calibration);
    card.operating_points.clone_from(&found.operating_points);
    card.metrics.clone_from(&found.metrics);
    for (key, value) in &found.training {
        card.training
            .entry(key.clone())
            .or_insert_with(|| value.clone());
    }
    model.with_card(card).map_err(failed)
}

/// Names the model and writes it.
pub(super) fn save(
    args: &Args,
    model: Ensemble,
    extra: Vec<(String, Value)>,
) -> Result<Ensemble, Failure> {
    let mut card = model.card().clone();
    let learner = card.training.get("learner").and_then(Value::as_str);
    card.name = (args.name.clone())
        .or_else(|| learner.map(str::to_owned))
        .unwrap_or_default();
    card.version.clone_from(&args.version);
    card.training.extend(extra);
    let model = model.with_card(card).map_err(failed)?;
    write(&args.output, &model.to_bytes().map_err(failed)?)?;
    Ok(model)
}
