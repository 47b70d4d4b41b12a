//! The two hooks of an interface: hanging a program there so that it outlives this
//! process, swapping it for another without a gap, taking it off.

use std::path::Path;

use aya::programs::{
    LinkOrder, SchedClassifier, Xdp, XdpMode,
    links::{FdLink, PinnedLink},
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcAttachType, TcHandle},
    xdp::XdpLink,
};
use detector_common::config::hook;

use super::{
    attach::{AttachError, Mode},
    holder,
    interface::{Interface, InterfaceError},
    link,
    load::{self, LoadError, errno},
    pins::{PinError, Pins},
    tables::Tables,
};

/// Priority and handle of the filter under clsact: fixed, so that the next process
/// finds it.
const CLSACT_PRIORITY: u16 = 1;
const CLSACT_HANDLE: u32 = 0xd37;

pub(super) fn hang_ingress(
    pins: &Pins,
    interface: &Interface,
    xdp: &mut Xdp,
    mode: Mode,
) -> Result<(u8, bool, Option<String>), AttachError> {
    let pin = pins.ingress(interface.index);
    if pin.exists() {
        if hangs_elsewhere(pins, interface) {
            return Err(AttachError::Elsewhere {
                interface: interface.name.clone(),
                index: interface.index,
            });
        }
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

/// Whether the pinned link of this index is alive in another network namespace. In
/// containers the first interface has the same index in each.
fn hangs_elsewhere(pins: &Pins, interface: &Interface) -> bool {
    let Ok(Some(hang)) = link::read(&pins.ingress(interface.index)) else {
        return false;
    };
    let here = holder::program_id(interface.index);
    hang.interface == interface.index
        && here != Some(hang.program)
        // Where a card runs a program, too, the kernel names none.
        && (here.is_some() || holder::hook(interface.index).is_none())
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
pub(super) fn clsact_link(interface: &Interface) -> Option<SchedClassifierLink> {
    SchedClassifierLink::attached(
        &interface.name,
        TcAttachType::Egress,
        CLSACT_PRIORITY,
        TcHandle::from(CLSACT_HANDLE),
        None,
    )
    .ok()
}

pub(super) fn take_off_egress(
    pins: &Pins,
    interface: &Interface,
    kind: u8,
) -> Result<(), PinError> {
    take_off(pins, &pins.egress(interface.index))?;
    if kind == hook::CLSACT {
        drop(clsact_link(interface));
    }
    Ok(())
}

/// Takes a link off and its pin away; whether there was one.
pub(super) fn take_off(pins: &Pins, pin: &Path) -> Result<bool, PinError> {
    // Where it cannot be torn off, it goes some time after its pin.
    let _ = link::tear_off(pin);
    pins.remove(pin)
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
