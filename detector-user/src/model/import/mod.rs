//! Models of other libraries, compiled: XGBoost, LightGBM, and tree ensembles in ONNX.
//!
//! Every split becomes `x <= t` on 32-bit floats without changing a decision; what cannot be mapped so is refused by
//! name. Golden rows, the source library's own scores, go into the model and are checked at each load.

mod draft;
mod golden;
mod lightgbm;
mod onnx;
mod onnx_graph;
mod onnx_isolation;
mod onnx_message;
mod onnx_trees;
mod ubjson;
mod value;
mod xgboost;

#[cfg(test)]
mod tests;

use std::fmt;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{
    Card, Ensemble, Golden, ModelError, OperatingPoint, PostTransform, Summation, Tree, TreeNode,
    feature_hash, hexadecimal,
};
use crate::features;
pub use golden::{GoldenError, golden_rows};

/// The feature set of models whose features are not this program's.
const FOREIGN_SET: &str = "foreign/1";
/// The operating point of a model that brings thresholds of its own.
const OWN_POINT: &str = "imported";

/// Who wrote a model file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// XGBoost's JSON or UBJSON.
    Xgboost,
    /// LightGBM's text, or the JSON of its `dump_model`.
    Lightgbm,
    /// ONNX with one tree ensemble, or an isolation forest as skl2onnx writes it.
    Onnx,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Xgboost => "XGBoost",
            Self::Lightgbm => "LightGBM",
            Self::Onnx => "ONNX",
        })
    }
}

/// Why a model cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Nobody known wrote it.
    #[error(
        "cannot import the model: it is neither XGBoost's JSON or UBJSON nor LightGBM's text or JSON nor ONNX; save it as one of \
         these, or say which it is with --format"
    )]
    Unknown,
    /// It has something that cannot be said here exactly.
    #[error("cannot import the {format} model: {what}; {remedy}")]
    Unsupported {
        /// Who wrote it.
        format: Format,
        /// What it has.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// It is not as its writer writes it.
    #[error("cannot import the {format} model: {place} {cause}; save it again")]
    Malformed {
        /// Who wrote it.
        format: Format,
        /// Where.
        place: String,
        /// What is wrong there.
        cause: String,
    },
    /// Names do not fit.
    #[error(
        "cannot import the model: it has {wanted} {what}, {found} were named; name them all, in the model's order"
    )]
    Names {
        /// What is named.
        what: &'static str,
        /// How many there are.
        wanted: usize,
        /// How many were named.
        found: usize,
    },
    /// What came of it is refused.
    #[error(transparent)]
    Model(#[from] ModelError),
}

impl ImportError {
    fn malformed(format: Format, place: impl Into<String>, cause: impl Into<String>) -> Self {
        Self::Malformed {
            format,
            place: place.into(),
            cause: cause.into(),
        }
    }
}

/// What was read of a model file.
#[derive(Clone, Debug)]
pub struct Import {
    /// Who wrote it.
    pub format: Format,
    /// The trees, inner nodes' values filled in.
    pub trees: Vec<Tree>,
    /// Features of a row.
    pub features: usize,
    /// Their names, where the file has them.
    pub feature_names: Option<Vec<String>>,
    /// Classes scored.
    pub classes: usize,
    /// Their names, where the file has them.
    pub class_names: Option<Vec<String>>,
    /// What becomes of the sums.
    pub post_transform: PostTransform,
    /// How values are summed.
    pub summation: Summation,
    /// Per class: the threshold that the model brings, if any.
    pub thresholds: Option<Vec<Option<f32>>>,
    /// What a person should know of it.
    pub notes: Vec<String>,
}

/// How an imported model is to be called, and its parts.
#[derive(Clone, Debug, Default)]
pub struct Naming {
    /// The model.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The features, in the order of the source's columns, where the file does not say or says otherwise.
    pub features: Option<Vec<String>>,
    /// The classes.
    pub classes: Option<Vec<String>>,
}

/// Reads a model file. `all_trees` takes those after the best iteration too, where the file names one.
///
/// # Errors
/// [`ImportError`].
pub fn read(bytes: &[u8], format: Option<Format>, all_trees: bool) -> Result<Import, ImportError> {
    let format = match format {
        Some(format) => format,
        None => recognise(bytes).ok_or(ImportError::Unknown)?,
    };
    match format {
        Format::Onnx => onnx::import(bytes),
        Format::Lightgbm if !looks_like_json(bytes) => lightgbm::import_text(bytes),
        Format::Lightgbm => lightgbm::import_json(&json(bytes, format)?),
        Format::Xgboost if bytes.starts_with(b"{\"") || bytes.starts_with(b"{\n") => {
            xgboost::import(&json(bytes, format)?, all_trees)
        }
        Format::Xgboost => {
            let document = ubjson::parse(bytes)
                .map_err(|cause| ImportError::malformed(format, "UBJSON", cause.to_string()))?;
            xgboost::import(&document, all_trees)
        }
    }
}

/// Who wrote a file, by its first bytes.
fn recognise(bytes: &[u8]) -> Option<Format> {
    let head = &bytes[..bytes.len().min(4096)];
    let has = |needle: &[u8]| head.windows(needle.len()).any(|window| window == needle);
    let is_text = bytes.starts_with(b"tree\n") || bytes.starts_with(b"tree\r\n");
    let is_dump = looks_like_json(bytes) && has(b"num_tree_per_iteration") && !has(b"learner");
    if is_text || is_dump {
        Some(Format::Lightgbm)
    } else if bytes.starts_with(b"{") && has(b"learner") {
        Some(Format::Xgboost)
    } else if matches!(bytes.first(), Some(0x08)) {
        // The first field of an ONNX model is its version.
        Some(Format::Onnx)
    } else {
        None
    }
}

fn looks_like_json(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_start();
    let inside = text.strip_prefix(b"{").map(<[u8]>::trim_ascii_start);
    inside.is_some_and(|inside| inside.starts_with(b"\""))
}

fn json(bytes: &[u8], format: Format) -> Result<Value, ImportError> {
    serde_json::from_slice(bytes).map_err(|cause| {
        ImportError::malformed(format, "its JSON", format!("cannot be read: {cause}"))
    })
}

impl Import {
    /// Lays the trees out under the given names. Where every feature has a name of this program's own feature set, the
    /// model is one for that set, and rows have its order.
    ///
    /// `golden` holds rows in the source's columns and the source's scores (rows × classes); those of a column that the
    /// model does not know are left out by the caller.
    ///
    /// # Errors
    /// [`ImportError`] where names do not fit, or [`ModelError`] where the model refuses: limits, or golden rows that do
    /// not get their scores.
    pub fn compile(
        mut self,
        naming: Naming,
        golden: Option<(&[f32], &[f32])>,
        source: &[u8],
    ) -> Result<Ensemble, ImportError> {
        let source_names = self.source_names(naming.features)?;
        let classes = self.class_names(naming.classes)?;
        let (set, names, places) = arrange(source_names);
        for tree in &mut self.trees {
            for node in &mut tree.nodes {
                if let TreeNode::Split(split) = node {
                    let place = places.get(usize::from(split.feature));
                    split.feature = *place.ok_or_else(|| {
                        ImportError::malformed(
                            self.format,
                            "a split",
                            "tests a feature that it does not have",
                        )
                    })?;
                }
            }
        }
        let golden = golden.map(|(rows, scores)| {
            let mut arranged = vec![0.0; rows.len() / self.features * names.len()];
            let pairs = arranged
                .chunks_exact_mut(names.len())
                .zip(rows.chunks_exact(self.features));
            for (to, from) in pairs {
                for (&place, value) in places.iter().zip(from) {
                    to[usize::from(place)] = *value;
                }
            }
            Golden::new(&arranged, names.len(), scores, classes.len())
        });
        let mut training = serde_json::Map::new();
        training.insert("learner".to_owned(), "imported".into());
        training.insert("format".to_owned(), self.format.to_string().into());
        training.insert(
            "file_sha256".to_owned(),
            hexadecimal(&Sha256::digest(source)).into(),
        );
        let points = self.thresholds.map(|thresholds| OperatingPoint {
            name: OWN_POINT.to_owned(),
            // How many false alarms it gives is for the source to know.
            false_alarm_rate: 1.0,
            thresholds,
        });
        let card = Card {
            name: naming.name,
            version: naming.version,
            feature_hash: feature_hash(&set, &names),
            feature_set: set,
            features: names,
            classes,
            post_transform: self.post_transform,
            summation: self.summation,
            operating_points: points.into_iter().collect(),
            training,
            golden,
            ..Card::default()
        };
        Ok(Ensemble::from_trees(card, &self.trees)?)
    }

    /// The features' names in the order of the source's columns.
    ///
    /// # Errors
    /// [`ImportError::Names`].
    pub fn source_names(&self, named: Option<Vec<String>>) -> Result<Vec<String>, ImportError> {
        let given = named.or_else(|| self.feature_names.clone());
        let names = given.unwrap_or_else(|| (0..self.features).map(|n| format!("f{n}")).collect());
        if names.len() == self.features {
            return Ok(names);
        }
        Err(ImportError::Names {
            what: "features",
            wanted: self.features,
            found: names.len(),
        })
    }

    /// The classes' names.
    ///
    /// # Errors
    /// [`ImportError::Names`].
    pub fn class_names(&self, named: Option<Vec<String>>) -> Result<Vec<String>, ImportError> {
        let given = named.or_else(|| self.class_names.clone());
        let names = given.unwrap_or_else(|| self.default_classes());
        if names.len() == self.classes {
            return Ok(names);
        }
        Err(ImportError::Names {
            what: "classes",
            wanted: self.classes,
            found: names.len(),
        })
    }

    fn default_classes(&self) -> Vec<String> {
        match (self.post_transform, self.classes) {
            (PostTransform::Identity, 1) => vec!["score".to_owned()],
            (PostTransform::IsolationScore, _) => ["normal", "anomaly"].map(str::to_owned).to_vec(),
            (_, classes) => (0..classes).map(|class| class.to_string()).collect(),
        }
    }
}

/// The feature set that names belong to, its features, and the place of each name among them.
fn arrange(names: Vec<String>) -> (String, Vec<String>, Vec<u16>) {
    let places: Option<Vec<u16>> = names
        .iter()
        .map(|name| features::NAMES.iter().position(|own| own == name))
        .map(|place| place.map(|place| place as u16))
        .collect();
    match places {
        Some(places) => {
            let own = features::NAMES
                .iter()
                .map(|name| (*name).to_owned())
                .collect();
            (features::SET.to_owned(), own, places)
        }
        None => {
            let places = (0..=u16::MAX).take(names.len()).collect();
            (FOREIGN_SET.to_owned(), names, places)
        }
    }
}
