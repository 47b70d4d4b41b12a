//! Hanging the programs on interfaces, and taking them off.
//!
//! Links and maps are pinned: what is attached here goes on without this process,
//! and the next process finds it, goes on with its maps and swaps its programs
//! without a gap.

use std::{path::Path, time::SystemTime};

use aya::programs::{
    LinkOrder, SchedClassifier, Xdp, XdpMode,
    links::{FdLink, PinnedLink},
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcAttachType, TcHandle},
    xdp::XdpLink,
};
use detector_common::{
    config::{self, Control, feature, hook},
    key::ZONE_MAX,
};

use super::{
    holder,
    interface::{Interface, InterfaceError},
    link,
    load::{self, LoadError, Loader, Settings, errno, unix_ms},
    mapping::Mapping,
    pins::{PinError, Pins},
    tables::{self, Tables, TablesError},
};

/// Priority and handle of the filter under clsact: fixed, so that the next process
/// finds it.
const CLSACT_PRIORITY: u16 = 1;
const CLSACT_HANDLE: u32 = 0xd37;

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
    /// Programs hung there before and were swapped.
    pub replaced: bool,
    /// Why it is generic and not native.
    pub native_refused: Option<String>,
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
    let loader = Loader {
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

    let mut ebpf = loader.open(zone, place * 2)?;
    let xdp = load::ingress(&mut ebpf)?;
    let was_there = pins.ingress(interface.index).exists();
    let (ingress, replaced, native_refused) = hang_ingress(pins, interface, xdp, request.mode)?;
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
    let since = if replaced && former.index == interface.index && former.attached == 1 {
        former.attached_unix_ms
    } else {
        unix_ms(SystemTime::now())
    };
    tables.interfaces.store(
        place,
        &config::Interface {
            index: interface.index,
            features: settings.features,
            ingress,
            egress,
            attached: 1,
            reserved: [0; 5],
            name: interface.name_bytes(),
            attached_unix_ms: since,
        },
    );
    Ok(Attached {
        interface: interface.clone(),
        ingress,
        egress,
        replaced,
        native_refused,
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

pub(super) fn hang_ingress(
    pins: &Pins,
    interface: &Interface,
    xdp: &mut Xdp,
    mode: Mode,
) -> Result<(u8, bool, Option<String>), AttachError> {
    let pin = pins.ingress(interface.index);
    if pin.exists() {
        if mode == Mode::Native && hangs_generic(pins, interface) {
            return Err(AttachError::Refused {
                interface: interface.name.clone(),
                what: "XDP natively",
                cause: "it is attached in generic mode, and programs are swapped in place"
                    .to_owned(),
                remedy: "; detach it first (`detector detach --keep-maps` keeps flows and verdicts)",
            });
        }
        if let Some(hook) = swap_ingress(pins, interface, xdp) {
            return Ok((hook, true, None));
        }
        // The interface it was for is gone, and its index was given to this one.
        pins.remove(&pin)?;
    }
    let (wanted, fallback) = match mode {
        Mode::Auto => (XdpMode::Driver, Some(XdpMode::Skb)),
        Mode::Native => (XdpMode::Driver, None),
        Mode::Generic => (XdpMode::Skb, None),
    };
    let mut refused = None;
    let (link, used) = match xdp.attach_to_if_index(interface.index, wanted) {
        Ok(link) => (link, wanted),
        Err(error) => {
            let busy = errno(&error) == Some(libc::EBUSY);
            let Some(fallback) = fallback.filter(|_| !busy && errno(&error) != Some(libc::EPERM))
            else {
                return Err(ingress_error(interface, &error));
            };
            refused = Some(load::chain(&error));
            let link = xdp
                .attach_to_if_index(interface.index, fallback)
                .map_err(|error| ingress_error(interface, &error))?;
            (link, fallback)
        }
    };
    let unpinnable = |cause: String| AttachError::Refused {
        interface: interface.name.clone(),
        what: "XDP",
        cause,
        remedy: "",
    };
    let link = xdp
        .take_link(link)
        .map_err(|error| unpinnable(load::chain(&error)))?;
    let link = FdLink::try_from(link).map_err(|_| {
        unpinnable("the kernel gave no BPF link, which could not outlive this process".to_owned())
    })?;
    link.pin(&pin)
        .map_err(|error| unpinnable(load::chain(&error)))?;
    let hook = if matches!(used, XdpMode::Skb) {
        hook::GENERIC
    } else {
        hook::NATIVE
    };
    Ok((hook, false, refused))
}

/// Whether a generic link of ours is alive there.
fn hangs_generic(pins: &Pins, interface: &Interface) -> bool {
    let alive = link::read(&pins.ingress(interface.index))
        .is_ok_and(|hang| hang.is_some_and(|hang| hang.interface == interface.index));
    alive
        && Tables::open(pins).is_ok_and(|tables| {
            (0..tables.interfaces.len())
                .map(|n| tables.interfaces.load(n))
                .any(|entry| {
                    entry.index == interface.index
                        && entry.attached == 1
                        && entry.ingress == hook::GENERIC
                })
        })
}

/// Swaps the program of a pinned link; `None` where the link has lost its interface.
fn swap_ingress(pins: &Pins, interface: &Interface, xdp: &mut Xdp) -> Option<u8> {
    let pinned = PinnedLink::from_pin(pins.ingress(interface.index)).ok()?;
    let link = XdpLink::try_from(FdLink::from(pinned)).ok()?;
    let id = xdp.attach_to_link(link).ok()?;
    // Taken out so that it is not detached with the program's handle; its pin holds it.
    drop(xdp.take_link(id));
    holder::hook(interface.index)
}

pub(super) fn hang_egress(
    pins: &Pins,
    interface: &Interface,
    classifier: &mut SchedClassifier,
) -> Result<u8, AttachError> {
    let pin = pins.egress(interface.index);
    let refused = |cause: String| AttachError::Refused {
        interface: interface.name.clone(),
        what: "TC egress",
        cause,
        remedy: "; --no-egress leaves it out",
    };
    if pin.exists() {
        let swapped = PinnedLink::from_pin(&pin)
            .ok()
            .and_then(|pinned| SchedClassifierLink::try_from(FdLink::from(pinned)).ok())
            .and_then(|link| classifier.attach_to_link(link).ok());
        if let Some(id) = swapped {
            drop(classifier.take_link(id));
            return Ok(hook::TCX);
        }
        pins.remove(&pin)?;
    }
    let first = TcAttachOptions::TcxOrder(LinkOrder::first());
    match classifier.attach_with_options(&interface.name, TcAttachType::Egress, first) {
        Ok(id) => {
            let link = classifier
                .take_link(id)
                .map_err(|error| refused(load::chain(&error)))?;
            let link = FdLink::try_from(link).map_err(|_| refused("no BPF link".to_owned()))?;
            link.pin(&pin)
                .map_err(|error| refused(load::chain(&error)))?;
            Ok(hook::TCX)
        }
        // No tcx before Linux 6.6.
        Err(error) if errno(&error) == Some(libc::EINVAL) => {
            hang_clsact(interface, classifier).map_err(refused)?;
            Ok(hook::CLSACT)
        }
        // Renamed or removed since its index was asked for.
        Err(error) if errno(&error) == Some(libc::ENODEV) => Err(gone(interface)),
        Err(error) => Err(refused(load::chain(&error))),
    }
}

fn gone(interface: &Interface) -> AttachError {
    AttachError::Interface(InterfaceError::Unknown {
        name: interface.name.clone(),
        present: super::interface::list()
            .into_iter()
            .map(|i| i.name)
            .collect(),
    })
}

fn hang_clsact(interface: &Interface, classifier: &mut SchedClassifier) -> Result<(), String> {
    if let Err(error) = tc::qdisc_add_clsact(&interface.name)
        && errno(&error) != Some(libc::EEXIST)
    {
        return Err(load::chain(&error));
    }
    let options = NlOptions {
        priority: CLSACT_PRIORITY,
        handle: TcHandle::from(CLSACT_HANDLE),
        ..NlOptions::default()
    };
    let created = classifier.attach_with_options(
        &interface.name,
        TcAttachType::Egress,
        TcAttachOptions::Netlink(options),
    );
    let id = match (created, clsact_link(interface)) {
        (Ok(id), there) => {
            std::mem::forget(there);
            Ok(id)
        }
        // An earlier process' filter is there: swapped in its place.
        (Err(_), Some(there)) => classifier.attach_to_link(there),
        (Err(error), None) => Err(error),
    };
    let id = id.map_err(|error| load::chain(&error))?;
    // A filter stays until it is removed; dropping the link would remove it.
    std::mem::forget(classifier.take_link(id));
    Ok(())
}

/// The filter that an earlier process left; dropping it removes it.
fn clsact_link(interface: &Interface) -> Option<SchedClassifierLink> {
    SchedClassifierLink::attached(
        &interface.name,
        TcAttachType::Egress,
        CLSACT_PRIORITY,
        TcHandle::from(CLSACT_HANDLE),
        None,
    )
    .ok()
}

fn take_off_egress(pins: &Pins, interface: &Interface, kind: u8) -> Result<(), PinError> {
    take_off(pins, &pins.egress(interface.index))?;
    if kind == hook::CLSACT {
        drop(clsact_link(interface));
    }
    Ok(())
}

/// Takes a link off and its pin away; whether there was one.
fn take_off(pins: &Pins, pin: &Path) -> Result<bool, PinError> {
    // Where it cannot be torn off, it goes some time after its pin.
    let _ = link::tear_off(pin);
    pins.remove(pin)
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

fn ingress_error(interface: &Interface, error: &(dyn std::error::Error + 'static)) -> AttachError {
    match errno(error) {
        Some(libc::EPERM) => LoadError::Permission {
            operation: "attaching XDP",
        }
        .into(),
        Some(libc::EBUSY | libc::EEXIST) => AttachError::Busy {
            interface: interface.name.clone(),
            holder: holder::describe(interface),
        },
        Some(libc::ENODEV) => gone(interface),
        Some(libc::EOPNOTSUPP) => AttachError::Refused {
            interface: interface.name.clone(),
            what: "XDP",
            cause: load::chain(error),
            remedy: "; its driver has no native XDP: use --mode generic",
        },
        _ => AttachError::Refused {
            interface: interface.name.clone(),
            what: "XDP",
            cause: load::chain(error),
            remedy: "",
        },
    }
}
