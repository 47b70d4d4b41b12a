//! The engine on a host's memory: conservation, floods, verdicts, evasions, egress.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod build;
#[path = "engine/conservation.rs"]
mod conservation;
#[path = "engine/egress.rs"]
mod egress;
#[path = "engine/evasions.rs"]
mod evasions;
#[path = "engine/flood.rs"]
mod flood;
mod host;
#[path = "engine/limits.rs"]
mod limits;
#[path = "engine/never_block.rs"]
mod never_block;
#[path = "engine/order.rs"]
mod order;
#[path = "engine/returning.rs"]
mod returning;
#[path = "engine/signatures.rs"]
mod signatures;

use std::net::{IpAddr, Ipv4Addr};

use build::Transport;
use detector_common::{
    engine::Disposition,
    key::FlowKey,
    packet::{protocol, tcp},
    verdict::{Action, Verdict},
};
use host::Host;

/// The host that the detector runs on.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// Somebody.
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));

/// A verdict that does `action`.
fn verdict(action: Action) -> Verdict {
    Verdict {
        action,
        ..Verdict::FREE
    }
}

/// Whether a frame that arrives passes.
fn passes(host: &Host, frame: &[u8]) -> bool {
    host.ingress(frame) == Disposition::Pass
}

fn from_peer(transport: &Transport) -> Vec<u8> {
    build::frame(PEER, HERE, transport)
}

fn to_peer(transport: &Transport) -> Vec<u8> {
    build::frame(HERE, PEER, transport)
}

/// A TCP packet of `PEER`'s flow from port 40,000 to 443.
fn request(flags: u8) -> Vec<u8> {
    from_peer(&build::tcp((40_000, 443), flags, 0))
}

fn key_of(peer: IpAddr, ports: (u16, u16), number: u8, host: &Host) -> FlowKey {
    let (peer, here) = ((peer.into(), ports.0), (HERE.into(), ports.1));
    FlowKey::new(peer, here, number, host.zone.get()).0
}

fn request_key(host: &Host) -> FlowKey {
    key_of(PEER, (40_000, 443), protocol::TCP, host)
}

/// Makes `PEER`'s flow from port 40,000 to 443 an established one.
fn establish(host: &Host) {
    assert!(passes(host, &request(tcp::SYN)));
    let answer = build::tcp((443, 40_000), tcp::SYN | tcp::ACK, 0);
    host.egress(to_peer(&answer).as_slice(), Default::default());
    assert!(passes(host, &request(tcp::ACK)));
}

/// Random numbers that are the same in every run (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}
