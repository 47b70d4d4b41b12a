//! `detector attach --follow`: stays, and attaches what comes.

use super::{
    super::{
        failure::Failure,
        report::{self, Report},
        stop::Stop,
    },
    Args,
    told::{Told, show, tell_attached},
    write_floor,
};
use crate::wire::{
    attach::{AttachError, Request},
    follow::{Follower, Happened, POLL_INTERVAL},
    interface::Interface,
    pins::{PinError, Pins},
};

/// The floor is looked at again after this many polls: addresses, gateways and resolvers
/// change.
const FLOOR_POLLS: u32 = 10;

/// Follows until a signal says to stop. `told` is what there is to tell already.
pub(super) fn run(
    args: &Args,
    pins: &Pins,
    request: Request,
    mut told: Vec<Told>,
) -> Result<(), Failure> {
    let stop = Stop::hold();
    pins.create()?;
    let mut report = Report::new(args.format);
    report.as_stream();
    let mut follower = Follower::new(args.plane.interfaces.clone(), request);
    for pattern in args
        .plane
        .interfaces
        .iter()
        .filter(|pattern| !pattern.is_glob())
    {
        if Interface::find(pattern.as_str()).is_err() {
            report::note(&format!(
                "{pattern} is not there yet; it is attached when it comes"
            ));
        }
    }
    let mut polls = 0u32;
    loop {
        let happened = follower.poll(pins);
        let came = happened
            .iter()
            .any(|one| matches!(one, Happened::Attached(_)));
        for one in happened {
            tell(one, &request, &mut told)?;
        }
        let floor_due = came || polls.is_multiple_of(FLOOR_POLLS);
        if !args.plane.no_floor && floor_due && follower.attached().next().is_some() {
            match write_floor(pins) {
                Ok(Told::Floor { added: 0, .. }) if !came => {}
                Ok(floor) => told.push(floor),
                Err(failure) => report::complain(&failure.to_string()),
            }
        }
        if !told.is_empty() {
            show(&mut report, &told)?;
            report.flush()?;
            told.clear();
        }
        polls = polls.wrapping_add(1);
        if stop.within(POLL_INTERVAL) {
            break;
        }
    }
    let names: Vec<&str> = follower.attached().map(|(_, name)| name).collect();
    if !names.is_empty() {
        report::note(&format!(
            "no longer following; still attached: {} (`detector detach` takes everything off)",
            names.join(", ")
        ));
    }
    Ok(())
}

pub(in super::super) fn tell(
    happened: Happened,
    request: &Request,
    told: &mut Vec<Told>,
) -> Result<(), Failure> {
    match happened {
        Happened::Attached(attached) => told.push(tell_attached(&attached, request)),
        Happened::Refused { interface, error } => {
            let failure = Failure::from(error);
            if failure.is_of_host() {
                return Err(failure);
            }
            report::complain(&format!("{failure}; it is tried again"));
            told.push(Told::Refused {
                interface: interface.name,
                error: failure.to_string(),
            });
        }
        Happened::Gone { name, index, error } => {
            if let Some(error) = error.filter(|error| !is_nothing_pinned(error)) {
                report::complain(&format!("clearing away what is left of {name}: {error}"));
            }
            told.push(Told::Gone {
                interface: name,
                index,
            });
        }
    }
    Ok(())
}

/// Somebody detached everything meanwhile: there is nothing left to clear away.
fn is_nothing_pinned(error: &AttachError) -> bool {
    matches!(error, AttachError::Pin(PinError::NothingPinned { .. }))
}
