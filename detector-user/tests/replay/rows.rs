//! Flows read back from what was written.

use std::collections::HashMap;
use std::fs::{self, File};
use std::net::IpAddr;
use std::path::Path;

use arrow::array::AsArray;
use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use arrow::datatypes::{
    DataType, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use detector_common::{
    key::FlowKey,
    periods::Periods,
    record::{Direction, FlowRecord, RareFlags, state},
};
use detector_user::output::Format;

/// A flow as written: column to value; `None` for null. Times are µs.
pub type Row = HashMap<String, Option<String>>;

fn micros_of(text: &str) -> String {
    assert!(text.ends_with('Z') && text.len() == 27, "{text}");
    (string_to_timestamp_nanos(text).unwrap() / 1000).to_string()
}

fn with_times(mut row: Row) -> Row {
    for name in ["first_time", "last_time"] {
        let value = row.get_mut(name).unwrap();
        *value = value.as_deref().map(micros_of);
    }
    row
}

fn json_row(value: &serde_json::Value) -> Row {
    let row = value.as_object().unwrap().iter().map(|(name, value)| {
        let value = match value {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        (name.clone(), value)
    });
    with_times(row.collect())
}

pub fn read_rows(format: Format, path: &Path) -> Vec<Row> {
    match format {
        Format::Jsonl => fs::read_to_string(path)
            .unwrap()
            .lines()
            .map(|line| json_row(&serde_json::from_str(line).unwrap()))
            .collect(),
        Format::Json => {
            let value: serde_json::Value =
                serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            value.as_array().unwrap().iter().map(json_row).collect()
        }
        Format::Csv => csv::Reader::from_path(path)
            .unwrap()
            .deserialize::<HashMap<String, String>>()
            .map(|row| {
                let row = row.unwrap().into_iter();
                with_times(
                    row.map(|(k, v)| (k, (!v.is_empty()).then_some(v)))
                        .collect(),
                )
            })
            .collect(),
        Format::Parquet => parquet_rows(path),
        Format::Table => unreachable!(),
    }
}

fn parquet_rows(path: &Path) -> Vec<Row> {
    let file = File::open(path).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .build()
        .unwrap();
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.unwrap();
        let schema = batch.schema();
        for at in 0..batch.num_rows() {
            let cells = schema
                .fields()
                .iter()
                .zip(batch.columns())
                .map(|(field, column)| {
                    let value = match field.data_type() {
                        _ if column.is_null(at) => None,
                        DataType::Utf8 => Some(column.as_string::<i32>().value(at).to_owned()),
                        DataType::Timestamp(_, Some(zone)) if &**zone == "UTC" => Some(
                            column
                                .as_primitive::<TimestampMicrosecondType>()
                                .value(at)
                                .to_string(),
                        ),
                        DataType::UInt8 => {
                            Some(column.as_primitive::<UInt8Type>().value(at).to_string())
                        }
                        DataType::UInt16 => {
                            Some(column.as_primitive::<UInt16Type>().value(at).to_string())
                        }
                        DataType::UInt32 => {
                            Some(column.as_primitive::<UInt32Type>().value(at).to_string())
                        }
                        DataType::UInt64 => {
                            Some(column.as_primitive::<UInt64Type>().value(at).to_string())
                        }
                        other => panic!("{other}"),
                    };
                    (field.name().clone(), value)
                });
            rows.push(cells.collect());
        }
    }
    rows
}

/// The record and periods that a row was made of.
pub fn restore(row: &Row) -> (FlowRecord, Option<Periods>) {
    let text = |name: &str| row[name].as_deref().unwrap();
    let number =
        |name: &str| -> u64 { row[name].as_deref().map_or(0, |text| text.parse().unwrap()) };
    let gap = |name: &str, exists: bool| match row[name].as_deref() {
        Some(text) => text.parse().unwrap(),
        None if exists => u32::MAX,
        None => 0,
    };
    let ports = if row["icmp_type"].is_some() {
        let kind = number("icmp_type") as u8;
        let counterpart =
            detector_common::transport::icmp_counterpart(number("protocol") as u8, kind);
        (
            u16::from(kind),
            counterpart.map_or(number("icmp_code") as u16, u16::from),
        )
    } else {
        (
            number("source_port") as u16,
            number("destination_port") as u16,
        )
    };
    let address = |name| text(name).parse::<IpAddr>().unwrap().into();
    let (key, from_low) = FlowKey::new(
        (address("source_address"), ports.0),
        (address("destination_address"), ports.1),
        number("protocol") as u8,
        number("zone") as u32,
    );
    let bits = number("state_bits") as u32;
    assert_eq!(bits & state::FORWARD_IS_LOW, 0);
    let direction = |side: &str, seen: u32| Direction {
        bytes: number(&format!("{side}_bytes")),
        payload: number(&format!("{side}_payload_bytes")),
        payload_squares: number(&format!("{side}_payload_squares_bytes2")),
        gap_squares: number(&format!("{side}_gap_squares_us2")),
        packets: number(&format!("{side}_packets")) as u32,
        last_us: number(&format!("{side}_last_us")) as u32,
        gap_min_us: gap(&format!("{side}_gap_min_us"), bits & seen != 0),
        gap_max_us: number(&format!("{side}_gap_max_us")) as u32,
        payload_min: number(&format!("{side}_payload_min_bytes")) as u16,
        payload_max: number(&format!("{side}_payload_max_bytes")) as u16,
        header_words: (number(&format!("{side}_header_bytes")) / 4) as u32,
        acks: number(&format!("{side}_ack_packets")) as u32,
        pushes: number(&format!("{side}_psh_packets")) as u32,
    };
    let rare = |side: &str| RareFlags {
        fin: number(&format!("{side}_fin_packets")) as u16,
        syn: number(&format!("{side}_syn_packets")) as u16,
        rst: number(&format!("{side}_rst_packets")) as u16,
        urg: number(&format!("{side}_urg_packets")) as u16,
    };
    let record = FlowRecord {
        key,
        first_us: number("first_time"),
        last_us: number("duration_us") as u32,
        state: bits | if from_low { state::FORWARD_IS_LOW } else { 0 },
        gap_squares: number("gap_squares_us2"),
        gap_min_us: gap("gap_min_us", true),
        gap_max_us: number("gap_max_us") as u32,
        cwr: number("cwr_packets") as u16,
        ece: number("ece_packets") as u16,
        other_first_us: number("forward_first_us").max(number("backward_first_us")) as u32,
        forward_data_packets: number("forward_data_packets") as u32,
        forward_window: number("forward_window_bytes") as u16,
        backward_window: number("backward_window_bytes") as u16,
        forward_header_min: number("forward_header_min_bytes") as u8,
        idle_periods: number("idle_periods") as u16,
        forward_flags: rare("forward"),
        backward_flags: rare("backward"),
        forward: direction("forward", state::FORWARD_SEEN),
        backward: direction("backward", state::BACKWARD_SEEN),
        ..FlowRecord::default()
    };
    let periods = row["idle_total_us"].as_ref().map(|_| Periods {
        active_squares: number("active_squares_us2"),
        idle_squares: number("idle_squares_us2"),
        active_total_us: number("active_total_us") as u32,
        active_min_us: number("active_min_us") as u32,
        active_max_us: number("active_max_us") as u32,
        active_count: number("active_periods") as u32,
        idle_total_us: number("idle_total_us") as u32,
        idle_min_us: number("idle_min_us") as u32,
        idle_max_us: number("idle_max_us") as u32,
        active_start_us: number("active_start_us") as u32,
    });
    assert_eq!(
        number("first_time") + number("duration_us"),
        number("last_time")
    );
    (record, periods)
}
