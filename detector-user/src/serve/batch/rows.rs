//! Rows as they are sent: JSON, CSV, Arrow or Parquet, by feature name, whatever the order of columns.

use std::{collections::HashMap, io::Cursor};

use arrow::{
    array::{Array as _, ArrayRef, AsArray as _, Float32Array, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float32Type},
    error::ArrowError,
    ipc::reader::{FileReader, StreamReader},
};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::super::{
    problem::Problem,
    score::{PLACES, unknown},
};
use crate::features::COUNT;

/// Rows of one request, at most: a small body can hold many (compression), and each takes some hundred bytes.
const ROWS_MAX: usize = 1 << 20;

/// Columns are turned into so many rows at a time: these stay near while every column writes into them.
const AT_ONCE: usize = 64;

/// In what rows come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Csv,
    ArrowStream,
    ArrowFile,
    Parquet,
}

impl Format {
    /// What a Content-Type may be.
    pub(super) const ALLOWED: &str = "send application/json, text/csv, application/vnd.apache.arrow.stream, \
                                      application/vnd.apache.arrow.file or application/vnd.apache.parquet";

    /// By a media type.
    pub(super) fn of(media: &str) -> Option<Self> {
        Some(match media {
            "application/json" => Self::Json,
            "text/csv" => Self::Csv,
            "application/vnd.apache.arrow.stream" => Self::ArrowStream,
            "application/vnd.apache.arrow.file" => Self::ArrowFile,
            "application/vnd.apache.parquet" => Self::Parquet,
            _ => return None,
        })
    }
}

/// Rows, one after another.
#[derive(Debug, Default)]
pub(super) struct Rows {
    values: Vec<f32>,
}

fn unreadable(error: &dyn std::fmt::Display) -> Problem {
    Problem::bad_request(
        "the rows cannot be read",
        error.to_string(),
        "columns are features by name and hold numbers; see /api/v1/models for their names",
    )
}

impl Rows {
    /// Reads a body.
    pub(super) fn read(format: Format, bytes: Bytes) -> Result<Self, Problem> {
        let mut rows = Self::default();
        match format {
            Format::Json => rows.json(&bytes)?,
            Format::Csv => rows.csv(&bytes)?,
            Format::ArrowStream => {
                let reader = StreamReader::try_new(Cursor::new(bytes), None);
                rows.batches(reader.map_err(|error| unreadable(&error))?)?;
            }
            Format::ArrowFile => {
                let reader = FileReader::try_new(Cursor::new(bytes), None);
                rows.batches(reader.map_err(|error| unreadable(&error))?)?;
            }
            Format::Parquet => {
                let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
                    .and_then(|builder| builder.build())
                    .map_err(|error| unreadable(&error))?;
                rows.batches(reader)?;
            }
        }
        Ok(rows)
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.values.len() / COUNT
    }

    /// Their values, one row after the other.
    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    /// Room for more, all of it missing at first; where it begins.
    fn more(&mut self, count: usize) -> Result<usize, Problem> {
        if self.len() + count > ROWS_MAX {
            return Err(unreadable(&format!("there are more than {ROWS_MAX} rows")));
        }
        let begin = self.values.len();
        self.values.resize(begin + count * COUNT, f32::NAN);
        Ok(begin)
    }

    fn json(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let rows: Vec<HashMap<String, Option<f64>>> =
            serde_json::from_slice(bytes).map_err(|error| unreadable(&error))?;
        let mut begin = self.more(rows.len())?;
        for row in rows {
            for (name, value) in row {
                let place = PLACES.get(name.as_str()).ok_or_else(|| unknown(&name))?;
                self.values[begin + place] = value.map_or(f32::NAN, |value| value as f32);
            }
            begin += COUNT;
        }
        Ok(())
    }

    fn csv(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_reader(bytes);
        let header = reader.headers().map_err(|error| unreadable(&error))?;
        let places = places(header.iter())?;
        let mut record = csv::StringRecord::new();
        while reader
            .read_record(&mut record)
            .map_err(|error| unreadable(&error))?
        {
            let begin = self.more(1)?;
            for (text, place) in record.iter().zip(&places) {
                if !text.is_empty() {
                    self.values[begin + place] = text.parse().map_err(|_| {
                        let line = record.position().map_or(0, csv::Position::line);
                        unreadable(&format!("line {line}: {text:?} is no number"))
                    })?;
                }
            }
        }
        Ok(())
    }

    fn batches(
        &mut self,
        batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
    ) -> Result<(), Problem> {
        for batch in batches {
            let batch = batch.map_err(|error| unreadable(&error))?;
            let schema = batch.schema();
            let places = places(schema.fields().iter().map(|field| field.name().as_str()))?;
            let columns = batch.columns().iter().map(numbers);
            let columns: Vec<_> = columns.collect::<Result<_, _>>()?;
            let begin = self.more(batch.num_rows())?;
            for (turn, rows) in self.values[begin..].chunks_mut(AT_ONCE * COUNT).enumerate() {
                let first = turn * AT_ONCE;
                for (column, place) in columns.iter().zip(&places) {
                    let rows = rows.chunks_exact_mut(COUNT);
                    let values = rows.zip(&column.values()[first..]);
                    match column.nulls() {
                        None => values.for_each(|(row, value)| row[*place] = *value),
                        Some(nulls) => {
                            for (n, (row, value)) in values.enumerate() {
                                if nulls.is_valid(first + n) {
                                    row[*place] = *value;
                                }
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// A column's values.
fn numbers(column: &ArrayRef) -> Result<Float32Array, Problem> {
    if !column.data_type().is_numeric() && *column.data_type() != DataType::Null {
        let text = format!("a column holds {}, not numbers", column.data_type());
        return Err(unreadable(&text));
    }
    let column = cast(column, &DataType::Float32).map_err(|error| unreadable(&error))?;
    Ok(column.as_primitive::<Float32Type>().clone())
}

/// Where the columns belong; none is there twice.
fn places<'a>(names: impl Iterator<Item = &'a str>) -> Result<Vec<usize>, Problem> {
    let mut places = Vec::new();
    for name in names {
        let place = *PLACES.get(name).ok_or_else(|| unknown(name))?;
        if places.contains(&place) {
            return Err(unreadable(&format!("column {name} is there twice")));
        }
        places.push(place);
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::NAMES;

    #[test]
    fn every_format_gives_the_same_rows() {
        let json = format!("[{{\"{}\":1.5}},{{\"{}\":null}}]", NAMES[0], NAMES[1]);
        let csv = format!("{},{}\n,1.5\n,\n", NAMES[1], NAMES[0]);
        let rows = Rows::read(Format::Json, json.into()).unwrap();
        let same = Rows::read(Format::Csv, csv.into()).unwrap();
        assert_eq!(rows.len(), 2);
        let bits =
            |rows: &Rows| -> Vec<u32> { rows.values().iter().map(|n| n.to_bits()).collect() };
        assert_eq!(bits(&rows), bits(&same));
        assert_eq!(rows.values()[0], 1.5);
        assert!(rows.values()[1].is_nan());
    }

    /// Features × rows with values of their own, and nothing in every seventh place.
    fn arrow_of(rows: usize) -> Bytes {
        let columns = NAMES.iter().enumerate().map(|(place, name)| {
            let value =
                |n: usize| (!(n + place).is_multiple_of(7)).then_some((n * COUNT + place) as f32);
            let column = Float32Array::from_iter((0..rows).map(value));
            (*name, std::sync::Arc::new(column) as ArrayRef)
        });
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer =
            arrow::ipc::writer::StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap().into()
    }

    #[test]
    fn columns_become_rows_whatever_their_number() {
        for count in [1, AT_ONCE - 1, AT_ONCE, 3 * AT_ONCE + 5] {
            let rows = Rows::read(Format::ArrowStream, arrow_of(count)).unwrap();
            assert_eq!(rows.len(), count);
            for (n, value) in rows.values().iter().enumerate() {
                let missing = (n / COUNT + n % COUNT).is_multiple_of(7);
                assert!(
                    if missing {
                        value.is_nan()
                    } else {
                        *value == n as f32
                    },
                    "{n}"
                );
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_a_problem_that_says_why() {
        let read = |format, text: &str| {
            let problem = Rows::read(format, Bytes::copy_from_slice(text.as_bytes()));
            problem.unwrap_err().detail
        };
        assert!(read(Format::Json, "[{\"height\":1}]").contains("height"));
        assert!(read(Format::Csv, "height\n1\n").contains("height"));
        let csv = format!("{}\nx\n", NAMES[0]);
        assert!(read(Format::Csv, &csv).contains("line 2"));
        let csv = format!("{0},{0}\n1,2\n", NAMES[0]);
        assert!(read(Format::Csv, &csv).contains("twice"));
        for format in [Format::ArrowStream, Format::ArrowFile, Format::Parquet] {
            assert!(!read(format, "no such thing").is_empty());
        }
    }
}
