//! The feature set `host/1`: what a flow's two ends, its service and its pair of hosts have been doing lately.
//!
//! Counts fade with a short or a long memory ([`super::window`]); `…_share` are shares of flows or packets, 0 to 1. A
//! table that is full forgets hosts of a single flow first: a spoofed flood cannot push out those that matter.

use std::{collections::HashMap, hash::Hash};

use detector_common::{key::Address, packet::protocol};

use super::{
    ports::PortClass,
    ways::{Change, Ends},
    window::{Distinct, Fade, spread},
};

/// Sources, destinations and services that are remembered, each.
pub const HOSTS_MAX: usize = 1 << 16;
/// Pairs that are remembered.
pub const PAIRS_MAX: usize = 1 << 17;
/// A full table is swept at most this often, µs.
const SWEEP_US: u64 = 1_000_000;

/// A destination's service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// Whose.
    pub destination: Address,
    /// Port; 0 where the protocol has none.
    pub port: u16,
    /// IP protocol.
    pub protocol: u8,
}

impl From<&Ends> for ServiceKey {
    fn from(ends: &Ends) -> Self {
        Self {
            destination: ends.destination,
            port: ends.port,
            protocol: ends.protocol,
        }
    }
}

/// What fades.
trait Fading: Default {
    fn at_us(&mut self) -> &mut u64;
    fn fade(&mut self, fade: Fade);
    /// Flows in the long memory.
    fn flows(&self) -> f32;

    fn fade_to(&mut self, now_us: u64) {
        let elapsed = now_us.saturating_sub(*self.at_us());
        if elapsed > 0 {
            self.fade(Fade::after(elapsed));
            *self.at_us() = now_us;
        }
    }
}

/// Counts of one host, service or pair. Which of them are kept depends on what it is of.
macro_rules! fading {
    ($(#[$doc:meta])* $name:ident { fast: $($fast:ident)*; slow: $($slow:ident)*; distinct: $($distinct:ident)*; }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $name {
            at_us: u64,
            $(#[doc = "Short memory."] pub $fast: f32,)*
            $(#[doc = "Long memory."] pub $slow: f32,)*
            $(#[doc = "Different ones lately."] pub $distinct: Distinct,)*
        }

        impl Fading for $name {
            fn at_us(&mut self) -> &mut u64 {
                &mut self.at_us
            }
            fn fade(&mut self, fade: Fade) {
                $(self.$fast *= fade.fast;)*
                $(self.$slow *= fade.slow;)*
            }
            fn flows(&self) -> f32 {
                self.flows
            }
        }
    };
}

fading! {
    /// A host as one that begins flows.
    Source {
        fast: flows_fast incomplete_fast packets_fast bytes_fast replies_fast;
        slow: flows unanswered refused;
        distinct: ports peers source_ports;
    }
}
fading! {
    /// A host as one with whom flows are begun.
    Destination {
        fast: flows_fast incomplete_fast packets_fast bytes_fast replies_fast missed_fast reflected_fast;
        slow: flows incomplete missed reflected;
        distinct: sources reflectors;
    }
}
fading! {
    /// A service of a host.
    Service {
        fast: flows_fast incomplete_fast packets_fast bytes_fast requests_fast;
        slow: flows waiting requests;
        distinct: sources;
    }
}
fading! {
    /// A source and the service that it asks.
    Pair {
        fast: flows_fast incomplete_fast packets_fast bytes_fast replies_fast requests_fast;
        slow: flows closed waiting packets replies_payload;
        distinct: ;
    }
}

/// Entries by key, at most so many.
struct Bounded<K, V> {
    entries: HashMap<K, V>,
    max: usize,
    swept_us: u64,
    refused: u64,
}

impl<K: Copy + Eq + Hash, V: Fading + Copy> Bounded<K, V> {
    fn new(max: usize) -> Self {
        Self {
            entries: HashMap::new(),
            max,
            swept_us: 0,
            refused: 0,
        }
    }

    fn with(&mut self, key: K, now_us: u64, change: impl FnOnce(&mut V)) {
        if self.entries.len() >= self.max && !self.entries.contains_key(&key) {
            if now_us.saturating_sub(self.swept_us) >= SWEEP_US || self.swept_us == 0 {
                self.swept_us = now_us;
                self.sweep(now_us);
            }
            if self.entries.len() >= self.max {
                self.refused += 1;
                return;
            }
        }
        let entry = self.entries.entry(key).or_default();
        entry.fade_to(now_us);
        change(entry);
    }

    /// Forgets what is quiet or had but one flow.
    fn sweep(&mut self, now_us: u64) {
        self.entries.retain(|_, entry| {
            entry.fade_to(now_us);
            entry.flows() > 1.0
        });
    }

    /// As it stands now; empty where nothing is known.
    fn get(&self, key: &K, now_us: u64) -> V {
        let mut entry = self.entries.get(key).copied().unwrap_or_default();
        entry.fade_to(now_us);
        entry
    }
}

/// What hosts have been doing.
pub struct Hosts {
    sources: Bounded<Address, Source>,
    destinations: Bounded<Address, Destination>,
    services: Bounded<ServiceKey, Service>,
    pairs: Bounded<(Address, ServiceKey), Pair>,
}

impl Default for Hosts {
    fn default() -> Self {
        Self {
            sources: Bounded::new(HOSTS_MAX),
            destinations: Bounded::new(HOSTS_MAX),
            services: Bounded::new(HOSTS_MAX),
            pairs: Bounded::new(PAIRS_MAX),
        }
    }
}

/// Mean bytes of a packet from which on an answer that nobody asked for is worth reflecting.
const REFLECTED_BYTES_MIN: u64 = 200;

/// Whether packets look like answers of an amplifying service that nobody asked for. Later fragments have no ports.
fn is_reflected(ends: &Ends, change: &Change) -> bool {
    let fragments = ends.source_port == 0 && ends.port == 0;
    let amplifier = PortClass::of(ends.protocol, ends.source_port) == PortClass::Amplifier
        && ends.source_port != ends.port;
    ends.protocol == protocol::UDP
        && change.unanswered
        && (fragments || amplifier)
        && change.out_bytes >= REFLECTED_BYTES_MIN * u64::from(change.out_packets)
}

/// Spreads an address over 64 bits.
#[must_use]
pub fn address_hash(address: &Address) -> u64 {
    spread(address.words[0] ^ address.words[1].rotate_left(32))
}

impl Hosts {
    /// Notes what has become of a flow.
    pub fn note(&mut self, ends: &Ends, change: &Change, now_us: u64) {
        let flow = f32::from(u8::from(change.begun));
        // A flow that is answered later was counted as unanswered at first.
        let unanswered = match (change.begun, change.unanswered, change.answered) {
            (true, true, _) => 1.0,
            (false, _, true) => -1.0,
            _ => 0.0,
        };
        let incomplete = match (change.begun, change.incomplete, change.completed) {
            (true, true, _) => 1.0,
            (false, _, true) => -1.0,
            _ => 0.0,
        };
        let one = |holds: bool| f32::from(u8::from(holds));
        let refused = one(change.refused);
        let requests = change.out_data_packets as f32;
        let (out, back) = (change.out_packets as f32, change.in_packets as f32);
        let bytes = change.out_bytes as f32;
        // Answers are no attempts of their sender.
        let attempt = if change.is_answer { 0.0 } else { flow };
        self.sources.with(ends.source, now_us, |source| {
            source.flows_fast += attempt;
            source.flows += attempt;
            source.incomplete_fast += if change.is_answer { 0.0 } else { incomplete };
            source.incomplete_fast = source.incomplete_fast.max(0.0);
            source.packets_fast += out;
            source.bytes_fast += bytes;
            source.replies_fast += back;
            source.unanswered += if change.is_answer { 0.0 } else { unanswered };
            source.unanswered = source.unanswered.max(0.0);
            source.refused += refused;
            if change.begun && !change.is_answer {
                let port = u64::from(ends.port) << 8 | u64::from(ends.protocol);
                source.ports.add(spread(port), now_us);
                source.peers.add(address_hash(&ends.destination), now_us);
                source
                    .source_ports
                    .add(spread(u64::from(ends.source_port)), now_us);
            }
        });
        self.destinations.with(ends.destination, now_us, |host| {
            host.flows_fast += flow;
            host.flows += flow;
            host.incomplete_fast = (host.incomplete_fast + incomplete).max(0.0);
            host.incomplete = (host.incomplete + incomplete).max(0.0);
            host.packets_fast += out;
            host.bytes_fast += bytes;
            host.replies_fast += back;
            if change.begun {
                host.sources.add(address_hash(&ends.source), now_us);
            }
            if change.incomplete {
                host.missed_fast += out;
                host.missed += out;
            }
            if is_reflected(ends, change) {
                host.reflected_fast += out;
                host.reflected += out;
                host.reflectors.add(address_hash(&ends.source), now_us);
            }
        });
        let key = ServiceKey::from(ends);
        self.services.with(key, now_us, |service| {
            service.flows_fast += flow;
            service.flows += flow;
            service.incomplete_fast = (service.incomplete_fast + incomplete).max(0.0);
            service.packets_fast += out;
            service.bytes_fast += bytes;
            service.requests_fast += requests;
            service.requests += requests;
            service.waiting += one(change.waiting);
            if change.begun {
                service.sources.add(address_hash(&ends.source), now_us);
            }
        });
        self.pairs.with((ends.source, key), now_us, |pair| {
            pair.flows += flow;
            pair.flows_fast += flow;
            pair.incomplete_fast = (pair.incomplete_fast + incomplete).max(0.0);
            pair.bytes_fast += bytes;
            pair.replies_fast += back;
            pair.closed += one(change.closed);
            pair.waiting += one(change.waiting);
            pair.requests_fast += requests;
            pair.packets += out;
            pair.packets_fast += out;
            pair.replies_payload += change.in_payload as f32;
        });
    }

    /// What surrounds a flow.
    #[must_use]
    pub fn around(&self, ends: &Ends, now_us: u64) -> Surroundings {
        let key = ServiceKey::from(ends);
        Surroundings {
            source: self.sources.get(&ends.source, now_us),
            destination: self.destinations.get(&ends.destination, now_us),
            service: self.services.get(&key, now_us),
            pair: self.pairs.get(&(ends.source, key), now_us),
            now_us,
        }
    }

    /// A host as one with whom flows are begun.
    #[must_use]
    pub fn destination(&self, address: &Address, now_us: u64) -> Destination {
        self.destinations.get(address, now_us)
    }

    /// Hosts, services and pairs that found no room.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.sources.refused
            + self.destinations.refused
            + self.services.refused
            + self.pairs.refused
    }
}

/// What surrounds a flow at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    /// Its source.
    pub source: Source,
    /// Its destination.
    pub destination: Destination,
    /// Its service.
    pub service: Service,
    /// Its source and its service.
    pub pair: Pair,
    /// The moment.
    pub now_us: u64,
}

fn share(a: f32, b: f32) -> f32 {
    if b <= 0.0 {
        0.0
    } else {
        (a / b).clamp(0.0, 1.0)
    }
}

/// Names and formulas together: the order of a row is the order here.
macro_rules! host_features {
    ($b:ident; $($name:literal => $value:expr;)*) => {
        /// The features' names, in the order of a row.
        pub const NAMES: &[&str] = &[$($name),*];

        impl Surroundings {
            /// The features, in the order of [`NAMES`], each handed to `put`.
            pub fn features(&self, mut put: impl FnMut(f32)) {
                let $b = self;
                $(put($value);)*
            }
        }
    };
}

host_features! { b;
    "src_flows_fast" => b.source.flows_fast;
    "src_flows" => b.source.flows;
    "src_unanswered" => b.source.unanswered;
    "src_unanswered_share" => share(b.source.unanswered, b.source.flows);
    "src_refused" => b.source.refused;
    "src_refused_share" => share(b.source.refused, b.source.flows);
    "src_ports" => b.source.ports.estimate(b.now_us);
    "src_peers" => b.source.peers.estimate(b.now_us);
    "src_packets_fast" => b.source.packets_fast;
    "src_bytes_fast" => b.source.bytes_fast;
    "src_reply_share" => share(b.source.replies_fast, b.source.packets_fast + b.source.replies_fast);
    "dst_flows_fast" => b.destination.flows_fast;
    "dst_incomplete_share" => share(b.destination.incomplete_fast, b.destination.flows_fast);
    "dst_sources" => b.destination.sources.estimate(b.now_us);
    "dst_packets_fast" => b.destination.packets_fast;
    "dst_bytes_fast" => b.destination.bytes_fast;
    "dst_reply_share" => share(b.destination.replies_fast, b.destination.packets_fast + b.destination.replies_fast);
    "svc_flows_fast" => b.service.flows_fast;
    "svc_incomplete_share" => share(b.service.incomplete_fast, b.service.flows_fast);
    "svc_sources" => b.service.sources.estimate(b.now_us);
    "pair_flows" => b.pair.flows;
    "pair_incomplete_share" => share(b.pair.incomplete_fast, b.pair.flows_fast);
    "pair_closed_share" => share(b.pair.closed, b.pair.flows);
    "pair_requests_fast" => b.pair.requests_fast;
    "pair_waiting" => b.pair.waiting;
    "pair_packets_per_flow" => if b.pair.flows > 0.0 { b.pair.packets / b.pair.flows } else { 0.0 };
    "pair_replies_per_flow" => if b.pair.flows > 0.0 { b.pair.replies_payload / b.pair.flows } else { 0.0 };
    "dst_port_rarity" => ((1.0 + b.destination.flows) / (1.0 + b.service.flows)).ln().max(0.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(source: u8, port: u16) -> Ends {
        Ends {
            source: Address::from_ipv4([10, 0, 0, source]),
            destination: Address::from_ipv4([10, 0, 1, 1]),
            source_port: 40_000,
            port,
            protocol: protocol::TCP,
        }
    }

    #[test]
    fn a_scan_shows_in_its_source() {
        let mut hosts = Hosts::default();
        let new = Change {
            begun: true,
            unanswered: true,
            out_packets: 1,
            out_bytes: 60,
            packets: 1,
            ..Change::default()
        };
        for port in 1..=100 {
            hosts.note(&ends(1, port), &new, u64::from(port) * 1000);
        }
        let source = hosts.around(&ends(1, 1), 100_000).source;
        assert!((95.0..=100.0).contains(&source.flows), "{source:?}");
        assert!(source.unanswered > 95.0);
        assert!((85.0..120.0).contains(&source.ports.estimate(100_000)));
        assert!((0.9..1.6).contains(&source.peers.estimate(100_000)));
        // A minute later e of it is left.
        let later = hosts.around(&ends(1, 1), 60_100_000).source;
        assert!((30.0..40.0).contains(&later.flows), "{later:?}");
        let mut row = Vec::new();
        hosts
            .around(&ends(1, 1), 100_000)
            .features(|value| row.push(value));
        assert_eq!(row.len(), NAMES.len());
        assert!(row.iter().all(|value| value.is_finite()));
    }

    #[test]
    fn a_spoofed_flood_does_not_push_out_a_source_that_comes_again() {
        let mut hosts = Hosts::default();
        let new = Change {
            begun: true,
            unanswered: true,
            ..Change::default()
        };
        for _ in 0..3 {
            hosts.note(&ends(7, 80), &new, 1);
        }
        for n in 0..3 * HOSTS_MAX as u32 {
            let mut spoofed = ends(0, 80);
            spoofed.source = Address::from_ipv4((0x5000_0000 + n).to_be_bytes());
            hosts.note(&spoofed, &new, 2 + u64::from(n) * 100);
        }
        assert!(hosts.around(&ends(7, 80), 20_000_000).source.flows > 1.0);
        assert!(hosts.sources.entries.len() <= HOSTS_MAX);
    }
}
