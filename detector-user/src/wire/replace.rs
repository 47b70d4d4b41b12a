//! Another table under running programs: of another size, or of another version of
//! the data plane. New maps are made beside the old ones, the programs of every link are
//! swapped to them, one link update each, and the old maps go. No packet passes
//! uncounted; verdicts are carried over, counters and flows begin anew.

use std::{fs, path::Path};

use detector_common::{
    config::{self, feature},
    key::ZONE_MAX,
};
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};

use super::{
    attach::{AttachError, Attached, Mode, Request, ingress, place},
    bursts,
    clock::Clock,
    hooks::hang_egress,
    interface::{self, Interface},
    load::{self, Loader, unix_ms},
    pins::{PASSING, PinError, Pins},
    tables::Tables,
};
use crate::enforce::writer::{Carried, VerdictError, Writer};

/// What was replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replaced {
    /// What hangs where now.
    pub attached: Vec<Attached>,
    /// Verdicts carried over.
    pub verdicts: usize,
    /// Whether the former maps were of another version, whose verdicts cannot be read.
    pub unreadable: bool,
}

/// Why verdicts could not be carried over, or nothing replaced.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// Programs, maps or links.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// Verdicts.
    #[error("carrying the verdicts over: {0}; nothing was replaced")]
    Verdicts(#[from] VerdictError),
}

impl From<PinError> for ReplaceError {
    fn from(error: PinError) -> Self {
        Self::Attach(error.into())
    }
}

impl From<load::LoadError> for ReplaceError {
    fn from(error: load::LoadError) -> Self {
        Self::Attach(error.into())
    }
}

/// Replaces the maps of all that is attached, with the sizes of `request`.
///
/// # Errors
/// [`ReplaceError`]. What was attached goes on, with its maps.
pub fn replace(pins: &Pins, request: &Request) -> Result<Replaced, ReplaceError> {
    let _lock = pins.create_and_lock()?;
    let [next, former] = PASSING.map(|name| Pins::new(pins.root().join(name)));
    // Left by a process that ended half way: its maps were never the only ones.
    next.remove_all()?;
    former.remove_all()?;
    next.create()?;
    let result = swap(pins, &next, &former, request);
    if result.is_err() {
        next.remove_all()?;
        former.remove_all()?;
    }
    result
}

fn swap(
    pins: &Pins,
    next: &Pins,
    passed: &Pins,
    request: &Request,
) -> Result<Replaced, ReplaceError> {
    let mut replaced = Replaced::default();
    let (former, carried) = match Tables::open(pins) {
        Ok(mut tables) => {
            let clock = Clock::open(pins)?;
            let carried = Writer::unshared(&mut tables, &clock).carry()?;
            let places = (0..tables.interfaces.len())
                .map(|n| tables.interfaces.load(n))
                .collect();
            (places, carried)
        }
        Err(_) => {
            replaced.unreadable = pins.is_populated();
            (Vec::new(), Carried::default())
        }
    };
    let seed = load::draw_seed().map_err(|cause| load::LoadError::Map {
        operation: "drawing the hash keys of",
        map: detector_common::abi::map::SETS,
        cause: cause.to_string(),
    })?;
    let loader = Loader {
        pins: Some(next),
        settings: request.settings,
        seed,
    };
    let mut first = loader.open(0, 0)?;
    loader.initialize(&mut first)?;
    let mut tables = Tables::open(next).map_err(AttachError::from)?;
    let clock = Clock::open(next)?;
    replaced.verdicts = Writer::unshared(&mut tables, &clock).restore(&carried)?;

    let present = interface::list();
    for index in pins.linked() {
        let Some(interface) = present.iter().find(|i| i.index == index) else {
            continue;
        };
        let before = former
            .iter()
            .find(|i: &&config::Interface| i.index == index && i.attached == 1);
        let attached = hang(pins, next, &tables, interface, before, request, seed)?;
        replaced.attached.push(attached);
    }
    // From here on the programs use the new maps: what is left is where they are pinned.
    change_places(&next.maps(), &pins.maps(), passed)?;
    moved(&next.clock(), &pins.clock())?;
    bursts::settle(pins, &tables)?;
    passed.remove_all()?;
    next.remove_all()?;
    Ok(replaced)
}

/// Puts the next maps in the former ones' place, at once where the kernel can (bpffs from
/// Linux 5.17 on): a process that is killed here leaves the one or the other there.
fn change_places(next: &Path, former: &Path, passed: &Pins) -> Result<(), PinError> {
    match renameat_with(CWD, next, CWD, former, RenameFlags::EXCHANGE) {
        Err(Errno::INVAL) => {
            fs::create_dir(passed.root()).map_err(PinError::io("making", passed.root()))?;
            moved(former, &passed.maps())?;
            moved(next, former)
        }
        result => result.map_err(|errno| PinError::io("moving", next)(errno.into())),
    }
}

fn moved(from: &Path, to: &Path) -> Result<(), PinError> {
    fs::rename(from, to).map_err(PinError::io("moving", from))
}

fn hang(
    pins: &Pins,
    next: &Pins,
    tables: &Tables,
    interface: &Interface,
    before: Option<&config::Interface>,
    request: &Request,
    seed: detector_common::key::HashSeed,
) -> Result<Attached, ReplaceError> {
    let mut settings = request.settings;
    if let Some(before) = before {
        settings.features = before.features;
    }
    if !interface.ethernet {
        settings.features &= !feature::ETHERNET;
    }
    let mut loader = Loader {
        pins: Some(next),
        settings,
        seed,
    };
    let place = place(&tables.interfaces, interface.index).ok_or_else(|| AttachError::Full {
        interface: interface.name.clone(),
    })?;
    let hung = ingress(pins, &mut loader, interface, place, Mode::Auto)?;
    let counted = before.is_none_or(|entry| entry.egress != config::hook::NONE);
    let egress = if counted && !request.no_egress {
        let mut ebpf = loader.open(interface.index & ZONE_MAX, place * 2 + 1)?;
        hang_egress(pins, interface, load::egress(&mut ebpf)?)?
    } else {
        config::hook::NONE
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
            attached_unix_ms: before.map_or_else(
                || unix_ms(std::time::SystemTime::now()),
                |entry| entry.attached_unix_ms,
            ),
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
