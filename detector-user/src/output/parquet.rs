//! Parquet, compressed with Zstandard: one file, the columns of [`columns`] in their order.
//!
//! | kind of column | Arrow type | Parquet type |
//! |---|---|---|
//! | text | `Utf8` | `BYTE_ARRAY (STRING)` |
//! | time | `Timestamp(Microsecond, "UTC")` | `INT64 (TIMESTAMP_MICROS, UTC)` |
//! | integers | `UInt8`, `UInt16`, `UInt32`, `UInt64` | `INT32` or `INT64 (UINT_n)` |
//!
//! Every column is nullable. Each field's metadata has its meaning under `doc`; the file's has the version of the
//! columns under `detector.flow_columns`. Memory is bounded by one batch and one row group.

use std::io;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, RecordBatch, StringBuilder, TimestampMicrosecondBuilder, UInt8Builder, UInt16Builder,
    UInt32Builder, UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::columns::{self, Kind, Value};
use super::{Destination, OutputError};
use crate::flow::Flow;

/// Flows that are put into columns at a time.
const BATCH_ROWS: usize = 4096;
/// Flows of one row group, which is held in memory, encoded, until it is full.
const GROUP_ROWS: usize = 128 * 1024;
/// Version of the list of columns and their meaning.
const COLUMNS_VERSION: &str = "1";

/// Writes a Parquet file.
pub struct ParquetWriter {
    writer: ArrowWriter<Destination>,
    schema: Arc<Schema>,
    builders: Vec<Builder>,
    rows: usize,
}

/// A column under construction.
enum Builder {
    Text(StringBuilder),
    Time(TimestampMicrosecondBuilder),
    U8(UInt8Builder),
    U16(UInt16Builder),
    U32(UInt32Builder),
    U64(UInt64Builder),
}

impl ParquetWriter {
    pub(super) fn new(destination: Destination) -> Result<Self, OutputError> {
        if destination.is_terminal() {
            return Err(OutputError::ParquetToTerminal);
        }
        let place = destination.place().to_owned();
        let schema = Arc::new(schema());
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_created_by(concat!("detector ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(Some(vec![KeyValue::new(
                "detector.flow_columns".to_owned(),
                COLUMNS_VERSION.to_owned(),
            )]))
            .build();
        let writer = ArrowWriter::try_new(destination, schema.clone(), Some(properties))
            .map_err(|error| failed(&place, error))?;
        Ok(Self {
            writer,
            schema,
            builders: columns::all().map(|c| Builder::new(c.kind)).collect(),
            rows: 0,
        })
    }

    pub(super) fn write(&mut self, flow: &Flow) -> Result<(), OutputError> {
        for (builder, column) in self.builders.iter_mut().zip(columns::all()) {
            builder.append((column.get)(flow));
        }
        self.rows += 1;
        if self.rows == BATCH_ROWS {
            self.write_batch()?;
        }
        Ok(())
    }

    fn write_batch(&mut self) -> Result<(), OutputError> {
        self.rows = 0;
        let arrays = self.builders.iter_mut().map(Builder::finish).collect();
        RecordBatch::try_new(self.schema.clone(), arrays)
            .map_err(ParquetError::from)
            .and_then(|batch| self.writer.write(&batch))
            .map_err(|error| failed(self.writer.inner().place(), error))
    }

    pub(super) fn finish(mut self) -> Result<(), OutputError> {
        if self.rows > 0 {
            self.write_batch()?;
        }
        let place = self.writer.inner().place().to_owned();
        let destination = self
            .writer
            .into_inner()
            .map_err(|error| failed(&place, error))?;
        destination.finish()
    }
}

/// The schema of the file.
fn schema() -> Schema {
    let fields: Vec<Field> = columns::all()
        .map(|column| {
            let data_type = match column.kind {
                Kind::Text => DataType::Utf8,
                Kind::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                Kind::U8 => DataType::UInt8,
                Kind::U16 => DataType::UInt16,
                Kind::U32 => DataType::UInt32,
                Kind::U64 => DataType::UInt64,
            };
            let doc = [("doc", column.doc)];
            Field::new(column.name, data_type, true).with_metadata(doc)
        })
        .collect();
    Schema::new(fields)
}

impl Builder {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text(StringBuilder::new()),
            Kind::Time => Self::Time(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            Kind::U8 => Self::U8(UInt8Builder::new()),
            Kind::U16 => Self::U16(UInt16Builder::new()),
            Kind::U32 => Self::U32(UInt32Builder::new()),
            Kind::U64 => Self::U64(UInt64Builder::new()),
        }
    }

    /// Appends a value. A number is of the column's width, which the column's own type gave it.
    fn append(&mut self, value: Value<'_>) {
        let number = match value {
            Value::Number(n) => Some(n),
            _ => None,
        };
        match self {
            Self::Text(builder) => match value {
                Value::Text(text) => builder.append_value(text),
                Value::Address(address) => {
                    builder.append_value(address.to_string());
                }
                Value::Null | Value::Number(_) => builder.append_null(),
            },
            // The latest time is u64::MAX ns, which in µs fits.
            Self::Time(builder) => builder.append_option(number.map(|n| n as i64)),
            Self::U8(builder) => builder.append_option(number.map(|n| n as u8)),
            Self::U16(builder) => builder.append_option(number.map(|n| n as u16)),
            Self::U32(builder) => builder.append_option(number.map(|n| n as u32)),
            Self::U64(builder) => builder.append_option(number),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(builder.finish()),
            Self::U8(builder) => Arc::new(builder.finish()),
            Self::U16(builder) => Arc::new(builder.finish()),
            Self::U32(builder) => Arc::new(builder.finish()),
            Self::U64(builder) => Arc::new(builder.finish()),
        }
    }
}

/// The system's error where there is one beneath the library's.
fn failed(place: &str, error: ParquetError) -> OutputError {
    let cause = match error {
        ParquetError::External(cause) => match cause.downcast::<io::Error>() {
            Ok(cause) => return OutputError::write(place, *cause),
            Err(cause) => cause.to_string(),
        },
        other => other.to_string(),
    };
    OutputError::Parquet {
        place: place.to_owned(),
        cause,
    }
}
