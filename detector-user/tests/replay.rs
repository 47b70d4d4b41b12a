//! `detector replay`, natively: what is counted, what is written, and what happens when something is wrong.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use arrow::array::AsArray;
use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use arrow::datatypes::{
    DataType, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use detector_common::{
    counters::{Counters, Event, Fate},
    frame::{Parser, Rejected},
    key::FlowKey,
    periods::Periods,
    record::{Direction, FlowRecord, RareFlags, micros, state},
};
use detector_user::cli::replay::{Args, ReplayError, Report, replay};
use detector_user::flow::{Account, Collector, FlowFilter, Table};
use detector_user::output::{Format, Sort};
use detector_user::wire::capture::CaptureReader;

type Records = Vec<(FlowRecord, Option<Periods>)>;

fn shared_captures() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/pcap");
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: {} is absent", path.display());
    None
}

fn args(files: &[&Path]) -> Args {
    Args {
        files: files.iter().map(|path| path.to_path_buf()).collect(),
        flows_max: 1 << 20,
        ..Args::default()
    }
}

fn run(args: &Args) -> Result<Report, ReplayError> {
    replay(args, Table::new(args.flows_max))
}

/// All flows of one capture, as far as it can be read.
fn collect(path: &Path) -> Option<(Records, Account, u64)> {
    let mut reader = CaptureReader::open(path).ok()?;
    let mut collector = Collector::new(Table::default());
    while let Ok(Some(frame)) = reader.next_frame() {
        collector.frame(frame.time_ns, frame.bytes).unwrap();
    }
    let (records, account) = collector.finish().unwrap();
    Some((records, account, reader.stats().frames))
}

/// A pcap file of Ethernet frames.
fn write_capture(path: &Path, frames: &[(u64, Vec<u8>)]) {
    let mut file = File::create(path).unwrap();
    let mut header = 0xa1b2_3c4d_u32.to_le_bytes().to_vec();
    header.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0]);
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
fn tcp(n: u32, to_client: bool, flags: u8, payload: usize) -> Vec<u8> {
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

/// The plainest table that there can be, one packet at a time, as the kernel's engine goes about it.
#[derive(Default)]
struct Plain {
    flows: HashMap<FlowKey, (FlowRecord, Periods, bool)>,
    counters: Counters,
    done: Records,
}

impl Plain {
    fn frame(&mut self, time_ns: u64, bytes: &[u8]) {
        let length = bytes.len() as u64;
        self.counters.tallies[Fate::Seen as usize].add(1, length);
        let packet = match Parser::FULL.parse(bytes) {
            Ok(packet) => packet,
            Err(Rejected::NonIp(_)) => {
                return self.counters.tallies[Fate::NonIp as usize].add(1, length);
            }
            Err(Rejected::Malformed(reason)) => {
                self.counters.malformed[reason as usize] += 1;
                return self.counters.tallies[Fate::Malformed as usize].add(1, length);
            }
        };
        let mut event = |event| self.counters.events[event as usize] += 1;
        if packet.short_transport {
            event(Event::ShortTransport);
        }
        let (key, from_low) = FlowKey::new(
            (packet.source, packet.source_port),
            (packet.destination, packet.destination_port),
            packet.protocol,
            0,
        );
        let now_us = micros(time_ns);
        let Some((record, periods, promoted)) = self.flows.get_mut(&key) else {
            let mut record = FlowRecord::default();
            record.begin(&key, from_low, None, &packet, now_us);
            event(Event::FlowsCreated);
            self.flows.insert(key, (record, Periods::default(), false));
            return;
        };
        if record.is_over(&packet, now_us) {
            event(Event::FlowsEnded);
            event(Event::FlowsCreated);
            let (packets, bytes) = record.totals();
            self.counters.tallies[Fate::Ended as usize].add(packets, bytes);
            self.done.push(taken(record, periods));
            let forward = record.next_forward(from_low);
            record.begin(&key, from_low, forward, &packet, now_us);
        } else if let Some(gap) = record.update(from_low, &packet, now_us) {
            periods.add(gap);
        }
        if !*promoted && record.is_established() {
            *promoted = true;
            self.counters.events[Event::FlowsPromoted as usize] += 1;
        }
    }

    fn finish(mut self) -> (Records, Counters) {
        let live = self.flows.values().map(|(r, p, _)| taken(r, p));
        self.done.extend(live);
        (sorted(self.done), self.counters)
    }
}

fn taken(record: &FlowRecord, periods: &Periods) -> (FlowRecord, Option<Periods>) {
    (record.normalized(), (record.idle_periods > 0).then_some(*periods))
}

/// In one order, whatever came first of two flows that began at once.
fn sorted(mut records: Records) -> Records {
    records.sort_by_cached_key(|(record, periods)| {
        (record.first_us, record.key.low, record.key.high, format!("{record:?}{periods:?}"))
    });
    records
}

#[test]
fn every_shared_capture_is_accounted_for_and_counted_as_by_the_plainest_table() {
    let Some(shared) = shared_captures() else {
        return;
    };
    // The manifest does not name the many small ones.
    let with_flows: HashSet<PathBuf> = csv::Reader::from_path(shared.join("MANIFEST.csv"))
        .unwrap()
        .deserialize::<HashMap<String, String>>()
        .map(Result::unwrap)
        .filter(|row| row["flows"].parse().is_ok_and(|flows: u64| flows > 0))
        .map(|row| shared.join(&row["file"]))
        .collect();
    let directories = fs::read_dir(&shared).unwrap().map(|entry| entry.unwrap().path());
    let files = directories
        .filter(|path| path.is_dir())
        .flat_map(|directory| fs::read_dir(directory).unwrap())
        .map(|entry| entry.unwrap().path());
    let (mut captures, mut packets, mut flows) = (0, 0, 0);
    for path in files {
        let name = path.display();
        let Some((records, account, frames)) = collect(&path) else {
            println!("skipped: {name} cannot be opened");
            continue;
        };
        let seen = account.counters.tally(Fate::Seen);
        assert!(account.is_conserved(), "{name}: {account:?}");
        assert_eq!(seen.packets, frames, "{name}");
        let in_flows: u64 = records.iter().map(|(record, _)| record.totals().0).sum();
        let ended = account.counters.tally(Fate::Ended).packets;
        assert_eq!(in_flows, account.in_records.packets + ended, "{name}");
        if with_flows.contains(&path) {
            assert!(!records.is_empty(), "{name}");
        }

        let mut plain = Plain::default();
        let mut reader = CaptureReader::open(&path).unwrap();
        while let Ok(Some(frame)) = reader.next_frame() {
            plain.frame(frame.time_ns, frame.bytes);
        }
        let (plain_records, plain_counters) = plain.finish();
        assert_eq!(account.counters, plain_counters, "{name}");
        assert!(sorted(records.clone()) == plain_records, "{name}");
        captures += 1;
        packets += frames;
        flows += records.len();
    }
    println!("{captures} captures, {packets} packets, {flows} flows");
    assert!(captures > 400);
}

#[test]
fn no_clock_breaks_anything() {
    let times = [
        0,
        u64::MAX,
        5_000_000_000,
        u64::MAX / 2,
        1,
        1_700_000_000_000_000_000,
        1_700_000_006_000_000_000,
        1_699_999_000_000_000_000,
        1_700_000_130_000_000_000,
        1 << 60,
        0,
    ];
    let (mut plain, mut collector) = (Plain::default(), Collector::new(Table::default()));
    for round in 0..40u32 {
        for (n, time) in times.iter().enumerate() {
            let frame = tcp(round % 7, n % 2 == 1, [2, 18, 16, 17, 4][n % 5], n);
            collector.frame(*time, &frame).unwrap();
            plain.frame(*time, &frame);
        }
    }
    let (records, account) = collector.finish().unwrap();
    assert!(account.is_conserved());
    assert_eq!(account.counters.tally(Fate::Seen).packets, 440);
    assert!(account.counters.event(Event::FlowsEnded) > 100);
    let (plain_records, plain_counters) = plain.finish();
    assert_eq!(account.counters, plain_counters);
    assert!(sorted(records) == plain_records);
}

#[test]
fn what_finds_the_table_full_is_counted() {
    let mut collector = Collector::new(Table::new(100));
    for n in 0..250 {
        collector.frame(n, &tcp(n as u32, false, 2, 0)).unwrap();
    }
    for n in 0..250 {
        collector.frame(n, &tcp(n as u32, true, 18, 0)).unwrap();
    }
    let (records, account) = collector.finish().unwrap();
    assert_eq!(records.len(), 100);
    assert!(records.iter().all(|(record, _)| record.totals().0 == 2));
    assert_eq!(account.counters.tally(Fate::NotAdmitted).packets, 300);
    assert!(account.is_conserved());
}

// ---- What is written ----

/// A flow as written: column to value; `None` for null. Times are µs.
type Row = HashMap<String, Option<String>>;

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

fn read_rows(format: Format, path: &Path) -> Vec<Row> {
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
                with_times(row.map(|(k, v)| (k, (!v.is_empty()).then_some(v))).collect())
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
            let cells = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
                let value = match field.data_type() {
                    _ if column.is_null(at) => None,
                    DataType::Utf8 => Some(column.as_string::<i32>().value(at).to_owned()),
                    DataType::Timestamp(_, Some(zone)) if &**zone == "UTC" => {
                        Some(column.as_primitive::<TimestampMicrosecondType>().value(at).to_string())
                    }
                    DataType::UInt8 => Some(column.as_primitive::<UInt8Type>().value(at).to_string()),
                    DataType::UInt16 => Some(column.as_primitive::<UInt16Type>().value(at).to_string()),
                    DataType::UInt32 => Some(column.as_primitive::<UInt32Type>().value(at).to_string()),
                    DataType::UInt64 => Some(column.as_primitive::<UInt64Type>().value(at).to_string()),
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
fn restore(row: &Row) -> (FlowRecord, Option<Periods>) {
    let text = |name: &str| row[name].as_deref().unwrap();
    let number = |name: &str| -> u64 {
        row[name].as_deref().map_or(0, |text| text.parse().unwrap())
    };
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
        (number("source_port") as u16, number("destination_port") as u16)
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
    assert_eq!(number("first_time") + number("duration_us"), number("last_time"));
    (record, periods)
}

const LOSSLESS: [(Format, &str); 4] = [
    (Format::Json, "flows.json"),
    (Format::Jsonl, "flows.jsonl"),
    (Format::Csv, "flows.csv"),
    (Format::Parquet, "flows.parquet"),
];

#[test]
fn what_is_written_reads_back_as_the_records() {
    let Some(shared) = shared_captures() else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let captures = [
        "attack/ndpi_WebattackXSS.pcap",
        "attack/suricata_ipv6_denial6-5.pcap",
        "attack/nmap_IP_PROTOCOL_SCAN.pcap",
        "attack/pcaphunt_hs-icmpScan.pcapng",
        "attack/cicddos2019_syn_ponyweng.pcap",
        "attack/stopddos_amp.TCP.reflection.SYNACK.pcap",
        "benign/zeek_http_206.pcap",
        "benign/zeek_ssh.pcap",
        "mixed/westermo_right.pcap",
    ];
    let (mut with_periods, mut unanswered) = (0, 0);
    for name in captures {
        let capture = shared.join(name);
        let Some((records, ..)) = collect(&capture) else {
            println!("skipped: {name}");
            continue;
        };
        with_periods += records.iter().filter(|(_, periods)| periods.is_some()).count();
        unanswered += records
            .iter()
            .filter(|(record, _)| record.state & state::BACKWARD_SEEN == 0)
            .count();
        let want = sorted(records);
        for (format, file) in LOSSLESS {
            let path = home.path().join(file);
            let mut args = args(&[&capture]);
            args.output.output = Some(path.clone());
            assert_eq!(args.output.format(), format);
            let report = run(&args).unwrap();
            assert_eq!(report.shown.written, want.len() as u64);
            let rows = read_rows(format, &path);
            let got = sorted(rows.iter().map(restore).collect());
            assert!(got == want, "{name} as {format:?}");
            for row in &rows {
                assert_eq!(row["capture"].as_deref(), capture.to_str());
                assert!(row["community_id"].as_deref().unwrap().starts_with("1:"));
            }
        }
    }
    assert!(with_periods > 50 && unanswered > 1000);
}

#[test]
fn formats_without_flows_are_still_whole() {
    let home = tempfile::tempdir().unwrap();
    let capture = home.path().join("empty.pcap");
    write_capture(&capture, &[]);
    for (format, file) in LOSSLESS {
        let path = home.path().join(file);
        let mut args = args(&[&capture]);
        args.output.output = Some(path.clone());
        run(&args).unwrap();
        assert!(read_rows(format, &path).is_empty());
    }
}

#[test]
fn names_from_a_hostile_place_harm_nothing() {
    let home = tempfile::tempdir().unwrap();
    let name = std::ffi::OsString::from_vec(b"a\x1b[2J\n\",=1\xff.pcap".to_vec());
    let capture = home.path().join(name);
    write_capture(&capture, &[(1, tcp(1, false, 2, 0)), (2, tcp(2, false, 2, 0))]);
    let lossy = capture.to_string_lossy();
    for (format, file) in LOSSLESS {
        let path = home.path().join(file);
        let mut args = args(&[&capture]);
        args.output.output = Some(path.clone());
        run(&args).unwrap();
        let rows = read_rows(format, &path);
        assert_eq!(rows.len(), 2);
        assert!(rows.iter().all(|row| row["capture"].as_deref() == Some(&*lossy)));
    }
}

#[test]
fn order_limit_and_filter() {
    let home = tempfile::tempdir().unwrap();
    let capture = home.path().join("a.pcap");
    let mut frames = Vec::new();
    for n in 0..3000u64 {
        for packet in 0..1 + n * 7 % 5 {
            frames.push((
                (9_000 - n) * 1_000_000 + packet * (n + 1) * 1_000,
                tcp(n as u32, false, 16, (n * 13 % 1000) as usize),
            ));
        }
    }
    write_capture(&capture, &frames);
    let written = |sort, limit, filter: FlowFilter| {
        let path = home.path().join("out.jsonl");
        let mut args = args(&[&capture]);
        args.filter = filter;
        args.output.output = Some(path.clone());
        args.output.sort = sort;
        args.output.limit = limit;
        let report = run(&args).unwrap();
        let rows = read_rows(Format::Jsonl, &path);
        assert_eq!(report.shown.flows, 3000);
        assert_eq!(report.shown.written as usize, rows.len());
        rows.iter().map(|row| restore(row).0).collect::<Vec<_>>()
    };
    let all = written(None, None, FlowFilter::default());
    assert_eq!(all.len(), 3000);
    type Measure = fn(&FlowRecord) -> u64;
    let orders: [(Sort, Measure); 4] = [
        (Sort::First, |r| u64::MAX - r.first_us),
        (Sort::Packets, |r| r.totals().0),
        (Sort::Bytes, |r| r.totals().1),
        (Sort::Duration, |r| r.last_us.into()),
    ];
    for (sort, measure) in orders {
        let mut want: Vec<u64> = all.iter().map(measure).collect();
        want.sort_unstable_by(|a, b| b.cmp(a));
        for limit in [None, Some(0), Some(1), Some(10), Some(2999), Some(9999)] {
            let got: Vec<u64> = written(Some(sort), limit, FlowFilter::default())
                .iter()
                .map(measure)
                .collect();
            let length = limit.filter(|n| *n > 0).unwrap_or(usize::MAX).min(3000);
            assert_eq!(got, want[..length], "{sort:?} {limit:?}");
        }
    }
    assert_eq!(written(None, Some(5), FlowFilter::default())[..], all[..5]);
    let filter = FlowFilter {
        address: vec!["10.0.0.0/30".parse().unwrap()],
        ..FlowFilter::default()
    };
    assert_eq!(written(None, None, filter).len(), 4);
}

// ---- Several captures ----

#[test]
fn a_rotated_capture_is_one_capture() {
    let home = tempfile::tempdir().unwrap();
    let at = |n: u64| (1_600_000_000 * 1_000 + n * 400) * 1_000_000;
    let frames: Vec<(u64, Vec<u8>)> = (0..200)
        .map(|n| (at(n), tcp(n as u32 % 9, n % 4 == 3, 16, 1)))
        .collect();
    let whole = home.path().join("whole.pcap");
    write_capture(&whole, &frames);
    let rotated = home.path().join("rotated");
    fs::create_dir(&rotated).unwrap();
    for (n, part) in frames.chunks(15).enumerate() {
        write_capture(&rotated.join(format!("x.pcap{n}")), part);
    }
    let flows = |files: &[&Path]| {
        let path = home.path().join("out.csv");
        let mut args = args(files);
        args.output.output = Some(path.clone());
        let report = run(&args).unwrap();
        assert!(report.account.is_conserved());
        let rows = read_rows(Format::Csv, &path);
        (sorted(rows.iter().map(restore).collect()), rows)
    };
    let (want, _) = flows(&[&whole]);
    assert_eq!(want.len(), 9);
    let (got, rows) = flows(&[&rotated]);
    assert!(got == want);
    assert!(rows.iter().all(|row| row["capture"].as_deref().unwrap().ends_with("x.pcap0")));

    // The same capture again lies in the past: its flows are others.
    let (twice, rows) = flows(&[&rotated, &whole]);
    assert_eq!(twice.len(), 18);
    let of_whole = rows.iter().filter(|row| row["capture"].as_deref() == whole.to_str());
    assert_eq!(of_whole.count(), 9);

    // So are those of a capture that begins long after.
    let later = home.path().join("later.pcap");
    write_capture(&later, &[(at(199) + 121_000_000_000, tcp(1, false, 16, 0))]);
    let (got, _) = flows(&[&whole, &later]);
    assert_eq!(got.len(), 10);
}

#[test]
fn a_broken_capture_does_not_stop_the_others() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    write_capture(&path("a.pcap"), &[(1, tcp(1, false, 2, 0))]);
    write_capture(&path("c.pcap"), &[(1, tcp(1, false, 2, 0)), (2, tcp(1, true, 18, 0))]);
    write_capture(&path("d.pcap"), &[(1, tcp(1, false, 2, 0))]);
    fs::write(path("README"), "no capture").unwrap();
    fs::write(path("empty"), "").unwrap();
    fs::write(path("b.pcap"), "no capture, though it says so").unwrap();
    // Cut off within its second record.
    let whole = fs::read(path("c.pcap")).unwrap();
    fs::write(path("c.pcap"), &whole[..whole.len() - 3]).unwrap();

    let mut args = args(&[home.path(), &path("absent.pcap")]);
    let error = run(&args).unwrap_err();
    assert!(matches!(error, ReplayError::Captures { failed: 2, total: 5 }), "{error}");
    assert_eq!(error.exit_code(), 1);

    fs::remove_file(path("b.pcap")).unwrap();
    args.files.pop();
    let report = run(&args).unwrap();
    assert_eq!(report.captures_read, 3);
    assert_eq!(report.captures_cut_off, 1);
    assert_eq!(report.passed_over, 2);
    assert_eq!(report.frames, 3);

    let nothing = tempfile::tempdir().unwrap();
    args.files = vec![nothing.path().to_owned()];
    let error = run(&args).unwrap_err();
    assert!(matches!(error, ReplayError::NoCaptures) && error.exit_code() == 2);
}

// ---- Where it is written ----

#[test]
fn a_full_disk_is_said_to_be_one() {
    let home = tempfile::tempdir().unwrap();
    let capture = home.path().join("a.pcap");
    write_capture(&capture, &[(1, tcp(1, false, 2, 0))]);
    for format in [Format::Table, Format::Json, Format::Jsonl, Format::Csv, Format::Parquet] {
        let mut args = args(&[&capture]);
        args.output.output = Some("/dev/full".into());
        args.output.format = Some(format);
        let error = run(&args).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("/dev/full: No space left on device"), "{text}");
        assert!(text.contains("free some space"), "{text}");
        assert_eq!(error.exit_code(), 1);
    }
}

#[test]
fn a_file_is_replaced_whole_or_not_at_all() {
    let home = tempfile::tempdir().unwrap();
    let capture = home.path().join("a.pcap");
    write_capture(&capture, &[(1, tcp(1, false, 2, 0))]);
    let out = home.path().join("out");
    fs::create_dir(&out).unwrap();
    let target = out.join("flows.csv");
    fs::write(&target, "old").unwrap();
    std::os::unix::fs::symlink("flows.csv", out.join("link.csv")).unwrap();

    // A replay that fails leaves the old file, and nothing beside it.
    let mut args = args(&[Path::new("/absent.pcap")]);
    args.output.output = Some(out.join("missing/flows.csv"));
    let text = run(&args).unwrap_err().to_string();
    assert!(text.contains("missing/flows.csv") && text.contains("No such file"), "{text}");
    args.output.output = Some(out.clone());
    assert!(run(&args).unwrap_err().to_string().contains("name a file in it"));
    assert_eq!(fs::read(&target).unwrap(), b"old");

    // Through a link, the file it leads to is replaced.
    args.files = vec![capture];
    args.output.output = Some(out.join("link.csv"));
    args.output.format = Some(Format::Csv);
    run(&args).unwrap();
    assert!(fs::read_to_string(&target).unwrap().starts_with("first_time,"));
    assert!(out.join("link.csv").is_symlink());
    assert_eq!(fs::read_dir(&out).unwrap().count(), 2);
}

#[test]
fn a_reader_that_goes_is_no_failure() {
    let home = tempfile::tempdir().unwrap();
    let capture = home.path().join("a.pcap");
    let frames: Vec<_> = (0..5000)
        .map(|n| (n, tcp(n as u32, false, 2, 0)))
        .collect();
    write_capture(&capture, &frames);
    for format in [Format::Table, Format::Json, Format::Jsonl, Format::Csv, Format::Parquet] {
        let fifo = home.path().join(format!("{format:?}"));
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        if !made.is_ok_and(|status| status.success()) {
            println!("skipped: no mkfifo");
            return;
        }
        let reader = std::thread::spawn({
            let fifo = fifo.clone();
            move || drop(File::open(fifo).unwrap())
        });
        let mut args = args(&[&capture]);
        args.output.output = Some(fifo);
        args.output.format = Some(format);
        args.output.limit = Some(0);
        let result = run(&args);
        reader.join().unwrap();
        assert!(result.is_ok(), "{format:?}: {result:?}");
    }
}

// ---- Speed ----

/// Nanoseconds of this thread on a CPU, whoever else wants it.
fn cpu_ns() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// Run with `cargo test --release -p detector-user --test replay -- --ignored --nocapture speed`.
#[test]
#[ignore = "measures"]
fn speed() {
    const PACKETS: u32 = 2_000_000;
    let home = tempfile::tempdir().unwrap();
    for flows in [1, 1_000, 10_000, 100_000, 1_000_000] {
        let capture = home.path().join("speed.pcap");
        let mut random = 88_172_645_463_325_252_u64;
        let frames: Vec<_> = (0..PACKETS)
            .map(|n| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let flow = (random >> 20) as u32 % flows;
                (u64::from(n) * 1_000, tcp(flow, random & 1 == 1, 16, 6))
            })
            .collect();
        write_capture(&capture, &frames);
        drop(frames);
        let best = (0..5)
            .map(|_| {
                let begun = cpu_ns();
                let mut reader = CaptureReader::open(&capture).unwrap();
                let mut table = Table::default();
                while let Some(frame) = reader.next_frame().unwrap() {
                    table.count(frame.time_ns, frame.bytes, &mut |_, _| {});
                }
                let mut live = 0;
                table.hand_out(&mut |_, _| live += 1);
                assert!(live > 0 && live <= flows);
                cpu_ns() - begun
            })
            .min()
            .unwrap();
        println!(
            "{flows} flows at random: {:.1} ns a packet, {:.2} M packets a second and core",
            best as f64 / f64::from(PACKETS),
            f64::from(PACKETS) * 1e3 / best as f64
        );
    }
}
