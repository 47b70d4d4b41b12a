//! A Debian system of its own: what debootstrap makes, kept under `target`, and over it a layer in memory, in a mount namespace
//! without a name. Nothing is left of it when its owner and its processes have ended, however they ended.

use std::{
    fs::{self, File},
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
};

use rustix::{
    mount::{
        MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change,
        mount_remount, unmount,
    },
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};

use super::space::Space;

/// A system to install into.
pub struct Root {
    namespace: OwnedFd,
    path: PathBuf,
}

impl Root {
    /// A new one over `base`, with a BPF file system.
    pub fn new(base: &Path) -> Self {
        let path = std::env::temp_dir().join(format!("detector-root-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let made = thread::scope(|scope| scope.spawn(|| Self::make(base, &path)).join());
        Self {
            namespace: made.unwrap(),
            path: path.join("root"),
        }
    }

    fn make(base: &Path, path: &Path) -> OwnedFd {
        // SAFETY: descriptors stay shared; this thread's mounts and working directory become its own, and it ends here.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }.unwrap();
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).unwrap();
        let none = MountFlags::empty();
        mount("tmpfs", path, "tmpfs", none, None).unwrap();
        for folder in ["upper", "work", "root"] {
            fs::create_dir(path.join(folder)).unwrap();
        }
        let at = |folder: &str| path.join(folder).display().to_string();
        let layers = format!(
            "lowerdir={},upperdir={},workdir={}",
            base.display(),
            at("upper"),
            at("work")
        );
        let layers = std::ffi::CString::new(layers).unwrap();
        let root = path.join("root");
        mount("overlay", &root, "overlay", none, Some(layers.as_c_str())).unwrap();
        mount("proc", root.join("proc"), "proc", none, None).unwrap();
        mount("sysfs", root.join("sys"), "sysfs", none, None).unwrap();
        mount("bpf", root.join("sys/fs/bpf"), "bpf", none, None).unwrap();
        mount_bind_recursive("/dev", root.join("dev")).unwrap();
        File::open("/proc/thread-self/ns/mnt").unwrap().into()
    }

    /// A path in it, as it is called where [`Root::within`] is.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.path.join(inside.trim_start_matches('/'))
    }

    /// Does something where it is seen and in a network namespace, on a thread of its own.
    pub fn within<R: Send>(&self, space: &Space, what: impl FnOnce() -> R + Send) -> R {
        space.within(|| {
            // SAFETY: as above; a thread that shares its working directory may not change its mounts.
            unsafe { unshare_unsafe(UnshareFlags::FS) }.unwrap();
            let namespace = self.namespace.as_fd();
            move_into_link_name_space(namespace, Some(LinkNameSpaceType::Mount)).unwrap();
            what()
        })
    }

    /// A program of it, run in it.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("chroot");
        command
            .arg(&self.path)
            .args(words)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null());
        command
    }

    /// Runs a program of it to its end.
    pub fn try_run(&self, space: &Space, words: &[&str]) -> Output {
        self.within(space, || self.command(words).output()).unwrap()
    }

    /// The same, which succeeds; what it printed.
    pub fn run(&self, space: &Space, words: &[&str]) -> String {
        let output = self.try_run(space, words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Lets it be written only in these folders, as `ProtectSystem=strict` does.
    pub fn protect(&self, space: &Space, writable: &[String]) {
        self.within(space, || {
            for folder in writable {
                let folder = self.path(folder);
                mount_bind_recursive(&folder, &folder).unwrap();
            }
            mount_remount(&self.path, MountFlags::BIND | MountFlags::RDONLY, "").unwrap();
        });
    }

    /// Undoes that.
    pub fn release(&self, space: &Space, writable: &[String]) {
        self.within(space, || {
            for folder in writable {
                unmount(self.path(folder), UnmountFlags::empty()).unwrap();
            }
            mount_remount(&self.path, MountFlags::BIND, "").unwrap();
        });
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        if let Some(folder) = self.path.parent() {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// What the host's Debian is made of, bootstrapped once; why it cannot be, where it cannot.
pub fn bootstrapped() -> Result<PathBuf, String> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let line = |name: &str| {
        let found = release.lines().find_map(|line| line.strip_prefix(name));
        found.map(|value| value.trim_matches('"').to_owned())
    };
    if line("ID=").as_deref() != Some("debian") {
        return Err("needs Debian, whose mirror is known".to_owned());
    }
    let suite = line("VERSION_CODENAME=").ok_or("needs a released Debian")?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debian");
    fs::create_dir_all(&folder).unwrap();
    let folder = folder.canonicalize().unwrap();
    let base = folder.join(&suite);
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    if !base.exists() {
        // One that was cut short is begun anew.
        let part = folder.join("part");
        let _ = fs::remove_dir_all(&part);
        let output = Command::new("debootstrap")
            .args(["--variant=minbase", &suite])
            .arg(&part)
            .arg(mirror())
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("needs the program debootstrap ({error})"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stdout);
            let last = said.lines().last().unwrap_or_default();
            return Err(format!("needs a Debian mirror (debootstrap: {last})"));
        }
        fs::rename(&part, &base).unwrap();
    }
    Ok(base)
}

/// The mirror that apt is configured with.
fn mirror() -> String {
    let sources = [
        "/etc/apt/sources.list",
        "/etc/apt/sources.list.d/debian.sources",
    ];
    let text: String = sources
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .collect();
    let found = text
        .lines()
        .filter(|line| line.starts_with("URIs:") || line.starts_with("deb "))
        .flat_map(str::split_whitespace)
        .find(|word| word.starts_with("http") && word.trim_end_matches('/').ends_with("/debian"));
    found.unwrap_or("http://deb.debian.org/debian").to_owned()
}
