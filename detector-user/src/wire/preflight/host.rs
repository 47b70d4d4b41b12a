//! The kernel's version and settings, this process' capabilities, the BPF file system
//! and memory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use detector_common::{
    abi,
    addresses::{self, AddressSet},
    counters::Counters,
    returning::Doors,
    service::ServiceCounters,
    verdict::Hits,
};

use super::Check;
use crate::{
    privilege,
    wire::{
        load::Settings,
        pins::{PinError, Pins},
    },
};

/// Oldest kernel on which the programs are tested.
const KERNEL_MIN: (u32, u32) = (6, 1);
/// First kernel with tcx links.
const KERNEL_TCX: (u32, u32) = (6, 6);
/// First kernel that charges BPF memory to the cgroup and not to RLIMIT_MEMLOCK.
const KERNEL_NO_MEMLOCK: (u32, u32) = (5, 11);

/// The capabilities that are needed: number, name, what for.
const CAPABILITIES: [(u32, &str, &str); 3] = [
    (39, "CAP_BPF", "make maps and load programs"),
    (12, "CAP_NET_ADMIN", "attach to interfaces"),
    (
        38,
        "CAP_PERFMON",
        "have programs with loops and pointer arithmetic verified",
    ),
];
const CAP_SYS_ADMIN: u32 = 21;

pub(super) fn checks(pins: &Pins) -> Vec<Check> {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let version = version(&release);
    vec![
        kernel(&release, version),
        btf(Path::new("/sys/kernel/btf/vmlinux")),
        capabilities(&fs::read_to_string("/proc/self/status").unwrap_or_default()),
        landlock(privilege::kernel_abi()),
        bpf_fs(pins),
        memlock(version),
        memory(),
    ]
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn kernel(release: &str, version: Option<(u32, u32)>) -> Check {
    let check = Check::ok(
        "kernel",
        format!("Linux {release}"),
        "BPF loops, multi-buffer XDP and links that survive this process came step by step",
    );
    match version {
        None => check.warn("the version cannot be read; whether loading works is checked below"),
        Some(version) if version < KERNEL_MIN => check.fail(format!(
            "use Linux {}.{} or later",
            KERNEL_MIN.0, KERNEL_MIN.1
        )),
        Some(version) if version < KERNEL_TCX => Check {
            found: format!("Linux {release}; no tcx before 6.6, so egress hangs on a clsact qdisc"),
            ..check
        },
        Some(_) => check,
    }
}

fn btf(path: &Path) -> Check {
    let why = "the kernel's type information lets tools show what is in the maps";
    if path.exists() {
        Check::ok("BTF", path.display().to_string(), why)
    } else {
        Check::ok("BTF", format!("{} is not there", path.display()), why)
            .warn("use a kernel with CONFIG_DEBUG_INFO_BTF=y; the programs themselves do without")
    }
}

fn capabilities(status: &str) -> Check {
    let why = "loading takes CAP_BPF and CAP_PERFMON, attaching takes CAP_NET_ADMIN";
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let Some(effective) = effective else {
        return Check::ok("capabilities", "/proc/self/status does not tell", why)
            .warn("mount /proc; whether loading works is checked below");
    };
    let has = |bit: u32| effective >> bit & 1 != 0;
    // CAP_SYS_ADMIN stands for the two that were split off from it.
    let lacking: Vec<_> = CAPABILITIES
        .iter()
        .filter(|(bit, name, _)| !has(*bit) && (!has(CAP_SYS_ADMIN) || *name == "CAP_NET_ADMIN"))
        .collect();
    if lacking.is_empty() {
        return Check::ok(
            "capabilities",
            "CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON",
            why,
        );
    }
    let names: Vec<&str> = lacking.iter().map(|(_, name, _)| *name).collect();
    let uses: Vec<String> = lacking
        .iter()
        .map(|(_, name, purpose)| format!("{name} to {purpose}"))
        .collect();
    Check::ok("capabilities", format!("without {}", names.join(", ")), why).denied(format!(
        "run as root, or with {} (in a container: capabilities.add; under systemd: \
         AmbientCapabilities=)",
        uses.join(", ")
    ))
}

fn landlock(abi: Option<u32>) -> Check {
    let why = "the kernel confines the agent to its files with it, should a stranger ever run code in there";
    match abi {
        Some(abi) => Check::ok("landlock", format!("ABI {abi}"), why),
        None => Check::ok("landlock", "the kernel has none, or does not let it be used", why).warn(
            "use a kernel with CONFIG_SECURITY_LANDLOCK and `landlock` in lsm=; allow its three system calls in seccomp filters; \
             the agent goes on without",
        ),
    }
}

fn bpf_fs(pins: &Pins) -> Check {
    let path = pins.root().display();
    let why = "what is pinned there goes on when this process ends";
    match pins.require_bpf_fs() {
        Ok(()) => Check::ok("bpffs", format!("{path} is on a BPF file system"), why),
        Err(PinError::NoBpfFs { .. }) => {
            Check::ok("bpffs", format!("{path} is not on a BPF file system"), why).fail(
                "mount one (`mount -t bpf bpf /sys/fs/bpf`) or choose another place with --pin-dir",
            )
        }
        Err(error) if error.is_permission() => {
            Check::ok("bpffs", error.to_string(), why).denied("run as root, or give access to it")
        }
        Err(error) => Check::ok("bpffs", error.to_string(), why)
            .fail("make the place accessible, or use another --pin-dir"),
    }
}

fn memlock(version: Option<(u32, u32)>) -> Check {
    let why = "before Linux 5.11 BPF memory counted against RLIMIT_MEMLOCK";
    match version {
        Some(version) if version < KERNEL_NO_MEMLOCK => Check::ok(
            "memlock",
            "this kernel counts BPF memory against RLIMIT_MEMLOCK",
            why,
        )
        .warn("`ulimit -l unlimited`, or LimitMEMLOCK=infinity under systemd"),
        _ => Check::ok(
            "memlock",
            "not needed: from Linux 5.11 on the memory cgroup counts",
            why,
        ),
    }
}

/// Memory that the maps take with the sizes that are the default, about.
fn bytes_needed(cpus: u64) -> u64 {
    let settings = Settings::default();
    let (flows, verdicts) = (
        u64::from(settings.flow_slots),
        u64::from(settings.verdict_slots),
    );
    let size = |bytes: usize| bytes as u64;
    flows * (size(abi::FLOW_SLOT_BYTES) + 2)
        + verdicts * (size(size_of::<detector_common::verdict::Verdict>()) + 64)
        + u64::from(addresses::sets_for(abi::VERDICT_SLOTS_DEFAULT)) * size(size_of::<AddressSet>())
        + cpus
            * (verdicts * size(size_of::<Hits>())
                + u64::from(abi::SERVICE_SLOTS) * size(size_of::<ServiceCounters>())
                + u64::from(abi::INTERFACES_MAX * 2) * size(size_of::<Counters>()))
        + u64::from(abi::ENDED_BYTES + abi::EVENTS_BYTES)
        + u64::from(detector_common::signature::field::WORDS) * 8
        + u64::from(abi::RETURNING_SETS) * size(size_of::<Doors>())
        + (1 << 20)
}

fn memory() -> Check {
    let why = "the kernel charges the maps to the memory cgroup of who makes them";
    let cpus = aya::util::nr_cpus().unwrap_or(1) as u64;
    let needed = bytes_needed(cpus);
    let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20);
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    match tightest_limit(Path::new("/sys/fs/cgroup"), &own) {
        None => Check::ok(
            "cgroup memory",
            format!(
                "no limit; the maps take about {} MiB by default",
                mebibytes(needed)
            ),
            why,
        ),
        Some((group, room)) => {
            let check = Check::ok(
                "cgroup memory",
                format!(
                    "{} leaves {} MiB; the maps take about {} MiB by default",
                    group.display(),
                    mebibytes(room),
                    mebibytes(needed)
                ),
                why,
            );
            if room < needed {
                check.warn("raise the limit (memory.max), or attach with a smaller --flow-slots")
            } else {
                check
            }
        }
    }
}

/// The group, of this process' and those above it, that leaves the least room.
fn tightest_limit(root: &Path, own: &str) -> Option<(PathBuf, u64)> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let read = |file: PathBuf| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    root.join(path)
        .ancestors()
        .take_while(|group| group.starts_with(root))
        .filter_map(|group| {
            let limit = read(group.join("memory.max"))?;
            let used = read(group.join("memory.current")).unwrap_or(0);
            Some((group.to_owned(), limit.saturating_sub(used)))
        })
        .min_by_key(|(_, room)| *room)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::preflight::State;

    #[test]
    fn kernels_are_told_apart() {
        for (release, state) in [
            ("5.15.0-91-generic", State::Fail),
            ("6.1.0-18-cloud-amd64", State::Ok),
            ("6.18.44", State::Ok),
            ("7.0-rc1", State::Ok),
            ("weird", State::Warn),
        ] {
            assert_eq!(kernel(release, version(release)).state, state, "{release}");
        }
        assert!(kernel("6.1.0", version("6.1.0")).found.contains("clsact"));
        assert!(memlock(Some((5, 10))).state == State::Warn && memlock(None).state == State::Ok);
    }

    #[test]
    fn capabilities_are_named() {
        let with = |mask: u64| capabilities(&format!("Name:\tx\nCapEff:\t{mask:016x}\n"));
        assert_eq!(with(1 << 39 | 1 << 38 | 1 << 12).state, State::Ok);
        assert_eq!(with(1 << 21 | 1 << 12).state, State::Ok);
        let check = with(1 << 39);
        assert!(
            check.permission && check.found == "without CAP_NET_ADMIN, CAP_PERFMON",
            "{check:?}"
        );
        assert_eq!(with(1 << 21).found, "without CAP_NET_ADMIN");
        assert_eq!(capabilities("").state, State::Warn);
    }

    #[test]
    fn the_tightest_group_counts() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        let write = |path: &Path, name: &str, text: &str| fs::write(path.join(name), text).unwrap();
        write(&inner, "memory.max", "max\n");
        assert_eq!(tightest_limit(root.path(), "0::/a/b\n"), None);
        write(&root.path().join("a"), "memory.max", "1000\n");
        write(&root.path().join("a"), "memory.current", "400\n");
        write(&inner, "memory.max", "900\n");
        let (group, room) = tightest_limit(root.path(), "1:x:/y\n0::/a/b\n").unwrap();
        assert_eq!((group, room), (root.path().join("a"), 600));
        assert_eq!(tightest_limit(root.path(), "1:x:/y\n"), None);
    }
}
