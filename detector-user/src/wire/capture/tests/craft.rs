//! Capture files made of bytes.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::wire::capture::record::ByteOrder;
use crate::wire::capture::{CaptureError, CaptureReader, CaptureStats};

pub(super) const LITTLE: ByteOrder = ByteOrder::Little;
pub(super) const BIG: ByteOrder = ByteOrder::Big;

pub(super) const MICRO: u32 = 0xa1b2_c3d4;
pub(super) const NANO: u32 = 0xa1b2_3c4d;

/// Code and value.
pub(super) type InterfaceOption<'a> = (u16, &'a [u8]);

/// Bytes with numbers in one byte order.
#[derive(Clone)]
pub(super) struct Bytes {
    pub(super) order: ByteOrder,
    pub(super) bytes: Vec<u8>,
}

impl Bytes {
    pub(super) fn new(order: ByteOrder) -> Self {
        Self {
            order,
            bytes: Vec::new(),
        }
    }

    pub(super) fn u16(mut self, number: u16) -> Self {
        self.bytes.extend(match self.order {
            ByteOrder::Little => number.to_le_bytes(),
            ByteOrder::Big => number.to_be_bytes(),
        });
        self
    }

    pub(super) fn u32(mut self, number: u32) -> Self {
        self.bytes.extend(match self.order {
            ByteOrder::Little => number.to_le_bytes(),
            ByteOrder::Big => number.to_be_bytes(),
        });
        self
    }

    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    /// A pcap file header.
    pub(super) fn pcap(order: ByteOrder, magic: u32, link: u32) -> Self {
        Self::new(order)
            .u32(magic)
            .u16(2)
            .u16(4)
            .u32(0)
            .u32(0)
            .u32(65_535)
            .u32(link)
    }

    /// A pcap record.
    pub(super) fn record(
        self,
        seconds: u32,
        fraction: u32,
        captured: &[u8],
        original: u32,
    ) -> Self {
        self.u32(seconds)
            .u32(fraction)
            .u32(captured.len() as u32)
            .u32(original)
            .raw(captured)
    }

    /// A pcapng block, its content padded.
    pub(super) fn block(self, kind: u32, content: Self) -> Self {
        let mut content = content.bytes;
        content.resize(content.len().next_multiple_of(4), 0);
        let length = content.len() as u32 + 12;
        self.u32(kind).u32(length).raw(&content).u32(length)
    }

    /// A pcapng section header, in the byte order of these bytes.
    pub(super) fn section(self) -> Self {
        let content = Self::new(self.order)
            .u32(0x1a2b_3c4d)
            .u16(1)
            .u16(0)
            .raw(&[0xff; 8]);
        self.block(0x0a0d_0d0a, content)
    }

    /// A pcapng interface description.
    pub(super) fn interface(
        self,
        link: u16,
        snap_length: u32,
        options: &[InterfaceOption<'_>],
    ) -> Self {
        let mut content = Self::new(self.order).u16(link).u16(0).u32(snap_length);
        for (code, value) in options {
            content = content.u16(*code).u16(value.len() as u16).raw(value);
            content
                .bytes
                .resize(content.bytes.len().next_multiple_of(4), 0);
        }
        if !options.is_empty() {
            content = content.u32(0);
        }
        self.block(1, content)
    }

    /// A pcapng enhanced packet.
    pub(super) fn enhanced(
        self,
        interface: u32,
        ticks: u64,
        captured: &[u8],
        original: u32,
    ) -> Self {
        let content = Self::new(self.order)
            .u32(interface)
            .u32((ticks >> 32) as u32)
            .u32(ticks as u32)
            .u32(captured.len() as u32)
            .u32(original)
            .raw(captured);
        self.block(6, content)
    }

    /// A pcapng simple packet.
    pub(super) fn simple(self, captured: &[u8], original: u32) -> Self {
        let content = Self::new(self.order).u32(original).raw(captured);
        self.block(3, content)
    }
}

/// An Ethernet frame whose bytes tell its number.
pub(super) fn ethernet(number: u8, length: usize) -> Vec<u8> {
    let mut frame: Vec<u8> = (0..length)
        .map(|at| (at as u8).wrapping_mul(31) ^ number)
        .collect();
    if length >= 14 {
        frame[12..14].copy_from_slice(&[0x08, 0x00]);
    }
    frame
}

/// What a whole reading gives: the frames, how it ended, and the counts.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) frames: Vec<(u64, Vec<u8>)>,
    pub(super) end: Result<(), CaptureError>,
    pub(super) stats: CaptureStats,
}

/// A file of these bytes, which lives as long as the folder.
pub(super) fn file(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

pub(super) fn open_error(bytes: &[u8]) -> CaptureError {
    let (_folder, path) = file(bytes);
    CaptureReader::open(&path).err().unwrap()
}

/// Reads a file of these bytes, whose header must be good, to its end.
pub(super) fn read(bytes: &[u8]) -> Reading {
    let (_folder, path) = file(bytes);
    read_on(CaptureReader::open(&path).unwrap())
}

pub(super) fn read_on(mut reader: CaptureReader) -> Reading {
    let mut frames = Vec::new();
    let end = loop {
        match reader.next_frame() {
            Ok(Some(frame)) => frames.push((frame.time_ns, frame.bytes.to_vec())),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    assert!(
        reader.next_frame().unwrap().is_none(),
        "the end is not the end"
    );
    let stats = reader.stats().clone();
    assert_eq!(stats.frames, frames.len() as u64);
    Reading { frames, end, stats }
}

/// Reads a file of these bytes, which must be good.
pub(super) fn frames(bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let reading = read(bytes);
    reading.end.unwrap();
    reading.frames
}
