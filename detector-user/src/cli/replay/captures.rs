//! From what was named to the captures to read, in order.

use std::cmp::Ordering;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Directories within directories are followed this deep.
const DEPTH_MAX: usize = 64;

/// One file to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Capture {
    pub(in super::super) path: PathBuf,
    /// It was found in a directory, and its name does not say that it is a capture: if it turns out to be none, that is
    /// no failure.
    pub(in super::super) may_be_other: bool,
}

/// What there is to read.
#[derive(Debug, Default)]
pub(in super::super) struct Captures {
    pub(in super::super) files: Vec<Capture>,
    /// Directories that could not be read.
    pub(in super::super) failed: Vec<(PathBuf, io::Error)>,
}

impl Captures {
    /// All files that `named` stands for. What is no directory is taken as it is, so that opening it tells what is
    /// wrong with it; `-` is standard input.
    pub(in super::super) fn of(named: &[PathBuf]) -> Self {
        let mut captures = Self::default();
        for path in named {
            if path == Path::new("-") {
                captures.files.push(Capture {
                    path: PathBuf::from("/dev/stdin"),
                    may_be_other: false,
                });
            } else if path.is_dir() {
                captures.walk(path, DEPTH_MAX);
            } else {
                captures.files.push(Capture {
                    path: path.clone(),
                    may_be_other: false,
                });
            }
        }
        captures
    }

    /// Adds the files in `directory` and below. Hidden entries, links to directories and what is no regular file are
    /// left out.
    fn walk(&mut self, directory: &Path, depth: usize) {
        let mut entries = match entries(directory, depth) {
            Ok(entries) => entries,
            Err(cause) => return self.failed.push((directory.to_owned(), cause)),
        };
        entries.sort_by(|a, b| by_name(a.as_os_str().as_bytes(), b.as_os_str().as_bytes()));
        for path in entries {
            match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_dir() => self.walk(&path, depth - 1),
                // A link to a file is as good as the file.
                Ok(_) if path.is_file() => self.files.push(Capture {
                    may_be_other: !is_named_as_capture(&path),
                    path,
                }),
                Ok(_) => {}
                Err(cause) => self.failed.push((path, cause)),
            }
        }
    }
}

fn entries(directory: &Path, depth: usize) -> io::Result<Vec<PathBuf>> {
    if depth == 0 {
        return Err(io::Error::other(format!(
            "it lies more than {DEPTH_MAX} directories deep"
        )));
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().as_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    Ok(paths)
}

/// Whether any ending of the name is one of captures: `x.pcap`, `x.pcapng.gz`, `x.pcap12`.
fn is_named_as_capture(path: &Path) -> bool {
    path.file_name().is_some_and(|name| {
        name.as_bytes()
            .split(|&byte| byte == b'.')
            .skip(1)
            .any(|ending| ending.starts_with(b"pcap") || ending == b"cap" || ending == b"dmp")
    })
}

/// Orders names as people count: numbers by value, so that `x.pcap2` comes before `x.pcap10`, as rotating capture
/// programs name their files.
fn by_name(mut a: &[u8], mut b: &[u8]) -> Ordering {
    loop {
        let (Some(&first), Some(&second)) = (a.first(), b.first()) else {
            return a.len().cmp(&b.len());
        };
        if first.is_ascii_digit() && second.is_ascii_digit() {
            let (x, rest_a) = split_number(a);
            let (y, rest_b) = split_number(b);
            let order = significant(x)
                .len()
                .cmp(&significant(y).len())
                .then_with(|| significant(x).cmp(significant(y)))
                .then_with(|| x.len().cmp(&y.len()));
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (rest_a, rest_b);
        } else if first != second {
            return first.cmp(&second);
        } else {
            (a, b) = (&a[1..], &b[1..]);
        }
    }
}

/// The digits that a name begins with, and the rest.
fn split_number(name: &[u8]) -> (&[u8], &[u8]) {
    let end = name
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(name.len());
    name.split_at(end)
}

/// Digits without leading zeros.
fn significant(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn numbers_in_names_count_by_value() {
        let mut names = ["b", "a10", "a2", "a02", "a", "a2b", "a1.pcap", "a1"];
        names.sort_by(|x, y| by_name(x.as_bytes(), y.as_bytes()));
        assert_eq!(
            names,
            ["a", "a1", "a1.pcap", "a2", "a2b", "a02", "a10", "b"]
        );
    }

    #[test]
    fn a_directory_is_read_in_order_and_its_oddities_left_out() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::create_dir_all(at("sub/deeper")).unwrap();
        fs::create_dir(at(".git")).unwrap();
        let hostile = std::ffi::OsString::from_vec(b"\xff\x1b[2J\n.pcap".to_vec());
        for name in [
            "x.pcap10",
            "x.pcap9",
            "README",
            ".git/x.pcap",
            "sub/deeper/y.pcapng.gz",
        ] {
            fs::write(at(name), b"").unwrap();
        }
        fs::write(home.path().join(&hostile), b"").unwrap();
        std::os::unix::fs::symlink("..", at("sub/loop")).unwrap();
        std::os::unix::fs::symlink("nowhere", at("dangling.pcap")).unwrap();
        std::os::unix::net::UnixListener::bind(at("socket.pcap")).unwrap();
        let captures = Captures::of(&[home.path().to_owned(), at("absent"), PathBuf::from("-")]);
        let names: Vec<_> = captures
            .files
            .iter()
            .map(|c| (c.path.clone(), c.may_be_other))
            .collect();
        let want = [
            (at("README"), true),
            (at("sub/deeper/y.pcapng.gz"), false),
            (at("x.pcap9"), false),
            (at("x.pcap10"), false),
            (home.path().join(&hostile), false),
            (at("absent"), false),
            (PathBuf::from("/dev/stdin"), false),
        ];
        assert_eq!(names, want);
        assert!(captures.failed.is_empty());
    }
}
