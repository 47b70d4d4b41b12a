//! What a person must know of a model, written from its figures: nothing in it is by hand but notes, and nothing by the clock.

use std::fmt::Write as _;

use serde::Serialize;

use super::{held_out::HeldOut, importance::Importance};
use crate::{dataset::rows::Counts, judge::Report, model::Card};

/// Features that are listed.
const IMPORTANCES: usize = 20;

/// All that is known of a model.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Its card.
    pub card: &'a Card,
    /// What was found in the data.
    pub counts: &'a Counts,
    /// Measures on rows that were held out.
    pub report: &'a Report,
    /// The same, by family and group.
    pub held_out: &'a HeldOut,
    /// What it goes by.
    pub importances: &'a [Importance],
    /// What else is to be said of it.
    pub notes: &'a [String],
}

/// The figures, for machines.
///
/// # Errors
/// Where they cannot be written as JSON.
pub fn json(about: &About<'_>) -> serde_json::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Figures<'a> {
        name: &'a str,
        version: &'a str,
        feature_set: &'a str,
        data_fingerprint: &'a str,
        training: &'a serde_json::Map<String, serde_json::Value>,
        held_out: &'a HeldOut,
        report: &'a Report,
        importances: &'a [Importance],
    }
    let mut bytes = serde_json::to_vec_pretty(&Figures {
        name: &about.card.name,
        version: &about.card.version,
        feature_set: &about.card.feature_set,
        data_fingerprint: &about.card.data_fingerprint,
        training: &about.card.training,
        held_out: about.held_out,
        report: about.report,
        importances: about.importances,
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The card, for people.
#[must_use]
pub fn markdown(about: &About<'_>) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_markdown(&mut text, about);
    text
}

fn write_markdown(out: &mut String, about: &About<'_>) -> std::fmt::Result {
    let card = about.card;
    writeln!(out, "# {} {}\n", card.name, card.version)?;
    writeln!(
        out,
        "Which family of attacks a flow is of, from the features of `{}`: what the flow looks like and what its two hosts have \
         been doing lately. Addresses are never among them, and ports only as classes.\n",
        card.feature_set
    )?;
    writeln!(
        out,
        "Written by `detector train`; the same data and seed give the same bytes. Figures for machines: `metrics.json`.\n"
    )?;
    let training = |key: &str| {
        card.training
            .get(key)
            .map_or_else(String::new, ToString::to_string)
    };
    writeln!(
        out,
        "- learner: {} trees, depth at most {}, leaves of weight {} at least, whole groups drawn for each tree; seed {}\n\
         - data: {} rows, of which {} were duplicates and left out, {} contradict another's label; SHA-256 `{}`\n\
         - weights: within a family a group counts as the logarithm of its flows, families count the same\n\
         - held out: {} parts of whole groups of captures, each judged by a forest that has seen none of them\n",
        training("trees"),
        training("depth_max"),
        training("leaf_weight_min"),
        training("seed"),
        about.counts.rows,
        about.counts.duplicates,
        about.counts.contradictions,
        card.data_fingerprint,
        training("folds"),
    )?;
    families(out, about)?;
    overall(out, about)?;
    groups(out, about)?;
    importances(out, about)?;
    out.push_str(BLIND_SPOTS);
    for note in about.notes {
        writeln!(out, "- {note}")?;
    }
    Ok(())
}

fn families(out: &mut String, about: &About<'_>) -> std::fmt::Result {
    writeln!(out, "## By family, on captures held out\n")?;
    writeln!(
        out,
        "Recall at a false-alarm rate: the share of a family's rows that reach its threshold, which that share of benign rows \
         reaches too. \"Any\": that reach any attack's. For `benign`: the share that raises an alarm of any kind. A row is one look \
         at one flow; decisions rest on many.\n"
    )?;
    write!(out, "| family | groups | rows |")?;
    for point in &about.card.operating_points {
        write!(out, " recall at {} (any) |", point.name)?;
    }
    writeln!(out, " precision | F1 | ROC-AUC | PR-AUC |")?;
    let columns = 7 + about.card.operating_points.len();
    writeln!(out, "|---|{}", "---:|".repeat(columns - 1))?;
    for (class, family) in about.held_out.families.iter().enumerate() {
        write!(
            out,
            "| {} | {} | {} |",
            family.family, family.groups, family.rows
        )?;
        for (own, any) in family.recall.iter().zip(&family.recall_as_any) {
            write!(out, " {own:.3} ({any:.3}) |")?;
        }
        let score = &about.report.classes[class];
        let detection = &about.report.one_against_rest[class];
        let area =
            |area: Option<f64>| area.map_or_else(|| "–".to_owned(), |area| format!("{area:.4}"));
        writeln!(
            out,
            " {:.3} | {:.3} | {} | {} |",
            score.precision,
            score.f1,
            area(detection.roc_auc),
            area(detection.pr_auc)
        )?;
    }
    out.push('\n');
    for family in about
        .held_out
        .families
        .iter()
        .filter(|family| family.groups < 2)
    {
        writeln!(
            out,
            "`{}` comes from one group only: held out, nothing of it was left to learn from, and its row says nothing of the model.\n",
            family.family
        )?;
    }
    Ok(())
}

fn overall(out: &mut String, about: &About<'_>) -> std::fmt::Result {
    let report = about.report;
    writeln!(out, "## Altogether\n")?;
    writeln!(
        out,
        "Accuracy {:.4}, macro-F1 {:.4}, κ {:.4}; log-loss {:.4}, Brier {:.4}, calibration error {:.4} (these three on the rows that \
         the calibration was fitted to).",
        report.accuracy,
        report.macro_average.f1,
        report.kappa.unwrap_or(f64::NAN),
        report.log_loss,
        report.brier,
        report.calibration_error
    )?;
    if let Some(attack) = &report.attack {
        writeln!(
            out,
            "Attack or not: ROC-AUC {:.4}, PR-AUC {:.4}.",
            attack.roc_auc.unwrap_or(f64::NAN),
            attack.pr_auc.unwrap_or(f64::NAN)
        )?;
    }
    writeln!(out, "\nConfusion, in % of a true family's weight:\n")?;
    let classes = &about.card.classes;
    writeln!(out, "| is \\ found | {} |", classes.join(" | "))?;
    writeln!(out, "|---|{}", "---:|".repeat(classes.len()))?;
    for (class, weights) in classes.iter().zip(&report.confusion.weights) {
        let sum: f64 = weights.iter().sum();
        let cells: Vec<String> = weights
            .iter()
            .map(|weight| format!("{:.1}", 100.0 * weight / sum.max(f64::MIN_POSITIVE)))
            .collect();
        writeln!(out, "| {class} | {} |", cells.join(" | "))?;
    }
    out.push('\n');
    Ok(())
}

fn groups(out: &mut String, about: &About<'_>) -> std::fmt::Result {
    let points = &about.card.operating_points;
    writeln!(out, "## By group, held out\n")?;
    writeln!(
        out,
        "Attacks, and those benign captures that would raise an alarm.\n"
    )?;
    write!(out, "| family | group | rows |")?;
    for point in points {
        write!(out, " {} (any) |", point.name)?;
    }
    writeln!(out, "\n|---|---|{}", "---:|".repeat(1 + points.len()))?;
    for group in &about.held_out.groups {
        let benign = group.family == crate::decide::family::Family::Benign.name();
        if benign && group.recall.iter().all(|share| *share == 0.0) {
            continue;
        }
        write!(
            out,
            "| {} | {} | {} |",
            group.family, group.group, group.rows
        )?;
        for (own, any) in group.recall.iter().zip(&group.recall_as_any) {
            write!(out, " {own:.3} ({any:.3}) |")?;
        }
        out.push('\n');
    }
    out.push('\n');
    Ok(())
}

fn importances(out: &mut String, about: &About<'_>) -> std::fmt::Result {
    writeln!(out, "## What it goes by\n")?;
    writeln!(
        out,
        "What a feature adds to the probability of a row's own family, in % points, mean over rows (Saabas 2014).\n"
    )?;
    let classes = &about.card.classes;
    writeln!(out, "| feature | mean | {} |", classes.join(" | "))?;
    writeln!(out, "|---|{}", "---:|".repeat(1 + classes.len()))?;
    for importance in about.importances.iter().take(IMPORTANCES) {
        let cells: Vec<String> = importance
            .by_class
            .iter()
            .map(|share| format!("{:.1}", 100.0 * share))
            .collect();
        writeln!(
            out,
            "| {} | {:.1} | {} |",
            importance.feature,
            100.0 * importance.mean,
            cells.join(" | ")
        )?;
    }
    out.push('\n');
    Ok(())
}

/// What no figure shows.
const BLIND_SPOTS: &str = "\
## What it cannot see

- Payload: an exploit that takes one ordinary request looks like one. It sees guessing, scanning and flooding by their repetition.
- Attacks slower than its memory: what comes less often than about once a minute a source leaves no trace in the windows.
- Attacks spread over many sources, each of which does little: that is the work of the thresholds at the victim.
- ARP and whatever else is not IP.
- Networks unlike those of the captures: a family with few groups was seen in few networks, and its figures say little of others.
  Benign traffic of a busy server or of a proxy for many is hardly in the data.
- Families it was not taught: tunnels, exfiltration, malware's calls home.
";
