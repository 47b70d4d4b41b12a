//! Rotation and limits.

mod faults;

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::Path,
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
};

use arrow::array::TimestampMicrosecondArray;
use detector_common::record::FlowRecord;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{
    super::columns, Archive, ArchiveCounts, ArchiveSettings, Dropped, Removed, keeper::Keeper,
};
use crate::{
    agent::{
        findings::Finding,
        flow_log::{Finished, Reason},
    },
    decide::{family::Family, policy::Step, sources::Against},
    flow::Flow,
};

/// 2026-11-21 07:00 UTC.
const SEVEN_S: u64 = 1_795_244_400;

fn row(n: u64) -> Finished {
    // Numbers that compress badly.
    let noise = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut record = FlowRecord {
        first_us: n,
        gap_squares: noise,
        ..FlowRecord::default()
    };
    record.key.low.words = [noise.rotate_left(17), noise];
    record.forward.payload_squares = noise.rotate_left(31);
    Finished {
        flow: Flow::new(&record, None, SEVEN_S * 1_000_000),
        reason: Reason::Closed,
        found: Some(Finding {
            family: Family::Flood,
            score: 0.75,
        }),
        against: Some(Against {
            family: Family::Scan,
            step: Step::Drop,
        }),
        enforced: n.is_multiple_of(2),
        source_pod: None,
        destination_pod: n.is_multiple_of(2).then(|| "shop/cart-0".into()),
    }
}

/// A keeper, what it counts, and what it says.
struct Kept {
    keeper: Keeper,
    counts: Arc<ArchiveCounts>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Kept {
    fn new(folder: &Path, settings: &ArchiveSettings) -> Self {
        let counts = Arc::<ArchiveCounts>::default();
        let said = Arc::<Mutex<Vec<String>>>::default();
        let heard = said.clone();
        let complain = Box::new(move |text: &str| heard.lock().unwrap().push(text.to_owned()));
        let keeper = Keeper::new(folder.into(), settings.clone(), counts.clone(), complain);
        Self {
            keeper,
            counts,
            said,
        }
    }

    fn take(&mut self, rows: u64, now_s: u64) {
        let offered = self.counts.offered.fetch_add(rows, Relaxed);
        self.counts.waiting.fetch_add(rows, Relaxed);
        let rows: Vec<Finished> = (offered..offered + rows).map(row).collect();
        self.keeper.take(&rows, now_s);
    }

    fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    fn dropped(&self) -> u64 {
        Dropped::ALL
            .iter()
            .map(|why| self.counts.dropped(*why))
            .sum()
    }
}

/// The names of the files that anybody sees, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

/// Rows of a file, which must be whole.
fn rows(path: &Path) -> u64 {
    let file = File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    reader.metadata().file_metadata().num_rows() as u64
}

fn all_rows(folder: &Path) -> u64 {
    let names = names(folder).into_iter();
    names.map(|name| rows(&folder.join(name))).sum()
}

#[test]
fn an_hour_is_a_file_and_each_start_is_a_part_more() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("made/by/it");
    let mut kept = Kept::new(&folder, &ArchiveSettings::default());
    for (rows, after_s) in [(3, 0), (4, 1800), (5, 3599), (6, 3600)] {
        kept.take(rows, SEVEN_S + after_s);
    }
    assert_eq!(names(&folder), ["flows-2026-11-21T07Z-0000.parquet"]);
    assert_eq!((all_rows(&folder), kept.counts.pending()), (12, 6));
    kept.keeper.close(SEVEN_S + 3700);
    drop(kept);
    let mut kept = Kept::new(&folder, &ArchiveSettings::default());
    kept.take(1, SEVEN_S + 3800);
    kept.keeper.close(SEVEN_S + 3900);
    assert_eq!(
        names(&folder),
        [
            "flows-2026-11-21T07Z-0000.parquet",
            "flows-2026-11-21T08Z-0000.parquet",
            "flows-2026-11-21T08Z-0001.parquet"
        ]
    );
    assert_eq!(all_rows(&folder), 19);
    assert!(kept.said().is_empty(), "{:?}", kept.said());
}

#[test]
fn the_columns_are_those_of_a_flow_and_what_is_known_of_it() {
    let home = tempfile::tempdir().unwrap();
    let mut kept = Kept::new(home.path(), &ArchiveSettings::default());
    kept.take(2, SEVEN_S);
    kept.keeper.close(SEVEN_S);
    let file = File::open(home.path().join(&names(home.path())[0])).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let found: Vec<String> = reader
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let flow: Vec<&str> = columns::all().map(|column| column.name).collect();
    let further = [
        "end_reason",
        "model_family",
        "model_score",
        "alert_family",
        "verdict",
        "source_pod",
        "destination_pod",
    ];
    assert_eq!(found, [&flow[..], &further].concat());
    let batch = reader.build().unwrap().next().unwrap().unwrap();
    let shown = |name: &str| {
        let column = batch.column_by_name(name).unwrap();
        let shown = |n| arrow::util::display::array_value_to_string(column, n).unwrap();
        [shown(0), shown(1)]
    };
    assert_eq!(shown("model_family"), ["flood", "flood"]);
    assert_eq!(shown("model_score"), ["0.75", "0.75"]);
    assert_eq!(shown("alert_family"), ["scan", "scan"]);
    assert_eq!(shown("verdict"), ["drop", ""], "in force, and only told of");
    assert_eq!(shown("source_pod"), ["", ""]);
    assert_eq!(shown("destination_pod"), ["shop/cart-0", ""]);
    assert_eq!(shown("end_reason"), ["tcp_close", "tcp_close"]);
    let times = batch.column_by_name("first_time").unwrap();
    let times: &TimestampMicrosecondArray = times.as_any().downcast_ref().unwrap();
    assert_eq!(times.value(1) as u64, SEVEN_S * 1_000_000 + 1);
}

#[test]
fn the_oldest_go_first_and_what_is_not_the_archives_stays() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    let foreign = [
        "flows-2001-01-01T00Z-0000.parquet.bak",
        "flows.parquet",
        "flows-2001-01-01T00Z-1.parquet",
        "notes",
    ];
    for name in foreign {
        fs::write(folder.join(name), [0; 50_000]).unwrap();
    }
    let link = folder.join("flows-2001-01-01T00Z-0000.parquet");
    symlink("notes", &link).unwrap();
    fs::create_dir(folder.join("flows-2001-01-01T01Z-0000.parquet")).unwrap();
    let settings = ArchiveSettings {
        bytes_max: 400_000,
        age_max_s: 20 * 3600,
        rows_max: 2048,
        ..ArchiveSettings::default()
    };
    let mut kept = Kept::new(folder, &settings);
    let own = |folder: &Path| -> Vec<String> {
        let mut names = names(folder);
        names.retain(|name| name.starts_with("flows-2026"));
        names
    };
    let mut seen: Vec<String> = Vec::new();
    for hour in 0..30 {
        kept.take(300, SEVEN_S + hour * 3600);
        kept.keeper.close(SEVEN_S + hour * 3600 + 10);
        let stored = own(folder);
        let bytes: u64 = stored
            .iter()
            .map(|name| fs::metadata(folder.join(name)).unwrap().len())
            .sum();
        assert!(bytes <= settings.bytes_max, "{bytes}");
        assert_eq!(bytes, kept.counts.stored_bytes.load(Relaxed));
        seen.extend(stored.last().cloned());
        assert!(seen.ends_with(&stored), "{stored:?} are the youngest");
    }
    assert!(kept.counts.removed(Removed::Size) > 0, "{:?}", own(folder));
    assert_eq!(kept.counts.removed(Removed::Age), 0);
    // Time alone removes the others.
    kept.keeper.tend(SEVEN_S + 60 * 3600);
    assert!(own(folder).is_empty());
    assert!(kept.counts.removed(Removed::Age) > 0);
    for name in foreign {
        assert!(folder.join(name).exists(), "{name}");
    }
    assert!(link.is_symlink());
    assert_eq!(kept.dropped(), 0);
}
