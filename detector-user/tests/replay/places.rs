//! Where flows are written, and what may be wrong there.

use std::fs::{self, File};
use std::path::Path;

use detector_user::output::Format;

use crate::inputs::{args, run, tcp, write_capture};

const FORMATS: [Format; 5] = [
    Format::Table,
    Format::Json,
    Format::Jsonl,
    Format::Csv,
    Format::Parquet,
];

#[test]
fn a_full_disk_is_said_to_be_one() {
    let home = tempfile::tempdir().unwrap();
    let capture = home.path().join("a.pcap");
    write_capture(&capture, &[(1, tcp(1, false, 2, 0))]);
    for format in FORMATS {
        let mut args = args(&[&capture]);
        args.output.output = Some("/dev/full".into());
        args.output.format = Some(format);
        let error = run(&args).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("/dev/full: No space left on device"),
            "{text}"
        );
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
    assert!(
        text.contains("missing/flows.csv") && text.contains("No such file"),
        "{text}"
    );
    args.output.output = Some(out.clone());
    assert!(
        run(&args)
            .unwrap_err()
            .to_string()
            .contains("name a file in it")
    );
    assert_eq!(fs::read(&target).unwrap(), b"old");

    // Through a link, the file it leads to is replaced.
    args.files = vec![capture];
    args.output.output = Some(out.join("link.csv"));
    args.output.format = Some(Format::Csv);
    run(&args).unwrap();
    assert!(
        fs::read_to_string(&target)
            .unwrap()
            .starts_with("first_time,")
    );
    assert!(out.join("link.csv").is_symlink());
    assert_eq!(fs::read_dir(&out).unwrap().count(), 2);
}

#[test]
fn a_reader_that_goes_is_no_failure() {
    let home = tempfile::tempdir().unwrap();
    let capture = home.path().join("a.pcap");
    let frames: Vec<_> = (0..5000).map(|n| (n, tcp(n as u32, false, 2, 0))).collect();
    write_capture(&capture, &frames);
    for format in FORMATS {
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
