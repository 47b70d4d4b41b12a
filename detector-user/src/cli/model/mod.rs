//! `detector model`: models of other libraries, what is in a model file, who made it, and registries of them.

mod card;
mod import;
mod registry;
mod show;
mod sign;

use std::{fs::Permissions, os::unix::fs::PermissionsExt as _, path::Path};

use super::failure::Failure;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Compile a model of XGBoost, LightGBM or ONNX into a model file
    Import(Box<import::Args>),
    /// Show what is in a model file
    Show(show::Args),
    /// Write what a person must know of a model, in Markdown: how it was made, its figures, signs of leaks
    Card(card::Args),
    /// Sign a model file with an Ed25519 key
    Sign(sign::SignArgs),
    /// Check that a model file is whole, and that it was signed with a key
    Verify(sign::VerifyArgs),
    /// Take a model file into a registry
    Push(registry::PushArgs),
    /// List a registry's models, their versions and stages
    List(registry::ListArgs),
    /// Tell who was promoted and rolled back, when and why
    History(registry::HistoryArgs),
    /// Give a version a stage; in front of production stands a gate
    Promote(Box<registry::PromoteArgs>),
    /// Put the version that was in production before back there
    Rollback(registry::RollbackArgs),
    /// Tell how two versions differ
    Diff(registry::DiffArgs),
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Import(args) => import::run(args),
        Command::Show(args) => show::run(args),
        Command::Card(args) => card::run(args),
        Command::Sign(args) => sign::sign(args),
        Command::Verify(args) => sign::verify(args),
        Command::Push(args) => registry::push(args),
        Command::List(args) => registry::list(args),
        Command::History(args) => registry::history(args),
        Command::Promote(args) => registry::promote(args),
        Command::Rollback(args) => registry::rollback(args),
        Command::Diff(args) => registry::diff(args),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path)
        .map_err(|error| Failure::Other(format!("reading {}: {error}", path.display())))
}

/// Writes a file beside its place and moves it there: whoever reads it, reads it whole.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed =
        |error: std::io::Error| Failure::Other(format!("writing {}: {error}", path.display()));
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let mut file = tempfile::Builder::new()
        // As any new file: the process's mask takes from it what it takes.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory.unwrap_or(Path::new(".")))
        .map_err(failed)?;
    std::io::Write::write_all(&mut file, bytes).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
