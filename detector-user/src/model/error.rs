//! Why a model is refused.

/// Why a model is refused.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file does not begin like one.
    #[error(
        "cannot read the model: it does not begin with a model's magic bytes; name a file written by `detector train` or `detector model import`"
    )]
    NotAModel,
    /// The file has another format version.
    #[error(
        "cannot read the model: it has format version {found}, this program reads {known}; train or import it again with this program"
    )]
    Version {
        /// The file's.
        found: u32,
        /// This program's.
        known: u32,
    },
    /// The file is shorter or longer than its header says.
    #[error(
        "cannot read the model: it has {found} bytes where its header asks for {wanted}: {section} is cut short or drawn out; copy it again"
    )]
    Length {
        /// The part of the file that ends wrongly.
        section: &'static str,
        /// Bytes there are.
        found: u64,
        /// Bytes there must be.
        wanted: u64,
    },
    /// The checksum does not fit.
    #[error(
        "cannot read the model: its checksum does not fit its contents; it was damaged on the way, copy it again"
    )]
    Checksum,
    /// A count is out of its range.
    #[error("cannot use the model: it has {found} {what}, allowed are 1 to {max}")]
    Count {
        /// What is counted.
        what: &'static str,
        /// How many there are.
        found: u64,
        /// How many there may be.
        max: u64,
    },
    /// A tree is no tree.
    #[error(
        "cannot use the model: node {node} of tree {tree} {cause}; the program that wrote it is at fault"
    )]
    Tree {
        /// Number of the tree.
        tree: u32,
        /// Number of the node in its tree.
        node: u32,
        /// What is wrong with it.
        cause: &'static str,
    },
    /// The card contradicts itself or the arrays.
    #[error(
        "cannot use the model: its card's {field} {cause}; the program that wrote it is at fault"
    )]
    Card {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        cause: String,
    },
    /// The card is no such JSON as this program reads.
    #[error("cannot read the model's card: {0}; train or import it again with this program")]
    Json(#[from] serde_json::Error),
    /// The model was trained on another feature set.
    #[error(
        "cannot use the model: it was trained on feature set `{model}`, asked of it is `{here}`; choose a model trained on `{here}`"
    )]
    FeatureSet {
        /// The model's.
        model: String,
        /// The one at hand.
        here: String,
    },
    /// The model's features are not those at hand.
    #[error("cannot use the model: {0}; choose a model trained on these features")]
    Features(String),
}
