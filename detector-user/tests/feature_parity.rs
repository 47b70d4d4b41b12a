//! The features of real flows beside those that the corrected CICFlowMeter made of the same packets: rows of CIC-IDS2017 whose
//! packets are in nDPI's captures.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

mod needs;

use std::{collections::BTreeMap, fs::File, path::Path};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, TimeUnit, TimestampMicrosecondType};
use detector_common::{periods::Periods, record::FlowRecord};
use detector_user::{
    features::flow::{FEATURES, compute},
    flow::{Flow, Table},
    wire::capture::CaptureReader,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

const CAPTURES: [&str; 2] = ["ndpi_WebattackXSS.pcap", "ndpi_WebattackSQLinj.pcap"];
const ROWS: &str = "flows/cicids2017_corrected_early60.parquet";
/// Relative difference up to which two values are equal.
const EQUAL: f64 = 1e-6;
/// Rows of these flows that there must be: 18 of the table's 19, one of which is of packets that the captures lack.
const FLOWS_MIN: usize = 18;

/// First packet, µs since the Unix epoch, and the port of the side that began.
type Name = (u64, u16);

#[test]
fn every_feature_equals_cicflowmeters() {
    let data = needs::captures().join("..");
    if !data.join(ROWS).exists() {
        needs::skip(&format!("{} is not there", data.join(ROWS).display()));
        return;
    }
    let flows = replayed(&data.join("pcap/attack"));
    let (columns, rows) = table(&data.join(ROWS));
    let mut compared = 0;
    // By feature: how many are equal, and the worst of the others.
    let mut results: BTreeMap<usize, (usize, Option<String>)> = BTreeMap::new();
    for (name, row) in &rows {
        let Some((record, periods)) = flows.get(name) else {
            println!(
                "no packets of the row that begins at {} µs from port {}",
                name.0, name.1
            );
            continue;
        };
        compared += 1;
        let mut number = 0;
        compute(record, periods.as_ref(), |value| {
            if let Some(column) = columns[number] {
                let theirs = row[column];
                let result = results.entry(number).or_default();
                if (value - theirs).abs() <= EQUAL * theirs.abs().max(value.abs()).max(1e-9) {
                    result.0 += 1;
                } else {
                    result.1 = Some(format!("{value} for {theirs} at port {}", name.1));
                }
            }
            number += 1;
        });
    }
    println!("{:<26} equal of {compared}", "feature");
    let mut unequal = Vec::new();
    for (number, feature) in FEATURES.iter().enumerate() {
        match results.get(&number) {
            None => println!("{:<26} has no column in this table", feature.name),
            Some((equal, None)) => println!("{:<26} {equal}", feature.name),
            Some((equal, Some(worst))) => {
                println!("{:<26} {equal}: {worst}", feature.name);
                unequal.push(feature.name);
            }
        }
    }
    assert!(compared >= FLOWS_MIN, "only {compared} flows were found");
    assert!(unequal.is_empty(), "unequal: {unequal:?}");
}

fn replayed(captures: &Path) -> BTreeMap<Name, (FlowRecord, Option<Periods>)> {
    let mut flows = BTreeMap::new();
    for name in CAPTURES {
        let mut table = Table::default();
        let mut take = |record: &FlowRecord, periods: Option<&Periods>| {
            let flow = Flow::new(record, periods, 0);
            let port = flow.ports().map_or(0, |ports| ports.0);
            flows.insert((record.first_us, port), (*record, periods.copied()));
        };
        let mut reader = CaptureReader::open(&captures.join(name)).unwrap();
        while let Some(frame) = reader.next_frame().unwrap() {
            table.count(frame.time_ns, frame.bytes, &mut take);
        }
        table.hand_out(&mut take);
    }
    flows
}

/// For each feature its column, and the numbers of each row of the two attacks.
#[expect(clippy::type_complexity, reason = "one use, right above")]
fn table(path: &Path) -> (Vec<Option<usize>>, Vec<(Name, Vec<f64>)>) {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap())
        .unwrap()
        .build()
        .unwrap();
    let mut columns = Vec::new();
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.unwrap();
        let schema = batch.schema();
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        columns = FEATURES
            .iter()
            .map(|f| {
                f.columns
                    .iter()
                    .find_map(|c| names.iter().position(|n| n == c))
            })
            .collect();
        let text =
            |column: &str| cast(batch.column_by_name(column).unwrap(), &DataType::Utf8).unwrap();
        let labels = text("Label");
        let times = micros(&batch);
        let numbers: Vec<Option<ArrayRef>> = batch
            .columns()
            .iter()
            .map(|column| cast(column, &DataType::Float64).ok())
            .collect();
        let port = names.iter().position(|name| *name == "Src Port").unwrap();
        for (row, time) in times.iter().enumerate() {
            let label = labels.as_string::<i32>().value(row);
            if !label.contains("XSS") && !label.contains("SQL") {
                continue;
            }
            let values: Vec<f64> = numbers
                .iter()
                .map(|column| match column {
                    Some(column) if column.is_valid(row) => {
                        column.as_primitive::<Float64Type>().value(row)
                    }
                    _ => f64::NAN,
                })
                .collect();
            rows.push(((*time, values[port] as u16), values));
        }
    }
    (columns, rows)
}

/// The rows' times, µs.
fn micros(batch: &RecordBatch) -> Vec<u64> {
    let column = batch.column_by_name("Timestamp").unwrap();
    let column = &cast(column, &DataType::Utf8).unwrap();
    let times = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None)).unwrap();
    let times = times.as_primitive::<TimestampMicrosecondType>();
    (0..times.len())
        .map(|row| times.value(row).cast_unsigned())
        .collect()
}
