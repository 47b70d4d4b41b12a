//! The command line: one file for each command, each over the library's stations.
//!
//! The commands on the data plane work on what is pinned, whether an agent runs or not.

mod attach;
mod client;
mod config;
mod detach;
mod doctor;
#[cfg(test)]
mod documented;
mod drift;
mod ethertype;
mod eval;
mod extract;
mod failure;
mod features;
mod flows;
mod judged;
mod model;
mod never_block;
pub mod output;
mod pages;
mod quantity;
#[cfg(test)]
mod reference;
pub mod replay;
mod report;
mod run;
pub(crate) mod status;
mod stop;
mod top;
mod train;
pub(crate) mod verdicts;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use failure::Failure;

use crate::wire::pins::{PIN_DIRECTORY, Pins};

/// Name of the command.
const NAME: &str = "detector";

/// Detects and stops network attacks, in the kernel
#[derive(Debug, Parser)]
#[command(name = NAME, version, propagate_version = true, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    /// Where maps and links are, or are to be, pinned: on a BPF file system
    #[arg(long, global = true, env = "DETECTOR_PIN_DIR", default_value = PIN_DIRECTORY, value_name = "PATH",
          help_heading = "Global options", hide_env_values = true)]
    pin_dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done (or nobody reads the answer), 1 failed, 2 wrong usage, 69 nothing is attached or the host lacks \
something, 77 no permission, 78 bad configuration. Set NO_COLOR for no colours.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent: attach, watch, decide, and with --enforce act, until SIGINT or SIGTERM; SIGHUP reloads
    Run(Box<run::Args>),
    /// Hang the programs on interfaces: packets are counted, and verdicts enforced, from then on
    Attach(attach::Args),
    /// Take the programs off interfaces; without -i off all, and remove everything that is pinned
    Detach(detach::Args),
    /// Show the live flow table
    Flows(Box<flows::Args>),
    /// Write, show and remove verdicts: what is done with packets
    #[command(subcommand)]
    Verdicts(verdicts::Command),
    /// Write and show the prefixes that no verdict may deny
    #[command(subcommand)]
    NeverBlock(never_block::Command),
    /// Show what is attached, and what became of every packet
    Status(status::Args),
    /// Show and check the configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Watch flows, verdicts and alerts live, and block and lift, over the agent's socket
    Top(top::Args),
    /// Check what this host has and lacks, and say how to mend it
    Doctor(doctor::Args),
    /// Turn captures into flows, without a live interface
    Replay(Box<replay::Args>),
    /// Turn labelled captures into a table of feature rows, to train from
    Extract(extract::Args),
    /// Train a model on tables of labelled flows
    Train(Box<train::Args>),
    /// Judge a model by tables of labelled flows
    Eval(Box<eval::Args>),
    /// Tell whether tables of flows still look like what a model was trained on
    Drift(drift::Args),
    /// Import, show and sign models; keep, promote and roll them back in a registry
    #[command(subcommand)]
    Model(model::Command),
    /// Write man pages
    #[command(hide = true)]
    Man(pages::ManArgs),
    /// Write a shell's completions
    #[command(hide = true)]
    Completions(pages::CompletionsArgs),
}

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout, where a closed pipe is success.
            let _ = error.print();
            return ExitCode::from(
                u8::try_from(error.exit_code()).unwrap_or(failure::Exit::Usage as u8),
            );
        }
    };
    let pins = Pins::new(cli.pin_dir);
    match dispatch(&cli.command, &pins) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            if !matches!(failure, Failure::Said(_)) {
                report::complain(&failure.to_string());
            }
            ExitCode::from(failure.exit() as u8)
        }
    }
}

fn dispatch(command: &Command, pins: &Pins) -> Result<(), Failure> {
    match command {
        Command::Run(args) => run::run(args, pins),
        Command::Attach(args) => attach::run(args, pins),
        Command::Detach(args) => detach::run(args, pins),
        Command::Flows(args) => flows::run(args, pins),
        Command::Verdicts(command) => verdicts::run(command, pins),
        Command::NeverBlock(command) => never_block::run(command, pins),
        Command::Status(args) => status::run(args, pins),
        Command::Config(command) => config::run(command),
        Command::Top(args) => top::run(args),
        Command::Doctor(args) => doctor::run(args, pins),
        Command::Replay(args) => Ok(replay::run(args)?),
        Command::Extract(args) => extract::run(args),
        Command::Train(args) => train::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Drift(args) => drift::run(args),
        Command::Model(command) => model::run(command),
        Command::Man(args) => pages::man(args),
        Command::Completions(args) => pages::completions(args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
