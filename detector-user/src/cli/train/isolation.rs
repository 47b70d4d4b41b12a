//! An isolation forest from benign rows, or from rows of which nothing is known.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    super::{failure::Failure, report},
    args::Args,
    extracted::bar,
    tables::{failed, held_out, parted, save, scores_of_usual, unseen_scores, usual_of},
    told::{Seconds, tell},
};
use crate::{
    dataset::tables::{
        labels::LabelMap,
        prepare::{Prepared, remember},
    },
    model::{Curve, Ensemble},
    train::{Calibration, IsolationOptions, Learner, Parts, leaks, predict, with_reference},
};

/// What is called harmless where labels say nothing.
const NORMAL: &str = "normal";
/// What the odd rows are called.
const ANOMALY: &str = "anomaly";

pub(super) fn run(args: &Args, prepared: Prepared, map: &LabelMap) -> Result<(), Failure> {
    if let Some(share) = args.contamination
        && !(share > 0.0 && share <= 0.5)
    {
        return Err(Failure::Usage(format!(
            "--contamination is {share}; allowed is above 0, at most 0.5"
        )));
    }
    let (prepared, map, known) = two_classes(prepared, map)?;
    let table = &prepared.table;
    let learner = Learner::Isolation(IsolationOptions {
        trees: args.trees.unwrap_or(300),
        rows_per_tree: args.rows_per_tree,
        seed: args.seed,
        threads: args.threads,
    });
    let is_benign = |row: &u32| table.labels()[*row as usize] == 0;
    let refit = known && !args.no_refit;
    let progress = bar(learner.steps() * if refit { 2 } else { 1 });
    let fit = |rows: &[u32]| -> Result<Ensemble, Failure> {
        let (model, _) = learner
            .fit(table, rows, None, &|| progress.inc(1))
            .map_err(failed)?;
        bent(args, model, &prepared, rows)
    };
    let benign = |rows: &[u32]| -> Vec<u32> { rows.iter().copied().filter(is_benign).collect() };
    let all = benign(&table.all_rows());
    let (model, judged, parts) = if known {
        let (_, parts) = parted(args, &prepared)?;
        let model = fit(&benign(&parts.train))?;
        let (model, judged) = held_out(Calibration::None, model, &prepared, &parts)?;
        let unseen = unseen_scores(&model, &prepared, &parts)?;
        let (mut written, mut learnt) = (model.clone(), parts.train.clone());
        if refit {
            let of_all = fit(&all)?;
            let mut card = of_all.card().clone();
            card.operating_points
                .clone_from(&model.card().operating_points);
            card.metrics.clone_from(&model.card().metrics);
            written = of_all.with_card(card).map_err(failed)?;
            learnt.clone_from(&all);
        }
        let written = with_reference(
            written,
            (table, &usual_of(&prepared, &learnt)),
            prepared.benign,
            unseen,
        )
        .map_err(failed)?;
        (written, Some(judged), parts)
    } else {
        report::note(
            "no row is known to be harmless or not: all are learnt from, and nothing is judged",
        );
        let model = fit(&all)?;
        // There are no others.
        let scores = scores_of_usual(&model, &prepared, &all)?;
        let model = with_reference(
            model,
            (table, &usual_of(&prepared, &all)),
            prepared.benign,
            scores,
        )
        .map_err(failed)?;
        (model, None, Parts::default())
    };
    progress.finish_and_clear();
    let leaks = leaks(table, &parts);
    let mut extra = remember(&prepared, &map);
    extra.extend([
        ("refit".to_owned(), json!(refit)),
        ("rows_learnt_from".to_owned(), json!(all.len())),
        ("contamination".to_owned(), json!(args.contamination)),
        ("leaks".to_owned(), json!(leaks)),
    ]);
    let model = save(args, model, extra)?;
    for leak in &leaks {
        report::note(&format!("beware: {leak}"));
    }
    tell(
        args,
        &model,
        &prepared,
        judged.as_ref(),
        refit,
        Seconds::default(),
    )
}

/// The rows in two classes: harmless and odd; the map that makes them so of other tables; and whether anything is known to be
/// harmless, by which it can be judged.
fn two_classes(
    mut prepared: Prepared,
    map: &LabelMap,
) -> Result<(Prepared, LabelMap, bool), Failure> {
    let classes = prepared.table.schema().classes.clone();
    let labels = prepared.table.labels();
    let (name, labels, known) = match prepared.benign {
        Some(benign) => {
            let odd = |label: &u16| u16::from(*label != benign);
            let labels: Vec<u16> = labels.iter().map(odd).collect();
            let known = labels.contains(&1);
            (classes[usize::from(benign)].clone(), labels, known)
        }
        None => (NORMAL.to_owned(), vec![0; labels.len()], false),
    };
    let mut pairs: BTreeMap<String, String> = map
        .pairs()
        .iter()
        .map(|(label, class)| {
            let class = match class.as_str() {
                "-" => "-",
                class if class == name => class,
                _ => ANOMALY,
            };
            (label.clone(), class.to_owned())
        })
        .collect();
    pairs.entry(name.clone()).or_insert_with(|| name.clone());
    pairs
        .entry("*".to_owned())
        .or_insert_with(|| ANOMALY.to_owned());
    let named = vec![name, ANOMALY.to_owned()];
    prepared.table = prepared.table.with_classes(named, labels).map_err(failed)?;
    prepared.benign = Some(0);
    Ok((prepared, LabelMap::from_pairs(pairs), known))
}

/// The model with scores bent so that the share of the rows learnt from that `--contamination` says is at 0.5 and above.
fn bent(
    args: &Args,
    model: Ensemble,
    prepared: &Prepared,
    rows: &[u32],
) -> Result<Ensemble, Failure> {
    let Some(contamination) = args.contamination else {
        return Ok(model);
    };
    let scores = predict(&model, &prepared.table, rows, args.threads).map_err(failed)?;
    let mut odd: Vec<f32> = scores.chunks(2).map(|pair| pair[1]).collect();
    odd.sort_by(f32::total_cmp);
    let place = ((1.0 - contamination) * odd.len() as f64) as usize;
    let threshold = odd[place.min(odd.len() - 1)].clamp(1e-3, 1.0 - 1e-3);
    let curve = |threshold: f32| Curve {
        x: vec![0.0, threshold, 1.0],
        y: vec![0.0, 0.5, 1.0],
    };
    let mut card = model.card().clone();
    card.calibration = vec![curve(1.0 - threshold), curve(threshold)];
    model.with_card(card).map_err(failed)
}
