//! The lines of a text, numbered, with a sign of life now and then.

use std::{io::BufRead as _, path::Path};

use super::{TablesError, open::Bytes};

/// Rows between two signs of life.
pub(super) const PROGRESS_ROWS: u64 = 4096;

/// Reads a file's lines, one at a time.
pub(super) struct Lines<'a> {
    path: &'a Path,
    bytes: Bytes,
    progress: &'a dyn Fn(u64),
    line: Vec<u8>,
    number: u64,
}

impl<'a> Lines<'a> {
    pub(super) fn new(path: &'a Path, bytes: Bytes, progress: &'a dyn Fn(u64)) -> Self {
        Self {
            path,
            bytes,
            progress,
            line: Vec::new(),
            number: 0,
        }
    }

    /// The next line with its end, and its number from 1.
    pub(super) fn next(&mut self) -> Result<Option<(u64, &[u8])>, TablesError> {
        self.line.clear();
        let length = self
            .bytes
            .read_until(b'\n', &mut self.line)
            .map_err(|error| TablesError::Read {
                path: self.path.to_owned(),
                cause: error.to_string(),
            })?;
        if length == 0 {
            return Ok(None);
        }
        self.number += 1;
        if self.number.is_multiple_of(PROGRESS_ROWS) {
            (self.progress)(PROGRESS_ROWS);
        }
        Ok(Some((self.number, &self.line)))
    }
}
