//! A container engine with a storage of its own, and images that stand for those of registries.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::place::Place;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// Stands for the toolchain: what it would build is at hand. It fails where it is asked for something else, or is given more or
/// less than the source.
const CARGO: &str = r#"#!/bin/sh -eu
[ "$*" = "build --release --locked -p detector-user --bin detector" ]
[ -f Cargo.lock ] && [ ! -e target ] && [ ! -e fuzz/target ] && [ ! -e .git ]
mkdir -p target/release
cp /opt/detector target/release/detector
"#;
/// What distroless' image has of libraries: a program that needs another does not start.
const LIBRARIES: [&str; 3] = ["base-files", "libc6", "libgcc-s1"];

/// What was built.
pub struct Image {
    pub root: PathBuf,
    pub entrypoint: Vec<String>,
    pub user: String,
}

pub struct Engine<'a> {
    pub place: &'a Place,
    /// A Debian, which the stand-ins are made of.
    pub base: &'a Path,
}

impl Engine<'_> {
    /// Builds the image as it is documented.
    pub fn built(&self) -> Image {
        self.stand_in("docker.io/library/rust:1.95-bookworm", |root| {
            run(Command::new("cp")
                .arg("-a")
                .arg(self.base.join("."))
                .arg(root));
            let cargo = root.join("usr/bin/cargo");
            fs::write(&cargo, CARGO).unwrap();
            fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
            let program = env!("CARGO_BIN_EXE_detector");
            let to = root.join("opt/detector");
            run(Command::new("strip")
                .args(["--strip-debug", program, "-o"])
                .arg(to));
        });
        self.stand_in("gcr.io/distroless/cc-debian12", |root| {
            for place in ["bin", "lib", "lib64", "sbin"] {
                fs::create_dir_all(root.join("usr").join(place)).unwrap();
                symlink(format!("usr/{place}"), root.join(place)).unwrap();
            }
            self.copy_packages(root);
        });
        self.buildah(&[
            "build",
            "--pull=never",
            "--isolation=chroot",
            "--file",
            "deploy/Containerfile",
            "--tag=detector",
            ".",
        ]);
        let container = self.buildah(&["from", "--pull=never", "localhost/detector"]);
        let root = self.buildah(&["mount", container.trim()]);
        let inspected = self.buildah(&["inspect", "--type=image", "localhost/detector"]);
        let inspected: Value = serde_json::from_str(&inspected).unwrap();
        let config = &inspected["OCIv1"]["config"];
        Image {
            root: root.trim().into(),
            entrypoint: serde_json::from_value(config["Entrypoint"].clone()).unwrap(),
            user: config["User"].as_str().unwrap().to_owned(),
        }
    }

    fn stand_in(&self, name: &str, fill: impl FnOnce(&Path)) {
        let root = self.place.at("root");
        fs::create_dir(&root).unwrap();
        fill(&root);
        let container = self.buildah(&["from", "scratch"]);
        let container = container.trim();
        self.buildah(&["copy", "--quiet", container, root.to_str().unwrap(), "/"]);
        self.buildah(&["commit", "--quiet", "--rm", container, name]);
        fs::remove_dir_all(root).unwrap();
    }

    /// Files of some packages, and no others.
    fn copy_packages(&self, root: &Path) {
        let lists = self.base.join("var/lib/dpkg/info");
        let of_package = |package: &str| {
            let names = [format!("{package}.list"), format!("{package}:amd64.list")];
            names
                .iter()
                .find_map(|name| fs::read_to_string(lists.join(name)).ok())
        };
        let mut files = String::new();
        for package in LIBRARIES {
            let list = of_package(package).unwrap_or_else(|| panic!("no {package}"));
            for line in list.lines().map(|line| line.trim_start_matches('/')) {
                let found = fs::symlink_metadata(self.base.join(line));
                if found.is_ok_and(|found| !found.is_dir()) && !root.join(line).is_symlink() {
                    files.push_str(line);
                    files.push('\n');
                }
            }
        }
        let (list, archive) = (self.place.at("list"), self.place.at("tar"));
        fs::write(&list, files).unwrap();
        run(Command::new("tar")
            .arg("-C")
            .arg(self.base)
            .arg("-T")
            .arg(&list)
            .arg("-cf")
            .arg(&archive));
        run(Command::new("tar")
            .arg("-C")
            .arg(root)
            .arg("--keep-directory-symlink")
            .arg("-xf")
            .arg(&archive));
        fs::remove_file(archive).unwrap();
    }

    /// With plain directories as its storage: they need no mount, and go as other directories do.
    fn buildah(&self, words: &[&str]) -> String {
        let mut command = Command::new("buildah");
        command
            .current_dir(ROOT)
            .args(["--storage-driver=vfs", "--root"])
            .arg(self.place.at("storage"))
            .arg("--runroot")
            .arg(self.place.at("run"))
            .args(words)
            .env("TMPDIR", self.place.at(""));
        run(&mut command)
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}
