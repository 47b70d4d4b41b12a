//! Parquet files of labelled rows, as `detector extract` writes them, to a table that is trained on.

use std::{
    collections::{HashMap, hash_map::Entry},
    fs::File,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
};

use arrow::{
    array::{Array, Float32Array, RecordBatch, StringArray, UInt64Array},
    datatypes::DataType,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::weights::{Membership, weigh};
use crate::{
    decide::family::Family,
    features,
    train::{Schema, Table, TableError},
};

/// Columns that are neither features, label nor group; they may be there.
const OTHERS: [&str; 4] = ["family", "group", "flow", "packets"];

/// Why rows cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// The file cannot be read.
    #[error("reading rows from {}: {cause}; `detector extract` writes such files", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// A column is not there.
    #[error(
        "rows in {}: there is no column {column}; make them anew with this version's `detector extract`, or name another column",
        path.display()
    )]
    Missing {
        /// In which file.
        path: PathBuf,
        /// Which.
        column: String,
    },
    /// A column means nothing here.
    #[error(
        "rows in {}: column {column:?} is none of the features of {set}; make them anew with this version's `detector extract`, or leave it out",
        path.display(), set = features::SET
    )]
    Extra {
        /// In which file.
        path: PathBuf,
        /// Which.
        column: String,
    },
    /// A column holds something else.
    #[error("rows in {}: column {column} holds {found} where {wanted} is due", path.display())]
    Type {
        /// In which file.
        path: PathBuf,
        /// Which.
        column: String,
        /// What it holds.
        found: String,
        /// What it should hold.
        wanted: &'static str,
    },
    /// A label that is not among the classes wanted.
    #[error(
        "rows in {}: label {label:?} is none of {}; leave such rows out or use another model",
        path.display(), classes.join(", ")
    )]
    Label {
        /// In which file.
        path: PathBuf,
        /// Which.
        label: String,
        /// Those that there are.
        classes: Vec<String>,
    },
    /// Rows do not make a table.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// Which columns say what.
#[derive(Clone, Debug)]
pub struct Columns {
    /// What a row is.
    pub label: String,
    /// What a row must not be separated from.
    pub group: String,
}

/// What was found in files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows read.
    pub rows: u64,
    /// Rows left out, for another has the same features and label.
    pub duplicates: u64,
    /// Rows that have the features of a row with another label, and stay.
    pub contradictions: u64,
    /// Values that are infinite or no number; both stay, the latter as missing ones.
    pub non_finite: u64,
}

/// Whether a file has this version's feature rows, as `detector extract` writes them.
#[must_use]
pub fn is_extracted(path: &Path) -> bool {
    let Ok(file) = File::open(path) else {
        return false;
    };
    let Ok(reader) = ParquetRecordBatchReaderBuilder::try_new(file) else {
        return false;
    };
    let has = |name: &&str| reader.schema().column_with_name(name).is_some();
    features::NAMES.iter().all(has)
}

/// Rows of files, once each.
#[derive(Debug)]
pub struct Rows {
    /// The rows, with weights.
    pub table: Table,
    /// Names of the groups, by number.
    pub groups: Vec<String>,
    /// What was found.
    pub counts: Counts,
}

/// Rows while they are read: row after row, as a table of columns is made of all at once.
#[derive(Default)]
struct Gathered {
    values: Vec<f32>,
    labels: Vec<u16>,
    groups: Vec<u32>,
    flows: Vec<u64>,
    seen: HashMap<u64, u16>,
    names: Names,
    classes: Names,
    counts: Counts,
}

/// Names, numbered as they come.
#[derive(Default)]
struct Names {
    all: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Names {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.all.len() as u32;
        self.all.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }
}

impl Rows {
    /// Reads files. The classes are those wanted, in their order, or those that occur: families first, by number.
    ///
    /// # Errors
    /// [`RowsError`].
    pub fn read(
        paths: &[PathBuf],
        columns: &Columns,
        classes: Option<&[String]>,
    ) -> Result<Self, RowsError> {
        let mut gathered = Gathered::default();
        for class in classes.unwrap_or_default() {
            gathered.classes.number(class);
        }
        for (number, path) in paths.iter().enumerate() {
            gathered.file(path, (number as u64) << 40, columns, classes)?;
        }
        gathered.finish(classes.is_some())
    }

    /// Makes features' values missing, so that nothing is learnt from them.
    ///
    /// # Errors
    /// Names the one that is no feature.
    pub fn forget(&mut self, features: &[String]) -> Result<(), String> {
        for feature in features {
            let names = &self.table.schema().features;
            let Some(place) = names.iter().position(|name| name == feature) else {
                return Err(format!("{feature:?} is no feature of {}", features::SET));
            };
            self.table.forget(place);
        }
        Ok(())
    }
}

impl Gathered {
    /// Takes a file's rows; `flows_from` keeps its flows apart from those of others.
    fn file(
        &mut self,
        path: &Path,
        flows_from: u64,
        columns: &Columns,
        classes: Option<&[String]>,
    ) -> Result<(), RowsError> {
        let failed = |cause: &dyn std::fmt::Display| RowsError::Read {
            path: path.to_owned(),
            cause: cause.to_string(),
        };
        let file = File::open(path).map_err(|error| failed(&error))?;
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| failed(&error))?;
        for field in reader.schema().fields() {
            let name = field.name().as_str();
            let known = features::NAMES.contains(&name)
                || OTHERS.contains(&name)
                || [&columns.label, &columns.group].contains(&field.name());
            if !known {
                return Err(RowsError::Extra {
                    path: path.to_owned(),
                    column: name.to_owned(),
                });
            }
        }
        for batch in reader.build().map_err(|error| failed(&error))? {
            let batch = batch.map_err(|error| failed(&error))?;
            self.batch(path, &batch, flows_from, columns, classes)?;
        }
        Ok(())
    }

    fn batch(
        &mut self,
        path: &Path,
        batch: &RecordBatch,
        flows_from: u64,
        columns: &Columns,
        classes: Option<&[String]>,
    ) -> Result<(), RowsError> {
        let values = features::NAMES
            .iter()
            .map(|name| column::<Float32Array>(path, batch, name, &DataType::Float32, "f32"))
            .collect::<Result<Vec<_>, _>>()?;
        let text = |name| column::<StringArray>(path, batch, name, &DataType::Utf8, "text");
        let (labels, groups) = (text(&columns.label)?, text(&columns.group)?);
        let flows = column::<UInt64Array>(path, batch, "flow", &DataType::UInt64, "u64")?;
        let mut row = [0.0; features::COUNT];
        for place in 0..batch.num_rows() {
            for (value, values) in row.iter_mut().zip(&values) {
                // NaN has one form, lest rows that are the same should differ.
                let read = if values.is_null(place) {
                    f32::NAN
                } else {
                    values.value(place)
                };
                *value = if read.is_nan() { f32::NAN } else { read };
            }
            let label = labels.value(place);
            if let Some(classes) = classes
                && !classes.iter().any(|class| class == label)
            {
                return Err(RowsError::Label {
                    path: path.to_owned(),
                    label: label.to_owned(),
                    classes: classes.to_vec(),
                });
            }
            let class = self.classes.number(label) as u16;
            self.row(
                &row,
                class,
                groups.value(place),
                flows_from + flows.value(place),
            );
        }
        Ok(())
    }

    fn row(&mut self, row: &features::Row, class: u16, group: &str, flow: u64) {
        self.counts.rows += 1;
        self.counts.non_finite += row.iter().filter(|value| !value.is_finite()).count() as u64;
        let mut hash = DefaultHasher::new();
        for value in row {
            value.to_bits().hash(&mut hash);
        }
        match self.seen.entry(hash.finish()) {
            Entry::Occupied(other) if *other.get() == class => {
                self.counts.duplicates += 1;
                return;
            }
            Entry::Occupied(_) => self.counts.contradictions += 1,
            Entry::Vacant(none) => {
                none.insert(class);
            }
        }
        self.values.extend_from_slice(row);
        self.labels.push(class);
        self.groups.push(self.names.number(group));
        self.flows.push(flow);
    }

    fn finish(mut self, keep_order: bool) -> Result<Rows, RowsError> {
        if !keep_order {
            self.sort_classes();
        }
        let rows = self.labels.len();
        let mut columns = vec![0.0; self.values.len()];
        for (row, values) in self.values.chunks_exact(features::COUNT).enumerate() {
            for (feature, value) in values.iter().enumerate() {
                columns[feature * rows + row] = *value;
            }
        }
        let members = self.labels.iter().zip(&self.groups).zip(&self.flows);
        let members: Vec<Membership> = members
            .map(|((&class, &group), &flow)| Membership { class, group, flow })
            .collect();
        let schema = Schema {
            feature_set: features::SET.to_owned(),
            features: features::NAMES.iter().map(ToString::to_string).collect(),
            classes: self.classes.all,
        };
        Ok(Rows {
            table: Table::new(schema, columns, self.labels, weigh(&members), self.groups)?,
            groups: self.names.all,
            counts: self.counts,
        })
    }

    /// Families by number, then others by name.
    fn sort_classes(&mut self) {
        let place = |name: &String| Family::by_name(name).map_or(u8::MAX, |family| family as u8);
        let mut sorted = self.classes.all.clone();
        sorted.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.cmp(b)));
        let new: Vec<u16> = (self.classes.all.iter())
            .map(|name| sorted.iter().position(|other| other == name).unwrap_or(0) as u16)
            .collect();
        for label in &mut self.labels {
            *label = new[usize::from(*label)];
        }
        self.classes.all = sorted;
    }
}

/// A column of a batch.
fn column<'a, A: Array + 'static>(
    path: &Path,
    batch: &'a RecordBatch,
    name: &str,
    wanted: &DataType,
    wanted_name: &'static str,
) -> Result<&'a A, RowsError> {
    let column = batch
        .column_by_name(name)
        .ok_or_else(|| RowsError::Missing {
            path: path.to_owned(),
            column: name.to_owned(),
        })?;
    let typed = column.as_any().downcast_ref::<A>();
    typed
        .filter(|_| column.data_type() == wanted)
        .ok_or_else(|| RowsError::Type {
            path: path.to_owned(),
            column: name.to_owned(),
            found: column.data_type().to_string(),
            wanted: wanted_name,
        })
}
