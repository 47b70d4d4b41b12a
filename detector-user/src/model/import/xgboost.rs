//! XGBoost's JSON document, which its UBJSON holds as well.

use serde_json::Value;

use super::{
    Format, Import, ImportError,
    draft::{DraftNode, DraftSplit, below, draw_tree},
    value::Field,
};
use crate::model::{PostTransform, Summation, TREES_MAX};

const FORMAT: Format = Format::Xgboost;

fn unsupported(what: String, remedy: &'static str) -> ImportError {
    ImportError::Unsupported {
        format: FORMAT,
        what,
        remedy,
    }
}

/// What an objective makes of the sums.
struct Objective {
    post_transform: PostTransform,
    classes: usize,
    /// `base_score` is a probability, and its log-odds are what sums begin with.
    base_is_probability: bool,
}

fn objective(name: &str, sums: usize) -> Result<Objective, ImportError> {
    let (post_transform, classes, base_is_probability) = match name {
        "binary:logistic" | "reg:logistic" if sums == 1 => (PostTransform::Logistic, 2, true),
        "binary:logitraw" if sums == 1 => (PostTransform::Identity, 1, true),
        "multi:softmax" | "multi:softprob" => (PostTransform::Softmax, sums, false),
        "reg:squarederror"
        | "reg:absoluteerror"
        | "reg:pseudohubererror"
        | "rank:pairwise"
        | "rank:ndcg"
        | "rank:map"
            if sums == 1 =>
        {
            (PostTransform::Identity, 1, false)
        }
        _ => {
            return Err(unsupported(
                format!("its objective `{name}` with {sums} outputs has no counterpart here"),
                "train it with binary:logistic or multi:softprob",
            ));
        }
    };
    Ok(Objective {
        post_transform,
        classes,
        base_is_probability,
    })
}

pub(super) fn import(document: &Value, all_trees: bool) -> Result<Import, ImportError> {
    let document = Field::root(FORMAT, document);
    let learner = document.get("/learner")?;
    let parameters = learner.get("/learner_model_param")?;
    let number = |path: &str| -> Result<usize, ImportError> {
        parameters.find(path).map_or(Ok(0), |field| field.number())
    };
    let sums = number("/num_class")?.max(1);
    if number("/num_target")? > 1 {
        return Err(unsupported(
            "it has several targets".to_owned(),
            "train one model for each",
        ));
    }
    let objective = objective(learner.get("/objective/name")?.text()?, sums)?;

    let booster = learner.get("/gradient_booster")?;
    let (model, weights) = match booster.get("/name")?.text()? {
        "gbtree" => (booster.get("/model")?, None),
        "dart" => (
            booster.get("/gbtree/model")?,
            Some(booster.get("/weight_drop")?.floats()?),
        ),
        other => {
            return Err(unsupported(
                format!("its booster `{other}` is not made of trees"),
                "train it with gbtree or dart",
            ));
        }
    };
    let trees = model.get("/trees")?.list()?;
    let tree_info = model.get("/tree_info")?.integers()?;
    let mut notes = Vec::new();
    let count = if all_trees {
        trees.len()
    } else {
        best(&learner, &model, trees.len(), &mut notes)?
    };
    if count > TREES_MAX || tree_info.len() < count {
        return Err(model.fault(&format!(
            "has {count} trees, allowed are 1 to {TREES_MAX}, each with its output"
        )));
    }
    let mut tree_sums = Vec::new();
    let mut read = Vec::with_capacity(count);
    for (number, &info) in tree_info.iter().enumerate().take(count) {
        let weight = match &weights {
            None => 1.0,
            Some(weights) => *weights
                .get(number)
                .ok_or_else(|| booster.fault("has not one weight a tree"))?,
        };
        read.push(tree(&model.get(&format!("/trees/{number}"))?, weight)?);
        tree_sums.push(u16::try_from(info).map_err(|_| model.fault("names an output below 0"))?);
    }
    let features = parameters.get("/num_feature")?.number()?;
    let names = learner.find("/feature_names").map(|names| names.texts());
    Ok(Import {
        format: FORMAT,
        trees: read,
        features,
        feature_names: names.transpose()?.filter(|names| !names.is_empty()),
        classes: objective.classes,
        class_names: None,
        post_transform: objective.post_transform,
        summation: Summation {
            base: base(
                &parameters.get("/base_score")?,
                sums,
                objective.base_is_probability,
            )?,
            scale: 1.0,
            tree_sums: if sums > 1 { tree_sums } else { Vec::new() },
        },
        thresholds: None,
        notes,
    })
}

/// What the sums begin with. Before XGBoost 3.1 one number, since then a list of one or of one an output, in a text.
fn base(field: &Field<'_>, sums: usize, is_probability: bool) -> Result<Vec<f32>, ImportError> {
    let text = match field.value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let inside = text.trim().trim_start_matches('[').trim_end_matches(']');
    let all: Result<Vec<f32>, _> = inside
        .split(',')
        .map(|number| number.trim().parse())
        .collect();
    let all = all.map_err(|_| field.fault("is no number and no list of numbers"))?;
    let all = match all[..] {
        [one] => vec![one; sums],
        _ if all.len() == sums => all,
        _ => return Err(field.fault("has not one number for each output")),
    };
    if !is_probability {
        return Ok(all);
    }
    if !all.iter().all(|p| *p > 0.0 && *p < 1.0) {
        return Err(field.fault("is no probability"));
    }
    Ok(all.into_iter().map(|p| -(1.0 / p - 1.0).ln()).collect())
}

/// Trees up to the best iteration, where training was stopped early: what XGBoost's scikit-learn interface predicts with.
fn best(
    learner: &Field<'_>,
    model: &Field<'_>,
    all: usize,
    notes: &mut Vec<String>,
) -> Result<usize, ImportError> {
    let Some(best) = learner.find("/attributes/best_iteration") else {
        return Ok(all);
    };
    let iterations = model.get("/iteration_indptr")?;
    let ends = iterations.integers()?;
    let best: usize = best.number()?;
    let end = ends
        .get(best.saturating_add(1))
        .and_then(|&end| usize::try_from(end).ok());
    let end = end.filter(|&end| end <= all);
    let end = end.ok_or_else(|| iterations.fault("does not have the best iteration"))?;
    if end < all {
        notes.push(format!(
            "training was stopped early: of {all} trees the {end} up to the best iteration are taken (--all-trees takes all)"
        ));
    }
    Ok(end)
}

fn tree(field: &Field<'_>, weight: f32) -> Result<crate::model::Tree, ImportError> {
    if let Some(kinds) = field.find("/split_type")
        && kinds.integers()?.iter().any(|&kind| kind != 0)
    {
        return Err(unsupported(
            "it has categorical splits".to_owned(),
            "encode the categories as numbers before training",
        ));
    }
    if let Some(size) = field.find("/tree_param/size_leaf_vector")
        && size.number::<usize>()? > 1
    {
        return Err(unsupported(
            "its leaves hold vectors".to_owned(),
            "train it with multi_strategy=one_output_per_tree",
        ));
    }
    let lefts = field.get("/left_children")?.integers()?;
    let rights = field.get("/right_children")?.integers()?;
    let conditions = field.get("/split_conditions")?.floats()?;
    let features = field.get("/split_indices")?.integers()?;
    let default_left = field.get("/default_left")?.integers()?;
    let covers = field
        .find("/sum_hessian")
        .map(|covers| covers.floats())
        .transpose()?;
    let count = lefts.len();
    if [
        rights.len(),
        conditions.len(),
        features.len(),
        default_left.len(),
    ] != [count; 4]
    {
        return Err(field.fault("has lists of different lengths"));
    }
    let too_large = || field.fault("is no tree, or too large a one");
    draw_tree(0, 1, too_large, |name| {
        let at = usize::try_from(name).ok().filter(|at| *at < count);
        let at = at.ok_or_else(|| field.fault("has a child that is not there"))?;
        let cover = covers.as_ref().and_then(|covers| covers.get(at).copied());
        if lefts[at] == -1 {
            return Ok((DraftNode::Leaf(vec![conditions[at] * weight]), cover));
        }
        let nothing_below = || {
            unsupported(
                "it has a split that nothing can pass".to_owned(),
                "train it on finite values",
            )
        };
        Ok((
            DraftNode::Split(DraftSplit {
                feature: u16::try_from(features[at])
                    .map_err(|_| field.fault("tests a feature that it cannot have"))?,
                threshold: below(conditions[at].into()).ok_or_else(nothing_below)?,
                missing_left: default_left[at] != 0,
                left: lefts[at],
                right: rights[at],
            }),
            cover,
        ))
    })
}
