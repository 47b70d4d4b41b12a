//! ONNX: TreeEnsembleClassifier, TreeEnsembleRegressor and TreeEnsemble, with the meaning that ONNX Runtime gives them.

use prost::Message as _;

use super::{
    Format, Import, ImportError,
    onnx_graph::{malformed, unsupported},
    onnx_isolation,
    onnx_message::{Graph, Model, Node},
    onnx_trees::{Lists, classic, version_5},
};
use crate::model::{PostTransform, Summation, TREES_MAX, Tree};

/// Operators that stand behind an ensemble and leave its scores as they are.
const HARMLESS: [&str; 4] = ["Cast", "Identity", "Reshape", "ZipMap"];
/// Operators that are ensembles of trees.
const ENSEMBLES: [&str; 3] = [
    "TreeEnsembleClassifier",
    "TreeEnsembleRegressor",
    "TreeEnsemble",
];

/// How outputs are made.
struct Scores {
    post_transform: PostTransform,
    classes: usize,
    base: Vec<f32>,
    scale: f32,
    /// The one sum `v` is said of two classes, as `-v` and `v`.
    mirrored: bool,
}

pub(super) fn import(bytes: &[u8]) -> Result<Import, ImportError> {
    let model = Model::decode(bytes)
        .map_err(|cause| malformed("its protobuf", format!("cannot be read: {cause}")))?;
    let graph = model
        .graph
        .ok_or_else(|| malformed("the model", "has no graph"))?;
    if onnx_isolation::is_one(&graph) {
        return onnx_isolation::import(&graph);
    }
    let mut ensembles = graph
        .node
        .iter()
        .filter(|node| ENSEMBLES.contains(&node.op_type.as_str()));
    let node = match (ensembles.next(), ensembles.next()) {
        (Some(node), None) => node,
        (None, _) => {
            return Err(unsupported(
                "it has no tree ensemble".to_owned(),
                "convert a model that is made of trees",
            ));
        }
        _ => {
            return Err(unsupported(
                "it has several tree ensembles".to_owned(),
                "convert each by itself",
            ));
        }
    };
    check_surroundings(&graph, node)?;
    let (lists, scores) = match node.op_type.as_str() {
        "TreeEnsembleClassifier" => {
            let lists = classic(node, "class")?;
            let scores = of_classifier(node, &lists)?;
            (lists, scores)
        }
        "TreeEnsembleRegressor" => (classic(node, "target")?, of_regressor(node)?),
        _ => (version_5(node)?, of_version_5(node)?),
    };
    let mut notes = Vec::new();
    if model.producer_name == "skl2onnx" {
        notes.push("skl2onnx drops where missing values go: rows with NaN may be scored otherwise than by scikit-learn".to_owned());
    } else if model.producer_name.to_ascii_lowercase().contains("mltools") {
        notes.push(
            "onnxmltools rounds LightGBM's thresholds: prefer the library's own file".to_owned(),
        );
    }
    build(&graph, node, &lists, scores, notes)
}

/// The trees must read the input as it is, and nothing may change what they say.
fn check_surroundings(graph: &Graph, ensemble: &Node) -> Result<(), ImportError> {
    let input = ensemble.input.first().map(|input| graph.origin(input));
    let first = graph.input.first().map(|input| input.name.as_str());
    if input.is_none() || input != first {
        return Err(unsupported(
            "its trees read what other operators make of the input".to_owned(),
            "convert the ensemble without scaling, imputing or encoding before it",
        ));
    }
    for node in &graph.node {
        let before = node
            .output
            .iter()
            .any(|output| ensemble.input.contains(output));
        let kind = node.op_type.as_str();
        let known =
            ENSEMBLES.contains(&kind) || HARMLESS.contains(&kind) || is_times_one(graph, node);
        if !known && !before {
            return Err(unsupported(
                format!("its scores pass an operator `{}`", node.op_type),
                "convert the ensemble alone",
            ));
        }
    }
    Ok(())
}

/// Whether a node multiplies by 1, as onnxmltools has LightGBM's scores do.
fn is_times_one(graph: &Graph, node: &Node) -> bool {
    let mut constants = node.input.iter().filter_map(|input| graph.constant(input));
    node.op_type == "Mul"
        && constants
            .next()
            .is_some_and(|factors| factors.iter().all(|factor| *factor == 1.0))
}

fn floats(node: &Node, name: &str) -> Result<Vec<f32>, ImportError> {
    Ok(node.numbers(name)?.into_iter().map(|x| x as f32).collect())
}

fn cannot_transform(transform: &str, outputs: usize) -> ImportError {
    unsupported(
        format!("its post_transform {transform} of {outputs} outputs has no counterpart here"),
        "convert it with post_transform NONE, LOGISTIC or SOFTMAX",
    )
}

/// What ONNX Runtime does for a classifier, that of two classes with weights for one of them included.
fn of_classifier(node: &Node, lists: &Lists) -> Result<Scores, ImportError> {
    let classes = node.integers("classlabels_int64s").len();
    let classes = classes.max(
        node.attribute("classlabels_strings")
            .map_or(0, |labels| labels.strings.len()),
    );
    let base = floats(node, "base_values")?;
    let transform = node.text("post_transform", "NONE");
    let mut weighted: Vec<usize> = lists.leaf_values().map(|(class, _)| class).collect();
    weighted.sort_unstable();
    weighted.dedup();
    if classes == 2 && weighted.len() == 1 {
        let never_negative = lists.leaf_values().all(|(_, weight)| weight >= 0.0);
        let of_one = match base[..] {
            [] => 0.0,
            [one] | [_, one] => one,
            _ => return Err(malformed("`base_values`", "are more than classes")),
        };
        let mirrored = |base: Vec<f32>| Scores {
            post_transform: PostTransform::Identity,
            classes,
            base,
            scale: 1.0,
            mirrored: true,
        };
        return match transform {
            // Weights that are all positive are taken for probabilities.
            "NONE" if never_negative && base.len() < 2 => {
                Ok(mirrored(vec![1.0 - of_one, of_one]))
            }
            "LOGISTIC" if never_negative && base.len() < 2 => Err(unsupported(
                "its post_transform is LOGISTIC and its weights are all positive, of which runtimes disagree".to_owned(),
                "import the source library's own file",
            )),
            "NONE" => Ok(mirrored(vec![-of_one, of_one])),
            "LOGISTIC" => Ok(Scores {
                post_transform: PostTransform::Logistic,
                classes,
                base: vec![of_one],
                scale: 1.0,
                mirrored: false,
            }),
            other => Err(cannot_transform(other, 1)),
        };
    }
    plain(transform, classes, base, 1.0)
}

/// One sum a class.
fn plain(
    transform: &str,
    classes: usize,
    base: Vec<f32>,
    scale: f32,
) -> Result<Scores, ImportError> {
    let post_transform = match transform {
        "NONE" => PostTransform::Identity,
        "SOFTMAX" if classes > 1 => PostTransform::Softmax,
        "LOGISTIC" if classes > 2 => PostTransform::Logistic,
        other => return Err(cannot_transform(other, classes)),
    };
    if !base.is_empty() && base.len() != classes {
        return Err(malformed("`base_values`", "are not one an output"));
    }
    Ok(Scores {
        post_transform,
        classes,
        base,
        scale,
        mirrored: false,
    })
}

fn of_regressor(node: &Node) -> Result<Scores, ImportError> {
    let targets = usize::try_from(node.integer("n_targets", 1)).unwrap_or(0);
    let mut base = floats(node, "base_values")?;
    let mut trees = node.integers("nodes_treeids").to_vec();
    trees.dedup();
    let scale = match node.text("aggregate_function", "SUM") {
        "SUM" => 1.0,
        "AVERAGE" => {
            // Bases are added to the average, here to the sum.
            for base in &mut base {
                *base *= trees.len() as f32;
            }
            1.0 / trees.len() as f32
        }
        other => return Err(cannot_aggregate(other)),
    };
    plain(node.text("post_transform", "NONE"), targets, base, scale)
}

fn cannot_aggregate(name: &str) -> ImportError {
    unsupported(
        format!("its aggregate_function {name} has no counterpart here"),
        "use one that sums or averages",
    )
}

fn of_version_5(node: &Node) -> Result<Scores, ImportError> {
    let targets = usize::try_from(node.integer("n_targets", 0)).unwrap_or(0);
    // ONNX numbers SOFTMAX 1 and LOGISTIC 2, ONNX Runtime the other way round.
    if node.integer("post_transform", 0) != 0 {
        return Err(unsupported(
            "its TreeEnsemble has a post_transform, of which ONNX and ONNX Runtime disagree"
                .to_owned(),
            "convert it with post_transform NONE",
        ));
    }
    let scale = match node.integer("aggregate_function", 1) {
        0 => 1.0 / node.integers("tree_roots").len().max(1) as f32,
        1 => 1.0,
        2 => return Err(cannot_aggregate("MIN")),
        _ => return Err(cannot_aggregate("MAX")),
    };
    plain("NONE", targets, Vec::new(), scale)
}

fn build(
    graph: &Graph,
    node: &Node,
    lists: &Lists,
    scores: Scores,
    notes: Vec<String>,
) -> Result<Import, ImportError> {
    let sums = scores.post_transform.sums(scores.classes);
    let (trees, tree_sums): (Vec<Tree>, Vec<u16>) = if scores.mirrored {
        let both = |leaf: &[(usize, f32)], _| {
            let value: f32 = leaf.iter().map(|(_, weight)| weight).sum();
            Ok(vec![-value, value])
        };
        (lists.draw(2, both)?, Vec::new())
    } else if sums == 1 {
        // Weights of the one class that has any, whichever its number.
        let all = |leaf: &[(usize, f32)], _| Ok(vec![leaf.iter().map(|(_, weight)| weight).sum()]);
        (lists.draw(1, all)?, Vec::new())
    } else {
        let drawn = lists.draw_sums(sums)?;
        (drawn.trees, drawn.tree_sums)
    };
    if trees.len() > TREES_MAX {
        return Err(malformed(
            "the ensemble",
            format!("has {} trees, allowed are {TREES_MAX}", trees.len()),
        ));
    }
    let labels = node
        .attribute("classlabels_strings")
        .map_or(&[][..], |labels| &labels.strings);
    let mut names: Vec<String> = labels
        .iter()
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    names.extend(
        node.integers("classlabels_int64s")
            .iter()
            .map(ToString::to_string),
    );
    Ok(Import {
        format: Format::Onnx,
        trees,
        features: graph.columns().unwrap_or(0).max(lists.features),
        feature_names: None,
        classes: scores.classes,
        class_names: Some(names).filter(|names| names.len() == scores.classes),
        post_transform: scores.post_transform,
        summation: Summation {
            base: scores.base,
            scale: scores.scale,
            tree_sums,
        },
        thresholds: None,
        notes,
    })
}
