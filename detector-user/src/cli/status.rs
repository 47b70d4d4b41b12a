//! `detector status`: what hangs where, and what became of every packet.

pub(crate) mod gather;
mod show;

use super::{
    failure::Failure,
    report::{self, FormatArgs, Report},
};
use crate::wire::{pins::Pins, tables::Tables};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    format: FormatArgs,
}

pub(super) fn run(args: &Args, pins: &Pins) -> Result<(), Failure> {
    let tables = Tables::open(pins)?;
    let status = gather::gather(pins, &tables)?;
    let mut report = Report::new(args.format);
    if report.is_table() {
        show::show(&mut report, &status)?;
    } else {
        report.document(&status)?;
    }
    report.flush()?;
    for complaint in status.complaints() {
        report::warn(&complaint);
    }
    Ok(())
}
