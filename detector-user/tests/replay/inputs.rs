//! Captures made for the tests, and replaying them.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use detector_user::cli::replay::{Args, ReplayError, Report, replay};
use detector_user::flow::{Account, Collector, Table};
use detector_user::wire::capture::CaptureReader;

use crate::plain::Records;

pub fn shared_captures() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/pcap");
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: {} is absent", path.display());
    None
}

pub fn args(files: &[&Path]) -> Args {
    Args {
        files: files.iter().map(|path| path.to_path_buf()).collect(),
        flows_max: 1 << 20,
        ..Args::default()
    }
}

pub fn run(args: &Args) -> Result<Report, ReplayError> {
    replay(args, Table::new(args.flows_max))
}

/// All flows of one capture, as far as it can be read.
pub fn collect(path: &Path) -> Option<(Records, Account, u64)> {
    let mut reader = CaptureReader::open(path).ok()?;
    let mut collector = Collector::new(Table::default());
    while let Ok(Some(frame)) = reader.next_frame() {
        collector.frame(frame.time_ns, frame.bytes).unwrap();
    }
    let (records, account) = collector.finish().unwrap();
    Some((records, account, reader.stats().frames))
}

/// A pcap file of Ethernet frames.
pub fn write_capture(path: &Path, frames: &[(u64, Vec<u8>)]) {
    let mut file = File::create(path).unwrap();
    let mut header = 0xa1b2_3c4d_u32.to_le_bytes().to_vec();
    header.extend([
        2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0,
    ]);
    file.write_all(&header).unwrap();
    for (time_ns, bytes) in frames {
        let fields = [
            (time_ns / 1_000_000_000) as u32,
            (time_ns % 1_000_000_000) as u32,
            bytes.len() as u32,
            bytes.len() as u32,
        ];
        for field in fields {
            file.write_all(&field.to_le_bytes()).unwrap();
        }
        file.write_all(bytes).unwrap();
    }
}

/// A TCP frame from or to client `n`.
pub fn tcp(n: u32, to_client: bool, flags: u8, payload: usize) -> Vec<u8> {
    let mut frame = vec![0; 54 + payload];
    frame[12] = 0x08;
    frame[14] = 0x45;
    frame[16..18].copy_from_slice(&((40 + payload) as u16).to_be_bytes());
    frame[23] = 6;
    let client = (0x0a00_0000 + n).to_be_bytes();
    let server = [192, 0, 2, 1];
    let client_port = (1024 + n as u16 % 50_000).to_be_bytes();
    let server_port = 443u16.to_be_bytes();
    let (from, to) = if to_client {
        ((server, server_port), (client, client_port))
    } else {
        ((client, client_port), (server, server_port))
    };
    frame[26..30].copy_from_slice(&from.0);
    frame[30..34].copy_from_slice(&to.0);
    frame[34..36].copy_from_slice(&from.1);
    frame[36..38].copy_from_slice(&to.1);
    frame[46] = 0x50;
    frame[47] = flags;
    frame[49] = 77;
    frame
}
