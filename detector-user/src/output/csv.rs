//! CSV (RFC 4180) with a header line; a field that does not apply is empty.

use std::fmt::Write as _;

use csv::{ErrorKind, Writer};

use super::columns::{self, Kind, Value};
use super::{Destination, OutputError, Rfc3339};
use crate::flow::Flow;

/// Writes CSV records.
pub struct CsvWriter {
    writer: Writer<Destination>,
    /// The destination's name, which the writer hides.
    place: String,
    field: String,
}

impl CsvWriter {
    pub(super) fn new(destination: Destination) -> Result<Self, OutputError> {
        let place = destination.place().to_owned();
        let mut writer = Writer::from_writer(destination);
        writer
            .write_record(columns::all().map(|column| column.name))
            .map_err(|error| failed(&place, error))?;
        Ok(Self {
            writer,
            place,
            field: String::new(),
        })
    }

    pub(super) fn write(&mut self, flow: &Flow) -> Result<(), OutputError> {
        self.record(flow)
            .map_err(|error| failed(&self.place, error))
    }

    fn record(&mut self, flow: &Flow) -> csv::Result<()> {
        for column in columns::all() {
            self.field.clear();
            // Writing to a String cannot fail.
            match (column.get)(flow) {
                Value::Null => {}
                Value::Number(n) if column.kind == Kind::Time => Rfc3339(n).append(&mut self.field),
                Value::Number(n) => {
                    let _ = write!(self.field, "{n}");
                }
                Value::Real(x) => {
                    let _ = write!(self.field, "{x}");
                }
                Value::Address(address) => {
                    let _ = write!(self.field, "{address}");
                }
                Value::Text(text) => self.field.push_str(&text),
            }
            self.writer.write_field(&self.field)?;
        }
        self.writer.write_record(None::<&[u8]>)
    }

    pub(super) fn finish(self) -> Result<(), OutputError> {
        let Self { writer, place, .. } = self;
        let destination = writer
            .into_inner()
            .map_err(|error| OutputError::write(&place, error.into_error()))?;
        destination.finish()
    }
}

fn failed(place: &str, error: csv::Error) -> OutputError {
    let cause = match error.into_kind() {
        ErrorKind::Io(cause) => cause,
        other => std::io::Error::other(format!("{other:?}")),
    };
    OutputError::write(place, cause)
}
