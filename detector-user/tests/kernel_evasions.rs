//! Evasions: whatever this host's own stack takes for a datagram of the sender, in
//! whatever disguise, is dropped by a verdict on it. Real frames over a veth pair, a real
//! socket behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

mod lab;

use std::{net::UdpSocket, time::Duration};

use detector_common::{
    signature::{Range, Signature},
    verdict::Action,
};
use detector_user::{
    enforce::{target::Target, writer::Order},
    wire::attach::Mode,
};
use lab::{
    Lab,
    frames::*,
    plane::{self, Plane, key, order, service},
    raw::Raw,
    space::{Space, veth},
};

const PAYLOAD: usize = 64;

/// Extension headers, each a number and a body.
type Chain = Vec<(u8, Vec<u8>)>;

/// A disguise: its name, and the frames that one datagram with this number makes.
struct Disguise {
    name: String,
    frames: Box<dyn Fn(u16) -> Vec<Vec<u8>>>,
}

fn disguise(name: impl Into<String>, frames: impl Fn(u16) -> Vec<Vec<u8>> + 'static) -> Disguise {
    Disguise {
        name: name.into(),
        frames: Box::new(frames),
    }
}

fn body(number: u16) -> Vec<u8> {
    let mut body = vec![0x5a; PAYLOAD];
    body[..2].copy_from_slice(&number.to_be_bytes());
    body
}

/// Tags that a stack without VLAN interfaces strips: priority alone, VLAN 0.
fn priority_tags(n: usize, kind: u16) -> Vec<(u16, u16)> {
    vec![(kind, 0x2000); n]
}

fn disguises(from: End, to: End) -> Vec<Disguise> {
    let mut all = vec![disguise("none", move |n| {
        vec![udp_frame(from, to, &body(n))]
    })];
    for count in [1, 2] {
        for kind in [0x8100, 0x88a8] {
            all.push(disguise(format!("{count} tags {kind:#x}"), move |n| {
                vec![tagged(
                    &priority_tags(count, kind),
                    &ip(from, to, UDP, &udp(from, to, &body(n))),
                )]
            }));
        }
    }
    all.push(disguise("bytes behind the packet", move |n| {
        let mut frame = udp_frame(from, to, &body(n));
        frame.extend([0xee; 100]);
        vec![frame]
    }));
    let datagram = move |n| udp(from, to, &body(n));
    if from.0.is_ipv4() {
        for bytes in [4, 20, 40] {
            all.push(disguise(format!("{bytes} bytes of options"), move |n| {
                let head = V4 {
                    options: &vec![1; bytes],
                    ..V4::default()
                };
                vec![frame(&ipv4(from, to, UDP, &head, &datagram(n)))]
            }));
        }
        let cuts: [&'static [usize]; 4] = [&[8], &[40], &[8, 16, 24], &[64]];
        for cuts in cuts {
            all.push(disguise(format!("fragments cut at {cuts:?}"), move |n| {
                fragments(from, to, UDP, n, cuts, &datagram(n))
            }));
            all.push(disguise(
                format!("fragments cut at {cuts:?}, last first"),
                move |n| {
                    let mut frames = fragments(from, to, UDP, n, cuts, &datagram(n));
                    frames.reverse();
                    frames
                },
            ));
        }
        all.push(disguise("no checksum", move |n| {
            let mut datagram = datagram(n);
            datagram[6..8].fill(0);
            vec![frame(&ip(from, to, UDP, &datagram))]
        }));
    } else {
        let chains: Vec<(&str, Chain)> = vec![
            ("hop-by-hop", vec![padding_header(0, 8)]),
            ("destination options", vec![padding_header(60, 8)]),
            (
                "destination options of 256 bytes",
                vec![padding_header(60, 256)],
            ),
            (
                "hop-by-hop and destination options",
                vec![padding_header(0, 16), padding_header(60, 24)],
            ),
            ("a used-up routing header", vec![(43, vec![0; 8])]),
            ("atomic fragment", vec![(44, vec![0; 8])]),
            ("8 headers", vec![padding_header(60, 8); 8]),
        ];
        for (name, chain) in chains {
            all.push(disguise(name, move |n| {
                vec![frame(&ipv6(from, to, &chain, UDP, &datagram(n)))]
            }));
        }
        for cuts in [&[8][..], &[40], &[8, 16, 24]] {
            all.push(disguise(format!("fragments cut at {cuts:?}"), move |n| {
                fragments_v6((from, to), &[], UDP, n, cuts, &datagram(n))
            }));
            all.push(disguise(
                format!("fragments cut at {cuts:?}, last first, behind options"),
                move |n| {
                    let mut frames = fragments_v6(
                        (from, to),
                        &[padding_header(60, 8)],
                        UDP,
                        n,
                        cuts,
                        &datagram(n),
                    );
                    frames.reverse();
                    frames
                },
            ));
        }
    }
    all
}

/// Disguises beyond the parser's stated bounds.
fn beyond(from: End, to: End) -> Vec<Disguise> {
    let mut all = Vec::new();
    for count in [3, 4, 8] {
        all.push(disguise(format!("{count} tags"), move |n| {
            vec![tagged(
                &priority_tags(count, 0x8100),
                &ip(from, to, UDP, &udp(from, to, &body(n))),
            )]
        }));
    }
    if from.0.is_ipv6() {
        for count in [9, 16] {
            all.push(disguise(format!("{count} headers"), move |n| {
                let chain = vec![padding_header(60, 8); count];
                vec![frame(&ipv6(
                    from,
                    to,
                    &chain,
                    UDP,
                    &udp(from, to, &body(n)),
                ))]
            }));
        }
    }
    all
}

/// The sender's side, and the receiver's with two sockets: one that is attacked, and one
/// on which a datagram from elsewhere says that all before it has come through.
struct Wire {
    raw: Raw,
    socket: UdpSocket,
    witness: UdpSocket,
    number: u16,
    _pinned: lab::Pinned,
}

impl Wire {
    fn new(a: &Space, b: &Space) -> Self {
        let socket = b.within(|| UdpSocket::bind("[::]:80")).unwrap();
        let witness = b.within(|| UdpSocket::bind("[::]:81")).unwrap();
        socket.set_nonblocking(true).unwrap();
        witness
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        // One CPU and so one queue: nothing overtakes.
        let pinned = lab::pin(0);
        Self {
            raw: a.within(|| Raw::sender("va")),
            socket,
            witness,
            number: 0,
            _pinned: pinned,
        }
    }

    /// Whether a datagram in this disguise reaches the socket.
    fn reaches(&mut self, disguise: &Disguise) -> bool {
        self.number += 1;
        for frame in (disguise.frames)(self.number) {
            self.raw.send(&frame);
        }
        let mine = |buffer: &[u8]| buffer[..2] == self.number.to_be_bytes();
        let (from, to) = (v4([10, 0, 1, 1], 7), v4([10, 0, 9, 1], 81));
        self.raw.send(&udp_frame(from, to, &body(self.number)));
        let mut buffer = [0; PAYLOAD];
        loop {
            self.witness
                .recv(&mut buffer)
                .expect("the datagram that shows that the rest is through");
            if mine(&buffer) {
                break;
            }
        }
        let mut reached = false;
        while self.socket.recv(&mut buffer).is_ok() {
            reached |= mine(&buffer);
        }
        reached
    }
}

fn orders(from: End, to: End, zone: u32) -> Vec<(&'static str, Order)> {
    let prefix = if from.0.is_ipv4() {
        "10.0.0.0/24"
    } else {
        "fd00::/120"
    };
    let signature = Signature {
        destination_ports: Range {
            min: to.1,
            max: to.1,
        },
        any_protocol: 0,
        protocol: UDP,
        spare_established: 0,
        ..Signature::ANY
    };
    let mut quarantine = order(Target::Address(from.0), Action::QUARANTINE);
    quarantine.services = vec![service(TCP, to.1), service(UDP, 53)];
    vec![
        ("address", order(Target::Address(from.0), Action::DROP)),
        ("quarantine", quarantine),
        (
            "prefix",
            order(Target::Prefix(plane::prefix(prefix)), Action::DROP),
        ),
        (
            "flow",
            order(Target::Flow(key(from, to, UDP, zone)), Action::DROP),
        ),
        (
            "signature",
            order(Target::Signature(signature), Action::DROP),
        ),
    ]
}

/// The receiver's namespace: addresses, no neighbour discovery that would delay anything.
fn receiver(space: &Space) {
    space.set("ipv6/conf/all/disable_ipv6", "0");
    for (name, value) in [
        ("disable_ipv6", "0"),
        ("accept_dad", "0"),
        ("accept_ra", "0"),
    ] {
        space.set(format!("ipv6/conf/vb/{name}"), value);
    }
    space.set("ipv4/conf/all/rp_filter", "0");
    space.set("ipv4/conf/vb/rp_filter", "0");
    space.run("ip address add 10.0.9.1/16 dev vb");
    space.run("ip address add fd00::901/64 dev vb nodad");
    for near in ["10.0.0.1", "fd00::1"] {
        space.run(&format!(
            "ip neigh replace {near} lladdr 02:00:00:00:00:0a dev vb"
        ));
    }
}

/// Each disguise against each kind of verdict; those that got through. Without a verdict
/// each must get through.
fn open(disguises: fn(End, End) -> Vec<Disguise>) -> Option<Vec<String>> {
    let lab = Lab::new(&[])?;
    let (a, b) = (Space::new(), Space::new());
    veth((&a, "va"), (&b, "vb"));
    receiver(&b);
    let pins = lab.pins();
    let mut open = Vec::new();
    for mode in [Mode::Native, Mode::Generic] {
        let attached = plane::attach_in(&b, &pins, "vb", &plane::request_in(mode, 4096, 64));
        let zone = attached.interface.index;
        let mut plane = Plane::open(&pins);
        let mut wire = Wire::new(&a, &b);
        let (mut tried, mut accounts) = (0, 0);
        for (from, to) in [
            (v4([10, 0, 0, 1], 1000), v4([10, 0, 9, 1], 80)),
            (v6(1, 1000), v6(0x901, 80)),
        ] {
            for disguise in disguises(from, to) {
                let what = format!("{mode:?}, {}, {}", from.0, disguise.name);
                assert!(
                    wire.reaches(&disguise),
                    "{what}: does not arrive without a verdict"
                );
                for (kind, order) in orders(from, to, zone) {
                    plane.writer().add(&order).unwrap();
                    if wire.reaches(&disguise) {
                        open.push(format!("{what}: {kind}"));
                    }
                    plane.writer().clear().unwrap();
                    tried += 1;
                }
                accounts += u32::from(plane.account().difference() != (0, 0));
            }
        }
        println!("{mode:?}: {tried} tried");
        assert_eq!(accounts, 0, "packets unaccounted for");
        detector_user::wire::attach::detach_all(&pins).unwrap();
    }
    Some(open)
}

#[test]
fn no_disguise_gets_a_datagram_past_a_verdict() {
    if let Some(open) = open(disguises) {
        assert_eq!(open, Vec::<String>::new());
    }
}

#[test]
#[ignore = "open: the parser looks behind two tags and eight extension headers, Linux behind any number"]
fn no_disguise_beyond_the_bounds_gets_past_a_verdict() {
    if let Some(open) = open(beyond) {
        assert_eq!(open, Vec::<String>::new());
    }
}

/// Whether something answers a SYN that comes in these frames.
fn answers(raw: &Raw, listener: &Raw, from: End, frames: &[Vec<u8>]) -> bool {
    for frame in frames {
        raw.send(frame);
    }
    let end = std::time::Instant::now() + Duration::from_millis(300);
    while std::time::Instant::now() < end {
        let Some(frame) = listener.receive(Duration::from_millis(50)) else {
            continue;
        };
        // IPv4 without options, TCP, SYN and ACK, to the port that asked.
        if frame.len() >= 54
            && frame[23] == TCP
            && frame[47] == SYN | ACK
            && frame[36..38] == from.1.to_be_bytes()
        {
            return true;
        }
    }
    false
}

#[test]
#[ignore = "open: a first fragment of eight bytes has no flags to be matched"]
fn a_tiny_fragment_hides_no_flags_from_a_signature() {
    let Some(lab) = Lab::new(&[]) else { return };
    let (a, b) = (Space::new(), Space::new());
    veth((&a, "va"), (&b, "vb"));
    receiver(&b);
    let pins = lab.pins();
    plane::attach_in(&b, &pins, "vb", &plane::request_in(Mode::Native, 4096, 64));
    let mut plane = Plane::open(&pins);
    let _server = b
        .within(|| std::net::TcpListener::bind("10.0.9.1:80"))
        .unwrap();
    let (raw, listener) = a.within(|| (Raw::sender("va"), Raw::listener("va")));
    let to = v4([10, 0, 9, 1], 80);
    let syn = Signature {
        destination_ports: Range { min: 80, max: 80 },
        protocol: TCP,
        any_protocol: 0,
        flags_mask: SYN | ACK,
        flags: SYN,
        ..Signature::ANY
    };
    let mut port = 2000;
    let mut ask = |cuts: Option<&[usize]>| {
        port += 1;
        let from = v4([10, 0, 0, 1], port);
        let segment = tcp(from, to, SYN, &[2, 4, 5, 0xb4], &[]);
        let frames = match cuts {
            Some(cuts) => fragments(from, to, TCP, port, cuts, &segment),
            None => vec![frame(&ip(from, to, TCP, &segment))],
        };
        answers(&raw, &listener, from, &frames)
    };
    assert!(ask(None) && ask(Some(&[8])), "unanswered without a verdict");
    plane
        .writer()
        .add(&order(Target::Signature(syn), Action::DROP))
        .unwrap();
    assert!(!ask(None), "whole");
    assert!(
        !ask(Some(&[8])),
        "in fragments of which the first has no flags"
    );
    assert!(
        !ask(Some(&[16])),
        "in fragments of which the first has the flags and no whole header"
    );
}
