//! Why a capture cannot be read.

use std::io;
use std::path::PathBuf;

/// Why a capture file cannot be opened or read on.
///
/// The cause is part of the message, not a `source`, so that printing the chain does not say it twice. Byte offsets of
/// a compressed file are those of its decompressed content.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The system refused to open the file.
    #[error("cannot open capture file {path}: {cause}; {remedy}")]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        cause: io::Error,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The path names a directory.
    #[error("cannot read {path} as a capture: it is a directory; name a file in it")]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// The file has no bytes.
    #[error(
        "cannot read {path} as a capture: it is empty; a capture begins with a file header even where it holds no \
         packet, so the capturing program was probably stopped before it wrote anything: capture again"
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file ends before its file header is complete.
    #[error(
        "cannot read {path} as a capture: it ends at byte {length}, within its file header; copy or capture it again"
    )]
    HeaderCutOff {
        /// The file.
        path: PathBuf,
        /// Its length.
        length: u64,
    },
    /// The first bytes are those of no format that is read here.
    #[error(
        "cannot read {path} as a capture: its first bytes, {magic:02x?}, are those of {format}; {remedy}"
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// The first bytes.
        magic: [u8; 4],
        /// What they stand for.
        format: &'static str,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The system failed to read the file.
    #[error(
        "cannot read capture file {path} at byte {offset}: {cause}; check the disk or the mount it lies on"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// The system's answer.
        cause: io::Error,
    },
    /// The compressed data is broken.
    #[error(
        "cannot decompress {path} after byte {offset} of its content: {cause}; test the file with the tool that \
         compressed it (gzip -t, zstd -t), and copy it again"
    )]
    Decompress {
        /// The file.
        path: PathBuf,
        /// How much was decompressed before.
        offset: u64,
        /// The decompressor's answer.
        cause: io::Error,
    },
    /// The file ends in the middle of a record; what came before was handed out.
    #[error(
        "capture file {path} ends at byte {end}, in the middle of record {record}, which begins at byte {offset}; all \
         records before it were read; if it is not still being written, copy or capture it again to get the rest"
    )]
    CutOff {
        /// The file.
        path: PathBuf,
        /// The record's number (pcapng: the block's), counted from 1.
        record: u64,
        /// Where the record begins.
        offset: u64,
        /// Where the file ends.
        end: u64,
    },
    /// A record says something impossible about itself.
    #[error(
        "cannot read record {record} of {path}, which begins at byte {offset}: {fault}; the file is damaged there: \
         keep what comes before it (editcap -r FILE OUT 1-N) or capture it again"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The record's number (pcapng: the block's), counted from 1.
        record: u64,
        /// Where it begins.
        offset: u64,
        /// What is impossible.
        fault: Fault,
    },
    /// A version of the format that is not read here.
    #[error(
        "cannot read {path} from byte {offset} on: it is of version {major}.{minor} of its format, and {supported} is \
         read here; convert it with: editcap -F pcapng FILE OUT"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Where the header with the version begins.
        offset: u64,
        /// Before the dot.
        major: u16,
        /// After the dot.
        minor: u16,
        /// What is read.
        supported: &'static str,
    },
    /// The file has packets, but none of a link type that can be made an Ethernet frame.
    #[error(
        "cannot use any packet of {path}: it holds {links}; usable are Ethernet (1), LINUX_SLL (113), LINUX_SLL2 \
         (276), RAW (12, 14, 101, 228, 229), NULL (0) and LOOP (108): capture on an interface of one of these"
    )]
    OnlyUnsupportedLinks {
        /// The file.
        path: PathBuf,
        /// Packets by link type, in words.
        links: String,
    },
}

impl CaptureError {
    /// Whether the file merely ends too early, after records that were read.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        matches!(self, Self::CutOff { .. })
    }
}

/// What is impossible about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// More captured bytes than a packet can have.
    #[error("it claims {captured} captured bytes, and no packet has more than {limit}")]
    CapturedLength {
        /// The claim.
        captured: usize,
        /// The limit.
        limit: usize,
    },
    /// A block length that cannot be.
    #[error(
        "it claims a block of {length} bytes, which is not a multiple of 4 from {minimum} to {limit}"
    )]
    BlockLength {
        /// The claim.
        length: u32,
        /// The least that its type allows.
        minimum: usize,
        /// The most that is read of its type.
        limit: usize,
    },
    /// The two copies of the block length differ.
    #[error("its block length is {leading} before and {trailing} after its content")]
    BlockTrailer {
        /// The length before the content.
        leading: u32,
        /// The length after it.
        trailing: u32,
    },
    /// A packet longer than the block that holds it.
    #[error("its packet of {captured} captured bytes is longer than its block's {room}")]
    PacketInBlock {
        /// The claim.
        captured: usize,
        /// What the block holds.
        room: usize,
    },
    /// A packet of an interface that was not described.
    #[error(
        "it belongs to interface {interface}, and {described} interfaces are described before it"
    )]
    UndescribedInterface {
        /// The interface's number.
        interface: u32,
        /// How many are described.
        described: usize,
    },
    /// More interfaces than are kept.
    #[error("it describes one more interface than the {limit} that are read of a section")]
    TooManyInterfaces {
        /// The limit.
        limit: usize,
    },
    /// A time resolution finer than can be.
    #[error("its interface counts time in units of 10^-{exponent} s, finer than any clock")]
    TimeResolution {
        /// The negative power of ten.
        exponent: u8,
    },
    /// A section header whose byte order is neither.
    #[error("its section header's byte-order magic is {magic:02x?}")]
    ByteOrder {
        /// The bytes.
        magic: [u8; 4],
    },
    /// A section header or interface description that the pcapng parser refuses.
    #[error("its {block} block is not readable")]
    Unparsable {
        /// The block's name.
        block: &'static str,
    },
}
