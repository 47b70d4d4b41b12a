//! Why the registry cannot do something.

use crate::model::ModelError;

/// Why the registry cannot do something.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The address says nothing that is known.
    #[error(
        "{address} is no registry: {cause}; give a directory, file:///DIRECTORY or s3://BUCKET/PREFIX"
    )]
    Address {
        /// As given.
        address: String,
        /// What is wrong.
        cause: String,
    },
    /// The store failed.
    #[error(
        "the registry at {address} cannot {operation} {object}: {cause}; see that it can be reached and the rights suffice"
    )]
    Store {
        /// Which registry.
        address: String,
        /// What was tried.
        operation: &'static str,
        /// On what.
        object: String,
        /// What the store says.
        cause: String,
    },
    /// What was asked for is not there.
    #[error("the registry at {address} has no {what}; `detector model list` tells what it has")]
    Missing {
        /// Which registry.
        address: String,
        /// What was asked for.
        what: String,
    },
    /// A version is never written twice.
    #[error(
        "{name} {version} is in the registry already, and no version is ever changed: give the model another"
    )]
    Exists {
        /// Model.
        name: String,
        /// Version.
        version: String,
    },
    /// A name or a version that cannot stand in a registry.
    #[error("{what} {given:?} cannot stand in a registry: {cause}")]
    Word {
        /// Name or version.
        what: &'static str,
        /// As given.
        given: String,
        /// What is wrong.
        cause: String,
    },
    /// An object does not say what it should.
    #[error(
        "{object} in the registry at {address} is damaged: {cause}; restore it from a copy, or push the model as a new version"
    )]
    Damaged {
        /// Which registry.
        address: String,
        /// Which object.
        object: String,
        /// What is wrong.
        cause: String,
    },
    /// The model itself.
    #[error("{what}: {cause}")]
    Model {
        /// Which.
        what: String,
        /// What is wrong.
        cause: ModelError,
    },
    /// The gate stays shut.
    #[error("{name} {version} is not promoted: {}", reasons.join("; "))]
    Gate {
        /// Model.
        name: String,
        /// Version.
        version: String,
        /// What speaks against it.
        reasons: Vec<String>,
    },
    /// Others changed it all the time.
    #[error("{name} was changed by others again and again meanwhile: try again")]
    Busy {
        /// Model.
        name: String,
    },
}
