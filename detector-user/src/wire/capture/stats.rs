//! What a reader tells about its work.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How much of the stored file has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read of the file as it is stored.
    pub consumed: u64,
    /// Its length when it was opened; `None` for a pipe.
    pub total: Option<u64>,
}

/// What a reader has met so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureStats {
    /// Frames handed out.
    pub frames: u64,
    /// Packets passed over, by the number of their link type (see <https://www.tcpdump.org/linktypes.html>).
    pub skipped: BTreeMap<u16, u64>,
    /// Frames of which the capture holds only the beginning; the rest was handed out as zeros.
    pub truncated: u64,
    /// Frames whose original length is above [`FRAME_BYTES_MAX`](super::FRAME_BYTES_MAX) and was cut to it.
    pub clamped: u64,
    /// Whether the file ends in the middle of a record.
    pub cut_off: bool,
    /// The earliest and the latest time of a frame; captures are not always in order. `None` before the first frame.
    pub time_span_ns: Option<(u64, u64)>,
}

impl CaptureStats {
    #[inline]
    pub(super) fn count_frame(&mut self, time_ns: u64, truncated: bool, clamped: bool) {
        self.frames += 1;
        self.truncated += u64::from(truncated);
        self.clamped += u64::from(clamped);
        let (first, last) = self.time_span_ns.unwrap_or((time_ns, time_ns));
        self.time_span_ns = Some((first.min(time_ns), last.max(time_ns)));
    }

    pub(super) fn count_skipped(&mut self, link: u16) {
        // The key is 16 bits wide, which bounds the map.
        *self.skipped.entry(link).or_default() += 1;
    }

    /// The skipped packets in words, for an error message, which names the first few link types only.
    pub(super) fn skipped_summary(&self) -> String {
        const NAMED_MAX: usize = 5;
        let mut text = String::new();
        for (link, count) in self.skipped.iter().take(NAMED_MAX) {
            let separator = if text.is_empty() { "" } else { ", " };
            // Writing to a String cannot fail.
            let _ = write!(text, "{separator}{count} of link type {link}");
        }
        if self.skipped.len() > NAMED_MAX {
            text.push_str(", …");
        }
        text
    }
}
