//! The table for people. It is laid out as a whole, so it holds all its rows: limit them.

use std::io::Write as _;
use std::net::IpAddr;

use comfy_table::{CellAlignment, Table, presets};
use detector_common::record::{Direction, state};

use super::{Destination, OutputError, Rfc3339, units};
use crate::flow::{Flow, flag_letters, protocol};

const HEADER: [&str; 11] = [
    "FIRST (UTC)",
    "DURATION",
    "PROTOCOL",
    "SOURCE",
    "DESTINATION",
    "PACKETS OUT",
    "BACK",
    "BYTES OUT",
    "BACK",
    "FLAGS",
    "STATE",
];

/// Columns of numbers.
const RIGHT: [usize; 5] = [1, 5, 6, 7, 8];

/// Collects rows and prints them at the end.
pub struct TableWriter {
    destination: Destination,
    table: Table,
}

impl TableWriter {
    pub(super) fn new(destination: Destination) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(HEADER);
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
            if RIGHT.contains(&column.index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        Self { destination, table }
    }

    pub(super) fn write(&mut self, flow: &Flow) {
        self.table.add_row(row(flow));
    }

    pub(super) fn finish(mut self) -> Result<(), OutputError> {
        let result = self
            .table
            .lines()
            .try_for_each(|line| writeln!(self.destination, "{}", line.trim_end()));
        result.map_err(|cause| self.destination.failed(cause))?;
        self.destination.finish()
    }
}

fn row(flow: &Flow) -> [String; 11] {
    let record = &flow.record;
    let ((source, _), (destination, _)) = flow.endpoints();
    let (source, destination) = match (flow.ports(), flow.icmp()) {
        (Some((from, to)), _) => (with_port(source, from), with_port(destination, to)),
        (None, Some((kind, None))) => (source.to_string(), format!("{destination} type {kind}")),
        (None, Some((kind, Some(code)))) => (
            source.to_string(),
            format!("{destination} type {kind} code {code}"),
        ),
        (None, None) => (source.to_string(), destination.to_string()),
    };
    let counts = |direction: &Direction, bit: u32| {
        if record.state & bit == 0 {
            return ("-".to_owned(), "-".to_owned());
        }
        (
            units::count(direction.packets.into()),
            units::bytes(direction.bytes),
        )
    };
    let (packets_out, bytes_out) = counts(&record.forward, state::FORWARD_SEEN);
    let (packets_back, bytes_back) = counts(&record.backward, state::BACKWARD_SEEN);
    [
        first(flow),
        units::duration(record.last_us.into()),
        protocol::name(flow.protocol()).into_owned(),
        source,
        destination,
        packets_out,
        packets_back,
        bytes_out,
        bytes_back,
        flag_letters(flow.tcp_flags()),
        flow.state().name().to_owned(),
    ]
}

/// Date and time to the millisecond, apart.
fn first(flow: &Flow) -> String {
    let text = Rfc3339(flow.first_unix_us()).to_string();
    match text.split_at_checked(text.len() - 4) {
        Some((head, _)) => head.replacen('T', " ", 1),
        None => text,
    }
}

fn with_port(address: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}
