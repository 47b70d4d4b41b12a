//! The compiled ensemble: trees as flat arrays, read from one file, checked once, walked
//! without allocating.
//!
//! A file is little-endian: a header, the first node of every tree, the nodes (8 bytes each),
//! a row of values for every node, and a JSON section, the [`Card`], which says what the values
//! are: class fractions of a forest, log-odds of boosting or path lengths of an isolation forest.
mod batch;
mod calibration;
mod card;
mod ensemble;
mod error;
mod explain;
mod file;
mod golden;
pub mod import;
mod node;
mod ranked;
mod reference;
mod signature;
mod summation;
mod tree;
mod walk;

#[cfg(test)]
mod tests;

pub use batch::Scratch;
pub use calibration::Curve;
pub(crate) use card::hexadecimal;
pub use card::{Card, OperatingPoint, feature_hash};
pub use ensemble::{CLASSES_MAX, DEPTH_MAX, Ensemble, TREES_MAX};
pub use error::ModelError;
pub use golden::{GOLDEN_ROWS_MAX, GOLDEN_TOLERANCE, Golden};
pub use node::{FEATURES_MAX, TREE_NODES_MAX};
pub use ranked::RankedTables;
pub use reference::{BINS_MAX, Reference, Spread};
pub use signature::{PublicKey, SecretKey, SignatureError, sign, signed_by, verify};
pub use summation::{PostTransform, Summation, average_path_length};
pub use tree::{Split, Tree, TreeNode};
