//! What `detector train` is told.

use std::path::PathBuf;

use crate::{
    cli::report::FormatArgs,
    dataset::tables::BadRows,
    train::{Calibration, FeaturesPerSplit, Space},
};

/// What learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LearnerKind {
    /// A random forest of binned splits
    Forest,
    /// Gradient boosting over the same bins
    Boost,
    /// An isolation forest: what is odd, learnt from benign or unlabelled rows
    Isolation,
    /// One tree of the linfa-trees crate, for small data
    Linfa,
}

/// How rows are parted 70 : 15 : 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum SplitKind {
    /// By chance, every class in the same shares
    Stratified,
    /// Of every class the earliest rows to learn from, the latest to judge by
    Time,
    /// Whole captures: files, or what the column `capture` says
    Capture,
    /// Whole groups of the column that --group names
    Group,
}

/// What classes weigh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Weights {
    /// As many as there are rows
    None,
    /// All the same
    Balanced,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum SearchKind {
    /// Every combination of a few values
    Grid,
    /// Eight combinations of more values
    Random,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum CalibrationKind {
    /// Isotonic with a thousand rows of every class to fit to, else Platt's; none where that does harm
    #[default]
    Auto,
    /// Steps that never fall
    Isotonic,
    /// A logistic curve
    Platt,
    /// Not at all
    None,
}

/// What is done with a broken row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum BadRowsKind {
    /// It is left out, named and counted
    #[default]
    Skip,
    /// The table is refused
    Refuse,
}

impl From<BadRowsKind> for BadRows {
    fn from(kind: BadRowsKind) -> Self {
        match kind {
            BadRowsKind::Skip => Self::Skip,
            BadRowsKind::Refuse => Self::Refuse,
        }
    }
}

#[derive(Debug, clap::Args)]
// --version is the model's here.
#[command(disable_version_flag = true)]
pub(in crate::cli) struct Args {
    /// Tables of labelled flows: Parquet, CSV, Zeek's conn.log or JSON lines, plain, .gz or .zst; files, directories, patterns
    #[arg(required = true, value_name = "DATA")]
    pub(super) data: Vec<PathBuf>,
    /// What learns
    #[arg(long, value_enum, default_value = "forest")]
    pub(super) learner: LearnerKind,
    /// The model file to write
    #[arg(short = 'O', long, visible_alias = "out", value_name = "FILE")]
    pub(super) output: PathBuf,
    #[command(flatten)]
    pub(super) format: FormatArgs,

    /// Column that says what a row is [default: label, or family of `detector extract`'s rows]
    #[arg(long, value_name = "COLUMN", help_heading = "Rows")]
    pub(super) label: Option<String>,
    /// From labels to classes: LABEL=CLASS ('*=CLASS' for all others, LABEL=- to leave out), or a TOML file; may be repeated
    #[arg(long, value_name = "MAP", help_heading = "Rows")]
    pub(super) map: Vec<String>,
    /// The class that is no attack [default: the one called benign, normal or the like, or 0]
    #[arg(long, value_name = "CLASS", help_heading = "Rows")]
    pub(super) benign: Option<String>,
    /// Columns to learn from although they would be left out: addresses, times, clients' ports, other labels
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "COLUMNS",
        help_heading = "Rows"
    )]
    pub(super) keep: Vec<String>,
    /// Features to learn without
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "FEATURES",
        help_heading = "Rows"
    )]
    pub(super) without: Vec<String>,
    /// What is done with a broken row
    #[arg(long, value_enum, default_value = "skip", help_heading = "Rows")]
    pub(super) bad_rows: BadRowsKind,
    /// Learn from rows that are there twice as often
    #[arg(long, help_heading = "Rows")]
    pub(super) keep_duplicates: bool,

    /// How rows are parted into those to learn from, to calibrate by and to judge by [default: group with --group, else
    /// stratified]
    #[arg(long, value_enum, value_name = "HOW", help_heading = "Parts")]
    pub(super) split: Option<SplitKind>,
    /// Column that says when a row was [default: Timestamp, ts and the like]
    #[arg(long, value_name = "COLUMN", help_heading = "Parts")]
    pub(super) time: Option<String>,
    /// Column that says which rows must not be parted
    #[arg(long, value_name = "COLUMN", help_heading = "Parts")]
    pub(super) group: Option<String>,
    /// Write the model that was judged, rather than one made the same way from all rows
    #[arg(long, help_heading = "Parts")]
    pub(super) no_refit: bool,
    /// Of extracted rows: parts, of whole groups, each judged by a forest that has not seen it; 0: out-of-bag estimates
    /// [default: 10]
    #[arg(long, value_name = "N", help_heading = "Parts")]
    pub(super) folds: Option<usize>,
    /// Of extracted rows: leave out groups whose name contains this
    #[arg(long, value_name = "TEXT", help_heading = "Parts")]
    pub(super) leave_out: Vec<String>,

    /// What classes weigh [default: as many as there are rows; of extracted rows all the same]
    #[arg(long, value_enum, value_name = "WEIGHTS", help_heading = "Learning")]
    pub(super) class_weights: Option<Weights>,
    /// Make more rows of rare classes between those there are (SMOTE), among the rows to learn from only
    #[arg(long, help_heading = "Learning")]
    pub(super) smote: bool,
    /// How scores become probabilities
    #[arg(long, value_enum, default_value = "auto", help_heading = "Learning")]
    pub(super) calibration: CalibrationKind,
    /// Try options by cross-validation and take the best
    #[arg(long, value_enum, value_name = "SPACE", help_heading = "Learning")]
    pub(super) search: Option<SearchKind>,
    /// Trees [default: 100; isolation 300]
    #[arg(long, value_name = "N", help_heading = "Learning")]
    pub(super) trees: Option<usize>,
    /// Splits from a root to a leaf, at most [default: 24; extracted rows and linfa 12]
    #[arg(long, value_name = "N", help_heading = "Learning")]
    pub(super) depth_max: Option<usize>,
    /// Least weight of a leaf; a row weighs 1 on average [default: 1; extracted rows 5]
    #[arg(long, value_name = "WEIGHT", help_heading = "Learning")]
    pub(super) leaf_weight_min: Option<f64>,
    /// Features that a split chooses among [default: twice the root of all; of extracted rows the root]
    #[arg(long, value_name = "N", help_heading = "Learning")]
    pub(super) features_per_split: Option<usize>,
    /// Of extracted rows: draw rows rather than groups for each tree
    #[arg(long, help_heading = "Learning")]
    pub(super) draw_rows: bool,
    /// Boosting: rounds, at most [default: 300]
    #[arg(long, value_name = "N", help_heading = "Learning")]
    pub(super) rounds: Option<usize>,
    /// Boosting: what share of a tree's correction is made [default: 0.1]
    #[arg(long, value_name = "SHARE", help_heading = "Learning")]
    pub(super) learning_rate: Option<f64>,
    /// Boosting: leaves of a tree, at most [default: 31]
    #[arg(long, value_name = "N", help_heading = "Learning")]
    pub(super) leaves_max: Option<usize>,
    /// Isolation: share of the rows learnt from that shall count as odd [default: those with a score above 0.5]
    #[arg(long, value_name = "SHARE", help_heading = "Learning")]
    pub(super) contamination: Option<f64>,
    /// Isolation: rows of a tree
    #[arg(
        long,
        default_value_t = 256,
        value_name = "N",
        help_heading = "Learning"
    )]
    pub(super) rows_per_tree: usize,
    /// The same seed gives the same bytes
    #[arg(long, default_value_t = 1, value_name = "N", help_heading = "Learning")]
    pub(super) seed: u64,
    /// Threads; no matter for the result [default: one a CPU]
    #[arg(
        long,
        default_value_t = 0,
        hide_default_value = true,
        value_name = "N",
        help_heading = "Learning"
    )]
    pub(super) threads: usize,

    /// Name of the model [default: the learner's]
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    pub(super) name: Option<String>,
    /// Version of the model
    #[arg(
        long,
        default_value = "0.1.0",
        value_name = "VERSION",
        help_heading = "Model"
    )]
    pub(super) version: String,
    /// Also write what a person must know of the model, in Markdown
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    pub(super) card: Option<PathBuf>,
    /// What else the card says of what the model cannot see; may be repeated
    #[arg(long, requires = "card", value_name = "TEXT", help_heading = "Model")]
    pub(super) note: Vec<String>,
    /// Also write its figures, in JSON
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    pub(super) metrics: Option<PathBuf>,
}

impl Args {
    /// Whether extracted rows are to become a forest in the way of the default model.
    pub(super) fn is_plain_forest(&self) -> bool {
        self.learner == LearnerKind::Forest
            && self.split.is_none()
            && self.search.is_none()
            && !self.smote
            && self.map.is_empty()
            && self.keep.is_empty()
            && self.class_weights.is_none()
    }

    pub(super) fn features_per_split(&self) -> FeaturesPerSplit {
        self.features_per_split
            .map_or(FeaturesPerSplit::SquareRoot, FeaturesPerSplit::Count)
    }
}

impl From<SearchKind> for Space {
    fn from(kind: SearchKind) -> Self {
        match kind {
            SearchKind::Grid => Self::Grid,
            SearchKind::Random => Self::Random,
        }
    }
}

impl From<CalibrationKind> for Calibration {
    fn from(kind: CalibrationKind) -> Self {
        match kind {
            CalibrationKind::Auto => Self::Auto,
            CalibrationKind::Isotonic => Self::Isotonic,
            CalibrationKind::Platt => Self::Platt,
            CalibrationKind::None => Self::None,
        }
    }
}
