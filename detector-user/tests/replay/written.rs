//! What is written.

use std::os::unix::ffi::OsStringExt;

use detector_common::record::{FlowRecord, state};
use detector_user::flow::FlowFilter;
use detector_user::output::{Format, Sort};

use crate::inputs::{args, collect, run, shared_captures, tcp, write_capture};
use crate::plain::sorted;
use crate::rows::{read_rows, restore};

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
        "attack/stopddos_amp.TCP.syn.optionallyACK.optionallysamePort.pcapng",
        "benign/zeek_http_206.pcap",
        "benign/zeek_ssh.pcap",
    ];
    let (mut with_periods, mut unanswered) = (0, 0);
    for name in captures {
        let capture = shared.join(name);
        let Some((records, ..)) = collect(&capture) else {
            println!("skipped: {name}");
            continue;
        };
        with_periods += records
            .iter()
            .filter(|(_, periods)| periods.is_some())
            .count();
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
    assert!(with_periods > 50 && unanswered > 300);
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
    write_capture(
        &capture,
        &[(1, tcp(1, false, 2, 0)), (2, tcp(2, false, 2, 0))],
    );
    let lossy = capture.to_string_lossy();
    for (format, file) in LOSSLESS {
        let path = home.path().join(file);
        let mut args = args(&[&capture]);
        args.output.output = Some(path.clone());
        run(&args).unwrap();
        let rows = read_rows(format, &path);
        assert_eq!(rows.len(), 2);
        assert!(
            rows.iter()
                .all(|row| row["capture"].as_deref() == Some(&*lossy))
        );
    }
}

#[test]
fn order_limit_and_filter() {
    let home = tempfile::tempdir().unwrap();
    let capture = home.path().join("a.pcap");
    let mut frames = Vec::new();
    for n in 0..1500u64 {
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
        assert_eq!(report.shown.flows, 1500);
        assert_eq!(report.shown.written as usize, rows.len());
        rows.iter().map(|row| restore(row).0).collect::<Vec<_>>()
    };
    let all = written(None, None, FlowFilter::default());
    assert_eq!(all.len(), 1500);
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
        let limits: &[usize] = if matches!(sort, Sort::First) {
            &[0, 1, 10, 1499, 9999]
        } else {
            &[1, 10]
        };
        for &limit in limits {
            let got: Vec<u64> = written(Some(sort), Some(limit), FlowFilter::default())
                .iter()
                .map(measure)
                .collect();
            let length = if limit == 0 { 1500 } else { limit.min(1500) };
            assert_eq!(got, want[..length], "{sort:?} {limit}");
        }
    }
    assert_eq!(written(None, Some(5), FlowFilter::default())[..], all[..5]);
    let filter = FlowFilter {
        address: vec!["10.0.0.0/30".parse().unwrap()],
        ..FlowFilter::default()
    };
    assert_eq!(written(None, None, filter).len(), 4);
}
