//! Parquet, compressed with Zstandard: one file, the columns of [`columns`] in their order.
//!
//! | kind of column | Arrow type | Parquet type |
//! |---|---|---|
//! | text | `Utf8` | `BYTE_ARRAY (STRING)` |
//! | time | `Timestamp(Microsecond, "UTC")` | `INT64 (TIMESTAMP_MICROS, UTC)` |
//! | fractions | `Float32` | `FLOAT` |
//! | integers | `UInt8`, `UInt16`, `UInt32`, `UInt64` | `INT32` or `INT64 (UINT_n)` |
//!
//! Every column is nullable. Each field's metadata has its meaning under `doc`; the file's has the version of the
//! columns under `detector.flow_columns`. Memory is bounded by one batch and one row group.
//!
//! What more is known of a flow than the flow itself is in columns behind those of the flow ([`Row`]).

use std::io;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float32Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
    UInt8Builder, UInt16Builder, UInt32Builder, UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::columns::{self, Column, Kind, Value};
use super::{Destination, OutputError};
use crate::flow::Flow;

/// Flows that are put into columns at a time.
const BATCH_ROWS: usize = 4096;
/// Flows of one row group, which is held in memory, encoded, until it is full.
pub(super) const GROUP_ROWS_MAX: usize = 128 * 1024;
/// What a row takes that is not encoded yet, about.
const ROW_BYTES_ABOUT: usize = 256;
/// Version of the list of columns and their meaning.
const COLUMNS_VERSION: &str = "1";

/// What a file has rows of: a flow, and what more is known of it.
pub trait Row: Sized + 'static {
    /// The columns behind those of the flow.
    const FURTHER: &'static [Column<Self>];

    /// The flow.
    fn flow(&self) -> &Flow;
}

impl Row for Flow {
    const FURTHER: &'static [Column<Self>] = &[];

    fn flow(&self) -> &Flow {
        self
    }
}

/// Writes a Parquet file.
pub struct ParquetWriter<R> {
    writer: ArrowWriter<Destination>,
    schema: Arc<Schema>,
    builders: Vec<Builder>,
    rows: usize,
    batch_rows: usize,
    of: PhantomData<fn(&R)>,
}

/// A column under construction.
enum Builder {
    Text(StringBuilder),
    Time(TimestampMicrosecondBuilder),
    U8(UInt8Builder),
    U16(UInt16Builder),
    U32(UInt32Builder),
    U64(UInt64Builder),
    F32(Float32Builder),
}

impl<R: Row> ParquetWriter<R> {
    /// A file whose row groups have so many rows at most, 1 at least.
    pub(super) fn new(destination: Destination, group_rows: usize) -> Result<Self, OutputError> {
        if destination.is_terminal() {
            return Err(OutputError::ParquetToTerminal);
        }
        let place = destination.place().to_owned();
        let schema = Arc::new(schema::<R>());
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(group_rows))
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
            builders: shapes::<R>()
                .map(|(_, kind, _)| Builder::new(kind))
                .collect(),
            rows: 0,
            batch_rows: BATCH_ROWS.min(group_rows),
            of: PhantomData,
        })
    }

    pub(super) fn write(&mut self, row: &R) -> Result<(), OutputError> {
        let of_flow = columns::all().map(|column| (column.get)(row.flow()));
        let further = R::FURTHER.iter().map(|column| (column.get)(row));
        for (builder, value) in self.builders.iter_mut().zip(of_flow.chain(further)) {
            builder.append(value);
        }
        self.rows += 1;
        if self.rows == self.batch_rows {
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

    /// Bytes that are written so far, and about as many as what is held in memory will take at most.
    pub(super) fn bytes(&self) -> (u64, u64) {
        let held = self.writer.in_progress_size() + self.rows * ROW_BYTES_ABOUT;
        (self.writer.bytes_written() as u64, held as u64)
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

/// Name, kind and meaning of every column.
fn shapes<R: Row>() -> impl Iterator<Item = (&'static str, Kind, &'static str)> {
    let of_flow = columns::all().map(|column| (column.name, column.kind, column.doc));
    let further = R::FURTHER.iter();
    of_flow.chain(further.map(|column| (column.name, column.kind, column.doc)))
}

/// The schema of the file.
fn schema<R: Row>() -> Schema {
    let fields: Vec<Field> = shapes::<R>()
        .map(|(name, kind, doc)| {
            let data_type = match kind {
                Kind::Text => DataType::Utf8,
                Kind::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                Kind::U8 => DataType::UInt8,
                Kind::U16 => DataType::UInt16,
                Kind::U32 => DataType::UInt32,
                Kind::U64 => DataType::UInt64,
                Kind::F32 => DataType::Float32,
            };
            let doc = [("doc", doc)];
            Field::new(name, data_type, true).with_metadata(doc)
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
            Kind::F32 => Self::F32(Float32Builder::new()),
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
                Value::Null | Value::Number(_) | Value::Real(_) => builder.append_null(),
            },
            // The latest time is u64::MAX ns, which in µs fits.
            Self::Time(builder) => builder.append_option(number.map(|n| n as i64)),
            Self::U8(builder) => builder.append_option(number.map(|n| n as u8)),
            Self::U16(builder) => builder.append_option(number.map(|n| n as u16)),
            Self::U32(builder) => builder.append_option(number.map(|n| n as u32)),
            Self::U64(builder) => builder.append_option(number),
            Self::F32(builder) => builder.append_option(match value {
                Value::Real(x) => Some(x),
                _ => None,
            }),
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
            Self::F32(builder) => Arc::new(builder.finish()),
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
