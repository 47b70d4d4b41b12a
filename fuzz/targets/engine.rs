//! A stream of bytes drives the engine over a host's memory: frames that arrive and
//! leave, time, releases, verdicts, other CPUs. Nothing may be lost, and an address
//! that is to be dropped must not pass.
//!
//! `cargo +nightly fuzz run --fuzz-dir fuzz engine`
#![no_main]

#[path = "../../detector-common/tests/host/mod.rs"]
mod host;

use std::{cell::RefCell, net::IpAddr, rc::Rc};

use detector_common::{
    config::feature,
    engine::{Disposition, Segmentation},
    frame::Parser,
    key::Address,
    rate,
    signature::{Range, Signature},
    verdict::{Action, Service, Verdict},
};
use host::Host;
use libfuzzer_sys::fuzz_target;

/// The bytes that are left.
struct Stream<'a>(&'a [u8]);

impl<'a> Stream<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// An address of the few that frames have.
fn address(n: u8) -> IpAddr {
    IpAddr::from([10, 0, n >> 6, n & 7])
}

/// A frame between few addresses and ports, so that they meet again; every fourth is
/// made of the stream's own bytes.
fn frame(stream: &mut Stream) -> Option<Vec<u8>> {
    let kind = stream.byte()?;
    if kind & 3 == 0 {
        let length = stream.byte()?;
        return Some(stream.take(length.into()).to_vec());
    }
    let [a, b, ports, flags, length] = [
        stream.byte()?,
        stream.byte()?,
        stream.byte()?,
        stream.byte()?,
        stream.byte()?,
    ];
    let protocol = [6, 6, 17, 1, 132, 50, 6, 17][usize::from(kind >> 2 & 7)];
    let fragment = u16::from(kind >> 5 == 7) * (u16::from(flags) << 6);
    let body_bytes = u16::from(length) * 8;
    let mut bytes = vec![2; 12];
    if kind >> 5 == 6 {
        bytes.extend([0x81, 0, 0, 1]);
    }
    bytes.extend([8, 0, 0x45, 0]);
    bytes.extend((20 + body_bytes).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(fragment.to_be_bytes());
    bytes.extend([64, protocol, 0, 0]);
    for n in [a, b] {
        let IpAddr::V4(v4) = address(n) else {
            return None;
        };
        bytes.extend(v4.octets());
    }
    let mut body = vec![0; body_bytes.into()];
    let header = [
        0,
        ports & 7,
        0,
        ports >> 5,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0x50,
        flags,
        1,
        0,
    ];
    let copied = header.len().min(body.len());
    body[..copied].copy_from_slice(&header[..copied]);
    bytes.extend(body);
    Some(bytes)
}

fn verdict(stream: &mut Stream, host: &Host) -> Option<Verdict> {
    let [action, rate, expires] = [stream.byte()?, stream.byte()?, stream.byte()?];
    let mut verdict = Verdict {
        action: Action(action % 5),
        service_count: action >> 4,
        packet_cost: rate::cost(u64::from(rate & 15) * 100),
        byte_cost: rate::cost(u64::from(rate >> 4) * 1000),
        burst: rate::units(u64::from(expires) * 1_000_000),
        expires_jiffies: match expires & 3 {
            0 => host.jiffies.get() + u64::from(expires),
            _ => 0,
        },
        ..Verdict::FREE
    };
    verdict.services[0] = Service {
        port: (rate & 7).into(),
        protocol: 6,
        reserved: 0,
    };
    Some(verdict)
}

/// The slot of the one verdict that is never changed: it drops this address.
const DROPPED_SLOT: u32 = 127;
const DROPPED: [u8; 4] = [10, 0, 3, 7];

fn arrive(host: &Host, frame: &[u8]) {
    let parser = Parser::FULL;
    let to_be_dropped = parser
        .parse(frame)
        .is_ok_and(|packet| packet.source == Address::from_ipv4(DROPPED));
    let disposition = host.ingress(frame);
    if to_be_dropped {
        assert_eq!(disposition, Disposition::Drop);
    }
}

/// One thing that happens; `None` at the end of the stream.
fn step(stream: &mut Stream, host: &Host) -> Option<()> {
    match stream.byte()? {
        0..=127 => arrive(host, &frame(stream)?),
        128..=191 => {
            let [segments, segment_bytes] = [stream.byte()?, stream.byte()?];
            let cut = Segmentation {
                segments: segments.into(),
                segment_bytes: u32::from(segment_bytes) * 6,
            };
            host.egress(frame(stream)?.as_slice(), cut);
        }
        192..=207 => host.advance_us(1 << (stream.byte()? % 28)),
        208 => {
            let back_ns = u64::from(stream.byte()?) << 16;
            host.now_ns.set(host.now_ns.get() - back_ns);
        }
        209..=216 => host.jiffies.set(host.jiffies.get() + 1),
        217..=228 => host.release(u32::from(stream.byte()?) % host.slots()),
        229..=232 => {
            let [at, bits] = [stream.byte()?, stream.byte()?];
            // Never the address that must be dropped.
            if address(at) != IpAddr::from(DROPPED) {
                let bits = 32 - u32::from(bits % 2);
                if bits == 32 || address(at ^ 1) != IpAddr::from(DROPPED) {
                    host.never_block(address(at), bits);
                }
            }
        }
        233..=240 => {
            let [at, slot] = [stream.byte()?, stream.byte()?];
            let verdict = verdict(stream, host)?;
            let slot = u32::from(slot) % DROPPED_SLOT;
            if address(at) != IpAddr::from(DROPPED) {
                host.put_address(slot, address(at), verdict);
            }
        }
        241..=244 => {
            let [at, slot, bits] = [stream.byte()?, stream.byte()?, stream.byte()?];
            let verdict = verdict(stream, host)?;
            let slot = u32::from(slot) % DROPPED_SLOT;
            host.put_prefix(slot, address(at), u32::from(bits) % 33, verdict);
        }
        245..=248 => {
            let [way, slot] = [stream.byte()?, stream.byte()?];
            let verdict = verdict(stream, host)?;
            let key = host.record_at(u32::from(way) % host.slots()).key;
            host.put_flow(u32::from(slot) % DROPPED_SLOT, key, verdict);
        }
        249..=252 => {
            let [number, slot, fields] = [stream.byte()?, stream.byte()?, stream.byte()?];
            let verdict = verdict(stream, host)?;
            let signature = Signature {
                destination_ports: Range {
                    min: 0,
                    max: u16::from(fields & 7),
                },
                flags_mask: fields >> 3,
                flags: fields,
                spare_established: fields >> 7,
                spare_returning: number >> 7,
                ..Signature::ANY
            };
            let slot = u32::from(slot) % DROPPED_SLOT;
            host.put_signature(u32::from(number) % 64, slot, signature, verdict);
        }
        253 => {
            let off = feature::RATE_LIMITS | feature::SIGNATURES | feature::ENDED;
            host.features
                .set(feature::ALL & !(u32::from(stream.byte()?) << 7 & off));
        }
        254 => host.ended_max.set(stream.byte()?.into()),
        255 => host.bucket_failures.set((stream.byte()? % 8).into()),
    }
    Some(())
}

fuzz_target!(|data: &[u8]| {
    let Some((options, rest)) = data.split_first() else {
        return;
    };
    let host = Host::new(8 << (options & 3));
    let drop = Verdict {
        action: Action::DROP,
        ..Verdict::FREE
    };
    host.put_address(DROPPED_SLOT, DROPPED.into(), drop);
    // The other CPUs do what the second half of the stream says, one thing at every so
    // many points.
    let (own, others) = rest.split_at(rest.len() / if options & 4 == 0 { 1 } else { 2 });
    let others = others.to_vec();
    let every = u64::from(options >> 3) + 1;
    let state = RefCell::new((0u64, 0usize));
    *host.interrupt.borrow_mut() = Some(Rc::new(move |host: &Host| {
        let from = {
            let mut state = state.borrow_mut();
            state.0 += 1;
            if state.0 % every != 0 || state.1 >= others.len() {
                return;
            }
            // Taken before it is used: what it does may be interrupted in turn.
            let from = state.1;
            state.1 += 8;
            from
        };
        let _ = step(&mut Stream(&others[from..]), host);
    }));
    let mut stream = Stream(own);
    while step(&mut stream, &host).is_some() {
        if let Err(e) = host.check() {
            panic!("{e}");
        }
    }
    assert_eq!(host.check(), Ok(()));
});
