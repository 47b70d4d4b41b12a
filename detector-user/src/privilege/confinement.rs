//! Landlock: the kernel lets the agent, root or not, use only what is within its reach.

use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError, Scope, make_bitflags,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::reach::{Access, Reach, SYSTEM};

/// The rights that are known here and tried; of these an older kernel takes those that it knows.
const TRIED: ABI = ABI::V6;

/// Whether the agent is confined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Confinement {
    /// It is.
    Confined,
    /// The kernel has no Landlock, or it is not enabled.
    Unsupported,
    /// The kernel has it, and something (a seccomp filter) does not let it be used.
    Refused,
    /// The configuration says not to.
    #[default]
    Off,
}

impl Confinement {
    /// As it is told.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Confined => "confined",
            Self::Unsupported => "unsupported",
            Self::Refused => "refused",
            Self::Off => "off",
        }
    }

    /// What lacks and how to mend it; `None` where nothing does, or it was asked for.
    #[must_use]
    pub fn complaint(self) -> Option<&'static str> {
        match self {
            Self::Confined | Self::Off => None,
            Self::Unsupported => Some(
                "the kernel has no Landlock, so the agent is not confined to its files; it goes on \
                 (a kernel with CONFIG_SECURITY_LANDLOCK, and `landlock` among those of `lsm=`, has it)",
            ),
            Self::Refused => Some(
                "Landlock was refused, so the agent is not confined to its files; it goes on \
                 (a seccomp filter must allow landlock_create_ruleset, landlock_add_rule and landlock_restrict_self)",
            ),
        }
    }
}

/// The version of Landlock's ABI that the kernel has; `None` where it has none, or does not let it be asked for.
#[must_use]
pub fn kernel_abi() -> Option<u32> {
    const VERSION: libc::c_uint = 1;
    let nothing = std::ptr::null::<libc::c_void>();
    // SAFETY: with this flag the kernel takes no attributes, changes nothing, and answers with a number or an error.
    let answer =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0usize, VERSION) };
    u32::try_from(answer).ok().filter(|abi| *abi > 0)
}

/// Confines this thread, and those that it starts, to what is within reach, for good. With it the version of the ABI in force; 0: none.
pub(super) fn confine(reach: &Reach) -> (Confinement, u32) {
    let status = match ruleset(reach).and_then(RulesetCreated::restrict_self) {
        Ok(status) => status.landlock,
        Err(_) => return (Confinement::Refused, 0),
    };
    match status {
        LandlockStatus::Available { effective_abi, .. } => {
            (Confinement::Confined, effective_abi.min(TRIED) as u32)
        }
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => {
            (Confinement::Unsupported, 0)
        }
    }
}

fn ruleset(reach: &Reach) -> Result<RulesetCreated, RulesetError> {
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(TRIED))?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::Signal)?;
    // What listens is bound before; only a registry in an object store, NATS and the Kubernetes API are connected to.
    if !reach.connects {
        ruleset = ruleset.handle_access(AccessNet::ConnectTcp)?;
    }
    // A service manager may be told by way of an abstract socket.
    if !std::env::var("NOTIFY_SOCKET").is_ok_and(|socket| socket.starts_with('@')) {
        ruleset = ruleset.scope(Scope::AbstractUnixSocket)?;
    }
    let mut ruleset = ruleset.create()?;
    for folder in SYSTEM {
        ruleset = allow(ruleset, Path::new(folder), rights(Access::Read))?;
    }
    for place in &reach.places {
        for found in &place.found {
            ruleset = allow(ruleset, found, rights(place.access))?;
        }
    }
    Ok(ruleset)
}

fn rights(access: Access) -> BitFlags<AccessFs> {
    match access {
        Access::Read => make_bitflags!(AccessFs::{ReadFile | ReadDir}),
        Access::Append => make_bitflags!(AccessFs::{WriteFile | MakeReg}),
        Access::Store => {
            make_bitflags!(AccessFs::{ReadFile | ReadDir | WriteFile | Truncate | MakeReg | RemoveFile})
        }
        Access::Unlink => AccessFs::RemoveFile.into(),
        Access::Pin => {
            AccessFs::from_all(TRIED)
                & !make_bitflags!(AccessFs::{Execute | MakeChar | MakeSock | MakeFifo | MakeBlock | MakeSym | IoctlDev})
        }
    }
}

/// What is not there is not allowed.
fn allow(
    ruleset: RulesetCreated,
    path: &Path,
    rights: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    let Ok(opened) = PathFd::new(path) else {
        return Ok(ruleset);
    };
    let rights = if path.is_dir() {
        rights
    } else {
        rights & AccessFs::from_file(TRIED)
    };
    ruleset.add_rule(PathBeneath::new(opened, rights))
}
