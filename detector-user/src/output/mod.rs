//! How flows leave the program: what is asked for ([`order`]), in which format, to which place.
//!
//! JSON, JSON lines, CSV and Parquet have the same columns ([`columns`]) and lose nothing; the table is for people.

pub mod archive;
pub mod columns;
mod csv;
mod destination;
mod error;
pub mod eve;
mod json;
pub mod nats;
mod order;
mod parquet;
mod printable;
pub mod sink;
mod table;
mod time;
pub mod units;

pub use destination::Destination;
pub use error::OutputError;
pub use json::flow_object;
pub use order::{FlowOutput, Shown, Sort};
pub use printable::printable;
pub use time::Rfc3339;
pub(crate) use time::day_of;

use crate::flow::Flow;

/// How flows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: one line a flow, rounded numbers
    Table,
    /// One JSON array of objects
    Json,
    /// One JSON object a line
    Jsonl,
    /// Comma-separated values with a header line
    Csv,
    /// Apache Parquet, compressed with Zstandard
    Parquet,
}

impl Format {
    /// The format that a file's name asks for by its ending.
    #[must_use]
    pub fn of_path(path: &std::path::Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "json" => Some(Self::Json),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "csv" => Some(Self::Csv),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

/// Writes flows in one format.
pub enum FlowWriter {
    /// [`Format::Table`].
    Table(table::TableWriter),
    /// [`Format::Json`] and [`Format::Jsonl`].
    Json(json::JsonWriter),
    /// [`Format::Csv`].
    Csv(csv::CsvWriter),
    /// [`Format::Parquet`].
    Parquet(Box<parquet::ParquetWriter<Flow>>),
}

impl FlowWriter {
    /// A writer to `destination`.
    ///
    /// # Errors
    /// Where the destination cannot take what comes before the first flow, or not this format.
    pub fn new(format: Format, destination: Destination) -> Result<Self, OutputError> {
        Ok(match format {
            Format::Table => Self::Table(table::TableWriter::new(destination)),
            Format::Json => Self::Json(json::JsonWriter::array(destination)),
            Format::Jsonl => Self::Json(json::JsonWriter::lines(destination)),
            Format::Csv => Self::Csv(csv::CsvWriter::new(destination)?),
            Format::Parquet => Self::Parquet(Box::new(parquet::ParquetWriter::new(
                destination,
                parquet::GROUP_ROWS_MAX,
            )?)),
        })
    }

    /// Writes one flow. What it writes may stay in a buffer until [`FlowWriter::finish`].
    ///
    /// # Errors
    /// Where the destination takes no more.
    pub fn write(&mut self, flow: &Flow) -> Result<(), OutputError> {
        match self {
            Self::Table(writer) => {
                writer.write(flow);
                Ok(())
            }
            Self::Json(writer) => writer.write(flow),
            Self::Csv(writer) => writer.write(flow),
            Self::Parquet(writer) => writer.write(flow),
        }
    }

    /// Writes what is left and puts a file in its place.
    ///
    /// # Errors
    /// Where the destination takes no more.
    pub fn finish(self) -> Result<(), OutputError> {
        match self {
            Self::Table(writer) => writer.finish(),
            Self::Json(writer) => writer.finish(),
            Self::Csv(writer) => writer.finish(),
            Self::Parquet(writer) => writer.finish(),
        }
    }
}
