//! Where images and containers of a test are. What one that was killed left is cleared away by the next.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
};

const PREFIX: &str = "detector-image-";

/// A folder that goes with this.
pub struct Place(PathBuf);

impl Place {
    pub fn new() -> Self {
        for entry in fs::read_dir(env::temp_dir())
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name();
            let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
            if owner.is_some_and(|owner| !Path::new("/proc").join(owner).exists()) {
                drop(Self(entry.path()));
            }
        }
        let folder = env::temp_dir().join(format!("{PREFIX}{}", process::id()));
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The runtime of its containers.
    pub fn runtime(&self, words: &[&str]) -> Command {
        let mut command = Command::new("runc");
        command
            .arg("--root")
            .arg(self.at("state"))
            .args(words)
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let listed = self.runtime(&["list", "--quiet"]).output();
        let listed = listed.map(|output| output.stdout).unwrap_or_default();
        for name in String::from_utf8_lossy(&listed).lines() {
            let _ = self.runtime(&["delete", "--force", name]).status();
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}
