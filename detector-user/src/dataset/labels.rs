//! Labels of captures: what a person knows of the traffic in a file, said in a small TOML.
//!
//! ```toml
//! [[capture]]
//! files = ["attack/nmap_*.pcap"]   # globs, relative to the directory of captures
//! family = "scan"                  # left out: the file is not used
//! attackers = ["192.168.1.10"]     # flows that one of these begins are of the family; none named: all flows are
//! victims = ["192.168.1.25"]       # and go to one of these
//! ports = [22]                     # and to one of these ports
//! others = "skip"                  # what else is in the file: "benign", or left out (the default)
//!
//! [[table]]
//! file = "../flows/cicids2017.parquet"   # a published table of finished flows, relative as well
//! column = "Label"
//! family = { BENIGN = "benign", "DoS Hulk" = "app-dos" }   # rows with another label are not used
//! group = { "DoS Hulk" = "cicids2017-dos" }                # a group of its own, unless named: the file and the label
//! ```
//!
//! The first entry that takes a file and a flow decides; a first one without a family leaves the file out. Addresses serve to label and are never written out.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use globset::{Glob, GlobMatcher};
use serde::Deserialize;

use crate::{decide::family::Family, enforce::target::Prefix, features::ways::Ends};

/// Why labels cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LabelsError {
    /// The file cannot be read.
    #[error("reading labels {}: {cause}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file is not what it must be.
    #[error("labels {}: {cause}", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Where and what.
        cause: Box<toml::de::Error>,
    },
    /// A glob.
    #[error("labels {}: files {glob:?}: {cause}", path.display())]
    Glob {
        /// Which file.
        path: PathBuf,
        /// The glob.
        glob: String,
        /// What is wrong with it.
        cause: globset::Error,
    },
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Others {
    Benign,
    #[default]
    Skip,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    capture: Vec<Entry>,
    #[serde(default)]
    table: Vec<TableLabels>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    files: Vec<String>,
    /// None: the files are not used.
    #[serde(default)]
    family: Option<Family>,
    #[serde(default, deserialize_with = "prefixes")]
    attackers: Vec<Prefix>,
    #[serde(default, deserialize_with = "prefixes")]
    victims: Vec<Prefix>,
    #[serde(default)]
    ports: Vec<u16>,
    #[serde(default)]
    others: Others,
    /// Captures of one group are never split between training and judging; each file is its own unless named.
    #[serde(default)]
    group: Option<String>,
    #[serde(skip)]
    globs: Vec<GlobMatcher>,
}

/// What is known of a published table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableLabels {
    /// Where it is, relative to the directory of captures.
    pub file: PathBuf,
    /// The column with labels.
    pub column: String,
    family: BTreeMap<String, Family>,
    #[serde(default)]
    group: BTreeMap<String, String>,
}

impl TableLabels {
    /// What a label means; `None` where its rows are not used.
    #[must_use]
    pub fn family(&self, label: &str) -> Option<Family> {
        self.family.get(label).copied()
    }

    /// The group of a label's rows.
    #[must_use]
    pub fn group(&self, label: &str) -> String {
        let own = || format!("{} {label}", self.file.display());
        self.group.get(label).cloned().unwrap_or_else(own)
    }
}

fn prefixes<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Prefix>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let read = |text: &String| text.parse().map_err(serde::de::Error::custom);
    texts.iter().map(read).collect()
}

/// What is known of captures.
#[derive(Debug)]
pub struct Labels {
    entries: Vec<Entry>,
    tables: Vec<TableLabels>,
}

/// What is known of one capture.
#[derive(Clone, Debug)]
pub struct Label<'a> {
    first: &'a Entry,
    entries: Vec<(&'a Entry, Family)>,
}

impl Labels {
    /// Reads a file of labels.
    ///
    /// # Errors
    /// [`LabelsError`].
    pub fn read(path: &Path) -> Result<Self, LabelsError> {
        let text = fs::read_to_string(path).map_err(|cause| LabelsError::Read {
            path: path.to_owned(),
            cause,
        })?;
        let document: Document = toml::from_str(&text).map_err(|cause| LabelsError::Parse {
            path: path.to_owned(),
            cause: Box::new(cause),
        })?;
        let mut entries = document.capture;
        for entry in &mut entries {
            for glob in &entry.files {
                let matcher = Glob::new(glob).map_err(|cause| LabelsError::Glob {
                    path: path.to_owned(),
                    glob: glob.clone(),
                    cause,
                })?;
                entry.globs.push(matcher.compile_matcher());
            }
        }
        Ok(Self {
            entries,
            tables: document.table,
        })
    }

    /// Published tables.
    #[must_use]
    pub fn tables(&self) -> &[TableLabels] {
        &self.tables
    }

    /// What is known of a capture, by its path relative to the directory of captures.
    #[must_use]
    pub fn of(&self, path: &Path) -> Option<Label<'_>> {
        let takes = |entry: &&Entry| entry.globs.iter().any(|glob| glob.is_match(path));
        let first = self.entries.iter().find(takes)?;
        first.family?;
        let entries = self.entries.iter().filter(takes);
        Some(Label {
            first,
            entries: entries
                .map_while(|entry| Some((entry, entry.family?)))
                .collect(),
        })
    }
}

impl Label<'_> {
    /// What a flow is; `None` where it is to be left out.
    #[must_use]
    pub fn family(&self, ends: &Ends) -> Option<Family> {
        let (source, destination) = (ends.source.to_ip(), ends.destination.to_ip());
        let named = |prefixes: &[Prefix], address| {
            prefixes.is_empty() || prefixes.iter().any(|prefix| prefix.contains(address))
        };
        let takes = |entry: &Entry| {
            let port = entry.ports.is_empty() || entry.ports.contains(&ends.port);
            port && named(&entry.attackers, source) && named(&entry.victims, destination)
        };
        let found = self.entries.iter().find(|(entry, _)| takes(entry));
        if let Some((_, family)) = found {
            return Some(*family);
        }
        // What comes back from a victim is neither the attack nor benign.
        let first = self.first;
        let answers = !first.attackers.is_empty() && named(&first.attackers, destination);
        (first.others == Others::Benign && !answers).then_some(Family::Benign)
    }

    /// The group of a capture.
    #[must_use]
    pub fn group(&self, path: &Path) -> String {
        match &self.first.group {
            Some(group) => group.clone(),
            None => path.display().to_string(),
        }
    }
}
