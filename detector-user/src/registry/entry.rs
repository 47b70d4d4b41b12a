//! What the registry knows of a version.

use std::collections::BTreeMap;

use semver::Version;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::model::{Card, hexadecimal};

/// What the registry knows of a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Model.
    pub name: String,
    /// Version.
    pub version: Version,
    /// Of the model file, in hexadecimal digits.
    pub sha256: String,
    /// Of the model file.
    pub bytes: u64,
    /// When it was pushed, RFC 3339.
    pub pushed: String,
    /// Name and version of the model it was made from.
    pub parent: Option<String>,
    /// Feature set.
    pub feature_set: String,
    /// Classes.
    pub classes: Vec<String>,
    /// Fingerprint of the data it was trained on.
    pub data_fingerprint: String,
    /// How it was trained.
    pub training: serde_json::Map<String, serde_json::Value>,
    /// How well it did, by its own card.
    pub metrics: BTreeMap<String, f64>,
}

impl Entry {
    /// Of a model file and its card.
    pub(super) fn new(card: &Card, version: Version, file: &[u8], pushed: String) -> Self {
        Self {
            name: card.name.clone(),
            version,
            sha256: sha256(file),
            bytes: file.len() as u64,
            pushed,
            parent: card.parent.clone(),
            feature_set: card.feature_set.clone(),
            classes: card.classes.clone(),
            data_fingerprint: card.data_fingerprint.clone(),
            training: card.training.clone(),
            metrics: card.metrics.clone(),
        }
    }
}

/// SHA-256 in hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}
