//! `detector train`: a model from tables of labelled rows.

mod args;
mod card;
mod extracted;
mod isolation;
mod tables;
mod told;

pub(super) use args::{Args, BadRowsKind};
pub(super) use extracted::tell_counts;
pub(super) use tables::of_tables;
pub(super) use told::{counts, tell_found};

use super::failure::Failure;
use crate::dataset::{rows::is_extracted, tables::expand};

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let paths = expand(&args.data).map_err(of_tables)?;
    // Told now, and not when everything is learnt.
    for path in [
        Some(&args.output),
        args.card.as_ref(),
        args.metrics.as_ref(),
    ]
    .into_iter()
    .flatten()
    {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        if folder.is_some_and(|folder| !folder.is_dir()) {
            return Err(Failure::Usage(format!(
                "{} cannot be written: its directory is not there; make it, or name another",
                path.display()
            )));
        }
    }
    let extracted = paths.iter().all(|path| is_extracted(path));
    if extracted && args.is_plain_forest() {
        return extracted::run(args, &paths);
    }
    tables::run(args, &paths)
}
