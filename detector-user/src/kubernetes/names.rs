//! What others see: addresses with names.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use arc_swap::ArcSwap;

/// A pod's name, and until when it stands for an address that the pod no longer has.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Name {
    pub(super) text: Arc<str>,
    pub(super) until: Option<Instant>,
}

pub(super) type Names = HashMap<IpAddr, Name>;

/// The pods' names by address, `NAMESPACE/NAME`; none where they are not asked for.
#[derive(Default)]
pub struct PodNames {
    names: ArcSwap<Names>,
    complaint: RwLock<Option<String>>,
}

impl PodNames {
    /// The pod that has this address, or had it until a moment ago.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> Option<Arc<str>> {
        let names = self.names.load();
        // Nobody pays for what is off.
        if names.is_empty() {
            return None;
        }
        let name = names.get(&address.to_canonical())?;
        let holds = name.until.is_none_or(|until| Instant::now() < until);
        holds.then(|| name.text.clone())
    }

    /// Why there are no names, where there should be.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let complaint = self.complaint.read();
        complaint.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn replace(&self, names: Names) {
        self.names.store(Arc::new(names));
    }

    pub(super) fn complain(&self, complaint: Option<String>) {
        *self
            .complaint
            .write()
            .unwrap_or_else(PoisonError::into_inner) = complaint;
    }
}
