//! The table that is trained on.

use sha2::{Digest as _, Sha256};

use crate::model::{CLASSES_MAX, FEATURES_MAX};

/// Why a table is refused.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// A part has another length than the rest.
    #[error(
        "cannot make a table: {part} has {found} entries where {wanted} are due; every row needs one"
    )]
    Length {
        /// The part.
        part: &'static str,
        /// What it has.
        found: usize,
        /// What it should have.
        wanted: usize,
    },
    /// There are too few or too many of something.
    #[error("cannot make a table: it has {found} {what}, allowed are 1 to {max}")]
    Count {
        /// What is counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        max: usize,
    },
    /// A label names no class.
    #[error("cannot make a table: row {row} has class {label} of {classes}; name every class")]
    Label {
        /// The row.
        row: usize,
        /// Its label.
        label: u16,
        /// How many classes there are.
        classes: usize,
    },
    /// A weight is negative or no number.
    #[error(
        "cannot make a table: row {row} has weight {weight}; weights are finite and not below 0"
    )]
    Weight {
        /// The row.
        row: usize,
        /// Its weight.
        weight: f32,
    },
}

/// What the columns and the labels mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    /// Name and version of the feature set, such as `flow/1`.
    pub feature_set: String,
    /// Names of the features, in the order of the columns.
    pub features: Vec<String>,
    /// Names of the classes, in the order of the labels.
    pub classes: Vec<String>,
}

/// Rows with labels, stored column by column.
#[derive(Clone, Debug)]
pub struct Table {
    schema: Schema,
    columns: Vec<f32>,
    labels: Vec<u16>,
    weights: Vec<f32>,
    groups: Vec<u32>,
}

impl Table {
    /// Takes the parts over without copying them.
    ///
    /// `columns` has features × rows values, one column after the other, NaN where a value is
    /// missing. A row has a label (number of its class), a weight (1 where there is no reason
    /// for another) and the number of its group: rows of one capture belong together, because
    /// they are not independent.
    ///
    /// # Errors
    /// [`TableError`] where the parts do not fit together.
    pub fn new(
        schema: Schema,
        columns: Vec<f32>,
        labels: Vec<u16>,
        weights: Vec<f32>,
        groups: Vec<u32>,
    ) -> Result<Self, TableError> {
        let rows = labels.len();
        for (what, found, max) in [
            ("features", schema.features.len(), FEATURES_MAX),
            ("classes", schema.classes.len(), CLASSES_MAX),
            ("rows", rows, i32::MAX as usize),
        ] {
            if !(1..=max).contains(&found) {
                return Err(TableError::Count { what, found, max });
            }
        }
        for (part, found, wanted) in [
            ("columns", columns.len(), rows * schema.features.len()),
            ("weights", weights.len(), rows),
            ("groups", groups.len(), rows),
        ] {
            if found != wanted {
                return Err(TableError::Length {
                    part,
                    found,
                    wanted,
                });
            }
        }
        let classes = schema.classes.len();
        for (row, (&label, &weight)) in labels.iter().zip(&weights).enumerate() {
            if usize::from(label) >= classes {
                return Err(TableError::Label {
                    row,
                    label,
                    classes,
                });
            }
            if !weight.is_finite() || weight < 0.0 {
                return Err(TableError::Weight { row, weight });
            }
        }
        Ok(Self {
            schema,
            columns,
            labels,
            weights,
            groups,
        })
    }

    /// What the columns and labels mean.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Rows in it.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// Columns in it.
    #[must_use]
    pub fn features(&self) -> usize {
        self.schema.features.len()
    }

    /// Classes it knows.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.schema.classes.len()
    }

    /// A feature's value in every row.
    ///
    /// # Panics
    /// Where there is no such feature.
    #[must_use]
    pub fn column(&self, feature: usize) -> &[f32] {
        let rows = self.rows();
        &self.columns[feature * rows..][..rows]
    }

    /// Makes a feature's values missing in every row.
    ///
    /// # Panics
    /// Where there is no such feature.
    pub fn forget(&mut self, feature: usize) {
        let rows = self.rows();
        self.columns[feature * rows..][..rows].fill(f32::NAN);
    }

    /// The same rows in other classes.
    ///
    /// # Errors
    /// [`TableError`] where the labels do not fit the rows or the classes.
    pub fn with_classes(self, classes: Vec<String>, labels: Vec<u16>) -> Result<Self, TableError> {
        let schema = Schema {
            classes,
            ..self.schema
        };
        Self::new(schema, self.columns, labels, self.weights, self.groups)
    }

    /// Writes a row's values, one a feature.
    ///
    /// # Panics
    /// Where there is no such row, or `values` has not one place a feature.
    pub fn row(&self, row: usize, values: &mut [f32]) {
        assert_eq!(values.len(), self.features(), "values in a row");
        for (feature, value) in values.iter_mut().enumerate() {
            *value = self.column(feature)[row];
        }
    }

    /// The class of every row.
    #[must_use]
    pub fn labels(&self) -> &[u16] {
        &self.labels
    }

    /// The weight of every row.
    #[must_use]
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// The group of every row.
    #[must_use]
    pub fn groups(&self) -> &[u32] {
        &self.groups
    }

    /// The numbers of all rows.
    #[must_use]
    pub fn all_rows(&self) -> Vec<u32> {
        (0..self.rows() as u32).collect()
    }

    /// SHA-256 of the names and of every value, in hexadecimal digits: tables that train the
    /// same model have the same.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        let schema = &self.schema;
        let names = [
            std::slice::from_ref(&schema.feature_set),
            &schema.features,
            &schema.classes,
        ];
        for names in names {
            hash.update((names.len() as u64).to_le_bytes());
            for name in names {
                hash.update((name.len() as u64).to_le_bytes());
                hash.update(name);
            }
        }
        hash.update((self.rows() as u64).to_le_bytes());
        hash.update(bytemuck::cast_slice::<f32, u8>(&self.columns));
        hash.update(bytemuck::cast_slice::<u16, u8>(&self.labels));
        hash.update(bytemuck::cast_slice::<f32, u8>(&self.weights));
        hash.update(bytemuck::cast_slice::<u32, u8>(&self.groups));
        crate::model::hexadecimal(&hash.finalize())
    }
}
