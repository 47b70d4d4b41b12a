//! The Debian package: the command, its man pages and completions, the unit, configuration and references.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{setup, tool};

/// Beside the package's manifest says which of these go where.
const GENERATED: &str = "target/package";
/// Shells, and how Debian calls the file of each.
const SHELLS: [(&str, &str); 3] = [
    ("bash", "detector"),
    ("fish", "detector.fish"),
    ("zsh", "_detector"),
];

/// Build the Debian package.
#[derive(clap::Args)]
pub struct Args {
    /// Cargo's profile to build with; all but release are for trying the package out
    #[arg(long, default_value = "release")]
    profile: String,
    /// Take the command as it is built already
    #[arg(long)]
    no_build: bool,
    /// Where to write the package [default: target/debian]
    #[arg(short = 'O', long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Builds the command, has it write its pages, and packs both. Prints where the package is.
///
/// # Errors
/// Where something does not build, or cannot be written.
pub fn run(args: &Args) -> Result<()> {
    let detector = if args.no_build {
        // Cargo calls the folder of this one otherwise.
        let folder = match args.profile.as_str() {
            "dev" => "debug",
            name => name,
        };
        tool::root().join("target").join(folder).join("detector")
    } else {
        tool::build_detector(&args.profile)?
    };
    let generated = tool::root().join(GENERATED);
    // Commands that there are no more have no page.
    if generated.exists() {
        fs::remove_dir_all(&generated)
            .with_context(|| format!("removing {}", generated.display()))?;
    }
    let completions = generated.join("completions");
    fs::create_dir_all(&completions)
        .with_context(|| format!("making {}", completions.display()))?;
    tool::run(
        Command::new(&detector)
            .arg("man")
            .arg(generated.join("man")),
    )?;
    for (shell, file) in SHELLS {
        let script = tool::output_of(Command::new(&detector).args(["completions", shell]))?;
        let file = completions.join(file);
        fs::write(&file, script).with_context(|| format!("writing {}", file.display()))?;
    }
    let mut cargo = Command::new(setup::cargo_deb()?);
    cargo
        .args(["--no-build", "--package", "detector-user"])
        .args(["--profile", &args.profile])
        .current_dir(tool::root());
    if args.profile != "release" {
        cargo.arg("--fast");
    }
    if let Some(output) = &args.output {
        cargo.arg("--output").arg(output);
    }
    tool::run(&mut cargo)
}
