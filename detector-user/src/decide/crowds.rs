//! What many sources do to one service, each too little of it to be acted upon alone.

use std::collections::HashMap;

use super::family::Family;
use crate::features::{
    hosts::ServiceKey,
    window::{Distinct, Fade},
};

/// Services that are watched, at most.
const CROWDS_MAX: usize = 4096;
/// Sources that make a crowd.
const SOURCES_MIN: f32 = 8.0;
/// It is told of again after so much quiet, µs.
const QUIET_US: u64 = 60_000_000;

#[derive(Clone, Copy, Default)]
struct Crowd {
    at_us: u64,
    flows: f32,
    sources: Distinct,
    told_us: u64,
}

/// Flows that were found to be of a family, by service.
#[derive(Default)]
pub struct Crowds {
    crowds: HashMap<(ServiceKey, Family), Crowd>,
}

/// What a service is subject to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crowded {
    /// Flows of the family lately.
    pub flows: f32,
    /// Their sources.
    pub sources: f32,
    /// It was not told of before.
    pub new: bool,
}

impl Crowds {
    /// Adds a flow; what the service is subject to, if that is `flows_min` flows or more from many sources.
    pub fn add(
        &mut self,
        (key, source_hash): (ServiceKey, u64),
        family: Family,
        flows_min: f32,
        now_us: u64,
    ) -> Option<Crowded> {
        if self.crowds.len() >= CROWDS_MAX {
            self.crowds
                .retain(|_, crowd| now_us.saturating_sub(crowd.at_us) < QUIET_US);
            if self.crowds.len() >= CROWDS_MAX {
                return None;
            }
        }
        let crowd = self.crowds.entry((key, family)).or_default();
        crowd.flows *= Fade::after(now_us.saturating_sub(crowd.at_us)).slow;
        crowd.at_us = now_us;
        crowd.flows += 1.0;
        crowd.sources.add(source_hash, now_us);
        let sources = crowd.sources.estimate(now_us);
        if crowd.flows < flows_min || sources < SOURCES_MIN {
            return None;
        }
        let new = crowd.told_us == 0 || now_us.saturating_sub(crowd.told_us) >= QUIET_US;
        crowd.told_us = now_us;
        Some(Crowded {
            flows: crowd.flows,
            sources,
            new,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::window::spread;
    use detector_common::key::Address;

    #[test]
    fn many_sources_with_little_each_are_told_of_once() {
        let mut crowds = Crowds::default();
        let key = ServiceKey {
            destination: Address::from_ipv4([10, 0, 0, 1]),
            port: 80,
            protocol: 6,
        };
        let mut told = 0;
        for n in 0..200u64 {
            let crowded = crowds.add((key, spread(n)), Family::AppDos, 50.5, 1 + n * 100);
            assert_eq!(crowded.is_some(), n >= 50, "{n}");
            told += u32::from(crowded.is_some_and(|crowded| crowded.new));
        }
        assert_eq!(told, 1);
        // As many flows of one source are not a crowd.
        let mut alone = Crowds::default();
        for n in 0..200u64 {
            assert_eq!(
                alone.add((key, spread(1)), Family::AppDos, 50.0, 1 + n),
                None
            );
        }
    }
}
