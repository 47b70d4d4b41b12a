//! Opening a file: what it is compressed with, and what it holds.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use flate2::read::MultiGzDecoder;

use super::TablesError;

/// Bytes read at a time.
const BUFFER_BYTES: usize = 1 << 18;
/// A byte-order mark, which some programs begin a text with.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Apache Parquet.
    Parquet,
    /// A log of Zeek's with `#fields`.
    Zeek,
    /// JSON, an object a line.
    Objects,
    /// One JSON array of objects.
    Array,
    /// Values with something between them and a header.
    Delimited,
}

/// Text, decompressed.
pub(super) type Bytes = BufReader<Box<dyn Read>>;

/// Opens a file.
pub(super) fn open(path: &Path) -> Result<(Bytes, Kind), TablesError> {
    let failed = |error: std::io::Error| TablesError::Read {
        path: path.to_owned(),
        cause: error.to_string(),
    };
    let mut stored = BufReader::new(File::open(path).map_err(failed)?);
    let head = stored.fill_buf().map_err(failed)?;
    if head.is_empty() {
        return Err(TablesError::Empty {
            path: path.to_owned(),
        });
    }
    let plain: Box<dyn Read> = match head {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(stored)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            Box::new(zstd::Decoder::with_buffer(stored).map_err(failed)?)
        }
        [b'P', b'A', b'R', b'1', ..] => {
            return Ok((BufReader::new(Box::new(stored)), Kind::Parquet));
        }
        _ => Box::new(stored),
    };
    let mut bytes = BufReader::with_capacity(BUFFER_BYTES, plain);
    if bytes.fill_buf().map_err(failed)?.starts_with(MARK) {
        bytes.consume(MARK.len());
    }
    let head = bytes.fill_buf().map_err(failed)?;
    let first = head.iter().find(|byte| !byte.is_ascii_whitespace());
    let kind = match first {
        None => {
            return Err(TablesError::Empty {
                path: path.to_owned(),
            });
        }
        Some(b'#') => Kind::Zeek,
        Some(b'{') => Kind::Objects,
        Some(b'[') => Kind::Array,
        Some(_) if head.iter().take(512).any(|byte| *byte == 0) => {
            return Err(TablesError::Read {
                path: path.to_owned(),
                cause: "it holds bytes that are no text".to_owned(),
            });
        }
        Some(_) => Kind::Delimited,
    };
    Ok((bytes, kind))
}
