//! Where bursts of packets end: a program on the kernel's tracepoint `napi_poll`, without which
//! packets of a burst may not share a reading of the clock (see [`detector_common::burst`]).

use aya::{Ebpf, programs::links::FdLink};
use detector_common::abi::program;

use super::{
    interface::Interface,
    load::{self, LoadError},
    nic,
    pins::Pins,
};

/// Passed by after each poll of a receive queue, whoever polled.
const TRACEPOINT: &str = "napi_poll";

/// Whether an interface's packets come by polls of a queue. To a tap device they come from
/// the process that writes them.
pub(super) fn come_by_polls(interface: &Interface) -> bool {
    nic::driver(&interface.name).is_none_or(|driver| driver != "tun")
}

/// Hangs the program of `ebpf` there, unless one over the same maps hangs there already.
///
/// # Errors
/// [`LoadError`], as with a kernel that has no such tracepoint.
pub(super) fn hang(pins: &Pins, ebpf: &mut Ebpf) -> Result<(), LoadError> {
    let pin = pins.bursts();
    if pin.exists() {
        return Ok(());
    }
    let burst = load::burst(ebpf)?;
    let link = burst
        .attach(TRACEPOINT)
        .and_then(|link| burst.take_link(link))
        .map_err(|error| load::refused(program::BURST, &error))?;
    FdLink::from(link)
        .pin(pin)
        .map_err(|error| LoadError::Refused {
            program: program::BURST,
            cause: load::chain(&error),
        })?;
    Ok(())
}
