//! No row is lost uncounted, whatever fails.

use std::path::PathBuf;

use proptest::prelude::*;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::*;

#[test]
fn what_a_killed_agent_left_is_removed_and_told_of() {
    let home = tempfile::tempdir().unwrap();
    let left = home.path().join(".flows-x1y2z3.partial");
    let others = home.path().join(".detector-x1y2z3.partial");
    for path in [&left, &others] {
        fs::write(path, [0; 1500]).unwrap();
    }
    let mut kept = Kept::new(home.path(), &ArchiveSettings::default());
    kept.keeper.tend(SEVEN_S);
    assert!(!left.exists() && others.exists());
    let said = kept.said();
    assert_eq!(said.len(), 1);
    assert!(
        said[0].contains("removed 1 unfinished file of 1.50 kB"),
        "{said:?}"
    );
}

#[test]
fn a_folder_is_one_agents_alone() {
    let home = tempfile::tempdir().unwrap();
    let mut first = Kept::new(home.path(), &ArchiveSettings::default());
    first.take(1, SEVEN_S);
    let mut second = Kept::new(home.path(), &ArchiveSettings::default());
    second.take(2, SEVEN_S);
    second.take(2, SEVEN_S + 1);
    assert_eq!(second.counts.dropped(Dropped::Unwritable), 4);
    assert_eq!(second.said().len(), 1, "told once");
    assert!(second.said()[0].contains("another agent writes there"));
    first.keeper.close(SEVEN_S + 2);
    drop(first);
    second.take(3, SEVEN_S + 10);
    second.keeper.close(SEVEN_S + 11);
    assert_eq!(second.counts.written.load(Relaxed), 3);
    assert!(
        second.said()[1].contains("archived in"),
        "{:?}",
        second.said()
    );
    assert_eq!(all_rows(home.path()), 4);
}

#[test]
fn a_folder_that_cannot_be_is_told_of_once_and_tried_again() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("flows");
    fs::write(&folder, "no folder").unwrap();
    let mut kept = Kept::new(&folder, &ArchiveSettings::default());
    for after_s in 0..20 {
        kept.take(5, SEVEN_S + after_s);
    }
    assert_eq!(kept.counts.dropped(Dropped::Unwritable), 100);
    assert_eq!(kept.said().len(), 1, "{:?}", kept.said());
    assert!(kept.said()[0].contains(folder.to_str().unwrap()));
    fs::remove_file(&folder).unwrap();
    kept.take(7, SEVEN_S + 30);
    // The folder goes while a file is being written.
    fs::remove_dir_all(&folder).unwrap();
    kept.keeper.tend(SEVEN_S + 3600);
    assert_eq!(kept.counts.dropped(Dropped::Unwritable), 107);
    kept.take(8, SEVEN_S + 3700);
    kept.keeper.close(SEVEN_S + 3701);
    assert_eq!((all_rows(&folder), kept.counts.pending()), (8, 0));
    assert_eq!(kept.said().len(), 2, "{:?}", kept.said());
}

/// A small disk.
struct Disk(PathBuf);

impl Disk {
    fn new(path: PathBuf) -> Option<Self> {
        fs::create_dir(&path).unwrap();
        let mounted = mount(
            "tmpfs",
            &path,
            "tmpfs",
            MountFlags::empty(),
            Some(c"size=4m"),
        );
        mounted.ok().map(|()| Self(path))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_costs_counted_rows_until_there_is_room_again() {
    let home = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::new(home.path().join("disk")) else {
        println!("skipped: needs root (a small disk is mounted)");
        return;
    };
    let settings = ArchiveSettings {
        rows_max: 2048,
        ..ArchiveSettings::default()
    };
    let mut kept = Kept::new(&disk.0, &settings);
    let mut now_s = SEVEN_S;
    for _ in 0..400 {
        now_s += 1;
        kept.take(200, now_s);
    }
    assert!(
        kept.counts.dropped(Dropped::DiskFull) > 10_000,
        "{:?}",
        kept.counts
    );
    assert_eq!(kept.dropped(), kept.counts.dropped(Dropped::DiskFull));
    // What there was room for is whole, and nothing else is counted as written.
    assert_eq!(all_rows(&disk.0), kept.counts.written.load(Relaxed));
    assert_eq!(kept.said().len(), 1, "{:?}", kept.said());
    assert!(kept.said()[0].contains("free some"), "{:?}", kept.said());
    for name in names(&disk.0) {
        fs::remove_file(disk.0.join(name)).unwrap();
    }
    let before = kept.counts.written.load(Relaxed);
    kept.take(300, now_s + 10);
    kept.keeper.close(now_s + 11);
    assert_eq!(kept.counts.written.load(Relaxed), before + 300);
    assert_eq!(all_rows(&disk.0), 300);
    assert_eq!(kept.said().len(), 2, "{:?}", kept.said());
    // Somebody else fills it while a file is being written: that file is lost, and counted.
    kept.take(900, now_s + 20);
    let ballast = fs::write(disk.0.join("ballast"), vec![0; 8 << 20]);
    assert!(ballast.is_err());
    kept.keeper.close(now_s + 21);
    let counts = &kept.counts;
    let settled = counts.written.load(Relaxed) + kept.dropped();
    assert_eq!(counts.offered.load(Relaxed), settled);
    assert_eq!(counts.pending(), 0);
}

#[test]
fn more_than_may_wait_is_dropped_and_counted() {
    let home = tempfile::tempdir().unwrap();
    let settings = ArchiveSettings {
        rows_max: 20,
        ..ArchiveSettings::default()
    };
    let counts = Arc::<ArchiveCounts>::default();
    let folder = home.path().to_owned();
    let archive = Archive::start(folder, &settings, counts.clone(), |_| {}).unwrap();
    archive.offer((0..25).map(row).collect(), SEVEN_S);
    assert_eq!(counts.dropped(Dropped::NoRoom), 15);
    drop(archive);
    assert_eq!(counts.written.load(Relaxed), 10);
    assert_eq!((counts.pending(), counts.waiting.load(Relaxed)), (0, 0));
    assert_eq!(all_rows(home.path()), 10);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn rows_offered_are_written_dropped_or_pending(
        steps in prop::collection::vec((0_u64..2500, 0_u64..300, prop::bool::weighted(0.1)), 1..20),
        flush_s in 1_u64..3600,
        rows_max in 2_u64..2048,
        bytes_max in prop_oneof![Just(u64::MAX), 10_000_u64..200_000],
    ) {
        let home = tempfile::tempdir().unwrap();
        let settings = ArchiveSettings { flush_s, rows_max, bytes_max, age_max_s: 0, ..ArchiveSettings::default() };
        let mut kept = Kept::new(home.path(), &settings);
        let mut now_s = SEVEN_S;
        for (elapsed_s, rows, breaks) in steps {
            now_s += elapsed_s;
            if breaks {
                // All that is there, the file that is being written included.
                fs::remove_dir_all(home.path()).unwrap();
                fs::create_dir(home.path()).unwrap();
            }
            kept.take(rows, now_s);
            let counts = &kept.counts;
            let settled = counts.written.load(Relaxed) + kept.dropped();
            prop_assert_eq!(counts.offered.load(Relaxed), settled + counts.pending());
            prop_assert_eq!(counts.waiting.load(Relaxed), 0);
            // Whatever has its name is whole.
            let there = all_rows(home.path());
            prop_assert!(there <= counts.written.load(Relaxed));
        }
        kept.keeper.close(now_s);
        prop_assert_eq!(kept.counts.pending(), 0);
        let hidden = fs::read_dir(home.path()).unwrap().count() - names(home.path()).len();
        prop_assert_eq!(hidden, 0, "nothing unfinished is left");
    }
}
