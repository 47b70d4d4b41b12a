//! Hanging the programs on interfaces, and taking them off.
//!
//! Links and maps are pinned: what is attached here goes on without this process,
//! and the next process finds it, goes on with its maps and swaps its programs
//! without a gap.

use std::time::SystemTime;

use detector_common::{
    config::{self, Control, feature, hook},
    key::ZONE_MAX,
};

use super::{
    bursts,
    hooks::{clsact_link, hang_egress, hang_ingress, take_off, take_off_egress},
    interface::{Interface, InterfaceError},
    link,
    load::{self, LoadError, Loader, Settings, unix_ms},
    mapping::Mapping,
    pins::{PinError, Pins},
    tables::{self, Tables, TablesError},
};

/// How XDP is to be attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// In the driver, else generic.
    #[default]
    Auto,
    /// In the driver, or not at all.
    Native,
    /// In the generic stack.
    Generic,
}

/// What to attach.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    /// Capabilities and sizes.
    pub settings: Settings,
    /// Sizes were asked for: refuse maps of other sizes rather than go on with them.
    pub sizes_given: bool,
    /// How.
    pub mode: Mode,
    /// Leave what leaves uncounted.
    pub no_egress: bool,
}

/// What hangs where now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The interface.
    pub interface: Interface,
    /// [`hook`] of what arrives.
    pub ingress: u8,
    /// [`hook`] of what leaves.
    pub egress: u8,
    /// Bits of [`feature`] of its programs.
    pub features: u32,
    /// Programs hung there before and were swapped.
    pub replaced: bool,
    /// Why it is generic and not native.
    pub native_refused: Option<String>,
    /// Why each packet reads the clock although it was not asked to.
    pub burst_clock_refused: Option<String>,
}

/// Why nothing was attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The interface.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// The pin directory.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// Programs or maps.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Another XDP program is there.
    #[error(
        "{interface}: another XDP program is attached{holder}; it was left alone. \
         Detach it with the tool that put it there (`bpftool net` and `bpftool link` show it; what hangs \
         by no link goes with `ip link set dev {interface} xdp off`), or attach elsewhere"
    )]
    Busy {
        /// Where.
        interface: String,
        /// What is known of it.
        holder: String,
    },
    /// The kernel refused.
    #[error("{interface}: attaching {what}: {cause}{remedy}")]
    Refused {
        /// Where.
        interface: String,
        /// Which hook.
        what: &'static str,
        /// What the kernel said.
        cause: String,
        /// What to do.
        remedy: &'static str,
    },
    /// An interface of the same index in another network namespace is attached here.
    #[error(
        "{interface}: an interface of the same index ({index}) in another network namespace is attached \
         by way of this pin directory; give this namespace one of its own with --pin-dir"
    )]
    Elsewhere {
        /// Where.
        interface: String,
        /// Its index.
        index: u32,
    },
    /// All places for interfaces are taken.
    #[error(
        "{interface}: {} interfaces are attached already, no more fit; detach one first",
        detector_common::abi::INTERFACES_MAX
    )]
    Full {
        /// Where.
        interface: String,
    },
}

impl From<TablesError> for AttachError {
    fn from(error: TablesError) -> Self {
        match error {
            TablesError::Pin(error) => Self::Pin(error),
            TablesError::Load(error) => Self::Load(error),
        }
    }
}

impl AttachError {
    /// Whether permission was what lacked.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        match self {
            Self::Pin(error) => error.is_permission(),
            Self::Load(error) => error.is_permission(),
            _ => false,
        }
    }
}

/// Attaches to one interface, or swaps the programs of what is attached there.
///
/// # Errors
/// [`AttachError`]; what hung there before goes on hanging.
pub fn attach(
    pins: &Pins,
    interface: &Interface,
    request: &Request,
) -> Result<Attached, AttachError> {
    let _lock = pins.create_and_lock()?;
    let mut request = *request;
    let fresh = !pins.is_populated() || tables::are_half_made(pins);
    let seed = if fresh {
        pins.remove_maps()?;
        pins.create()?;
        load::draw_seed().map_err(|cause| LoadError::Map {
            operation: "drawing the hash keys of",
            map: detector_common::abi::map::SETS,
            cause: cause.to_string(),
        })?
    } else {
        let control = Tables::open(pins)?.control.load(0);
        adopt_sizes(pins, &mut request, &control)?;
        control.seed
    };
    let result = attach_locked(pins, interface, &request, seed, fresh);
    if fresh && result.is_err() {
        pins.remove_all()?;
    } else if let Ok(tables) = Tables::open(pins) {
        bursts::settle(pins, &tables)?;
    }
    result
}

fn adopt_sizes(pins: &Pins, request: &mut Request, control: &Control) -> Result<(), LoadError> {
    let settings = &mut request.settings;
    let sizes = [
        ("flow slots", control.flow_slots, &mut settings.flow_slots),
        (
            "verdict slots",
            control.verdict_slots,
            &mut settings.verdict_slots,
        ),
    ];
    for (what, pinned, given) in sizes {
        if request.sizes_given && *given != pinned {
            let path = pins.root().to_owned();
            return Err(LoadError::Resize {
                path,
                what,
                pinned,
                given: *given,
            });
        }
        *given = pinned;
    }
    Ok(())
}

fn attach_locked(
    pins: &Pins,
    interface: &Interface,
    request: &Request,
    seed: detector_common::key::HashSeed,
    fresh: bool,
) -> Result<Attached, AttachError> {
    let mut settings = request.settings;
    if !interface.ethernet {
        settings.features &= !feature::ETHERNET;
    }
    let mut loader = Loader {
        pins: Some(pins),
        settings,
        seed,
    };
    let zone = interface.index & ZONE_MAX;
    if fresh {
        let mut first = loader.open(zone, 0)?;
        loader.initialize(&mut first)?;
    }
    let tables = Tables::open(pins)?;
    let place = match place(&tables.interfaces, interface.index) {
        Some(place) => place,
        None => vacate(pins, &tables.interfaces)?.ok_or_else(|| AttachError::Full {
            interface: interface.name.clone(),
        })?,
    };

    let was_there = pins.ingress(interface.index).exists();
    let hung = ingress(pins, &mut loader, interface, place, request.mode)?;
    let egress = if request.no_egress {
        take_off_egress(pins, interface, tables.interfaces.load(place).egress)?;
        Ok(hook::NONE)
    } else {
        let mut ebpf = loader.open(zone, place * 2 + 1)?;
        load::egress(&mut ebpf)
            .map_err(AttachError::from)
            .and_then(|classifier| hang_egress(pins, interface, classifier))
    };
    let egress = match egress {
        Ok(egress) => egress,
        Err(error) => {
            if !was_there {
                take_off(pins, &pins.ingress(interface.index))?;
            }
            return Err(error);
        }
    };
    // Swapping programs leaves no gap: it has been attached all the while.
    let former = tables.interfaces.load(place);
    let since = if hung.replaced && former.index == interface.index && former.attached == 1 {
        former.attached_unix_ms
    } else {
        unix_ms(SystemTime::now())
    };
    tables.interfaces.store(
        place,
        &config::Interface {
            index: interface.index,
            features: loader.settings.features,
            ingress: hung.hook,
            egress,
            attached: 1,
            reserved: [0; 5],
            name: interface.name_bytes(),
            attached_unix_ms: since,
        },
    );
    Ok(Attached {
        interface: interface.clone(),
        ingress: hung.hook,
        egress,
        features: loader.settings.features,
        replaced: hung.replaced,
        native_refused: hung.native_refused,
        burst_clock_refused: hung.burst_clock_refused,
    })
}

/// What hangs where packets arrive.
pub(super) struct Ingress {
    pub(super) hook: u8,
    pub(super) replaced: bool,
    pub(super) native_refused: Option<String>,
    pub(super) burst_clock_refused: Option<String>,
}

/// Hangs the program for what arrives, without the burst clock where bursts are not known;
/// `loader` has the features that remain.
pub(super) fn ingress(
    pins: &Pins,
    loader: &mut Loader<'_>,
    interface: &Interface,
    place: u32,
    mode: Mode,
) -> Result<Ingress, AttachError> {
    let zone = interface.index & ZONE_MAX;
    let mut ebpf = loader.open(zone, place * 2)?;
    let mut burst_clock_refused = None;
    if loader.settings.features & feature::BURST_CLOCK != 0 {
        let granted = bursts::grant(loader, interface, mode, &mut ebpf);
        if !matches!(granted, Ok(true)) {
            loader.settings.features &= !feature::BURST_CLOCK;
            ebpf = loader.open(zone, place * 2)?;
        }
        burst_clock_refused = granted.err().map(|error| error.to_string());
    }
    let (hook, replaced, native_refused) =
        hang_ingress(pins, interface, load::ingress(&mut ebpf)?, mode)?;
    // Only now is it known that what arrives is not what this interface's own queue was polled for.
    if hook == hook::GENERIC && loader.settings.features & feature::BURST_CLOCK != 0 {
        loader.settings.features &= !feature::BURST_CLOCK;
        let mut ebpf = loader.open(zone, place * 2)?;
        hang_ingress(pins, interface, load::ingress(&mut ebpf)?, Mode::Auto)?;
    }
    Ok(Ingress {
        hook,
        replaced,
        native_refused,
        burst_clock_refused,
    })
}

/// The interface's place: the one it has, one never used, or a detached one's, whose
/// counters go on.
pub(super) fn place(interfaces: &Mapping<config::Interface>, index: u32) -> Option<u32> {
    let all: Vec<config::Interface> = (0..interfaces.len()).map(|n| interfaces.load(n)).collect();
    let find =
        |test: &dyn Fn(&config::Interface) -> bool| all.iter().position(test).map(|n| n as u32);
    find(&|i| i.index == index && i.attached == 1)
        .or_else(|| find(&|i| i.index == index))
        .or_else(|| find(&|i| i.index == 0))
        .or_else(|| find(&|i| i.attached == 0))
}

/// Frees the place of an interface that is gone, with what is pinned of it.
fn vacate(pins: &Pins, interfaces: &Mapping<config::Interface>) -> Result<Option<u32>, PinError> {
    for place in 0..interfaces.len() {
        let mut entry = interfaces.load(place);
        let hangs = link::read(&pins.ingress(entry.index));
        if hangs.is_ok_and(|hang| hang.is_none_or(|hang| hang.interface == 0)) {
            take_off(pins, &pins.ingress(entry.index))?;
            take_off(pins, &pins.egress(entry.index))?;
            entry.attached = 0;
            interfaces.store(place, &entry);
            return Ok(Some(place));
        }
    }
    Ok(None)
}

/// Takes the programs off one interface; whether any hung there. The maps stay.
///
/// # Errors
/// [`AttachError`].
pub fn detach(pins: &Pins, index: u32) -> Result<bool, AttachError> {
    let _lock = pins.lock()?;
    let mut hung = take_off(pins, &pins.ingress(index))?;
    hung |= take_off(pins, &pins.egress(index))?;
    let tables = Tables::open(pins)?;
    for n in 0..tables.interfaces.len() {
        let mut entry = tables.interfaces.load(n);
        if entry.index == index && entry.attached == 1 {
            hung = true;
            if entry.egress == hook::CLSACT {
                let name = name_of(&entry);
                drop(clsact_link(&Interface {
                    name,
                    index,
                    ethernet: true,
                }));
            }
            entry.attached = 0;
            tables.interfaces.store(n, &entry);
        }
    }
    bursts::settle(pins, &tables)?;
    Ok(hung)
}

/// Takes the programs off every interface and removes every pin: nothing is left.
/// Returns the names of the interfaces.
///
/// # Errors
/// [`AttachError`].
pub fn detach_all(pins: &Pins) -> Result<Vec<String>, AttachError> {
    let _lock = pins.lock()?;
    let mut names = Vec::new();
    // Maps of another version, or half made, are removed all the same.
    if let Ok(tables) = Tables::open(pins) {
        for n in 0..tables.interfaces.len() {
            let entry = tables.interfaces.load(n);
            if entry.index != 0 && entry.attached == 1 {
                let name = name_of(&entry);
                if entry.egress == hook::CLSACT {
                    let index = entry.index;
                    drop(clsact_link(&Interface {
                        name: name.clone(),
                        index,
                        ethernet: true,
                    }));
                }
                names.push(name);
            }
        }
    }
    for index in pins.linked() {
        take_off(pins, &pins.ingress(index))?;
        take_off(pins, &pins.egress(index))?;
    }
    pins.remove_all()?;
    Ok(names)
}

/// An entry's interface name.
#[must_use]
pub fn name_of(entry: &config::Interface) -> String {
    let end = entry
        .name
        .iter()
        .position(|&b| b == 0)
        .unwrap_or(entry.name.len());
    String::from_utf8_lossy(&entry.name[..end]).into_owned()
}

/// A hook as it is shown.
#[must_use]
pub fn hook_name(hook: u8) -> &'static str {
    match hook {
        hook::NATIVE => "native",
        hook::GENERIC => "generic",
        hook::TCX => "tcx",
        hook::CLSACT => "clsact",
        _ => "none",
    }
}
