//! The model: flows as lists of wire packets, every figure counted from the list.
//!
//! What `features.md` says, said once more: nothing here is taken from the record's
//! update but the names of its fields.

use detector_common::{
    packet::{protocol, tcp},
    periods::Periods,
    record::{Direction, FlowRecord, RareFlags, state},
};

use crate::{Sent, key};

/// One packet on the wire.
#[derive(Clone, Copy, Debug)]
struct Wire {
    /// µs since the flow's first.
    at_us: u64,
    forward: bool,
    payload: u64,
    bytes: u64,
    header_bytes: u8,
    window: u16,
    flags: u8,
}

/// One flow: who its forward side is, when it began, its packets.
struct Flow {
    forward_is_low: bool,
    first_us: u64,
    sent: Vec<Sent>,
}

const TIMEOUT_US: u64 = 120_000_000;
const IDLE_US: u64 = 5_000_000;

/// Cuts the packets of one key into flows.
fn flows(sent: &[Sent]) -> Vec<Flow> {
    let mut flows: Vec<Flow> = Vec::new();
    for next in sent {
        let begins_backward =
            next.packet.tcp_flags & tcp::SYN != 0 && next.packet.tcp_flags & tcp::ACK != 0;
        let its_side_is_low = next.from_low != begins_backward;
        let forward_is_low = match flows.last() {
            None => its_side_is_low,
            Some(flow) => {
                let closed = flow.closed();
                let timed_out = next.now_us.saturating_sub(flow.first_us) > TIMEOUT_US;
                let syn = next.packet.tcp_flags & tcp::SYN != 0;
                let is_over = timed_out || closed && syn;
                if !is_over {
                    flows.last_mut().unwrap().sent.push(*next);
                    continue;
                }
                if next.packet.protocol == protocol::TCP && !closed {
                    flow.forward_is_low
                } else {
                    its_side_is_low
                }
            }
        };
        flows.push(Flow {
            forward_is_low,
            first_us: next.now_us,
            sent: vec![*next],
        });
    }
    flows
}

impl Flow {
    /// The flow as it stood before its `n`th packet.
    fn until(&self, n: usize) -> Self {
        Self {
            sent: self.sent[..n].to_vec(),
            ..*self
        }
    }

    fn is_forward(&self, sent: &Sent) -> bool {
        sent.from_low == self.forward_is_low
    }

    /// RST, or FIN both ways and then (or with the second's sender's peer) a plain ACK.
    fn closed(&self) -> bool {
        let flags = |s: &Sent| s.packet.tcp_flags;
        let fin = |forward: bool| {
            let mut all = self.sent.iter();
            all.position(|s| self.is_forward(s) == forward && flags(s) & tcp::FIN != 0)
        };
        let acknowledged = match (fin(true), fin(false)) {
            (Some(a), Some(b)) => self.sent[a.max(b)..]
                .iter()
                .any(|s| flags(s) & (tcp::ACK | tcp::FIN) == tcp::ACK),
            _ => false,
        };
        acknowledged || self.sent.iter().any(|s| flags(s) & tcp::RST != 0)
    }

    /// The packets on the wire. Segmentation keeps FIN and PSH for the last segment,
    /// CWR for the first (Linux, `tcp_gso_segment`).
    fn wire(&self) -> Vec<Wire> {
        let mut wires = Vec::new();
        for sent in &self.sent {
            let p = &sent.packet;
            let headers = (p.wire_bytes - p.payload_bytes) / p.segments;
            let headers = u64::from(if p.segments > 1 {
                headers.max(34 + u32::from(p.header_bytes))
            } else {
                p.wire_bytes - p.payload_bytes
            });
            let mut left = u64::from(p.payload_bytes);
            for n in 1..=p.segments {
                let is_last = n == p.segments;
                let payload = if is_last {
                    left
                } else {
                    p.segment_bytes.into()
                };
                left -= payload;
                let mut flags = p.tcp_flags;
                if !is_last {
                    flags &= !(tcp::FIN | tcp::PSH);
                }
                if n > 1 {
                    flags &= !tcp::CWR;
                }
                wires.push(Wire {
                    at_us: sent.now_us.saturating_sub(self.first_us),
                    forward: self.is_forward(sent),
                    payload,
                    bytes: headers + payload,
                    header_bytes: p.header_bytes,
                    window: p.window,
                    flags,
                });
            }
        }
        wires
    }
}

/// Gaps between successive packets; a packet that is seen before its predecessor
/// has a gap of 0, and the next is measured from the latest.
fn gaps<'a>(wires: impl Iterator<Item = &'a Wire>) -> Vec<(u64, u64)> {
    let mut latest = None::<u64>;
    let mut gaps = Vec::new();
    for wire in wires {
        if let Some(from) = latest {
            gaps.push((from, wire.at_us.max(from)));
        }
        latest = Some(latest.map_or(wire.at_us, |l| l.max(wire.at_us)));
    }
    gaps
}

fn lengths(gaps: &[(u64, u64)]) -> impl Iterator<Item = u64> {
    gaps.iter().map(|(from, to)| to - from)
}

fn sum_of_squares(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.map(|n| n * n).sum()
}

fn least_gap(gaps: &[(u64, u64)]) -> u32 {
    lengths(gaps).min().map_or(u32::MAX, |gap| gap as u32)
}

fn direction(wires: &[Wire], forward: bool) -> Direction {
    let own: Vec<&Wire> = wires.iter().filter(|w| w.forward == forward).collect();
    if own.is_empty() {
        return Direction::default();
    }
    let gaps = gaps(own.iter().copied());
    let payloads = || own.iter().map(|w| w.payload);
    let with = |flag: u8| own.iter().filter(|w| w.flags & flag != 0).count() as u32;
    Direction {
        bytes: own.iter().map(|w| w.bytes).sum(),
        payload: payloads().sum(),
        payload_squares: sum_of_squares(payloads()),
        gap_squares: sum_of_squares(lengths(&gaps)),
        packets: own.len() as u32,
        last_us: own.iter().map(|w| w.at_us).max().unwrap() as u32,
        gap_min_us: least_gap(&gaps),
        gap_max_us: lengths(&gaps).max().unwrap_or(0) as u32,
        payload_min: payloads().min().unwrap().min(65_535) as u16,
        payload_max: payloads().max().unwrap().min(65_535) as u16,
        header_words: own.iter().map(|w| u32::from(w.header_bytes / 4)).sum(),
        acks: with(tcp::ACK),
        pushes: with(tcp::PSH),
    }
}

fn saturated(n: usize) -> u16 {
    n.min(65_535) as u16
}

fn rare(wires: &[Wire], forward: bool) -> RareFlags {
    let with = |flag: u8| {
        let own = wires.iter().filter(|w| w.forward == forward);
        saturated(own.filter(|w| w.flags & flag != 0).count())
    };
    RareFlags {
        fin: with(tcp::FIN),
        syn: with(tcp::SYN),
        rst: with(tcp::RST),
        urg: with(tcp::URG),
    }
}

fn state_bits(flow: &Flow, wires: &[Wire]) -> u32 {
    let has = |forward: bool| wires.iter().any(|w| w.forward == forward);
    let fin = |forward: bool| {
        wires
            .iter()
            .any(|w| w.forward == forward && w.flags & tcp::FIN != 0)
    };
    let began_backward = !wires[0].forward;
    // The first side's packet after an answer, but neither a SYN nor after the close.
    let sent = &flow.sent;
    let turned = (1..sent.len()).any(|n| {
        let before = || sent[..n].iter();
        flow.is_forward(&sent[n]) != began_backward
            && before().any(|s| flow.is_forward(s) == began_backward)
            && sent[n].packet.tcp_flags & tcp::SYN == 0
            && !flow.until(n).closed()
    });
    [
        (flow.forward_is_low, state::FORWARD_IS_LOW),
        (has(true), state::FORWARD_SEEN),
        (has(false), state::BACKWARD_SEEN),
        (turned, state::TURNED),
        (fin(true), state::FORWARD_FIN),
        (fin(false), state::BACKWARD_FIN),
        (flow.closed(), state::CLOSED),
        (began_backward, state::BEGAN_BACKWARD),
    ]
    .iter()
    .map(|(is, bit)| if *is { *bit } else { 0 })
    .sum()
}

/// Active and idle periods, and how many idle ones.
fn periods(gaps: &[(u64, u64)]) -> (Periods, u16) {
    let mut active_start = 0;
    let (mut active, mut idle) = (Vec::new(), Vec::new());
    for (from, to) in gaps {
        if to - from > IDLE_US {
            if *from > active_start {
                active.push(from - active_start);
            }
            idle.push(to - from);
            active_start = *to;
        }
    }
    let of = |list: &[u64]| {
        let total = list.iter().sum::<u64>() as u32;
        let least = list.iter().min().copied().unwrap_or(0) as u32;
        let most = list.iter().max().copied().unwrap_or(0) as u32;
        (total, least, most, sum_of_squares(list.iter().copied()))
    };
    let (active_total_us, active_min_us, active_max_us, active_squares) = of(&active);
    let (idle_total_us, idle_min_us, idle_max_us, idle_squares) = of(&idle);
    let periods = Periods {
        active_squares,
        idle_squares,
        active_total_us,
        active_min_us,
        active_max_us,
        active_count: active.len() as u32,
        idle_total_us,
        idle_min_us,
        idle_max_us,
        active_start_us: active_start as u32,
    };
    (periods, idle.len() as u16)
}

/// What every flow of the packets of one key must come to.
pub fn expected(sent: &[Sent]) -> Vec<(FlowRecord, Option<Periods>)> {
    flows(sent)
        .iter()
        .map(|flow| {
            let wires = flow.wire();
            let all = gaps(wires.iter());
            let (periods, idle_periods) = periods(&all);
            let ahead = || wires.iter().filter(|w| w.forward);
            let first_ahead = ahead().next();
            let other = wires.iter().find(|w| w.forward != wires[0].forward);
            let flagged =
                |flag: u8| saturated(wires.iter().filter(|w| w.flags & flag != 0).count());
            let record = FlowRecord {
                key: key(&flow.sent[0].packet).0,
                lock: 0,
                verdict_slot: 0,
                first_us: flow.first_us,
                last_us: wires.iter().map(|w| w.at_us).max().unwrap() as u32,
                state: state_bits(flow, &wires),
                gap_squares: sum_of_squares(lengths(&all)),
                gap_min_us: least_gap(&all),
                gap_max_us: lengths(&all).max().unwrap_or(0) as u32,
                cwr: flagged(tcp::CWR),
                ece: flagged(tcp::ECE),
                other_first_us: other.map_or(0, |w| w.at_us as u32),
                forward_data_packets: ahead().filter(|w| w.payload > 0).count() as u32,
                forward_window: first_ahead.map_or(0, |w| w.window),
                backward_window: wires
                    .iter()
                    .filter(|w| !w.forward)
                    .map(|w| w.window)
                    .next_back()
                    .unwrap_or(0),
                forward_header_min: ahead().map(|w| w.header_bytes).min().unwrap_or(0),
                reserved: 0,
                idle_periods,
                reserved_words: [0; 3],
                forward_flags: rare(&wires, true),
                backward_flags: rare(&wires, false),
                forward: direction(&wires, true),
                backward: direction(&wires, false),
            };
            (record, (idle_periods > 0).then_some(periods))
        })
        .collect()
}

/// Sample standard deviation of the gaps of the first flow, as floats over the list.
pub fn gap_deviation(sent: &[Sent]) -> f64 {
    let gaps: Vec<f64> = lengths(&gaps(flows(sent)[0].wire().iter()))
        .map(|gap| gap as f64)
        .collect();
    deviation(&gaps)
}

/// Sample standard deviation of the payloads of the first flow.
pub fn payload_deviation(sent: &[Sent]) -> f64 {
    let payloads: Vec<f64> = flows(sent)[0]
        .wire()
        .iter()
        .map(|wire| wire.payload as f64)
        .collect();
    deviation(&payloads)
}

fn deviation(numbers: &[f64]) -> f64 {
    let n = numbers.len() as f64;
    if n < 2.0 {
        return 0.0;
    }
    let mean = numbers.iter().sum::<f64>() / n;
    let squares: f64 = numbers.iter().map(|x| (x - mean).powi(2)).sum();
    (squares / (n - 1.0)).sqrt()
}
