//! Capture files: pcap and pcapng, plain or compressed, read as Ethernet frames of wire length.
//!
//! Whatever link type the capture was taken on, a caller sees what the kernel program would have seen on an Ethernet
//! interface, so that replay and live traffic go through the same code:
//!
//! - a packet captured without a link header (RAW, LINUX_SLL, NULL, …) gets an Ethernet header with zero addresses;
//! - a packet cut by the snap length is continued with zeros to its original length, because byte counts are features.
//!
//! A file is untrusted input: memory is bounded by the constants below whatever its length fields claim, and each
//! length, interface number and time resolution is checked before it is used.
//!
//! The file is read in chunks, not mapped: a mapped file that another process truncates kills the reader with SIGBUS,
//! a pipe cannot be mapped, and reading keeps up (see `tests/speed.rs`).

mod error;
mod input;
mod link;
mod pcap;
mod pcapng;
mod record;
mod stats;
#[cfg(test)]
mod tests;
mod window;

pub use error::{CaptureError, Fault};
pub use stats::{CaptureStats, Progress};

use std::path::Path;

use input::Input;
use link::{EthernetScratch, Link};
use pcap::PcapRecords;
use pcapng::PcapngBlocks;
use record::Record;
use window::Window;

/// The longest frame that is handed out. A frame whose header claims a longer original length is cut to this and
/// counted in [`CaptureStats::clamped`]. It is libpcap's largest snap length, so no honest capture reaches it.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;

/// One frame as it was on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// When it was captured, in nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// An Ethernet frame of the length it had on the wire.
    pub bytes: &'a [u8],
}

/// The two file formats.
enum Format {
    Pcap(PcapRecords),
    Pcapng(PcapngBlocks),
}

/// Reads the frames of one capture file in file order.
pub struct CaptureReader {
    window: Window,
    format: Format,
    scratch: EthernetScratch,
    stats: CaptureStats,
    /// Set at the end of the file and after an error: what follows a broken record has no known beginning.
    done: bool,
}

impl CaptureReader {
    /// Opens a capture and reads its file header.
    ///
    /// The format and the compression (gzip, Zstandard) are told by the file's first bytes, not by its name.
    ///
    /// # Errors
    ///
    /// Where the file cannot be opened or is not a capture that this reader knows.
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        let mut window = Window::new(path, Input::open(path)?);
        let format = match window.peek_magic()? {
            pcapng::MAGIC => Format::Pcapng(PcapngBlocks::open(&mut window)?),
            _ => Format::Pcap(PcapRecords::open(&mut window)?),
        };
        Ok(Self {
            window,
            format,
            scratch: EthernetScratch::new(),
            stats: CaptureStats::default(),
            done: false,
        })
    }

    /// Hands out the next frame; `None` at the end of the file.
    ///
    /// Packets of link types that cannot be made an Ethernet frame are passed over and counted in
    /// [`CaptureStats::skipped`]. After an error there is nothing more to read: the next call says `None`.
    ///
    /// # Errors
    ///
    /// Where the file is broken, cannot be read, or ends in the middle of a record. The last is
    /// [`CaptureError::CutOff`]: all frames before it were handed out, so a caller may treat it as a warning.
    #[inline]
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, CaptureError> {
        let record = loop {
            if self.done {
                return Ok(None);
            }
            let next = match &mut self.format {
                Format::Pcap(records) => records.next(&mut self.window),
                Format::Pcapng(blocks) => blocks.next(&mut self.window),
            };
            match next {
                Ok(Some(Record {
                    link: Link::Unsupported(number),
                    ..
                })) => self.stats.count_skipped(number),
                Ok(Some(record)) => break record,
                Ok(None) => return self.finish(None),
                Err(error) => return self.finish(Some(error)),
            }
        };
        let captured = self.window.taken(record.at, record.captured);
        let length_wire = record
            .link
            .length_on_wire(record.original.max(captured.len()));
        self.stats.count_frame(
            record.time_ns,
            captured.len() < record.original,
            length_wire > FRAME_BYTES_MAX,
        );
        let bytes = if record.link == Link::Ethernet && length_wire == captured.len() {
            captured
        } else {
            self.scratch.frame(record.link, captured, length_wire)
        };
        Ok(Some(Frame {
            time_ns: record.time_ns,
            bytes,
        }))
    }

    /// How far reading is, in bytes of the file as it is stored (compressed, where it is).
    ///
    /// Reading runs ahead of [`next_frame`](Self::next_frame) by at most one buffer.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.window.input().progress()
    }

    /// What was read so far.
    #[must_use]
    pub fn stats(&self) -> &CaptureStats {
        &self.stats
    }

    /// Ends reading, normally or with `error`. A file in which no packet could be used is an error of its own, and it
    /// goes before the file being cut off: with nothing read, the latter could not be a mere warning.
    #[cold]
    fn finish(&mut self, error: Option<CaptureError>) -> Result<Option<Frame<'_>>, CaptureError> {
        self.done = true;
        self.stats.cut_off = error.as_ref().is_some_and(CaptureError::is_cut_off);
        match error {
            Some(error) if !error.is_cut_off() => Err(error),
            _ if self.stats.frames == 0 && !self.stats.skipped.is_empty() => {
                Err(CaptureError::OnlyUnsupportedLinks {
                    path: self.window.path().to_owned(),
                    links: self.stats.skipped_summary(),
                })
            }
            Some(error) => Err(error),
            None => Ok(None),
        }
    }
}
