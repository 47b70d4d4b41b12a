//! Capabilities: of the whole agent the three that loading and attaching take, of the threads that serve none.

use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};

use super::PrivilegeError;

/// An interface that comes back is attached anew, at any time: that takes maps and programs (BPF), the verifier's leave for loops
/// and pointer arithmetic (PERFMON), and hooks (NET_ADMIN). What is open or mapped already takes none.
const NEEDED: [Capability; 3] = [
    Capability::CAP_BPF,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_PERFMON,
];
/// Stands for those of the three that were split off from it, where they are not held (a container runtime that does not know them).
const STAND_IN: Capability = Capability::CAP_SYS_ADMIN;

/// Of what may be held, what is kept.
fn least(permitted: &CapsHashSet) -> CapsHashSet {
    let mut kept: CapsHashSet = NEEDED
        .into_iter()
        .filter(|one| permitted.contains(one))
        .collect();
    let lacking = [Capability::CAP_BPF, Capability::CAP_PERFMON]
        .iter()
        .any(|one| !kept.contains(one));
    if lacking && permitted.contains(&STAND_IN) {
        kept.insert(STAND_IN);
    }
    kept
}

/// Keeps what is needed in this thread, lets nothing that it executes have any, and no gain come of it.
pub(super) fn hold_least() -> Result<(), PrivilegeError> {
    let failed = |operation| {
        move |error: CapsError| PrivilegeError {
            operation,
            cause: error.to_string(),
        }
    };
    let permitted = caps::read(None, CapSet::Permitted).map_err(failed("reading capabilities"))?;
    let kept = least(&permitted);
    // Only who has this one may narrow the bounding set; without it, it bounds nothing that could be gained (no new privileges).
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).unwrap_or(false) {
        for one in caps::runtime::thread_all_supported() {
            caps::drop(None, CapSet::Bounding, one)
                .map_err(failed("narrowing the bounding set of capabilities"))?;
        }
    }
    caps::clear(None, CapSet::Ambient).map_err(failed("clearing ambient capabilities"))?;
    caps::clear(None, CapSet::Inheritable).map_err(failed("clearing inheritable capabilities"))?;
    caps::set(None, CapSet::Effective, &kept).map_err(failed("giving up capabilities"))?;
    caps::set(None, CapSet::Permitted, &kept).map_err(failed("giving up capabilities for good"))?;
    rustix::thread::set_no_new_privs(true).map_err(|error| PrivilegeError {
        operation: "ruling out new privileges",
        cause: error.to_string(),
    })
}

/// This thread gives up every capability: it takes what strangers send, and touches neither maps nor programs.
pub fn hold_nothing() {
    // In this order: what is effective must be permitted. A kernel that refuses leaves it what all threads have.
    let _ = caps::clear(None, CapSet::Effective);
    let _ = caps::clear(None, CapSet::Permitted);
}

/// Names of this thread's effective capabilities, in alphabetical order.
pub(super) fn effective() -> Result<Vec<String>, PrivilegeError> {
    let held = caps::read(None, CapSet::Effective).map_err(|error| PrivilegeError {
        operation: "reading effective capabilities",
        cause: error.to_string(),
    })?;
    let mut names: Vec<String> = held.into_iter().map(|one| one.to_string()).collect();
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_are_kept_and_what_stands_in_for_them_only_where_they_lack() {
        let of = |held: &[Capability]| least(&held.iter().copied().collect());
        let three: CapsHashSet = NEEDED.into_iter().collect();
        assert_eq!(least(&caps::all()), three);
        let old = [
            Capability::CAP_SYS_ADMIN,
            Capability::CAP_NET_ADMIN,
            Capability::CAP_CHOWN,
        ];
        assert_eq!(of(&old), old[..2].iter().copied().collect());
        assert!(of(&[Capability::CAP_CHOWN]).is_empty());
    }
}
