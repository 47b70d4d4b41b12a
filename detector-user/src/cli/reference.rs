//! docs/commands.md: the help of every command, from the one definition of the command line.

use clap::{Command, CommandFactory as _};

use super::Cli;

const HEAD: &str = "# Commands\n\nWhat `detector COMMAND --help` says, of every command. This file is generated: \
                    `DETECTOR_WRITE_REFERENCES=1 cargo test -p detector-user --lib stale`.\n";
/// Columns.
const WIDTH: usize = 100;

fn reference() -> String {
    let mut text = HEAD.to_owned();
    let mut command = Cli::command().term_width(WIDTH);
    command.build();
    tell(&mut command, &mut text);
    text
}

fn tell(command: &mut Command, text: &mut String) {
    let help = command.render_long_help().to_string();
    let name = command.get_bin_name().unwrap_or(super::NAME).to_owned();
    text.push_str(&format!("\n## {name}\n\n```text\n"));
    for line in help.trim_end().lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push_str("```\n");
    for inner in command.get_subcommands_mut() {
        if inner.get_name() != "help" && !inner.is_hide_set() {
            tell(inner, text);
        }
    }
}

#[test]
fn the_committed_commands_are_not_stale() {
    crate::generated::is_current("commands.md", &reference());
}
