//! The documents that are generated from the source: written on demand, and else as they are committed.

use std::{env, fs};

/// Asserts that a file of docs/ is what the source says now, or writes it where that is asked for.
pub fn is_current(file: &str, now: &str) {
    let path = format!("{}/../docs/{file}", env!("CARGO_MANIFEST_DIR"));
    if env::var_os("DETECTOR_WRITE_REFERENCES").is_some() {
        fs::write(&path, now).unwrap();
        return;
    }
    assert!(
        fs::read_to_string(&path).unwrap() == now,
        "docs/{file} is stale; write it anew: DETECTOR_WRITE_REFERENCES=1 cargo test -p detector-user --lib stale"
    );
}
