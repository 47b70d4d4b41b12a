//! Man pages and shell completions, from the one definition of the command line.

use std::{io::Write as _, path::PathBuf};

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, failure::Failure};

#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// Write the page of every command into this directory, rather than the first one to standard output
    #[arg(value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// For which shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn man(args: &ManArgs) -> Result<(), Failure> {
    let mut command = Cli::command();
    if let Some(directory) = &args.directory {
        std::fs::create_dir_all(directory)?;
        clap_mangen::generate_to(without_help(command), directory)?;
        return Ok(());
    }
    command.build();
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    put(&page)
}

/// Without the commands called `help`, which would have a page for each page.
fn without_help(command: Command) -> Command {
    command
        .disable_help_subcommand(true)
        .mut_subcommands(without_help)
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut command: Command = Cli::command();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, super::NAME, &mut script);
    put(&script)
}

/// At once, so that a reader that goes away is an error here and not a panic in there.
fn put(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}
