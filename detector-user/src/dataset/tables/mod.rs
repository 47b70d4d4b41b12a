//! Tables of labelled flows that others made, or this project's own flow logs, to a table that is trained on.
//!
//! ```text
//! paths → open → parquet | delimited | zeek | objects → gather → prepare
//! ```
//!
//! A file's kind is told by its first bytes, not by its name. Columns are told apart by [`roles`]; what is done with
//! labels by [`labels`].

mod classes;
mod column;
mod delimited;
mod encode;
mod error;
mod gather;
pub mod labels;
mod lines;
mod objects;
mod open;
mod parquet;
mod paths;
pub mod prepare;
pub mod roles;
mod time;
mod zeek;

use std::path::PathBuf;

pub use error::{Place, TablesError};
pub use gather::{BadRows, Gathered, Wanted};
pub use paths::expand;

/// Reads tables one after the other. A column that some of them lack is missing in their rows.
///
/// # Errors
/// [`TablesError`]: the file, the place in it, and what is wrong there.
pub fn read(
    paths: &[PathBuf],
    wanted: &Wanted,
    progress: &dyn Fn(u64),
) -> Result<Gathered, TablesError> {
    let mut gathered = Gathered::new(wanted.clone());
    for path in paths {
        let before = gathered.rows();
        let (bytes, kind) = open::open(path)?;
        gathered.open(path);
        match kind {
            open::Kind::Parquet => parquet::read(path, &mut gathered, progress)?,
            open::Kind::Zeek => zeek::read(path, bytes, &mut gathered, progress)?,
            open::Kind::Objects => objects::read_lines(path, bytes, &mut gathered, progress)?,
            open::Kind::Array => objects::read_array(path, bytes, &mut gathered)?,
            open::Kind::Delimited => delimited::read(path, bytes, &mut gathered, progress)?,
        }
        gathered.close(path, before)?;
    }
    Ok(gathered)
}
