//! Several captures at once, broken ones among them.

use std::fs;
use std::path::Path;

use detector_user::cli::replay::ReplayError;
use detector_user::output::Format;

use crate::inputs::{args, run, tcp, write_capture};
use crate::plain::sorted;
use crate::rows::{read_rows, restore};

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
    assert!(
        rows.iter()
            .all(|row| row["capture"].as_deref().unwrap().ends_with("x.pcap0"))
    );

    // The same capture again lies in the past: its flows are others.
    let (twice, rows) = flows(&[&rotated, &whole]);
    assert_eq!(twice.len(), 18);
    let of_whole = rows
        .iter()
        .filter(|row| row["capture"].as_deref() == whole.to_str());
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
    write_capture(
        &path("c.pcap"),
        &[(1, tcp(1, false, 2, 0)), (2, tcp(1, true, 18, 0))],
    );
    write_capture(&path("d.pcap"), &[(1, tcp(1, false, 2, 0))]);
    fs::write(path("README"), "no capture").unwrap();
    fs::write(path("empty"), "").unwrap();
    fs::write(path("b.pcap"), "no capture, though it says so").unwrap();
    // Cut off within its second record.
    let whole = fs::read(path("c.pcap")).unwrap();
    fs::write(path("c.pcap"), &whole[..whole.len() - 3]).unwrap();

    let mut args = args(&[home.path(), &path("absent.pcap")]);
    let error = run(&args).unwrap_err();
    assert!(
        matches!(
            error,
            ReplayError::Captures {
                failed: 2,
                total: 5
            }
        ),
        "{error}"
    );
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
