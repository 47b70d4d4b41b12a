//! Where bursts of packets end: a program on the kernel's tracepoint `napi_poll`, without which
//! packets of a burst may not share a reading of the clock (see [`detector_common::burst`]).

use aya::{Ebpf, programs::links::FdLink};
use detector_common::{
    abi::program,
    config::{self, feature},
};

use super::{
    attach::Mode,
    hooks::take_off,
    interface::Interface,
    load::{self, LoadError, Loader},
    nic,
    pins::{PinError, Pins},
    tables::Tables,
};

/// Passed by after each poll of a receive queue, whoever polled.
const TRACEPOINT: &str = "napi_poll";

/// Whether packets that arrive at an interface may share a reading of the clock. Then the
/// program that ends their bursts hangs, taken from `ebpf` where it did not yet.
///
/// Only a driver polls its own queue for each packet: in the generic stack, and from a tap device,
/// packets come from whoever writes them.
///
/// # Errors
/// [`LoadError`], as with a kernel that has no such tracepoint.
pub(super) fn grant(
    loader: &Loader<'_>,
    interface: &Interface,
    mode: Mode,
    ebpf: &mut Ebpf,
) -> Result<bool, LoadError> {
    let Some(pins) = loader.pins else {
        return Ok(false);
    };
    // Without flows next to nothing asks for the time.
    let counts = loader.settings.features & feature::FLOWS != 0;
    let tap = nic::driver(&interface.name).is_some_and(|driver| driver == "tun");
    if !counts || tap || mode == Mode::Generic {
        return Ok(false);
    }
    if !pins.bursts().exists() {
        hang(pins, ebpf)?;
    }
    Ok(true)
}

fn hang(pins: &Pins, ebpf: &mut Ebpf) -> Result<(), LoadError> {
    let burst = load::burst(ebpf)?;
    let link = burst
        .attach(TRACEPOINT)
        .and_then(|link| burst.take_link(link))
        .map_err(|error| load::refused(program::BURST, &error))?;
    FdLink::from(link)
        .pin(pins.bursts())
        .map_err(|error| LoadError::Refused {
            program: program::BURST,
            cause: load::chain(&error),
        })?;
    Ok(())
}

/// Whether an interface's programs rely on the ends of bursts.
pub(super) fn relied_on(entry: &config::Interface) -> bool {
    entry.attached == 1 && entry.features & feature::BURST_CLOCK != 0
}

/// Takes the program off where nothing that is attached relies on it.
pub(super) fn settle(pins: &Pins, tables: &Tables) -> Result<(), PinError> {
    let interfaces = &tables.interfaces;
    if !(0..interfaces.len()).any(|n| relied_on(&interfaces.load(n))) {
        take_off(pins, &pins.bursts())?;
    }
    Ok(())
}
