//! LightGBM's model text, and the JSON of its `dump_model`.

use std::collections::HashMap;

use serde_json::Value;

use super::{
    Format, Import, ImportError,
    draft::{DraftNode, DraftSplit, at_most, draw_tree},
    value::Field,
};
use crate::model::{PostTransform, Summation, TREES_MAX, Tree};

const FORMAT: Format = Format::Lightgbm;

/// What the JSON dump writes for an infinite threshold.
const INFINITY_IN_JSON: f64 = 1e300;

fn unsupported(what: String, remedy: &'static str) -> ImportError {
    ImportError::Unsupported {
        format: FORMAT,
        what,
        remedy,
    }
}

fn malformed(place: impl Into<String>, cause: impl Into<String>) -> ImportError {
    ImportError::malformed(FORMAT, place, cause)
}

/// What counts as missing at a split.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Missing {
    /// Nothing: NaN counts as 0.
    None,
    /// Zero, and NaN as zero.
    Zero,
    /// NaN.
    Nan,
}

/// A split as LightGBM has it: `x <= threshold` on 64-bit floats goes left.
fn split(
    feature: i64,
    threshold: f64,
    default_left: bool,
    missing: Missing,
    children: (i64, i64),
) -> Result<DraftSplit, ImportError> {
    if threshold.is_nan() {
        return Err(malformed("a split", "has no number for a threshold"));
    }
    let zero_left = 0.0 <= threshold;
    if missing == Missing::Zero && default_left != zero_left {
        return Err(unsupported(
            "it has a split that takes zeros for missing and sends them against its threshold"
                .to_owned(),
            "train it without zero_as_missing",
        ));
    }
    Ok(DraftSplit {
        feature: u16::try_from(feature)
            .map_err(|_| malformed("a split", "tests a feature that it cannot have"))?,
        threshold: at_most(threshold),
        missing_left: match missing {
            Missing::None => zero_left,
            Missing::Zero | Missing::Nan => default_left,
        },
        left: children.0,
        right: children.1,
    })
}

/// What stands above the trees.
struct Head {
    objective: String,
    class_count: usize,
    trees_an_iteration: usize,
    average: bool,
    features: usize,
    names: Vec<String>,
}

impl Head {
    /// With its trees, an import.
    fn import(self, trees: Vec<Tree>) -> Result<Import, ImportError> {
        let mut words = self.objective.split_whitespace();
        let name = words.next().unwrap_or("none");
        let mut sigmoid = 1.0_f64;
        for word in words {
            if let Some(("sigmoid", value)) = word.split_once(':') {
                sigmoid = value
                    .parse()
                    .map_err(|_| malformed("the objective", "has a sigmoid that is no number"))?;
            } else if word == "sqrt" {
                return Err(unsupported(
                    "its objective takes square roots".to_owned(),
                    "train it without reg_sqrt",
                ));
            }
        }
        let sums = self.trees_an_iteration.max(1);
        let (post_transform, classes) = match name {
            "binary" | "cross_entropy" if sums == 1 => (PostTransform::Logistic, 2),
            "multiclass" if sums > 1 => (PostTransform::Softmax, sums),
            "multiclassova" if sums > 2 => (PostTransform::Logistic, sums),
            "regression" | "regression_l1" | "huber" | "fair" | "quantile" | "mape"
            | "lambdarank" | "rank_xendcg"
                if sums == 1 =>
            {
                (PostTransform::Identity, 1)
            }
            _ => {
                return Err(unsupported(
                    format!(
                        "its objective `{}` with {sums} outputs has no counterpart here",
                        self.objective
                    ),
                    "train it with binary, multiclass, or multiclassova of more than two classes",
                ));
            }
        };
        if !matches!(name, "binary" | "multiclassova") {
            sigmoid = 1.0;
        }
        if self.class_count.max(1) != sums {
            return Err(malformed(
                "the head",
                "has other trees an iteration than classes",
            ));
        }
        let count = trees.len();
        if !(1..=TREES_MAX).contains(&count) || !count.is_multiple_of(sums) {
            return Err(malformed(
                "the list of trees",
                format!("has {count}, allowed are 1 to {TREES_MAX}, {sums} an iteration"),
            ));
        }
        let iterations = if self.average { count / sums } else { 1 };
        let mut summation = Summation::boosting(vec![0.0; sums], count);
        summation.base.clear();
        summation.scale = (sigmoid / iterations as f64) as f32;
        Ok(Import {
            format: FORMAT,
            trees,
            features: self.features,
            feature_names: Some(self.names).filter(|names| !names.is_empty()),
            classes,
            class_names: None,
            post_transform,
            summation,
            thresholds: None,
            notes: Vec::new(),
        })
    }
}

/// The fields of one section of the text.
struct Section<'a> {
    place: String,
    fields: HashMap<&'a str, &'a str>,
}

impl<'a> Section<'a> {
    fn new(place: String, lines: &[&'a str]) -> Self {
        let fields = lines.iter().filter_map(|line| line.split_once('='));
        Self {
            place,
            fields: fields.collect(),
        }
    }

    fn text(&self, key: &str) -> Result<&'a str, ImportError> {
        let found = self.fields.get(key).copied();
        found.ok_or_else(|| malformed(&self.place, format!("has no `{key}`")))
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> Result<T, ImportError> {
        let number = self.text(key)?.trim().parse();
        number.map_err(|_| malformed(&self.place, format!("has a `{key}` that is no such number")))
    }

    fn numbers<T: std::str::FromStr>(
        &self,
        key: &str,
        count: usize,
    ) -> Result<Vec<T>, ImportError> {
        let numbers: Result<Vec<T>, _> =
            self.text(key)?.split_whitespace().map(str::parse).collect();
        let numbers = numbers.ok().filter(|numbers| numbers.len() == count);
        numbers.ok_or_else(|| {
            malformed(
                &self.place,
                format!("has a `{key}` that is not {count} numbers"),
            )
        })
    }
}

pub(super) fn import_text(bytes: &[u8]) -> Result<Import, ImportError> {
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("the text", "is not UTF-8"))?;
    let lines: Vec<&str> = text
        .lines()
        .take_while(|line| line.trim() != "end of trees")
        .collect();
    if text.lines().nth(lines.len()).is_none() {
        return Err(malformed(
            "the text",
            "is cut short: it has no line `end of trees`",
        ));
    }
    let mut parts = lines.split(|line| line.starts_with("Tree="));
    let head_lines = parts.next().unwrap_or_default();
    let head = Section::new("the head".to_owned(), head_lines);
    let names: Vec<String> = head
        .text("feature_names")?
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let last: usize = head.number("max_feature_idx")?;
    let head = Head {
        objective: head
            .fields
            .get("objective")
            .copied()
            .unwrap_or("none")
            .to_owned(),
        class_count: head.number("num_class")?,
        trees_an_iteration: head.number("num_tree_per_iteration")?,
        average: head_lines
            .iter()
            .any(|line| line.trim() == "average_output"),
        features: last.saturating_add(1),
        names,
    };
    let trees: Result<Vec<Tree>, ImportError> = parts
        .enumerate()
        .map(|(number, lines)| tree_of_text(&Section::new(format!("tree {number}"), lines)))
        .collect();
    head.import(trees?)
}

fn tree_of_text(section: &Section<'_>) -> Result<Tree, ImportError> {
    let leaves: usize = section.number("num_leaves")?;
    if section
        .fields
        .get("is_linear")
        .is_some_and(|linear| linear.trim() == "1")
    {
        return Err(linear());
    }
    let values: Vec<f64> = section.numbers("leaf_value", leaves)?;
    let weights: Option<Vec<f64>> = section.numbers("leaf_count", leaves).ok();
    let inner = leaves.saturating_sub(1);
    let list = |key: &str| -> Result<Vec<i64>, ImportError> {
        if inner == 0 {
            Ok(Vec::new())
        } else {
            section.numbers(key, inner)
        }
    };
    let thresholds: Vec<f64> = if inner == 0 {
        Vec::new()
    } else {
        section.numbers("threshold", inner)?
    };
    let (features, kinds) = (list("split_feature")?, list("decision_type")?);
    let (lefts, rights) = (list("left_child")?, list("right_child")?);
    let fault = |cause: &str| malformed(&section.place, cause);
    // Inner nodes are numbered from 0, leaves are ones' complements.
    let root = if inner == 0 { -1 } else { 0 };
    let too_large = || fault("is no tree, or too large a one");
    draw_tree(root, 1, too_large, |name| {
        let missing_child = || fault("has a child that is not there");
        if name < 0 {
            let leaf = usize::try_from(!name).map_err(|_| missing_child())?;
            let value = *values.get(leaf).ok_or_else(missing_child)?;
            let weight = weights.as_ref().map(|weights| weights[leaf] as f32);
            return Ok((DraftNode::Leaf(vec![value as f32]), weight));
        }
        let at = usize::try_from(name)
            .ok()
            .filter(|at| *at < inner)
            .ok_or_else(missing_child)?;
        let kind = kinds[at];
        if kind & 1 != 0 {
            return Err(categorical());
        }
        let missing = match kind >> 2 & 3 {
            0 => Missing::None,
            1 => Missing::Zero,
            2 => Missing::Nan,
            _ => return Err(fault("has a missing type that is not known")),
        };
        let children = (lefts[at], rights[at]);
        let split = split(
            features[at],
            thresholds[at],
            kind & 2 != 0,
            missing,
            children,
        )?;
        Ok((DraftNode::Split(split), None))
    })
}

fn categorical() -> ImportError {
    unsupported(
        "it has categorical splits".to_owned(),
        "encode the categories as numbers before training",
    )
}

fn linear() -> ImportError {
    unsupported(
        "its leaves are linear models".to_owned(),
        "train it without linear_tree",
    )
}

pub(super) fn import_json(document: &Value) -> Result<Import, ImportError> {
    let document = Field::root(FORMAT, document);
    let last: usize = document.get("/max_feature_idx")?.number()?;
    let head = Head {
        objective: document
            .find("/objective")
            .map_or(Ok("none"), |field| field.text())?
            .to_owned(),
        class_count: document.get("/num_class")?.number()?,
        trees_an_iteration: document.get("/num_tree_per_iteration")?.number()?,
        average: document
            .find("/average_output")
            .is_some_and(|field| field.value.as_bool() == Some(true)),
        features: last.saturating_add(1),
        names: document.get("/feature_names")?.texts()?,
    };
    let count = document.get("/tree_info")?.list()?.len();
    let trees: Result<Vec<Tree>, ImportError> = (0..count)
        .map(|number| tree_of_json(&document.get(&format!("/tree_info/{number}/tree_structure"))?))
        .collect();
    head.import(trees?)
}

fn tree_of_json(root: &Field<'_>) -> Result<Tree, ImportError> {
    // Nodes get numbers as they are met.
    let mut met = vec![root.clone()];
    draw_tree(
        0,
        1,
        || root.fault("is too large a tree"),
        |name| {
            let node = met[name as usize].clone();
            if let Some(value) = node.find("/leaf_value") {
                if node.find("/leaf_const").is_some() {
                    return Err(linear());
                }
                let value: f64 = value.number()?;
                let weight = node
                    .find("/leaf_count")
                    .map(|count| count.number())
                    .transpose()?;
                return Ok((DraftNode::Leaf(vec![value as f32]), weight));
            }
            if node.get("/decision_type")?.text()? != "<=" {
                return Err(categorical());
            }
            let threshold: f64 = match node.get("/threshold")?.number::<f64>()? {
                t if t.abs() >= INFINITY_IN_JSON => f64::INFINITY.copysign(t),
                t => t,
            };
            let missing = match node.get("/missing_type")?.text()? {
                "None" => Missing::None,
                "Zero" => Missing::Zero,
                "NaN" => Missing::Nan,
                _ => return Err(node.fault("has a missing type that is not known")),
            };
            let default_left = node.get("/default_left")?;
            let default_left = default_left
                .value
                .as_bool()
                .ok_or_else(|| default_left.fault("is not true or false"))?;
            let left = met.len() as i64;
            met.extend([node.get("/left_child")?, node.get("/right_child")?]);
            let feature = node.get("/split_feature")?.number()?;
            let split = split(feature, threshold, default_left, missing, (left, left + 1))?;
            Ok((DraftNode::Split(split), None))
        },
    )
}
