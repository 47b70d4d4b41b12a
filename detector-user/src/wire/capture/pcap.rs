//! The classic pcap format: a file header of 24 bytes, then records of a 16-byte header and the captured bytes.
//!
//! The file header is left to pcap-parser. Record headers are read here, because this is the replay's fastest path and
//! they are four numbers.

use pcap_parser::parse_pcap_header;

use super::link::Link;
use super::record::{ByteOrder, Record};
use super::window::Window;
use super::{CaptureError, FRAME_BYTES_MAX, Fault};

const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;

/// The one version in use since 1998. Versions 2.0 to 2.3 differ in having the two lengths the other way round.
const VERSION_MAJOR: u16 = 2;
const VERSION_MINOR: u16 = 4;
const VERSIONS: &str = "2.0 to 2.4";

/// Reads the records of a pcap file.
pub(super) struct PcapRecords {
    order: ByteOrder,
    /// Nanoseconds in a unit of the time stamp's second half.
    fraction_ns: u64,
    lengths_swapped: bool,
    link: Link,
    /// Records begun.
    count: u64,
}

impl PcapRecords {
    /// Reads the file header.
    pub(super) fn open(window: &mut Window) -> Result<Self, CaptureError> {
        let magic = window.peek_magic()?;
        if !recognized(magic) {
            return Err(unknown_format(window, magic));
        }
        if !window.ensure(FILE_HEADER)? {
            return Err(window.header_cut_off());
        }
        let Ok((_, header)) = parse_pcap_header(window.pending()) else {
            return Err(unknown_format(window, magic));
        };
        if header.version_major != VERSION_MAJOR || header.version_minor > VERSION_MINOR {
            return Err(CaptureError::Version {
                path: window.path().to_owned(),
                offset: 0,
                major: header.version_major,
                minor: header.version_minor,
                supported: VERSIONS,
            });
        }
        window.take(FILE_HEADER);
        Ok(Self {
            order: if header.is_bigendian() {
                ByteOrder::Big
            } else {
                ByteOrder::Little
            },
            fraction_ns: if header.is_nanosecond_precision() {
                1
            } else {
                1_000
            },
            lengths_swapped: header.version_minor < VERSION_MINOR,
            // The upper half says how long the frame check sequence is, not what the link is.
            link: Link::from_number(header.network.0 as u16),
            count: 0,
        })
    }

    /// The next record; `None` at the end of the file.
    #[inline]
    pub(super) fn next(&mut self, window: &mut Window) -> Result<Option<Record>, CaptureError> {
        self.count += 1;
        if !window.ensure(RECORD_HEADER)? {
            return window.end_of_records(self.count, window.offset());
        }
        let header = &window.pending()[..RECORD_HEADER];
        let seconds = self.order.u32(header, 0);
        let fraction = self.order.u32(header, 4);
        let mut captured = self.order.u32(header, 8);
        let mut original = self.order.u32(header, 12);
        if self.lengths_swapped && captured > original {
            // Files of these versions exist with the lengths either way round; the shorter is what was captured.
            (captured, original) = (original, captured);
        }
        let length = captured as usize;
        if length > FRAME_BYTES_MAX {
            return Err(self.too_long(window, length));
        }
        if !window.ensure(RECORD_HEADER + length)? {
            return window.end_of_records(self.count, window.offset());
        }
        let at = window.take(RECORD_HEADER + length) + RECORD_HEADER;
        // Two u32, of which the first is multiplied by 10^9 and the second by at most 10^3, cannot overflow a u64.
        let time_ns = u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * self.fraction_ns;
        Ok(Some(Record {
            time_ns,
            at,
            captured: length,
            original: original as usize,
            link: self.link,
        }))
    }

    #[cold]
    fn too_long(&self, window: &Window, captured: usize) -> CaptureError {
        CaptureError::Malformed {
            path: window.path().to_owned(),
            record: self.count,
            offset: window.offset(),
            fault: Fault::CapturedLength {
                captured,
                limit: FRAME_BYTES_MAX,
            },
        }
    }
}

/// Whether this is the magic of a pcap file, with micro- or nanoseconds, in either byte order. The library would take
/// that of modified pcap too, whose record headers are longer.
fn recognized(magic: [u8; 4]) -> bool {
    let number = u32::from_le_bytes(magic);
    [number, number.swap_bytes()]
        .iter()
        .any(|number| matches!(number, 0xa1b2_c3d4 | 0xa1b2_3c4d))
}

/// Names the format that `magic` belongs to, as far as it is one that people mistake for a capture readable here.
fn unknown_format(window: &Window, magic: [u8; 4]) -> CaptureError {
    const CONVERT: &str = "convert it with: editcap -F pcapng FILE OUT";
    const DECOMPRESS: &str = "decompress it first; gzip and Zstandard are read as they are";
    const UNPACK: &str = "unpack it and name a capture from it";
    let (format, remedy) = match magic {
        [0x34, 0xcd, 0xb2, 0xa1] | [0xa1, 0xb2, 0xcd, 0x34] => {
            ("modified (Kuznetzov) pcap", CONVERT)
        }
        [0x1c, 0x00, 0x01, 0xab | 0xac] | [0xab | 0xac, 0x01, 0x00, 0x1c] => ("IXIA lcap", CONVERT),
        [b's', b'n', b'o', b'o'] => ("Sun snoop", CONVERT),
        [b'G', b'M', b'B', b'U'] | [b'R', b'T', b'S', b'S'] => {
            ("Microsoft Network Monitor", CONVERT)
        }
        [0xfd, b'7', b'z', b'X'] => ("xz compression", DECOMPRESS),
        [b'B', b'Z', b'h', _] => ("bzip2 compression", DECOMPRESS),
        [0x04, 0x22, 0x4d, 0x18] => ("lz4 compression", DECOMPRESS),
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd] => ("a file compressed twice", DECOMPRESS),
        [b'P', b'K', 3, 4] => ("a zip archive", UNPACK),
        [b'7', b'z', 0xbc, 0xaf] => ("a 7z archive", UNPACK),
        _ => (
            "no known format",
            "give a pcap or pcapng file, plain or compressed with gzip or Zstandard",
        ),
    };
    CaptureError::Format {
        path: window.path().to_owned(),
        magic,
        format,
        remedy,
    }
}
