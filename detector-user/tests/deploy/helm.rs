//! Helm, and what checks what it renders.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use crate::lab::skip;

/// What `cargo xtask setup` installs.
const PROGRAMS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../target/kubernetes-venv/bin/"
);
pub const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/helm/detector");
const CHECK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/deploy/documents.py");
/// The oldest version of Kubernetes that the chart takes, and the newest whose schemas are at hand.
pub const VERSIONS: [&str; 2] = ["1.30", "1.37"];

/// Helm as it is installed.
pub struct Helm;

impl Helm {
    /// `None` where it is not, which is told.
    pub fn new() -> Option<Self> {
        let there = Path::new(PROGRAMS).join("helm").exists();
        if !there {
            skip("needs helm and schemas (`cargo xtask setup`)");
        }
        there.then_some(Self)
    }

    pub fn run(&self, arguments: &[&str], input: &str) -> Output {
        fed("helm", arguments, input)
    }

    /// What a chart renders with these values; what Helm complains of, where it refuses them.
    pub fn try_render(&self, chart: &str, values: &Value) -> Result<String, String> {
        let arguments = ["template", "detector", chart, "-n", "detector", "-f", "-"];
        let output = self.run(&arguments, &values.to_string());
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).unwrap())
        } else {
            Err(String::from_utf8(output.stderr).unwrap())
        }
    }

    /// The documents that these values give, each found to be sound by each version's schemas.
    pub fn render(&self, values: &Value) -> Vec<Value> {
        let text = self.try_render(CHART, values).unwrap();
        documents(&text, &VERSIONS).unwrap_or_else(|error| panic!("{values}: {error}"))
    }

    /// The defaults.
    pub fn rendered(&self) -> Vec<Value> {
        self.render(&json!({}))
    }
}

/// Documents of a YAML text, checked for these versions.
pub fn documents(text: &str, versions: &[&str]) -> Result<Vec<Value>, String> {
    let arguments: Vec<&str> = [CHECK]
        .into_iter()
        .chain(versions.iter().copied())
        .collect();
    let output = fed("python", &arguments, text);
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).unwrap())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

/// The one of a kind.
pub fn of_kind<'a>(documents: &'a [Value], kind: &str) -> Option<&'a Value> {
    documents.iter().find(|document| document["kind"] == kind)
}

fn fed(program: &str, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(format!("{PROGRAMS}{program}"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}
