//! A kernel to boot: Debian's cloud kernel of a series, or what a path names.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::tool;

/// How Debian's cloud kernels' packages end; their debug and unsigned variants end otherwise.
const CLOUD_SUFFIX: &str = "-cloud-amd64";

/// How much of an image is read to find its release: its setup code holds it, at most 64 sectors of 512 bytes.
const IMAGE_HEAD_BYTES: u64 = 64 * 512;

/// A kernel ready to boot.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// As `uname -r` says it.
    pub release: String,
    /// The compressed image.
    pub image: PathBuf,
    /// The folder of its modules; none for an image alone, which then must have what it needs built in.
    pub modules: Option<PathBuf>,
}

impl Kernel {
    /// Finds the kernel that `wanted` names: a series such as `6.1`, which is fetched as a package; or the path of a
    /// package, of an unpacked one, or of an image. `folder` holds what has been unpacked.
    pub fn find(wanted: &str, folder: &Path) -> Result<Self> {
        if is_series(wanted) {
            return Self::fetch(wanted, folder);
        }
        let path = Path::new(wanted);
        if path.is_dir() {
            Self::in_tree(path)
        } else if path.extension().is_some_and(|extension| extension == "deb") {
            let stem = path.file_stem().unwrap_or_default();
            let tree = folder.join(stem);
            unpack(path, &tree)?;
            Self::in_tree(&tree)
        } else {
            Self::of_image(path)
        }
    }

    /// Fetches the newest cloud kernel of a series, unless it is there already.
    fn fetch(series: &str, folder: &Path) -> Result<Self> {
        let mut package = listed(series)?;
        if package.is_none() {
            // Without root or a network, one that has been unpacked before serves.
            match tool::update_package_lists() {
                Ok(()) => package = listed(series)?,
                Err(error) => package = Some(unpacked(series, folder)?.ok_or(error)?),
            }
        }
        let package = package.with_context(|| {
            format!("apt lists no linux-image-{series}.*{CLOUD_SUFFIX}: add a Debian release that has it to apt's sources")
        })?;
        let tree = folder.join(&package);
        if tree.is_dir() {
            return Self::in_tree(&tree);
        }
        let (package, archive) = match download(&package, folder) {
            Ok(archive) => (package, archive),
            Err(error) => {
                // A list older than the archive names packages that are gone from it.
                eprintln!("kernels: {error:#}");
                tool::update_package_lists()?;
                let package = listed(series)?.unwrap_or(package);
                let archive = download(&package, folder)?;
                (package, archive)
            }
        };
        let tree = folder.join(package);
        unpack(&archive, &tree)?;
        fs::remove_file(&archive)
            .with_context(|| format!("cannot remove {}", archive.display()))?;
        Self::in_tree(&tree)
    }

    /// The kernel of an unpacked package.
    fn in_tree(tree: &Path) -> Result<Self> {
        let boot = tree.join("boot");
        let mut images = Vec::new();
        for entry in
            fs::read_dir(&boot).with_context(|| format!("cannot list {}", boot.display()))?
        {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("vmlinuz-") {
                images.push(entry.path());
            }
        }
        match images.as_slice() {
            [image] => Self::of_image(image),
            images => bail!(
                "{} holds {} images (vmlinuz-*), not one: name the image itself",
                boot.display(),
                images.len()
            ),
        }
    }

    /// The kernel of an image, with its modules where `boot` has a `lib/modules` beside it.
    fn of_image(image: &Path) -> Result<Self> {
        let release = release_of(image)?;
        let root = image.parent().and_then(Path::parent);
        let modules = root.and_then(|root| {
            ["lib/modules", "usr/lib/modules"]
                .iter()
                .map(|folder| root.join(folder).join(&release))
                .find(|folder| folder.is_dir())
        });
        Ok(Self {
            release,
            image: image.to_owned(),
            modules,
        })
    }
}

/// Whether this is a series, `MAJOR.MINOR`.
fn is_series(wanted: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    wanted
        .split_once('.')
        .is_some_and(|(major, minor)| number(major) && number(minor))
}

/// The newest cloud kernel of a series that apt's lists name.
fn listed(series: &str) -> Result<Option<String>> {
    let names = tool::output_of(
        Command::new("apt-cache").args(["pkgnames", &format!("linux-image-{series}.")]),
    )?;
    let names = String::from_utf8_lossy(&names);
    Ok(newest(series, names.lines().map(str::to_owned)))
}

/// The newest cloud kernel of a series that has been unpacked.
fn unpacked(series: &str, folder: &Path) -> Result<Option<String>> {
    let names = fs::read_dir(folder)?
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().into_string().ok());
    Ok(newest(series, names))
}

/// The name with the highest version in it, among those of a series' cloud kernels.
fn newest(series: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let prefix = format!("linux-image-{series}.");
    names
        .filter(|name| name.starts_with(&prefix) && name.ends_with(CLOUD_SUFFIX))
        .max_by_key(|name| numbers(name))
}

/// The numbers in a name, in order: what orders `6.1.0-9` before `6.1.0-10`.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

/// Downloads a package, without installing it, and returns where it is.
fn download(package: &str, folder: &Path) -> Result<PathBuf> {
    eprintln!("kernels: downloading {package}");
    let partial = folder.join("download");
    make_empty(&partial)?;
    tool::output_of(
        Command::new("apt-get")
            // apt's own user may not write into the target folder.
            .args([
                "download",
                "--quiet",
                "-o",
                "APT::Sandbox::User=root",
                package,
            ])
            .current_dir(&partial),
    )
    .with_context(|| format!("cannot download {package}"))?;
    fs::read_dir(&partial)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| {
            format!(
                "apt-get downloaded {package}, but {} holds none",
                partial.display()
            )
        })
}

/// Unpacks a package to `tree`, which is there only once it is whole.
fn unpack(archive: &Path, tree: &Path) -> Result<()> {
    let partial = tree.with_added_extension("partial");
    make_empty(&partial)?;
    tool::output_of(
        Command::new("dpkg-deb")
            .arg("--extract")
            .args([archive, &partial]),
    )
    .with_context(|| format!("cannot unpack {}", archive.display()))?;
    if tree.exists() {
        fs::remove_dir_all(tree)?;
    }
    fs::rename(&partial, tree)
        .with_context(|| format!("cannot name the unpacked package {}", tree.display()))
}

/// Makes a folder, without what it held.
pub fn make_empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// The release that an image states in its setup header.
fn release_of(image: &Path) -> Result<String> {
    let mut head = Vec::new();
    File::open(image)
        .and_then(|file| file.take(IMAGE_HEAD_BYTES).read_to_end(&mut head))
        .with_context(|| format!("cannot read kernel image {}", image.display()))?;
    let release = release_in(&head);
    ensure!(
        release.is_some(),
        "{} is no x86 kernel image: give a series (6.1), a .deb, an unpacked package or a vmlinuz",
        image.display()
    );
    Ok(release.unwrap_or_default())
}

/// The x86 boot protocol: `HdrS` at 0x202; at 0x20e, where the version is, less 0x200; its first word is the release.
fn release_in(head: &[u8]) -> Option<String> {
    if head.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let pointer = u16::from_le_bytes([*head.get(0x20e)?, *head.get(0x20f)?]);
    let version = head.get(usize::from(pointer) + 0x200..)?;
    let word = version
        .split(|&byte| byte == b' ' || byte == 0)
        .next()
        .filter(|word| !word.is_empty())?;
    String::from_utf8(word.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_two_numbers() {
        assert!(is_series("6.1"));
        assert!(is_series("6.12"));
        for other in ["6", "6.", "6.1.0", "./6.1", "linux-6.1"] {
            assert!(!is_series(other), "{other}");
        }
    }

    #[test]
    fn the_newest_is_by_number_and_of_its_series() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-10-cloud-amd64",
            "linux-image-6.1.0-11-cloud-amd64-dbg",
            "linux-image-6.1.0-11-cloud-amd64-unsigned",
            "linux-image-6.1.0-11-amd64",
            "linux-image-6.12.9+deb12-cloud-amd64",
        ];
        let newest = |series| newest(series, names.iter().map(|&name| name.to_owned()));
        assert_eq!(
            newest("6.1").as_deref(),
            Some("linux-image-6.1.0-10-cloud-amd64")
        );
        assert_eq!(
            newest("6.12").as_deref(),
            Some("linux-image-6.12.9+deb12-cloud-amd64")
        );
        assert_eq!(newest("6.6"), None);
    }

    #[test]
    fn the_release_is_read_from_the_setup_header() {
        let mut head = vec![0; 0x400];
        head[0x202..0x206].copy_from_slice(b"HdrS");
        head[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
        head[0x300..0x30c].copy_from_slice(b"6.1.0-x (me)");
        assert_eq!(release_in(&head).as_deref(), Some("6.1.0-x"));
        assert_eq!(release_in(&head[..0x205]), None);
        assert_eq!(release_in(&[0; 0x400]), None);
    }
}
