//! Labelled rows in a Parquet file: one column a feature, then what is known of the row.

use std::{fs::File, path::Path, sync::Arc};

use arrow::{
    array::{ArrayRef, Float32Builder, RecordBatch, StringBuilder, UInt32Builder, UInt64Builder},
    datatypes::{DataType, Field, Schema},
};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::{metadata::KeyValue, properties::WriterProperties},
};

use crate::{decide::family::Family, features};

/// Rows that are put into columns at a time.
const BATCH_ROWS: usize = 8192;

/// The file could not be written.
#[derive(Debug, thiserror::Error)]
#[error(
    "writing snapshots to {place}: {cause}; check the directory, its permissions and the space left"
)]
pub struct SnapshotsError {
    place: String,
    cause: String,
}

/// What is known of a row.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// What it is.
    pub family: Family,
    /// What it must not be separated from: rows of one capture are not independent.
    pub group: &'a str,
    /// Number of its flow within the file.
    pub flow: u64,
    /// Packets that the flow had.
    pub packets: u32,
}

/// Writes rows.
pub struct SnapshotsWriter {
    place: String,
    writer: ArrowWriter<File>,
    schema: Arc<Schema>,
    features: Vec<Float32Builder>,
    families: StringBuilder,
    groups: StringBuilder,
    flows: UInt64Builder,
    packets: UInt32Builder,
    pending: usize,
    rows: u64,
}

impl SnapshotsWriter {
    /// Begins a file.
    ///
    /// # Errors
    /// [`SnapshotsError`].
    pub fn create(path: &Path) -> Result<Self, SnapshotsError> {
        let place = path.display().to_string();
        let failed = |cause: &dyn std::fmt::Display| SnapshotsError {
            place: path.display().to_string(),
            cause: cause.to_string(),
        };
        let file = File::create(path).map_err(|error| failed(&error))?;
        let mut fields: Vec<Field> = features::NAMES
            .iter()
            .map(|name| Field::new(*name, DataType::Float32, false))
            .collect();
        fields.push(Field::new("family", DataType::Utf8, false));
        fields.push(Field::new("group", DataType::Utf8, false));
        fields.push(Field::new("flow", DataType::UInt64, false));
        fields.push(Field::new("packets", DataType::UInt32, false));
        let schema = Arc::new(Schema::new(fields));
        let set = KeyValue::new("detector.feature_set".to_owned(), features::SET.to_owned());
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(concat!("detector ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(Some(vec![set]))
            .build();
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties))
            .map_err(|error| failed(&error))?;
        Ok(Self {
            place,
            writer,
            schema,
            features: (0..features::COUNT)
                .map(|_| Float32Builder::new())
                .collect(),
            families: StringBuilder::new(),
            groups: StringBuilder::new(),
            flows: UInt64Builder::new(),
            packets: UInt32Builder::new(),
            pending: 0,
            rows: 0,
        })
    }

    /// Writes a row.
    ///
    /// # Errors
    /// [`SnapshotsError`].
    pub fn write(&mut self, row: &features::Row, known: Known<'_>) -> Result<(), SnapshotsError> {
        for (builder, value) in self.features.iter_mut().zip(row) {
            builder.append_value(*value);
        }
        self.families.append_value(known.family.name());
        self.groups.append_value(known.group);
        self.flows.append_value(known.flow);
        self.packets.append_value(known.packets);
        self.pending += 1;
        self.rows += 1;
        if self.pending >= BATCH_ROWS {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SnapshotsError> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(features::COUNT + 4);
        for builder in &mut self.features {
            columns.push(Arc::new(builder.finish()));
        }
        columns.push(Arc::new(self.families.finish()));
        columns.push(Arc::new(self.groups.finish()));
        columns.push(Arc::new(self.flows.finish()));
        columns.push(Arc::new(self.packets.finish()));
        self.pending = 0;
        let batch = RecordBatch::try_new(self.schema.clone(), columns);
        batch
            .map_err(|error| error.to_string())
            .and_then(|batch| self.writer.write(&batch).map_err(|error| error.to_string()))
            .map_err(|cause| self.failed(cause))
    }

    fn failed(&self, cause: String) -> SnapshotsError {
        SnapshotsError {
            place: self.place.clone(),
            cause,
        }
    }

    /// Ends the file; how many rows it has.
    ///
    /// # Errors
    /// [`SnapshotsError`].
    pub fn finish(mut self) -> Result<u64, SnapshotsError> {
        self.flush()?;
        let place = self.place;
        match self.writer.close() {
            Ok(_) => Ok(self.rows),
            Err(error) => Err(SnapshotsError {
                place,
                cause: error.to_string(),
            }),
        }
    }
}
