//! What can be wrong with a table.

use std::{fmt, path::PathBuf};

/// Where in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1 on; of Parquet the row.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.path.display(), self.line)
    }
}

/// Why tables cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TablesError {
    /// A pattern takes nothing.
    #[error(
        "no file is called {pattern}; name a file, a directory or a pattern such as 'flows/*.parquet'"
    )]
    NoFile {
        /// What was asked for.
        pattern: String,
    },
    /// A pattern is none.
    #[error("{pattern} is no pattern of file names: {cause}; put it right, or name the files")]
    Pattern {
        /// What was asked for.
        pattern: String,
        /// What is wrong.
        cause: String,
    },
    /// A file cannot be read.
    #[error("reading the table {}: {cause}; tables are Parquet, CSV, Zeek's conn.log or JSON lines, plain, .gz or .zst", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// A file has nothing in it.
    #[error("the table {} is empty; leave it out, or bring one that has a header and rows", path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
    /// A file has a header and no row that can be used.
    #[error("the table {} has no row that can be used{}; bring one that has", path.display(), cause.as_deref().map(|cause| format!(" ({cause})")).unwrap_or_default())]
    NoRows {
        /// Which.
        path: PathBuf,
        /// What was found instead.
        cause: Option<String>,
    },
    /// A column is not there.
    #[error("the table {} has no column {column:?} to take the {what} from; it has {}", path.display(), listed(have))]
    NoColumn {
        /// In which file.
        path: PathBuf,
        /// Which.
        column: String,
        /// What it should say.
        what: &'static str,
        /// Those that it has.
        have: Vec<String>,
    },
    /// A row is broken, and such are refused.
    #[error("{place}: {cause}; mend the row, or leave such rows out with --bad-rows skip")]
    BadRow {
        /// Where.
        place: Place,
        /// What is wrong.
        cause: String,
    },
    /// No column is a feature.
    #[error(
        "no column of these tables can be learnt from: {}; bring columns of numbers, or take one in with --keep",
        listed(left_out)
    )]
    NoFeatures {
        /// Those left out, with the reason.
        left_out: Vec<String>,
    },
    /// More labels than classes there can be.
    #[error(
        "column {column:?} has {found} different labels, a model tells at most {max} classes apart; name the label's column with --label, or map labels to classes with --map"
    )]
    TooManyClasses {
        /// The label's column.
        column: String,
        /// Labels there are.
        found: usize,
        /// Classes there may be.
        max: usize,
    },
    /// The map cannot be read.
    #[error(
        "the map of labels {what}: {cause}; it is a line LABEL=CLASS, or a TOML file of lines \"LABEL\" = \"CLASS\" or CLASS = [\"LABEL\", …]"
    )]
    Map {
        /// Which.
        what: String,
        /// What is wrong.
        cause: String,
    },
    /// The table's columns are not those of the model.
    #[error("the tables do not have the model's features: {} of {wanted} are missing, {}; bring tables of the kind it was trained on, or count them as missing values with --missing-features allow", missing.len(), listed(missing))]
    Features {
        /// Those that are not there.
        missing: Vec<String>,
        /// How many the model has.
        wanted: usize,
    },
    /// A column named in an option is not there.
    #[error(
        "no column is called {column:?}, named with {option}; there are {}",
        listed(have)
    )]
    Option {
        /// The column.
        column: String,
        /// The option.
        option: &'static str,
        /// Those that there are.
        have: Vec<String>,
    },
    /// Rows do not make a table.
    #[error(transparent)]
    Table(#[from] crate::train::TableError),
}

impl TablesError {
    /// Whether an option asks for what is not there, so that it was called wrongly.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::NoFile { .. }
                | Self::Pattern { .. }
                | Self::NoColumn { .. }
                | Self::Option { .. }
                | Self::Map { .. }
        )
    }
}

/// The first of many names.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 30;
    if names.is_empty() {
        return "none".to_owned();
    }
    let mut text = names[..names.len().min(SHOWN)].join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}
