//! The archive's files: their names, which of them there are, and which must go.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    super::{Rfc3339, day_of, destination::PARTIAL},
    Removed,
};

/// How the name of a file begins, one that is not complete included.
const PREFIX: &str = "flows-";
/// How the name of a file begins that is not complete.
pub(super) const UNFINISHED: &str = ".flows-";
const SUFFIX: &str = ".parquet";
pub(super) const HOUR_S: u64 = 3600;

/// Which file: the hour (Unix time / 3600) and the part of it; a part more for each start of the agent, at the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) hour: u64,
    pub(super) part: u32,
}

impl Name {
    /// `flows-2026-11-21T07Z-0000.parquet`: names sort as their times do.
    pub(super) fn text(self) -> String {
        let time = Rfc3339(self.hour * HOUR_S * 1_000_000).to_string();
        format!("{PREFIX}{}Z-{:04}{SUFFIX}", &time[..13], self.part)
    }

    /// `None` for what the archive would not have called so: such a file is not the archive's.
    fn read(text: &str) -> Option<Self> {
        let middle = text.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
        let (time, part) = middle.rsplit_once("Z-")?;
        let number = |range: std::ops::Range<usize>| time.get(range)?.parse::<u32>().ok();
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let day = u64::try_from(day_of(year, month, day)).ok()?;
        let hour = day * 24 + u64::from(number(11..13)?);
        let part = part.parse().ok()?;
        let name = Self { hour, part };
        // What reads otherwise than it is written was no name.
        (name.text() == text).then_some(name)
    }
}

/// A file of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) name: Name,
    pub(super) bytes: u64,
}

/// The archive's files in a folder, the oldest first.
pub(super) fn list(folder: &Path) -> io::Result<Vec<Stored>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().and_then(Name::read) else {
            continue;
        };
        // Not followed: a link is not the archive's. One that is gone meanwhile is none of its files either.
        if let Ok(file) = entry.metadata()
            && file.is_file()
        {
            let bytes = file.len();
            all.push(Stored { name, bytes });
        }
    }
    all.sort_unstable_by_key(|one| one.name);
    Ok(all)
}

/// Which of the files must go, the oldest first, so that those that stay are younger than `age_max_s` (0: any age) and have
/// `bytes_max` bytes together with `growing` more.
pub(super) fn excess(
    all: &[Stored],
    now_s: u64,
    (bytes_max, age_max_s): (u64, u64),
    growing: u64,
) -> Vec<(&Stored, Removed)> {
    let mut total = all.iter().map(|one| one.bytes).sum::<u64>() + growing;
    let mut out = Vec::new();
    for one in all {
        let over_s = now_s.saturating_sub((one.name.hour + 1) * HOUR_S);
        let why = if age_max_s > 0 && over_s > age_max_s {
            Removed::Age
        } else if total > bytes_max {
            Removed::Size
        } else {
            continue;
        };
        total -= one.bytes;
        out.push((one, why));
    }
    out
}

/// Removes files that an agent which was killed had not completed; how many, and their bytes.
pub(super) fn clear_unfinished(folder: &Path) -> io::Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let unfinished = name
            .to_str()
            .is_some_and(|name| name.starts_with(UNFINISHED) && name.ends_with(PARTIAL));
        if unfinished && entry.file_type()?.is_file() {
            bytes += entry.metadata()?.len();
            fs::remove_file(entry.path())?;
            files += 1;
        }
    }
    Ok((files, bytes))
}

/// The path of the next part of an hour.
pub(super) fn next(folder: &Path, hour: u64) -> io::Result<PathBuf> {
    let all = list(folder)?;
    let last = all.iter().rev().find(|one| one.name.hour == hour);
    let part = last.map_or(0, |last| last.name.part + 1);
    Ok(folder.join(Name { hour, part }.text()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_tells_its_hour_and_what_is_called_otherwise_is_not_the_archives() {
        let name = Name {
            hour: 1_795_244_400 / HOUR_S,
            part: 2,
        };
        assert_eq!(name.text(), "flows-2026-11-21T07Z-0002.parquet");
        assert_eq!(Name::read(&name.text()), Some(name));
        for other in [
            "flows.parquet",
            "flows-2026-11-21T07Z-2.parquet",
            "flows-2026-11-21T07Z-+002.parquet",
            "flows-2026-02-30T07Z-0002.parquet",
            "flows-2026-11-21T24Z-0002.parquet",
            "flows-2026-11-21T07Z-0002.parquet.bak",
            "my-flows-2026-11-21T07Z-0002.parquet",
            "flows-2026-11-21T0éZ-0002.parquet",
            "flows-Z-0002.parquet",
        ] {
            assert_eq!(Name::read(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn names_sort_as_their_times_do(hours in prop::array::uniform2(0_u64..2_000_000), parts in prop::array::uniform2(0_u32..10_000)) {
            let [one, other] = [0, 1].map(|n| Name { hour: hours[n], part: parts[n] });
            prop_assert_eq!(Name::read(&one.text()), Some(one));
            prop_assert_eq!(one.cmp(&other), one.text().cmp(&other.text()));
        }

        #[test]
        fn what_stays_is_within_the_limits_and_what_goes_is_the_oldest(
            files in prop::collection::btree_map((480_000_u64..480_100, 0_u32..3), 0_u64..1000, 0..40),
            bytes_max in 0_u64..20_000,
            age_max_s in prop_oneof![Just(0), 1_u64..400_000],
            growing in 0_u64..2000,
        ) {
            let all: Vec<Stored> = files
                .iter()
                .map(|((hour, part), bytes)| Stored { name: Name { hour: *hour, part: *part }, bytes: *bytes })
                .collect();
            let now_s = 480_100 * HOUR_S;
            let gone = excess(&all, now_s, (bytes_max, age_max_s), growing);
            // The oldest, and none between them stays.
            let names: Vec<Name> = gone.iter().map(|(one, _)| one.name).collect();
            let oldest: Vec<Name> = all.iter().take(gone.len()).map(|one| one.name).collect();
            prop_assert_eq!(names, oldest);
            let stay = &all[gone.len()..];
            let total: u64 = stay.iter().map(|one| one.bytes).sum();
            prop_assert!(stay.is_empty() || total + growing <= bytes_max);
            for one in stay {
                prop_assert!(age_max_s == 0 || now_s - (one.name.hour + 1) * HOUR_S <= age_max_s);
            }
            // No more than needed: the youngest that goes would be one too many.
            if let Some((one, Removed::Size)) = gone.last() {
                prop_assert!(total + growing + one.bytes > bytes_max, "{:?}", one);
            }
        }
    }
}
