//! The file's bytes, decompressed where they are compressed.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::CaptureError;
use super::stats::Progress;

/// The largest window a Zstandard frame may ask for, as a power of two: the memory that decompression may take. It is
/// the limit of the `zstd` tool too, unless it is told `--long`.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// The capture's content. All three read the stored file through [`Stored`], which counts.
pub(super) enum Input {
    Plain(Stored),
    Gzip(Box<MultiGzDecoder<Stored>>),
    Zstd(Box<zstd::Decoder<'static, BufReader<Stored>>>),
}

impl Input {
    pub(super) fn open(path: &Path) -> Result<Self, CaptureError> {
        let failed = |cause: io::Error| CaptureError::Open {
            path: path.to_owned(),
            remedy: remedy(cause.kind()),
            cause,
        };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        // On Linux a directory can be opened, and only reading it fails.
        if metadata.is_dir() {
            return Err(CaptureError::Directory {
                path: path.to_owned(),
            });
        }
        let mut stored = Stored {
            file,
            head: Head::default(),
            consumed: 0,
            total: metadata.is_file().then_some(metadata.len()),
        };
        stored.read_head().map_err(|cause| CaptureError::Read {
            path: path.to_owned(),
            offset: 0,
            cause,
        })?;
        match stored.head.bytes {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip(Box::new(MultiGzDecoder::new(stored)))),
            // A Zstandard frame, or a skippable one, with which pzstd's files begin.
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
                let mut decoder = zstd::Decoder::new(stored).map_err(failed)?;
                decoder
                    .window_log_max(ZSTD_WINDOW_LOG_MAX)
                    .map_err(failed)?;
                Ok(Self::Zstd(Box::new(decoder)))
            }
            _ => Ok(Self::Plain(stored)),
        }
    }

    pub(super) fn is_compressed(&self) -> bool {
        !matches!(self, Self::Plain(_))
    }

    pub(super) fn progress(&self) -> Progress {
        let stored = match self {
            Self::Plain(stored) => stored,
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Zstd(decoder) => decoder.get_ref().get_ref(),
        };
        Progress {
            consumed: stored.consumed,
            total: stored.total,
        }
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stored) => stored.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

fn remedy(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::NotFound => "check the path for a typing error",
        io::ErrorKind::PermissionDenied => {
            "make it readable for this user (chmod, chown), or run as a user who may read it"
        }
        _ => "check the path and the file system it lies on",
    }
}

/// The file as it is stored, with its first bytes, which tell the compression, put back in front.
pub(super) struct Stored {
    file: File,
    head: Head,
    consumed: u64,
    total: Option<u64>,
}

/// The first bytes, read before anyone asked for them; a pipe cannot be rewound.
#[derive(Default)]
struct Head {
    bytes: [u8; 4],
    length: usize,
    handed_out: usize,
}

impl Stored {
    fn read_head(&mut self) -> io::Result<()> {
        while self.head.length < self.head.bytes.len() {
            match self.file.read(&mut self.head.bytes[self.head.length..]) {
                Ok(0) => break,
                Ok(count) => self.head.length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Read for Stored {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let head = &self.head.bytes[self.head.handed_out..self.head.length];
        let count = if head.is_empty() {
            self.file.read(buffer)?
        } else {
            let count = head.len().min(buffer.len());
            buffer[..count].copy_from_slice(&head[..count]);
            self.head.handed_out += count;
            count
        };
        self.consumed += count as u64;
        Ok(count)
    }
}
