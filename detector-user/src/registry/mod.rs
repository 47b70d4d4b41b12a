//! The registry: models by name and semantic version, and which of them is in production.
//!
//! It lies in a directory or an object store:
//!
//! ```text
//! NAME/versions/1.2.0/model.bin     written once, never changed
//! NAME/versions/1.2.0/entry.json    what is known of it; written last: without it there is no such version
//! NAME/changes/0000000007.json      who was promoted, rolled back, archived, and what holds since
//! ```
//!
//! A change is one new object whose number is the next: of two that come at once, one finds its number taken and looks
//! again. So every change is atomic on every store, and the list of changes is the history.
mod changes;
mod entry;
mod error;
mod gate;
mod models;
mod store;

#[cfg(test)]
mod tests;

pub use changes::{Action, Change, Stage, Stages};
pub use entry::Entry;
pub use error::RegistryError;
pub use gate::{Figures, Gate};
pub use models::{Promotion, Registry, version};
pub use store::Store;
