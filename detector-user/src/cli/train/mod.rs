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
    let extracted = paths.iter().all(|path| is_extracted(path));
    if extracted && args.is_plain_forest() {
        return extracted::run(args, &paths);
    }
    tables::run(args, &paths)
}
