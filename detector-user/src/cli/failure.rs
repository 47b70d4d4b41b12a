//! How a command fails, and with which exit code.

use std::io;

use crate::{
    cli::replay::ReplayError,
    drain::account::AccountError,
    enforce::{target::TargetError, writer::VerdictError},
    output::OutputError,
    wire::{
        attach::AttachError, interface::InterfaceError, load::LoadError, pins::PinError,
        replace::ReplaceError, tables::TablesError,
    },
};

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Exit {
    /// It failed.
    Failed = 1,
    /// It was called wrongly.
    Usage = 2,
    /// The host, or the data plane, lacks something (`EX_UNAVAILABLE`).
    Unavailable = 69,
    /// Permission was lacking (`EX_NOPERM`).
    NoPermission = 77,
    /// The configuration is bad (`EX_CONFIG`).
    Configuration = 78,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Attach(#[from] AttachError),
    #[error(transparent)]
    Tables(#[from] TablesError),
    #[error(transparent)]
    Verdict(#[from] VerdictError),
    #[error(transparent)]
    Replace(#[from] ReplaceError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Flows(#[from] OutputError),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The answer could not be written.
    #[error("writing the answer: {0}")]
    Output(#[from] io::Error),
    /// Called wrongly, in a way that only the host could tell.
    #[error("{0}")]
    Usage(String),
    /// A configuration file is bad.
    #[error("{0}")]
    Configuration(String),
    /// Somebody who is needed is not there.
    #[error("{0}")]
    Unavailable(String),
    /// It failed, and this is all there is to say.
    #[error("{0}")]
    Other(String),
    /// Everything is said already.
    #[error("failed")]
    Said(Exit),
}

impl From<InterfaceError> for Failure {
    fn from(error: InterfaceError) -> Self {
        Self::Attach(error.into())
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Self::Tables(error.into())
    }
}

impl From<PinError> for Failure {
    fn from(error: PinError) -> Self {
        Self::Tables(error.into())
    }
}

impl Failure {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Said(exit) => *exit,
            Self::Usage(_) | Self::Target(_) => Exit::Usage,
            Self::Configuration(_) => Exit::Configuration,
            Self::Unavailable(_) => Exit::Unavailable,
            Self::Attach(error) => of_attach(error),
            Self::Tables(error) => of_tables(error),
            Self::Verdict(error) | Self::Replace(ReplaceError::Verdicts(error)) => {
                of_verdict(error)
            }
            Self::Replace(ReplaceError::Attach(error)) => of_attach(error),
            Self::Flows(error) => of_code(error.exit_code()),
            Self::Replay(error) => of_code(error.exit_code()),
            Self::Account(_) | Self::Output(_) | Self::Other(_) => Exit::Failed,
        }
    }

    /// Whether whoever read the answer has enough.
    pub(super) fn is_closed_pipe(&self) -> bool {
        match self {
            Self::Output(error) => error.kind() == io::ErrorKind::BrokenPipe,
            Self::Flows(error) => error.is_closed_pipe(),
            _ => false,
        }
    }

    /// Whether it would be the same on any other interface.
    pub(super) fn is_of_host(&self) -> bool {
        match self {
            Self::Attach(AttachError::Pin(_)) => true,
            Self::Attach(AttachError::Load(error)) => !matches!(error, LoadError::Refused { .. }),
            _ => false,
        }
    }
}

fn of_code(code: u8) -> Exit {
    match code {
        2 => Exit::Usage,
        69 => Exit::Unavailable,
        78 => Exit::Configuration,
        77 => Exit::NoPermission,
        _ => Exit::Failed,
    }
}

fn of_attach(error: &AttachError) -> Exit {
    match error {
        AttachError::Pin(error) => of_pin(error),
        AttachError::Load(error) => of_load(error),
        AttachError::Interface(InterfaceError::Name { .. }) => Exit::Usage,
        AttachError::Interface(_)
        | AttachError::Busy { .. }
        | AttachError::Elsewhere { .. }
        | AttachError::Full { .. } => Exit::Failed,
        AttachError::Refused { .. } => Exit::Unavailable,
    }
}

fn of_verdict(error: &VerdictError) -> Exit {
    match error {
        VerdictError::Tables(error) => of_tables(error),
        VerdictError::Order(_) => Exit::Usage,
        _ => Exit::Failed,
    }
}

fn of_tables(error: &TablesError) -> Exit {
    match error {
        TablesError::Pin(error) => of_pin(error),
        TablesError::Load(error) => of_load(error),
    }
}

fn of_pin(error: &PinError) -> Exit {
    match error {
        _ if error.is_permission() => Exit::NoPermission,
        PinError::NoBpfFs { .. } | PinError::NothingPinned { .. } => Exit::Unavailable,
        PinError::Io { .. } => Exit::Failed,
    }
}

fn of_load(error: &LoadError) -> Exit {
    match error {
        LoadError::Permission { .. } => Exit::NoPermission,
        LoadError::Size { .. } => Exit::Usage,
        LoadError::Refused { .. } | LoadError::Version { .. } => Exit::Unavailable,
        LoadError::Resize { .. } | LoadError::Map { .. } => Exit::Failed,
    }
}
