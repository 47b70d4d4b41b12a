//! JSON: one object a flow, its members in the order of the columns.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use super::columns::{self, Kind, Value};
use super::{Destination, OutputError, Rfc3339};
use crate::flow::Flow;

/// Writes JSON objects, as lines or as one array.
pub struct JsonWriter {
    destination: Destination,
    array: bool,
    first: bool,
    /// The object that is being put together.
    text: String,
}

impl JsonWriter {
    pub(super) fn lines(destination: Destination) -> Self {
        Self::new(destination, false)
    }

    pub(super) fn array(destination: Destination) -> Self {
        Self::new(destination, true)
    }

    fn new(destination: Destination, array: bool) -> Self {
        Self {
            destination,
            array,
            first: true,
            text: String::new(),
        }
    }

    pub(super) fn write(&mut self, flow: &Flow) -> Result<(), OutputError> {
        self.text.clear();
        if self.array {
            self.text.push_str(if self.first { "[\n" } else { ",\n" });
        }
        self.first = false;
        append(&mut self.text, flow);
        if !self.array {
            self.text.push('\n');
        }
        put(&mut self.destination, &self.text)
    }

    pub(super) fn finish(mut self) -> Result<(), OutputError> {
        if self.array {
            put(
                &mut self.destination,
                if self.first { "[]\n" } else { "\n]\n" },
            )?;
        }
        self.destination.finish()
    }
}

fn put(destination: &mut Destination, text: &str) -> Result<(), OutputError> {
    let result: io::Result<()> = destination.write_all(text.as_bytes());
    result.map_err(|cause| destination.failed(cause))
}

/// A flow's object.
#[must_use]
pub fn flow_object(flow: &Flow) -> String {
    let mut text = String::new();
    append(&mut text, flow);
    text
}

/// Writes a flow's object behind what `text` holds. Writing to a String cannot fail; the columns' names need no escape.
fn append(text: &mut String, flow: &Flow) {
    let mut separator = '{';
    for column in columns::all() {
        let _ = write!(text, "{separator}\"{}\":", column.name);
        separator = ',';
        match (column.get)(flow) {
            Value::Null => text.push_str("null"),
            Value::Number(n) if column.kind == Kind::Time => {
                text.push('"');
                Rfc3339(n).append(text);
                text.push('"');
            }
            Value::Number(n) => {
                let _ = write!(text, "{n}");
            }
            Value::Real(x) => {
                let _ = write!(text, "{x}");
            }
            Value::Address(address) => {
                let _ = write!(text, "\"{address}\"");
            }
            // Displaying a Value is serialization: it quotes and escapes.
            Value::Text(value) => {
                let _ = write!(text, "{}", serde_json::Value::from(value.as_ref()));
            }
        }
    }
    text.push('}');
}
