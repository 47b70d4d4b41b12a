//! The `detector` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    detector_user::cli::run()
}
