//! A window of fixed size over the capture's content, in which each record lies in one piece.

use std::io::{self, Read};
use std::path::Path;

use super::CaptureError;
use super::input::Input;
use super::record::Record;

/// The most that can be asked for at once, hence the largest record that can be read.
pub(super) const WINDOW_BYTES: usize = 1024 * 1024;

/// How much is read at a time: few enough bytes to be still in the L2 cache when they are parsed.
const CHUNK_BYTES: usize = 128 * 1024;

/// Reads the content forward. A position in it stays valid until [`ensure`](Self::ensure) has to read on.
pub(super) struct Window {
    path: Box<Path>,
    input: Input,
    buffer: Box<[u8]>,
    /// The first byte not yet taken.
    start: usize,
    /// The end of what was read.
    end: usize,
    /// The content's offset of the buffer's first byte.
    base: u64,
    /// Whether the input has ended.
    ended: bool,
    /// Whether it ended within the compressed data, so that content is missing though a record ends there.
    torn: bool,
}

impl Window {
    pub(super) fn new(path: &Path, input: Input) -> Self {
        Self {
            path: path.into(),
            input,
            buffer: vec![0; WINDOW_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            base: 0,
            ended: false,
            torn: false,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn input(&self) -> &Input {
        &self.input
    }

    /// The content's offset of the next byte.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.start as u64
    }

    /// The first four bytes of the content, which tell the format.
    pub(super) fn peek_magic(&mut self) -> Result<[u8; 4], CaptureError> {
        if self.ensure(4)?
            && let Some(magic) = self.pending().first_chunk()
        {
            return Ok(*magic);
        }
        Err(if self.pending().is_empty() && !self.torn {
            CaptureError::Empty {
                path: self.path.to_path_buf(),
            }
        } else {
            self.header_cut_off()
        })
    }

    /// Reads on until `count` bytes are pending; false where the content ends before.
    #[inline]
    pub(super) fn ensure(&mut self, count: usize) -> Result<bool, CaptureError> {
        if self.end - self.start >= count {
            return Ok(true);
        }
        self.read_on(count)
    }

    /// What was read and not yet taken.
    #[inline]
    pub(super) fn pending(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Takes `count` pending bytes and says at what position they lie.
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> usize {
        debug_assert!(count <= self.end - self.start);
        let at = self.start;
        self.start += count;
        at
    }

    /// Bytes that were taken and are still in the window.
    #[inline]
    pub(super) fn taken(&self, at: usize, length: usize) -> &[u8] {
        &self.buffer[at..at + length]
    }

    /// Passes over `count` bytes, however many they are; false where the content ends before.
    pub(super) fn skip(&mut self, mut count: usize) -> Result<bool, CaptureError> {
        loop {
            let step = count.min(self.end - self.start);
            self.start += step;
            count -= step;
            if count == 0 {
                return Ok(true);
            }
            if !self.ensure(1)? {
                return Ok(false);
            }
        }
    }

    /// What the end of the content means to a reader that looked for record `record` at `offset`.
    pub(super) fn end_of_records(
        &self,
        record: u64,
        offset: u64,
    ) -> Result<Option<Record>, CaptureError> {
        if offset == self.end_offset() && !self.torn {
            return Ok(None);
        }
        Err(CaptureError::CutOff {
            path: self.path.to_path_buf(),
            record,
            offset,
            end: self.end_offset(),
        })
    }

    pub(super) fn header_cut_off(&self) -> CaptureError {
        CaptureError::HeaderCutOff {
            path: self.path.to_path_buf(),
            length: self.end_offset(),
        }
    }

    fn end_offset(&self) -> u64 {
        self.base + self.end as u64
    }

    #[cold]
    fn read_on(&mut self, count: usize) -> Result<bool, CaptureError> {
        debug_assert!(count <= WINDOW_BYTES);
        self.buffer.copy_within(self.start..self.end, 0);
        self.base += self.start as u64;
        self.end -= self.start;
        self.start = 0;
        while self.end < count && !self.ended {
            let limit = self.buffer.len().min(count.max(self.end + CHUNK_BYTES));
            match self.input.read(&mut self.buffer[self.end..limit]) {
                Ok(0) => self.ended = true,
                Ok(read) => self.end += read,
                Err(error) => self.note_failure(error)?,
            }
        }
        Ok(self.end >= count)
    }

    fn note_failure(&mut self, cause: io::Error) -> Result<(), CaptureError> {
        let compressed = self.input.is_compressed();
        let path = || self.path.to_path_buf();
        let offset = self.end_offset();
        match cause.kind() {
            io::ErrorKind::Interrupted => Ok(()),
            io::ErrorKind::UnexpectedEof if compressed => {
                self.ended = true;
                self.torn = true;
                Ok(())
            }
            // Decompressors report broken data as one of these three; the system reports I/O errors by number.
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::Other
                if compressed && cause.raw_os_error().is_none() =>
            {
                Err(CaptureError::Decompress {
                    path: path(),
                    offset,
                    cause,
                })
            }
            _ => Err(CaptureError::Read {
                path: path(),
                offset,
                cause,
            }),
        }
    }
}
