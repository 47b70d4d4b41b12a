//! Values with a comma, a semicolon or a tab between them, under a header.

use std::{
    io::{BufRead as _, BufReader, Cursor, Read as _},
    path::Path,
};

use csv::{ByteRecord, ReaderBuilder};

use super::{Gathered, TablesError, column::Cell, lines::PROGRESS_ROWS, open::Bytes};

pub(super) fn read(
    path: &Path,
    mut bytes: Bytes,
    gathered: &mut Gathered,
    progress: &dyn Fn(u64),
) -> Result<(), TablesError> {
    let failed = |cause: String| TablesError::Read {
        path: path.to_owned(),
        cause,
    };
    let mut first = Vec::new();
    bytes
        .read_until(b'\n', &mut first)
        .map_err(|error| failed(error.to_string()))?;
    let delimiter = delimiter(&first);
    let whole = BufReader::new(Cursor::new(first).chain(bytes));
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .from_reader(whole);
    let mut record = ByteRecord::new();
    let broken = |error: csv::Error| failed(error.to_string());
    if !reader.read_byte_record(&mut record).map_err(broken)? {
        return Err(TablesError::Empty {
            path: path.to_owned(),
        });
    }
    let header: Vec<String> = record
        .iter()
        .map(|name| String::from_utf8_lossy(name).trim().to_owned())
        .collect();
    let targets = gathered.targets(path, &header)?;
    let header_record = record.clone();
    let mut rows = 0;
    loop {
        if !reader.read_byte_record(&mut record).map_err(broken)? {
            return Ok(());
        }
        rows += 1;
        if rows % PROGRESS_ROWS == 0 {
            progress(PROGRESS_ROWS);
        }
        // The reader does not count lines within quotes otherwise than others.
        let line = record.position().map_or(0, csv::Position::line);
        if record.len() != header.len() {
            let cause = format!(
                "the row has {} values where the header has {}",
                record.len(),
                header.len()
            );
            gathered.bad(path, line, &cause)?;
            continue;
        }
        if record == header_record {
            gathered.bad(path, line, "the header again")?;
            continue;
        }
        let text: Vec<std::borrow::Cow<'_, str>> =
            record.iter().map(String::from_utf8_lossy).collect();
        gathered.row(
            path,
            line,
            &targets,
            text.iter().map(|text| Cell::of(text)),
            |at| text.get(at).map(AsRef::as_ref),
        )?;
    }
}

/// What stands most often between the names of the header.
fn delimiter(header: &[u8]) -> u8 {
    let count = |of: u8| header.iter().filter(|byte| **byte == of).count();
    let mut best = b',';
    for other in [b'\t', b';', b'|'] {
        if count(other) > count(best) {
            best = other;
        }
    }
    best
}
