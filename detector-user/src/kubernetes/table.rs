//! The pods that there are, and whose each address is.
//!
//! Reports of two pods may cross: an address is handed on while the pod that had it still says so. Who says it first *anew* has it.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    names::{Name, Names},
    pod::Pod,
};

/// Pods that are named, at most; a node has some hundreds.
pub(super) const PODS_MAX: usize = 4096;
/// Addresses that have a name, those of pods that went included, at most.
const ADDRESSES_MAX: usize = 4 * PODS_MAX;
/// A pod that went gives its name for so long: a flow is told of when it has been quiet for a minute.
const KEPT: Duration = Duration::from_secs(90);

struct Owner {
    uid: Arc<str>,
    name: Name,
}

/// The pods of this node that have addresses of their own.
#[derive(Default)]
pub(super) struct Table {
    pods: HashMap<Arc<str>, Vec<IpAddr>>,
    owners: HashMap<IpAddr, Owner>,
}

/// There is no room for a pod.
#[derive(Debug, PartialEq)]
pub(super) struct NoRoom;

impl Table {
    /// Takes a pod as it is now; whether that changes any name.
    pub(super) fn put(&mut self, pod: &Pod, now: Instant) -> Result<bool, NoRoom> {
        if pod.addresses.is_empty() {
            return Ok(self.remove(&pod.uid, now));
        }
        let before = match self.pods.get(&pod.uid) {
            Some(before) => before.clone(),
            None if self.pods.len() >= PODS_MAX => return Err(NoRoom),
            None => Vec::new(),
        };
        if before == pod.addresses {
            return Ok(false);
        }
        for address in before.iter().filter(|one| !pod.addresses.contains(one)) {
            self.release(*address, &pod.uid, now);
        }
        // What it had before and has lost to another pod meanwhile it does not get back.
        for address in pod.addresses.iter().filter(|one| !before.contains(one)) {
            let name = Name {
                text: pod.name.clone(),
                until: None,
            };
            let uid = pod.uid.clone();
            self.owners.insert(*address, Owner { uid, name });
        }
        self.pods.insert(pod.uid.clone(), pod.addresses.clone());
        self.forget_old(now);
        Ok(true)
    }

    /// A pod is gone; whether it had a name.
    pub(super) fn remove(&mut self, uid: &str, now: Instant) -> bool {
        let Some(addresses) = self.pods.remove(uid) else {
            return false;
        };
        for address in addresses {
            self.release(address, uid, now);
        }
        true
    }

    /// All pods that there are: those that are not among them are gone. Returns how many found no room.
    pub(super) fn replace(&mut self, mut all: Vec<Pod>, now: Instant) -> usize {
        let there: HashSet<Arc<str>> = all.iter().map(|pod| pod.uid.clone()).collect();
        let known: Vec<Arc<str>> = self.pods.keys().cloned().collect();
        for uid in known.iter().filter(|uid| !there.contains(*uid)) {
            self.remove(uid, now);
        }
        // Of two that claim an address the later has it: the other is on its way out, or should be.
        all.sort_by_key(|pod| (!pod.ending, pod.made));
        all.iter()
            .filter(|pod| self.put(pod, now) == Err(NoRoom))
            .count()
    }

    /// Pods with a name.
    pub(super) fn pods(&self) -> usize {
        self.pods.len()
    }

    /// What others are to see.
    pub(super) fn names(&mut self, now: Instant) -> Names {
        let held = |owner: &Owner| owner.name.until.is_none_or(|until| now < until);
        self.owners.retain(|_, owner| held(owner));
        let owners = self.owners.iter();
        owners
            .map(|(address, owner)| (*address, owner.name.clone()))
            .collect()
    }

    fn release(&mut self, address: IpAddr, uid: &str, now: Instant) {
        if let Some(owner) = self.owners.get_mut(&address)
            && *owner.uid == *uid
        {
            owner.name.until = Some(now + KEPT);
        }
    }

    /// Many pods may have come and gone in a short while: those that went make room, the first first.
    fn forget_old(&mut self, now: Instant) {
        let excess = self.owners.len().saturating_sub(ADDRESSES_MAX);
        if excess == 0 {
            return;
        }
        let until = |owner: &Owner| owner.name.until;
        let mut gone: Vec<Instant> = self.owners.values().filter_map(until).collect();
        gone.sort_unstable();
        let last = gone.get(excess - 1).copied().unwrap_or(now);
        self.owners
            .retain(|_, owner| until(owner).is_none_or(|until| until > last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, addresses: &[&str]) -> Pod {
        Pod {
            uid: uid.into(),
            name: format!("shop/{uid}").into(),
            addresses: addresses.iter().map(|one| one.parse().unwrap()).collect(),
            ending: false,
            made: 0,
        }
    }

    fn name(table: &mut Table, address: &str, now: Instant) -> Option<String> {
        let names = table.names(now);
        let name = names.get(&address.parse().unwrap())?;
        Some(name.text.to_string())
    }

    #[test]
    fn a_pod_that_went_is_named_for_a_while_and_whom_its_address_went_to_at_once() {
        let (mut table, now) = (Table::default(), Instant::now());
        assert_eq!(
            table.put(&pod("a", &["10.1.0.5", "fd00::5"]), now),
            Ok(true)
        );
        assert_eq!(
            table.put(&pod("a", &["10.1.0.5", "fd00::5"]), now),
            Ok(false)
        );
        for address in ["10.1.0.5", "fd00::5"] {
            assert_eq!(name(&mut table, address, now).unwrap(), "shop/a");
        }
        assert!(table.remove("a", now));
        assert!(!table.remove("a", now), "twice");
        assert_eq!(table.pods(), 0);
        let soon = now + KEPT / 2;
        assert_eq!(name(&mut table, "fd00::5", soon).unwrap(), "shop/a");
        table.put(&pod("b", &["10.1.0.5"]), soon).unwrap();
        assert_eq!(name(&mut table, "10.1.0.5", soon).unwrap(), "shop/b");
        let later = now + KEPT;
        assert_eq!(name(&mut table, "fd00::5", later), None);
        assert_eq!(name(&mut table, "10.1.0.5", later).unwrap(), "shop/b");
    }

    #[test]
    fn a_pod_does_not_get_back_what_was_handed_on() {
        let (mut table, now) = (Table::default(), Instant::now());
        table.put(&pod("a", &["10.1.0.5"]), now).unwrap();
        table.put(&pod("b", &["10.1.0.5"]), now).unwrap();
        // The first still says that it has the address, and more; then it is over, then gone.
        table.put(&pod("a", &["10.1.0.5", "fd00::5"]), now).unwrap();
        assert_eq!(name(&mut table, "10.1.0.5", now).unwrap(), "shop/b");
        assert_eq!(name(&mut table, "fd00::5", now).unwrap(), "shop/a");
        assert_eq!(table.put(&pod("a", &[]), now), Ok(true));
        table.remove("a", now);
        let later = now + KEPT;
        assert_eq!(name(&mut table, "10.1.0.5", later).unwrap(), "shop/b");
        // An address that a pod gives up while it goes on.
        table.put(&pod("b", &["10.1.0.6"]), now).unwrap();
        assert_eq!(name(&mut table, "10.1.0.5", later), None);
        assert_eq!(name(&mut table, "10.1.0.6", later).unwrap(), "shop/b");
    }

    #[test]
    fn of_a_list_the_latest_that_stays_has_an_address_and_who_is_not_in_it_is_gone() {
        let (mut table, now) = (Table::default(), Instant::now());
        table.put(&pod("lost", &["10.1.0.9"]), now).unwrap();
        let ending = Pod {
            ending: true,
            made: 9,
            ..pod("ending", &["10.1.0.5"])
        };
        let late = Pod {
            made: 3,
            ..pod("late", &["10.1.0.5"])
        };
        let early = Pod {
            made: 1,
            ..pod("early", &["10.1.0.5"])
        };
        assert_eq!(table.replace(vec![late, ending, early], now), 0);
        assert_eq!(name(&mut table, "10.1.0.5", now).unwrap(), "shop/late");
        assert_eq!(name(&mut table, "10.1.0.9", now + KEPT), None);
    }

    #[test]
    fn it_is_bounded() {
        let (mut table, now) = (Table::default(), Instant::now());
        let numbered = |n: usize| {
            let [_, b, c, d] = (n as u32).to_be_bytes();
            pod(&n.to_string(), &[&format!("10.{b}.{c}.{d}")])
        };
        let all = (0..PODS_MAX + 3).map(numbered).collect();
        assert_eq!(table.replace(all, now), 3);
        assert_eq!(table.put(&numbered(PODS_MAX + 9), now), Err(NoRoom));
        // One after another comes and goes.
        for n in 0..5 * ADDRESSES_MAX / 4 {
            let at = now + Duration::from_micros(n as u64);
            let uid = (n % PODS_MAX).to_string();
            table.remove(&uid, at);
            table
                .put(&numbered(n % PODS_MAX + (n / PODS_MAX) * 0x2_0000), at)
                .ok();
            let other = Pod {
                uid: uid.as_str().into(),
                ..numbered(n + 0x10_0000)
            };
            table.put(&other, at).ok();
            assert!(table.owners.len() <= ADDRESSES_MAX);
        }
        assert!(table.pods() <= PODS_MAX);
    }
}
