//! What only trying tells: the programs are loaded into this kernel and the clock is
//! run, over small maps that nobody else sees and that are gone right after.

use std::fs;

use aya::programs::ProgramInfo;
use detector_common::abi;

use super::Check;
use crate::wire::{
    load::{self, LoadError, Loader, Settings},
    tables::Tables,
};

/// Size of the table that is tried.
const SLOTS: u32 = abi::FLOW_SLOTS_MIN;

pub(super) fn checks() -> Vec<Check> {
    match load() {
        Ok(loaded) => vec![
            Check::ok("programs", loaded.found, PROGRAMS_WHY),
            jit(loaded.jitted, setting().as_deref()),
        ],
        Err(error) => vec![refused(&error), jit(None, setting().as_deref())],
    }
}

const PROGRAMS_WHY: &str = "what a kernel's verifier takes is known only by asking it";

struct Loaded {
    found: String,
    /// Whether the kernel compiled them; `None` where it does not tell.
    jitted: Option<bool>,
}

fn load() -> Result<Loaded, LoadError> {
    let seed = load::draw_seed().map_err(|cause| LoadError::Map {
        operation: "drawing the hash keys of",
        map: abi::map::SETS,
        cause: cause.to_string(),
    })?;
    let settings = Settings {
        flow_slots: SLOTS,
        verdict_slots: SLOTS,
        ..Settings::default()
    };
    let loader = Loader {
        pins: None,
        settings,
        seed,
    };
    let mut ebpf = loader.open(0, 0)?;
    loader.initialize(&mut ebpf)?;
    let ingress = load::ingress(&mut ebpf)?.info().ok();
    let egress = load::egress(&mut ebpf)?.info().ok();
    load::burst(&mut ebpf)?;
    let jiffies_hz = Tables::of(&ebpf)
        .ok()
        .map_or(0, |tables| tables.control.load(0).jiffies_hz);
    let instructions = |info: &Option<ProgramInfo>| {
        info.as_ref()
            .and_then(|i| i.size_translated())
            .map_or("?".to_owned(), |b| (b / 8).to_string())
    };
    Ok(Loaded {
        found: format!(
            "ingress ({} instructions), egress ({}), burst and clock ({jiffies_hz} Hz) load and run",
            instructions(&ingress),
            instructions(&egress)
        ),
        jitted: ingress.map(|info| info.size_jitted() > 0),
    })
}

fn refused(error: &LoadError) -> Check {
    let check = Check::ok("programs", error.to_string(), PROGRAMS_WHY);
    match error {
        LoadError::Permission { .. } => check.denied(
            "give the capabilities named above; where it has them, a user namespace, a seccomp filter \
             (containers: SCMP_ACT for bpf(2)) or a security module stands in the way",
        ),
        _ => check.fail("use a kernel that takes them (Linux 6.1 or later with CONFIG_BPF_SYSCALL=y), or report this"),
    }
}

/// `net.core.bpf_jit_enable`, which only the first network namespace shows.
fn setting() -> Option<String> {
    fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").ok()
}

fn jit(jitted: Option<bool>, setting: Option<&str>) -> Check {
    let why = "interpreted programs are several times slower";
    let remedy = "`sysctl net.core.bpf_jit_enable=1`";
    match (jitted, setting.map(str::trim)) {
        (Some(true), _) => Check::ok("JIT", "on: the kernel compiled the programs", why),
        (Some(false), _) => {
            Check::ok("JIT", "off: the kernel interprets the programs", why).warn(remedy)
        }
        (None, Some("0")) => Check::ok("JIT", "off by net.core.bpf_jit_enable", why).warn(remedy),
        (None, Some(_)) => Check::ok("JIT", "on by net.core.bpf_jit_enable", why),
        (None, None) => Check::ok("JIT", "cannot be told without loading a program", why)
            .warn("ask again with the capabilities to load one"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::preflight::State;

    #[test]
    fn what_was_compiled_counts_more_than_the_setting() {
        for (jitted, setting, state) in [
            (Some(true), Some("0\n"), State::Ok),
            (Some(false), Some("1\n"), State::Warn),
            (None, Some("1\n"), State::Ok),
            (None, Some("0\n"), State::Warn),
            (None, None, State::Warn),
        ] {
            assert_eq!(jit(jitted, setting).state, state, "{jitted:?} {setting:?}");
        }
    }

    #[test]
    fn a_lack_of_permission_is_one() {
        let check = refused(&LoadError::Permission {
            operation: "making BPF maps",
        });
        assert!(check.permission && check.state == State::Fail);
        let error = LoadError::Refused {
            program: "x",
            cause: "y".to_owned(),
        };
        assert!(!refused(&error).permission);
    }
}
