//! The agent's container as a DaemonSet describes it.

use std::{
    fs,
    process::{Command, Output},
};

use serde_json::Value;

use crate::helm::of_kind;

pub struct Pod<'a> {
    pub spec: &'a Value,
    pub container: &'a Value,
    pub configuration: &'a str,
}

impl<'a> Pod<'a> {
    pub fn of(documents: &'a [Value]) -> Self {
        let set = of_kind(documents, "DaemonSet").unwrap();
        let spec = &set["spec"]["template"]["spec"];
        let configuration = of_kind(documents, "ConfigMap").unwrap();
        Self {
            spec,
            container: &spec["containers"][0],
            configuration: configuration["data"]["detector.toml"].as_str().unwrap(),
        }
    }

    /// The value of a variable of the container.
    pub fn variable(&self, name: &str) -> Option<&str> {
        let variables = self.container["env"].as_array().unwrap();
        let found = variables.iter().find(|one| one["name"] == name)?;
        found["value"].as_str()
    }

    pub fn arguments(&self) -> Vec<&str> {
        let arguments = self.container["args"].as_array().unwrap();
        arguments.iter().map(|one| one.as_str().unwrap()).collect()
    }

    /// Each mount of a container names a volume of its pod, each volume is mounted, and no two at one place.
    pub fn mounts_what_it_has(&self) {
        let names = |list: &Value, field: &str| -> Vec<String> {
            let list = list.as_array().unwrap();
            let mut names: Vec<String> = list
                .iter()
                .map(|one| one[field].as_str().unwrap().to_owned())
                .collect();
            names.sort();
            names
        };
        let mounts = &self.container["volumeMounts"];
        assert_eq!(names(mounts, "name"), names(&self.spec["volumes"], "name"));
        let mut places = names(mounts, "mountPath");
        let all = places.len();
        places.dedup();
        assert_eq!(places.len(), all, "{places:?}");
    }

    /// The program takes its arguments, its variables and its file.
    pub fn is_taken_by_the_program(&self) {
        // Help comes after all else is parsed.
        let output = self.detector(&[&self.arguments()[..], &["--help"]].concat());
        assert!(output.status.success(), "{output:?}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("detector.toml");
        fs::write(&file, self.configuration).unwrap();
        let output = self.detector(&["config", "check", file.to_str().unwrap()]);
        assert!(
            output.status.success(),
            "{}\n{output:?}",
            self.configuration
        );
    }

    fn detector(&self, arguments: &[&str]) -> Output {
        let variables = self.container["env"].as_array().unwrap().iter();
        Command::new(env!("CARGO_BIN_EXE_detector"))
            .args(arguments)
            .envs(variables.map(|one| {
                // What the cluster fills in is some word.
                let value = one["value"].as_str().unwrap_or("filled-in");
                (one["name"].as_str().unwrap(), value)
            }))
            .output()
            .unwrap()
    }
}
