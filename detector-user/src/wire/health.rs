//! What is on record as attached, compared with what really hangs.

use std::path::Path;

use detector_common::config::{self, hook};

use super::{
    attach::name_of, bursts, holder, interface::Interface, link, pins::Pins, tables::Tables,
};

/// How an interface on record stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Its programs hang there.
    Sound,
    /// It was detached; its counters remain.
    Detached,
    /// The interface is gone, or something tore its link off.
    Gone,
    /// Its link is not pinned any more: nothing hangs there.
    Unpinned,
    /// What arrives is counted, what leaves is not any more.
    EgressLost,
    /// The ends of bursts are not noticed any more.
    BurstsLost,
    /// Its link is alive, in another network namespace.
    Elsewhere,
    /// It cannot be told, and why.
    Unknown(String),
}

impl Health {
    /// As it is shown.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sound => "attached",
            Self::Detached => "detached",
            Self::Gone => "gone",
            Self::Unpinned => "unpinned",
            Self::EgressLost => "egress-lost",
            Self::BurstsLost => "bursts-lost",
            Self::Elsewhere => "other-namespace",
            Self::Unknown(_) => "unknown",
        }
    }

    /// What is wrong and what to do about it; `None` where nothing is.
    #[must_use]
    pub fn complaint(&self, name: &str) -> Option<String> {
        Some(match self {
            Self::Sound | Self::Detached => return None,
            Self::Gone => format!(
                "the interface was removed, or its link torn off: nothing is counted or dropped there; \
                 `detector detach -i {name}` clears it away"
            ),
            Self::Unpinned => format!(
                "its link's pin was removed: nothing is counted or dropped there; \
                 `detector attach -i {name}` attaches it again"
            ),
            Self::EgressLost => format!(
                "its egress program hangs no more: what leaves is not counted; \
                 `detector attach -i {name}` attaches it again"
            ),
            Self::BurstsLost => format!(
                "the pin of what ends bursts was removed: times of packets may be a jiffy old; \
                 `detector attach -i {name}` hangs it again"
            ),
            Self::Elsewhere => "it is not in this network namespace; ask there".to_owned(),
            Self::Unknown(cause) => format!("cannot tell whether its programs still hang: {cause}"),
        })
    }
}

/// An interface on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its place in the record.
    pub place: u32,
    /// The record.
    pub entry: config::Interface,
    /// Its name when it was attached.
    pub name: String,
    /// Its name now, where that is another.
    pub renamed: Option<String>,
    /// How it stands.
    pub health: Health,
}

/// Everything on record, given the interfaces that there are.
#[must_use]
pub fn standings(pins: &Pins, tables: &Tables, present: &[Interface]) -> Vec<Standing> {
    (0..tables.interfaces.len())
        .map(|place| (place, tables.interfaces.load(place)))
        .filter(|(_, entry)| entry.index != 0)
        .map(|(place, entry)| {
            let name = name_of(&entry);
            let health = health(pins, &entry, present);
            let renamed = present
                .iter()
                .find(|interface| interface.index == entry.index && interface.name != name)
                .filter(|_| {
                    matches!(
                        health,
                        Health::Sound | Health::EgressLost | Health::BurstsLost
                    )
                })
                .map(|interface| interface.name.clone());
            Standing {
                place,
                entry,
                name,
                renamed,
                health,
            }
        })
        .collect()
}

fn health(pins: &Pins, entry: &config::Interface, present: &[Interface]) -> Health {
    if entry.attached == 0 {
        return Health::Detached;
    }
    let ingress = match hang(&pins.ingress(entry.index)) {
        Ok(ingress) => ingress,
        Err(health) => return health,
    };
    let here = present
        .iter()
        .any(|interface| interface.index == entry.index);
    if !here || holder::program_id(entry.index) != Some(ingress.program) {
        return Health::Elsewhere;
    }
    if entry.egress == hook::TCX && hang(&pins.egress(entry.index)).is_err() {
        return Health::EgressLost;
    }
    if bursts::relied_on(entry) && !pins.bursts().exists() {
        return Health::BurstsLost;
    }
    Health::Sound
}

fn hang(pin: &Path) -> Result<link::Hang, Health> {
    match link::read(pin) {
        Ok(Some(hang)) if hang.interface != 0 => Ok(hang),
        Ok(Some(_)) => Err(Health::Gone),
        Ok(None) => Err(Health::Unpinned),
        Err(cause) => Err(Health::Unknown(format!("{}: {cause}", pin.display()))),
    }
}
