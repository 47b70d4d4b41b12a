//! The attacks that are shown.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::lab::sender::Pace;
use crate::lab::traffic::{Packet, Recipe, Transport, Which, read_or_craft};

/// An attack.
pub(super) struct Attack {
    /// What it is called.
    pub(super) name: &'static str,
    /// What it is.
    pub(super) story: &'static str,
    /// Its capture.
    pub(super) capture: &'static str,
    /// Its packets in the capture: the attacker and the victim are those of the captures' MANIFEST.csv.
    which: Which,
    /// How fast it is sent.
    pub(super) pace: Pace,
    /// How long the verdict on it holds, in seconds.
    pub(super) ttl_s: u64,
    /// Whether it goes on until the verdict has expired, to show that.
    pub(super) outlasts_verdict: bool,
    /// What is sent where there is no capture.
    recipe: Recipe,
}

const FLOOD_PER_SECOND: u32 = 20_000;
/// So that most sources of the capture come only once while it is shown.
const FORGED_PER_SECOND: u32 = 4_000;

/// In the order in which they are shown.
pub(super) const ATTACKS: [Attack; 4] = [
    Attack {
        name: "SYN flood",
        story: "One host sends SYNs to random ports of the server, each of which it has to refuse (CIC-DDoS2019).",
        capture: "attack/cicddos2019_synflood.pcap",
        which: Which::From(Ipv4Addr::new(172, 16, 0, 5)),
        pace: Pace::PerSecond(FLOOD_PER_SECOND),
        ttl_s: 20,
        outlasts_verdict: false,
        recipe: Recipe {
            protocol: Transport::Syn,
            count: 20_000,
            spoofed: false,
            source: Ipv4Addr::new(172, 16, 0, 5),
            port: None,
            gap: Duration::from_micros(50),
        },
    },
    Attack {
        name: "UDP flood",
        story: "One host sends empty datagrams to port 0, as hping3 does.",
        capture: "attack/doup123_udp_flood_hping.pcap",
        which: Which::From(Ipv4Addr::new(172, 16, 2, 1)),
        pace: Pace::PerSecond(FLOOD_PER_SECOND),
        ttl_s: 20,
        outlasts_verdict: false,
        recipe: Recipe {
            protocol: Transport::Udp,
            count: 10_000,
            spoofed: false,
            source: Ipv4Addr::new(172, 16, 2, 1),
            port: Some(0),
            gap: Duration::from_micros(50),
        },
    },
    Attack {
        name: "port scan",
        story: "nmap's SYN scan of a thousand ports. The verdict on it is short, and the scan goes on until it has expired.",
        capture: "attack/nmap_TCP_SYN_SCAN.pcap",
        which: Which::From(Ipv4Addr::new(192, 168, 1, 10)),
        pace: Pace::Captured,
        ttl_s: 7,
        outlasts_verdict: true,
        recipe: Recipe {
            protocol: Transport::Syn,
            count: 1_000,
            spoofed: false,
            source: Ipv4Addr::new(192, 168, 1, 10),
            port: None,
            gap: Duration::from_millis(1),
        },
    },
    Attack {
        name: "SYN flood, sources forged",
        story: "SYNs to one port, each from another forged source: no address is worth a verdict, the packets' looks are.",
        capture: "attack/stopddos_pkt.TCP.synflood.spoofed.pcap",
        which: Which::To(Ipv4Addr::new(10, 10, 10, 10)),
        pace: Pace::PerSecond(FORGED_PER_SECOND),
        ttl_s: 20,
        outlasts_verdict: false,
        recipe: Recipe {
            protocol: Transport::Syn,
            count: 40_000,
            spoofed: true,
            source: Ipv4Addr::UNSPECIFIED,
            port: Some(25_565),
            gap: Duration::from_micros(250),
        },
    },
];

impl Attack {
    /// Its packets, and whether they are captured rather than crafted.
    pub(super) fn packets(&self, path: &Path) -> Result<(Vec<Packet>, bool)> {
        read_or_craft(path, self.which, &self.recipe)
    }

    pub(super) fn pace_text(&self) -> String {
        match self.pace {
            Pace::PerSecond(rate) => format!("over and over at {rate} packets a second"),
            Pace::Captured => "over and over at the capture's pace".to_owned(),
        }
    }
}
