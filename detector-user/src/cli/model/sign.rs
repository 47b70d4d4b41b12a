//! `detector model sign` and `detector model verify`.

use std::path::{Path, PathBuf};

use super::{
    super::{failure::Failure, report},
    read, write,
};
use crate::model::{Ensemble, PublicKey, SecretKey, sign as signed, verify as verified};

#[derive(Debug, clap::Args)]
pub(in super::super) struct SignArgs {
    /// Model file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Ed25519 private key in PEM, as `openssl genpkey -algorithm ed25519` writes it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// File to write; the model file itself unless told
    #[arg(short = 'O', long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(in super::super) struct VerifyArgs {
    /// Model file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Ed25519 public key in PEM, as `openssl pkey -pubout` writes it; may be given several times. Without one, that the model
    /// is whole is all that is checked
    #[arg(long, value_name = "FILE")]
    public_key: Vec<PathBuf>,
}

fn key_text(path: &Path) -> Result<String, Failure> {
    String::from_utf8(read(path)?)
        .map_err(|_| Failure::Other(format!("{}: it is no PEM", path.display())))
}

fn about<E: std::fmt::Display>(path: &Path) -> impl Fn(E) -> Failure {
    move |cause| Failure::Other(format!("{}: {cause}", path.display()))
}

pub(super) fn sign(args: &SignArgs) -> Result<(), Failure> {
    let key = SecretKey::from_pem(&key_text(&args.key)?).map_err(about(&args.key))?;
    let bytes = signed(&read(&args.file)?, &key).map_err(about(&args.file))?;
    write(args.output.as_deref().unwrap_or(&args.file), &bytes)?;
    report::note(&format!("signed with the key {}", key.public().name()));
    Ok(())
}

pub(super) fn verify(args: &VerifyArgs) -> Result<(), Failure> {
    let keys: Result<Vec<PublicKey>, Failure> = args
        .public_key
        .iter()
        .map(|path| PublicKey::from_pem(&key_text(path)?).map_err(about(path)))
        .collect();
    let (keys, bytes) = (keys?, read(&args.file)?);
    if keys.is_empty() {
        Ensemble::from_bytes(&bytes).map_err(about(&args.file))?;
        report::note("the model is whole");
    } else {
        let key = verified(&bytes, &keys).map_err(about(&args.file))?;
        report::note(&format!(
            "the model is whole and signed with the key {}",
            key.name()
        ));
    }
    Ok(())
}
