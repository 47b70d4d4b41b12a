//! From the object to a loaded program, specialised for one interface and direction.

use std::{io, time::SystemTime};

use aya::{
    Ebpf, EbpfLoader,
    programs::{ProgramError, RawTracePoint, SchedClassifier, Xdp},
};
use detector_common::{
    abi::{self, map, program},
    addresses,
    config::{Control, ProgramConfig, feature},
    doorkeeper,
    key::HashSeed,
};

use super::{
    clock,
    mapping::{Access, Mapping},
    pins::Pins,
};

/// Most doors for newcomers, 256 KiB: what a core's second-level cache holds beside all else. Each
/// refused packet of a flood asks one.
const DOORS_MAX: u32 = 1 << 16;

/// What the data plane is to be able to do, and how large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bits of [`feature`]. `ETHERNET` is set from the interface.
    pub features: u32,
    /// Flow slots, a power of two.
    pub flow_slots: u32,
    /// Verdict slots.
    pub verdict_slots: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            features: feature::ALL,
            flow_slots: abi::FLOW_SLOTS_DEFAULT,
            verdict_slots: abi::VERDICT_SLOTS_DEFAULT,
        }
    }
}

/// Why nothing could be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A size out of range.
    #[error("{what} {given}: must be {allowed}")]
    Size {
        /// Which size.
        what: &'static str,
        /// As given.
        given: u32,
        /// What is allowed.
        allowed: String,
    },
    /// The maps that are pinned are of another version.
    #[error(
        "{path}: pinned by a detector with data-plane version {pinned}, this one has {own}; \
         `detector attach --replace` swaps it without letting a packet pass uncounted, \
         `detector detach` removes it"
    )]
    Version {
        /// Where.
        path: std::path::PathBuf,
        /// Version found.
        pinned: u32,
        /// Version of this binary.
        own: u32,
    },
    /// The maps that are pinned are of another size.
    #[error(
        "{path}: pinned with {pinned} {what}, asked for {given}; leave the option out to go on \
         with what is there, or use `detector attach --replace`"
    )]
    Resize {
        /// Where.
        path: std::path::PathBuf,
        /// Which size.
        what: &'static str,
        /// Size found.
        pinned: u32,
        /// Size asked for.
        given: u32,
    },
    /// Permission.
    #[error(
        "{operation}: not permitted; loading BPF programs takes CAP_BPF, CAP_NET_ADMIN and \
         CAP_PERFMON (root has them; in a container add all three, and let its seccomp filter pass bpf(2))"
    )]
    Permission {
        /// What was tried.
        operation: &'static str,
    },
    /// The kernel refused the program.
    #[error("loading {program}: the kernel refused it: {cause}")]
    Refused {
        /// Which.
        program: &'static str,
        /// What it said.
        cause: String,
    },
    /// A map could not be made, opened or mapped.
    #[error("{operation} map {map}: {cause}")]
    Map {
        /// What was tried.
        operation: &'static str,
        /// Which.
        map: &'static str,
        /// What the system said.
        cause: String,
    },
}

impl LoadError {
    /// Whether permission was what lacked.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        matches!(self, Self::Permission { .. })
    }
}

impl Settings {
    /// # Errors
    /// [`LoadError::Size`] for a size out of range.
    pub fn check(&self) -> Result<(), LoadError> {
        let slots = self.flow_slots;
        if !slots.is_power_of_two() || !(abi::FLOW_SLOTS_MIN..=abi::FLOW_SLOTS_MAX).contains(&slots)
        {
            return Err(LoadError::Size {
                what: "flow slots",
                given: slots,
                allowed: format!(
                    "a power of two from {} to {}",
                    abi::FLOW_SLOTS_MIN,
                    abi::FLOW_SLOTS_MAX
                ),
            });
        }
        if !(2..=abi::VERDICT_SLOTS_MAX).contains(&self.verdict_slots) {
            return Err(LoadError::Size {
                what: "verdict slots",
                given: self.verdict_slots,
                allowed: format!("from 2 to {}", abi::VERDICT_SLOTS_MAX),
            });
        }
        Ok(())
    }
}

/// Programs loaded over maps, in a process or pinned.
pub struct Loader<'a> {
    /// Where maps are pinned; `None`: they live as long as what is loaded.
    pub pins: Option<&'a Pins>,
    /// What and how large.
    pub settings: Settings,
    /// Keys of the flow hash.
    pub seed: HashSeed,
}

impl Loader<'_> {
    /// Reads the object and makes or opens its maps; no program is loaded yet.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn open(&self, zone: u32, counters: u32) -> Result<Ebpf, LoadError> {
        self.settings.check()?;
        let slots = self.settings.flow_slots;
        let cpus = cpus();
        let hits = self.settings.verdict_slots.checked_mul(cpus);
        let hits = hits.ok_or_else(|| LoadError::Size {
            what: "verdict slots",
            given: self.settings.verdict_slots,
            allowed: format!("at most {} on {cpus} CPUs", u32::MAX / cpus),
        })?;
        let address_sets = addresses::sets_for(self.settings.verdict_slots);
        // More doors remember longer, and let in more of a flood whose sources come round.
        let doors = (slots / 2).min(DOORS_MAX);
        let mut features = self.settings.features;
        if !cfg!(target_arch = "x86_64") {
            features |= feature::WEAK_MEMORY;
        }
        let config = ProgramConfig {
            seed: self.seed,
            features,
            zone,
            set_mask: slots / detector_common::set::WAYS - 1,
            doorkeeper_mask: doors - 1,
            counters,
            verdict_slots: self.settings.verdict_slots,
            address_mask: address_sets - 1,
            reserved: 0,
        };
        let config: [u8; size_of::<ProgramConfig>()] = bytemuck::cast(config);
        let mut loader = EbpfLoader::new();
        loader
            .override_global(abi::CONFIG_GLOBAL, &config, true)
            .map_max_entries(map::SETS, slots / detector_common::set::WAYS)
            .map_max_entries(map::RECORDS, slots)
            .map_max_entries(map::PERIODS, slots)
            .map_max_entries(map::DOORKEEPER, doorkeeper::lines(doors))
            .map_max_entries(map::VERDICTS, self.settings.verdict_slots)
            .map_max_entries(map::SERVICES, abi::SERVICE_SLOTS * cpus)
            .map_max_entries(map::HITS, hits)
            .map_max_entries(map::ADDRESS_SETS, address_sets)
            .map_max_entries(map::ADDRESS_VERDICTS, self.settings.verdict_slots);
        if let Some(pins) = self.pins {
            for name in map::ALL {
                loader.map_pin_path(name, pins.map(name));
            }
        }
        loader.load(super::object::bytes()).map_err(|error| {
            if is_permission(&error) {
                LoadError::Permission {
                    operation: "making BPF maps",
                }
            } else {
                LoadError::Refused {
                    program: "the object",
                    cause: chain(&error),
                }
            }
        })
    }

    /// Writes the first and only [`Control`] of freshly made maps.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn initialize(&self, ebpf: &mut Ebpf) -> Result<(), LoadError> {
        let jiffies_hz = clock::measure(ebpf)?;
        if let Some(pins) = self.pins {
            pin_clock(pins, ebpf)?;
        }
        let mut control = Control {
            flow_slots: self.settings.flow_slots,
            verdict_slots: self.settings.verdict_slots,
            jiffies_hz,
            seed: self.seed,
            created_unix_ms: unix_ms(SystemTime::now()),
            ..Control::default()
        };
        let fail = |cause: String| LoadError::Map {
            operation: "mapping",
            map: map::CONTROL,
            cause,
        };
        let Some(aya::maps::Map::Array(data)) = ebpf.map(map::CONTROL) else {
            return Err(fail("not an array in the object".to_owned()));
        };
        use std::os::fd::AsFd as _;
        let mapping = Mapping::<Control>::new(data.fd().as_fd(), 1, Access::Write)
            .map_err(|cause| fail(cause.to_string()))?;
        mapping.store(0, &control);
        // The version last: with it everything is there, without it the next process begins
        // anew (see tables::are_half_made).
        control.abi_version = abi::ABI_VERSION;
        mapping.store(0, &control);
        Ok(())
    }
}

/// Pins the clock program, which measuring has loaded.
fn pin_clock(pins: &Pins, ebpf: &mut Ebpf) -> Result<(), LoadError> {
    let clock: &mut Xdp = find(ebpf, program::CLOCK)?;
    clock.pin(pins.clock()).map_err(|error| LoadError::Map {
        operation: "pinning the clock beside",
        map: map::CONTROL,
        cause: chain(&error),
    })
}

/// Loads the ingress program.
///
/// # Errors
/// [`LoadError`].
pub fn ingress(ebpf: &mut Ebpf) -> Result<&mut Xdp, LoadError> {
    let name = program::INGRESS;
    let xdp: &mut Xdp = find(ebpf, name)?;
    xdp.load().map_err(|error| refused(name, &error))?;
    Ok(xdp)
}

/// Loads the egress program.
///
/// # Errors
/// [`LoadError`].
pub fn egress(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier, LoadError> {
    let name = program::EGRESS;
    let classifier: &mut SchedClassifier = find(ebpf, name)?;
    classifier.load().map_err(|error| refused(name, &error))?;
    Ok(classifier)
}

/// Loads the program that ends bursts.
///
/// # Errors
/// [`LoadError`].
pub fn burst(ebpf: &mut Ebpf) -> Result<&mut RawTracePoint, LoadError> {
    let name = program::BURST;
    let burst: &mut RawTracePoint = find(ebpf, name)?;
    burst.load().map_err(|error| refused(name, &error))?;
    Ok(burst)
}

/// A program of the object.
pub(super) fn find<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, LoadError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    ebpf.program_mut(name)
        .ok_or_else(|| LoadError::Refused {
            program: name,
            cause: "not in the object: rebuild it with `cargo xtask bpf`".to_owned(),
        })?
        .try_into()
        .map_err(|error| refused(name, &error))
}

pub(super) fn refused(program: &'static str, error: &ProgramError) -> LoadError {
    if is_permission(error) {
        return LoadError::Permission {
            operation: "loading a BPF program",
        };
    }
    LoadError::Refused {
        program,
        cause: chain(error),
    }
}

/// CPUs that there may ever be, each of which has counters of its own: the highest number, and one.
#[must_use]
pub fn cpus() -> u32 {
    // Where it cannot be read, there are as many as a kernel can have (CONFIG_NR_CPUS of x86-64).
    const CPUS_MAX: u32 = 8192;
    std::fs::read_to_string("/sys/devices/system/cpu/possible")
        .ok()
        .and_then(|list| highest_cpu(&list))
        .map_or(CPUS_MAX, |highest| highest.saturating_add(1).min(CPUS_MAX))
}

/// The highest number of a list such as `0-3,8-11`.
fn highest_cpu(list: &str) -> Option<u32> {
    list.trim()
        .rsplit([',', '-'])
        .next()
        .and_then(|last| last.parse().ok())
}

/// Random keys for the flow hash.
///
/// # Errors
/// Where the system has no randomness to give.
pub fn draw_seed() -> io::Result<HashSeed> {
    let mut bytes = [0u8; size_of::<HashSeed>()];
    let mut filled = 0;
    while filled < bytes.len() {
        filled +=
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(bytemuck::cast(bytes))
}

/// Milliseconds since 1970.
#[must_use]
pub fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as u64)
}

/// Whether EPERM lies at the bottom of an error. The verifier's refusals are EACCES, a
/// lack of privilege is EPERM.
pub(super) fn is_permission(error: &(dyn std::error::Error + 'static)) -> bool {
    errno(error) == Some(libc::EPERM)
}

/// The error number at the bottom of an error.
pub(super) fn errno(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    let mut found = None;
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            found = io.raw_os_error().or(found);
        }
        next = error.source();
    }
    found
}

/// An error with its causes, the last lines of a verifier's log included.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    const LINES_MAX: usize = 12;
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        let lines: Vec<&str> = text.lines().collect();
        let shown = lines[lines.len().saturating_sub(LINES_MAX)..].join("\n");
        if !parts.iter().any(|part| part.contains(&shown)) {
            parts.push(shown);
        }
        next = error.source();
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_cpu_counts() {
        for (list, highest) in [
            ("0\n", Some(0)),
            ("0-1\n", Some(1)),
            ("0-3,8-11", Some(11)),
            ("0,2", Some(2)),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(highest_cpu(list), highest, "{list:?}");
        }
        assert!(cpus() >= std::thread::available_parallelism().map_or(1, |n| n.get() as u32));
    }
}
