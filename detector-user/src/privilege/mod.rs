//! What the agent may do: before its first thread it gives up every capability that no later act needs, and confines itself to the
//! files that it uses; every thread that it starts inherits both.

mod capabilities;
mod confinement;
pub mod reach;

pub use capabilities::hold_nothing;
pub use confinement::{Confinement, kernel_abi};

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use reach::Reach;

/// The configuration's section `privileges`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct PrivilegeSettings {
    /// Give up the capabilities that nothing needs, and the gaining of any.
    pub drop: bool,
    /// Confine the agent to its files, by Landlock where the kernel has it.
    pub confine: bool,
}

impl Default for PrivilegeSettings {
    fn default() -> Self {
        Self {
            drop: true,
            confine: true,
        }
    }
}

/// What could not be given up.
#[derive(Debug, thiserror::Error)]
#[error(
    "{operation}: {cause}; what is not needed would still be held: with `privileges.drop = false` the agent runs all the same"
)]
pub struct PrivilegeError {
    operation: &'static str,
    cause: String,
}

/// What the agent holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Held {
    /// The user that it runs as; 0 is root.
    pub user: u32,
    /// Effective capabilities of its main thread, by name; no other thread has more.
    pub capabilities: Vec<String>,
    /// Whether nothing that it executes can gain any.
    pub no_new_privileges: bool,
    /// Whether Landlock confines it to its files.
    pub landlock: Confinement,
    /// The version of Landlock's ABI that is in force; 0: none.
    pub landlock_abi: u32,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.capabilities.is_empty() {
            f.write_str("no capability")?;
        } else {
            f.write_str(&self.capabilities.join(", "))?;
        }
        write!(f, "; user {}", self.user)?;
        if self.user == 0 {
            f.write_str(" (root)")?;
        }
        if self.no_new_privileges {
            f.write_str("; no new privileges")?;
        }
        match self.landlock {
            Confinement::Confined => write!(f, "; Landlock ABI {}", self.landlock_abi),
            other => write!(f, "; Landlock {}", other.name()),
        }
    }
}

/// Gives up what the settings say, for this thread and all that it starts from now on.
///
/// # Errors
/// [`PrivilegeError`] where capabilities stay held; a kernel without Landlock is no error, and is told by what is held.
pub fn hold_least(settings: PrivilegeSettings, reach: &Reach) -> Result<Held, PrivilegeError> {
    if settings.drop {
        capabilities::hold_least()?;
    }
    let (landlock, landlock_abi) = if settings.confine {
        confinement::confine(reach)
    } else {
        (Confinement::Off, 0)
    };
    Ok(Held {
        user: rustix::process::geteuid().as_raw(),
        capabilities: capabilities::effective()?,
        no_new_privileges: rustix::thread::no_new_privs().unwrap_or(false),
        landlock,
        landlock_abi,
    })
}
