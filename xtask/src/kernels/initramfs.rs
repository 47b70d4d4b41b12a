//! The guest's file system: a gzip-compressed cpio archive (`newc`), which the kernel unpacks into memory.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::tool;

/// The most that a guest's files may come to: they are held in its memory twice while they are unpacked.
const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// How deep a folder given as data may be.
const FOLDER_DEPTH_MAX: usize = 32;

/// Fast: the archive is written once and read once, and most of it are capture files.
const GZIP_LEVEL: &str = "-1";

const FOLDER: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;
const PLAIN: u32 = 0o100_644;
const LINK: u32 = 0o120_777;

/// Writes a file system, folders made as they are needed.
pub struct Initramfs<W: Write> {
    to: W,
    folders: BTreeSet<PathBuf>,
    files: BTreeSet<PathBuf>,
    inode: u32,
    file_bytes: u64,
}

impl<W: Write> Initramfs<W> {
    /// An empty one.
    pub fn new(to: W) -> Self {
        Self {
            to,
            folders: BTreeSet::new(),
            files: BTreeSet::new(),
            inode: 0,
            file_bytes: 0,
        }
    }

    /// Makes a folder, and those above it, unless they are there. `path` is relative to the root.
    pub fn folder(&mut self, path: &Path) -> Result<()> {
        let mut above: Vec<&Path> = path
            .ancestors()
            .filter(|folder| !folder.as_os_str().is_empty())
            .collect();
        above.reverse();
        for folder in above {
            if self.folders.insert(folder.to_owned()) {
                self.entry(folder, FOLDER, &[])?;
            }
        }
        Ok(())
    }

    /// Adds a file of the guest's own making.
    pub fn file(&mut self, path: &Path, content: &[u8]) -> Result<()> {
        self.add(path, PLAIN, content)
    }

    /// Adds a script.
    pub fn script(&mut self, path: &Path, content: &str) -> Result<()> {
        self.add(path, EXECUTABLE, content.as_bytes())
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &Path, target: &str) -> Result<()> {
        self.add(path, LINK, target.as_bytes())
    }

    /// Adds a program of the host at `path`, and the shared libraries it needs where they are on the host.
    pub fn program(&mut self, path: &Path, host: &Path) -> Result<()> {
        self.copy(path, host, EXECUTABLE)?;
        for library in shared_libraries(host)? {
            let guest = library.strip_prefix("/").unwrap_or(&library).to_owned();
            if !self.files.contains(&guest) {
                self.copy(&guest, &library, EXECUTABLE)?;
            }
        }
        Ok(())
    }

    /// Adds a file of the host, or a folder with all that is below it, at `path`.
    pub fn data(&mut self, path: &Path, host: &Path) -> Result<()> {
        self.data_below(path, host, FOLDER_DEPTH_MAX)
    }

    fn data_below(&mut self, path: &Path, host: &Path, depth_left: usize) -> Result<()> {
        if !host.is_dir() {
            return self.copy(path, host, PLAIN);
        }
        ensure!(
            depth_left > 0,
            "{} is more than {FOLDER_DEPTH_MAX} folders deep: give a folder further down",
            host.display()
        );
        self.folder(path)?;
        let entries =
            fs::read_dir(host).with_context(|| format!("cannot list {}", host.display()))?;
        for entry in entries {
            let entry = entry?;
            self.data_below(&path.join(entry.file_name()), &entry.path(), depth_left - 1)?;
        }
        Ok(())
    }

    fn copy(&mut self, path: &Path, host: &Path, mode: u32) -> Result<()> {
        let cannot = || format!("cannot read {} for the guest", host.display());
        let length = fs::metadata(host).with_context(cannot)?.len();
        // Asked before it is read: it may be larger than this machine's memory.
        self.ensure_room(length, host)?;
        let content = fs::read(host).with_context(cannot)?;
        self.add(path, mode, &content)
    }

    fn add(&mut self, path: &Path, mode: u32, content: &[u8]) -> Result<()> {
        if let Some(parent) = path.parent() {
            self.folder(parent)?;
        }
        ensure!(
            !self.folders.contains(path) && self.files.insert(path.to_owned()),
            "the guest would have two files at /{}: give one another name",
            path.display()
        );
        self.ensure_room(content.len() as u64, path)?;
        self.file_bytes += content.len() as u64;
        self.entry(path, mode, content)
    }

    fn ensure_room(&self, bytes: u64, path: &Path) -> Result<()> {
        ensure!(
            self.file_bytes + bytes <= FILE_BYTES_MAX,
            "the guest's files come to more than {FILE_BYTES_MAX} bytes with {}: give it fewer",
            path.display()
        );
        Ok(())
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Result<W> {
        self.inode = 0;
        self.entry(Path::new("TRAILER!!!"), 0, &[])?;
        self.to.flush().context("cannot write the initramfs")?;
        Ok(self.to)
    }

    fn entry(&mut self, path: &Path, mode: u32, content: &[u8]) -> Result<()> {
        let name = tool::text(path)?;
        self.inode += 1;
        write_entry(&mut self.to, self.inode, name, mode, content)
            .context("cannot write the initramfs: is the disk full?")
    }
}

/// One entry: a header of hexadecimal fields, the name and the content, each of the two padded to four bytes.
fn write_entry(
    to: &mut impl Write,
    inode: u32,
    name: &str,
    mode: u32,
    content: &[u8],
) -> io::Result<()> {
    const HEADER_BYTES: usize = 110;
    const PADDING: [u8; 3] = [0; 3];
    let padding = |length: usize| &PADDING[..length.wrapping_neg() % 4];
    let name_bytes = name.len() + 1;
    // Magic, then: inode, mode, owner, group, links, time, length, four device numbers, name's length, checksum.
    write!(
        to,
        "070701{inode:08x}{mode:08x}{0:08x}{0:08x}{1:08x}{0:08x}{2:08x}{0:08x}{0:08x}{0:08x}{0:08x}{name_bytes:08x}{0:08x}",
        0,
        1,
        content.len()
    )?;
    to.write_all(name.as_bytes())?;
    to.write_all(&[0])?;
    to.write_all(padding(HEADER_BYTES + name_bytes))?;
    to.write_all(content)?;
    to.write_all(padding(content.len()))
}

/// Writes a compressed archive to `path`, with what `fill` puts into it.
pub fn write(
    path: &Path,
    fill: impl FnOnce(&mut Initramfs<BufWriter<std::process::ChildStdin>>) -> Result<()>,
) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    let mut gzip = Command::new("gzip")
        .args([GZIP_LEVEL, "-n", "-c"])
        .stdin(Stdio::piped())
        .stdout(file)
        .spawn()
        .context("cannot start gzip: is it installed?")?;
    let stdin = gzip.stdin.take().context("gzip has no standard input")?;
    let mut archive = Initramfs::new(BufWriter::new(stdin));
    let filled = fill(&mut archive).and_then(|()| archive.finish().map(drop));
    let status = gzip.wait().context("cannot wait for gzip")?;
    filled?;
    ensure!(
        status.success(),
        "gzip ended with {status} while writing {}",
        path.display()
    );
    Ok(())
}

/// A name relative to the guest's data folder, which it must stay in.
pub fn data_name(name: &str) -> Result<&Path> {
    let path = Path::new(name);
    ensure!(
        !name.is_empty()
            && path
                .components()
                .all(|part| matches!(part, Component::Normal(_))),
        "the data's name `{name}` in the guest must be relative, without `.` and `..`"
    );
    Ok(path)
}

/// The file name a program keeps in the guest.
pub fn program_name(program: &Path) -> Result<&Path> {
    program
        .file_name()
        .map(Path::new)
        .with_context(|| format!("{} names no program", program.display()))
}

/// The shared libraries a program needs, its loader included, as `ldd` finds them; none for a static one or a script.
fn shared_libraries(program: &Path) -> Result<Vec<PathBuf>> {
    // ldd takes a name without a slash as one in the working folder, with a warning.
    let program = fs::canonicalize(program)
        .with_context(|| format!("cannot find program {}", program.display()))?;
    let output = Command::new("ldd")
        .arg(&program)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .context("cannot start ldd: is it installed?")?;
    let answer = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let both = format!("{answer}{complaint}");
        ensure!(
            both.contains("not a dynamic executable"),
            "`ldd {}` ended with {}: {}",
            program.display(),
            output.status,
            both.trim()
        );
        return Ok(Vec::new());
    }
    libraries_in(&answer).with_context(|| format!("cannot take {} along", program.display()))
}

/// The paths in ldd's answer: `NAME => PATH (ADDRESS)`, or `PATH (ADDRESS)` for the loader; the vdso has no path.
fn libraries_in(answer: &str) -> Result<Vec<PathBuf>> {
    let mut libraries = Vec::new();
    for line in answer.lines() {
        let line = line.trim();
        let place = line.split_once(" => ").map_or(line, |(_, place)| place);
        if place == "not found" {
            bail!("its library is not on this machine: {line}");
        }
        if let Some((path, _)) = place.rsplit_once(" (0x")
            && path.starts_with('/')
        {
            libraries.push(PathBuf::from(path));
        }
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_padded_to_four_bytes() -> io::Result<()> {
        for (name, content) in [("a", ""), ("ab", "x"), ("abc", "xy"), ("abcd", "xyz")] {
            let mut entry = Vec::new();
            write_entry(&mut entry, 7, name, PLAIN, content.as_bytes())?;
            assert_eq!(entry.len() % 4, 0, "{name}");
            assert!(entry.starts_with(b"07070100000007000081a4"));
            assert_eq!(&entry[110..110 + name.len()], name.as_bytes());
            let at = (110 + name.len() + 1).next_multiple_of(4);
            assert_eq!(&entry[at..at + content.len()], content.as_bytes());
        }
        Ok(())
    }

    #[test]
    fn folders_come_before_what_they_hold_and_once() -> Result<()> {
        let mut archive = Initramfs::new(Vec::new());
        archive.file(Path::new("a/b/c"), b"1")?;
        archive.file(Path::new("a/b/d"), b"2")?;
        assert!(archive.file(Path::new("a/b"), b"").is_err());
        assert!(archive.file(Path::new("a/b/c"), b"").is_err());
        let bytes = archive.finish()?;
        let place = |name: &[u8]| bytes.windows(name.len()).position(|window| window == name);
        assert!(place(b"a\0") < place(b"a/b\0"));
        assert!(place(b"a/b\0") < place(b"a/b/c\0"));
        assert!(place(b"a/b/c\0") < place(b"a/b/d\0"));
        assert!(place(b"TRAILER!!!\0").is_some());
        Ok(())
    }

    #[test]
    fn libraries_are_read_from_ldd() -> Result<()> {
        let answer = "\tlinux-vdso.so.1 (0x00007ffd)\n\
            \tlibelf.so.1 => /lib/x86_64-linux-gnu/libelf.so.1 (0x00007f)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        assert_eq!(
            libraries_in(answer)?,
            [
                PathBuf::from("/lib/x86_64-linux-gnu/libelf.so.1"),
                PathBuf::from("/lib64/ld-linux-x86-64.so.2")
            ]
        );
        assert!(libraries_in("\tstatically linked\n")?.is_empty());
        assert!(libraries_in("\tlibx.so => not found\n").is_err());
        Ok(())
    }

    #[test]
    fn data_stays_in_its_folder() {
        assert!(data_name("pcap/a").is_ok());
        for name in ["", "/etc", "../x", "a/../../x", "./a"] {
            assert!(data_name(name).is_err(), "{name}");
        }
    }
}
