//! Real captures, where the folder with them lies beside the project.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::craft::read_on;
use crate::wire::capture::{CaptureError, CaptureReader};

fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/pcap");
    if !folder.is_dir() {
        println!("skipped: there are no captures at {}", folder.display());
        return None;
    }
    Some(folder)
}

fn captures(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(captures(&path));
        } else if path.extension().is_some_and(|extension| {
            ["pcap", "pcapng", "cap"]
                .iter()
                .any(|known| extension == *known)
        }) {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn all_shared_captures_are_read_to_the_end() {
    let Some(folder) = folder() else { return };
    let mut manifest: HashMap<String, u64> = HashMap::new();
    let mut rows = csv::Reader::from_path(folder.join("MANIFEST.csv")).unwrap();
    for row in rows.deserialize::<HashMap<String, String>>() {
        let row = row.unwrap();
        if let Ok(packets) = row["packets"].parse() {
            manifest.insert(row["file"].clone(), packets);
        }
    }
    let mut compared = 0;
    let mut wrong = Vec::new();
    for path in captures(&folder) {
        let name = path
            .strip_prefix(&folder)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let reading = match CaptureReader::open(&path) {
            Ok(reader) => read_on(reader),
            Err(error) => {
                wrong.push(error.to_string());
                continue;
            }
        };
        let stats = &reading.stats;
        let packets = stats.frames + stats.skipped.values().sum::<u64>();
        println!("{name}: {stats:?}");
        match &reading.end {
            Ok(()) => {}
            Err(
                error @ (CaptureError::CutOff { .. } | CaptureError::OnlyUnsupportedLinks { .. }),
            ) => println!("  {error}"),
            Err(error) => wrong.push(error.to_string()),
        }
        if let Some(expected) = manifest.get(&name) {
            compared += 1;
            if *expected != packets {
                wrong.push(format!(
                    "{name}: {packets} packets, and the manifest says {expected}"
                ));
            }
        }
    }
    assert!(compared > 0, "no capture is named in the manifest");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
