//! JSON objects: this project's flow logs, Zeek's JSON logs, EVE events of type `flow`.

use std::{collections::HashMap, path::Path};

use serde_json::{Map, Value};

use super::{
    Gathered, Place, TablesError,
    column::Cell,
    gather::{Own, Target},
    lines::Lines,
    open::Bytes,
};

/// Objects of one file. Their members may differ from one to the next.
struct Reader<'a> {
    path: &'a Path,
    names: Vec<String>,
    places: HashMap<String, usize>,
    targets: Vec<Target>,
}

pub(super) fn read_lines(
    path: &Path,
    bytes: Bytes,
    gathered: &mut Gathered,
    progress: &dyn Fn(u64),
) -> Result<(), TablesError> {
    let mut reader = Reader::new(path);
    let mut lines = Lines::new(path, bytes, progress);
    while let Some((number, line)) = lines.next()? {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match serde_json::from_slice(line) {
            Ok(object) => reader.object(object, number, gathered)?,
            Err(error) => gathered.bad(path, number, &format!("no JSON object: {error}"))?,
        }
    }
    Ok(())
}

pub(super) fn read_array(
    path: &Path,
    bytes: Bytes,
    gathered: &mut Gathered,
) -> Result<(), TablesError> {
    let objects: Vec<Map<String, Value>> =
        serde_json::from_reader(bytes).map_err(|error| TablesError::Read {
            path: path.to_owned(),
            cause: format!("no JSON array of objects: {error}"),
        })?;
    let mut reader = Reader::new(path);
    for (number, object) in (1..).zip(objects) {
        reader.object(object, number, gathered)?;
    }
    Ok(())
}

impl<'a> Reader<'a> {
    fn new(path: &'a Path) -> Self {
        Self {
            path,
            names: Vec::new(),
            places: HashMap::new(),
            targets: Vec::new(),
        }
    }

    fn object(
        &mut self,
        object: Map<String, Value>,
        line: u64,
        gathered: &mut Gathered,
    ) -> Result<(), TablesError> {
        let event = object.get("event_type").and_then(Value::as_str);
        if event.is_some_and(|event| event != "flow") {
            gathered.other_events += 1;
            return Ok(());
        }
        let mut flat = Vec::new();
        flatten("", object, &mut flat);
        let known = self.names.len();
        for (name, _) in &flat {
            if !self.places.contains_key(name) {
                self.places.insert(name.clone(), self.names.len());
                self.names.push(name.clone());
            }
        }
        if self.names.len() > known {
            self.targets = gathered.targets(self.path, &self.names)?;
        }
        gathered.rows_read += 1;
        let mut own = Own {
            capture: gathered.file_capture(),
            time: f64::NAN,
            ..Own::default()
        };
        for (name, value) in &flat {
            let target = self.targets[self.places[name]];
            if !matches!(target, Target::Nowhere | Target::Feature(_)) && !value.is_null() {
                let text = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                gathered.own(&mut own, target, &text);
            }
        }
        if !gathered.take(own) {
            return Ok(());
        }
        let place = || Place {
            path: self.path.to_owned(),
            line,
        };
        let rows = gathered.rows();
        for (name, value) in &flat {
            if let Target::Feature(column) = self.targets[self.places[name]] {
                let column = &mut gathered.columns[column];
                column.pad(rows - 1);
                column.push(cell(value), place);
            }
        }
        Ok(())
    }
}

fn cell(value: &Value) -> Cell<'_> {
    match value {
        Value::Number(number) => number.as_f64().map_or(Cell::Missing, Cell::Number),
        Value::Bool(yes) => Cell::Number(f64::from(u8::from(*yes))),
        Value::String(text) => Cell::of(text),
        _ => Cell::Missing,
    }
}

/// Members of members, with a point between the names; lists are left out.
fn flatten(prefix: &str, object: Map<String, Value>, flat: &mut Vec<(String, Value)>) {
    for (name, value) in object {
        let name = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}.{name}")
        };
        match value {
            Value::Object(inner) => flatten(&name, inner, flat),
            Value::Array(_) => {}
            value => flat.push((name, value)),
        }
    }
}
