//! From a sample of a flood's flows to signatures that tell it from other traffic.

use std::collections::HashMap;

use detector_common::{
    key::Address,
    packet::{protocol, tcp},
    record::{Direction, FlowRecord, RareFlags, state},
    signature::{Range, Signature},
};

use super::family::Family;
use crate::{
    enforce::target::Prefix,
    features::{extractor::Due, ports::PortClass},
};

/// A value that this share of the sample has is part of the signature.
const COMMON_SHARE: f32 = 0.9;
/// A source port that this share has makes a signature of its own: reflectors answer from one port.
const PORT_SHARE: f32 = 0.25;
/// What is left of a sample is no flood of its own below this many flows.
const FLOWS_MIN: usize = 12;

/// A flow of the sample, as its sender sent it.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    source: Address,
    source_port: u16,
    port: u16,
    protocol: u8,
    flags: Flags,
    payload: (u16, u16),
    payload_mean: f32,
}

/// What TCP flags a flow's packets have in common: which are looked at, and what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Flags {
    mask: u8,
    value: u8,
}

impl Sample {
    /// Of a flow.
    #[must_use]
    pub fn of(due: &Due) -> Self {
        let record = &due.record;
        let (counters, flags) = sent(record);
        Self {
            source: due.ends.source,
            source_port: due.ends.source_port,
            port: due.ends.port,
            protocol: due.ends.protocol,
            flags: common_flags(due.ends.protocol, counters, flags),
            payload: (counters.payload_min, counters.payload_max),
            payload_mean: counters.payload as f32 / counters.packets.max(1) as f32,
        }
    }

    /// Who sent it.
    #[must_use]
    pub fn end(&self) -> super::alert::End {
        (self.source.to_ip(), self.source_port)
    }

    /// To which port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// IP protocol.
    #[must_use]
    pub fn protocol(&self) -> u8 {
        self.protocol
    }

    fn is_from_amplifier(&self) -> bool {
        PortClass::of(self.protocol, self.source_port) == PortClass::Amplifier
    }
}

/// What the side sent that sent the first packet.
fn sent(record: &FlowRecord) -> (&Direction, &RareFlags) {
    if record.state & state::BEGAN_BACKWARD != 0 {
        (&record.backward, &record.backward_flags)
    } else {
        (&record.forward, &record.forward_flags)
    }
}

fn common_flags(number: u8, counters: &Direction, rare: &RareFlags) -> Flags {
    const KINDS: u8 = tcp::FIN | tcp::SYN | tcp::RST | tcp::ACK;
    if number != protocol::TCP {
        return Flags { mask: 0, value: 0 };
    }
    let all = |count: u32| u64::from(count) >= u64::from(counters.packets);
    let mut value = 0;
    for (flag, count) in [
        (tcp::SYN, u32::from(rare.syn)),
        (tcp::RST, u32::from(rare.rst)),
        (tcp::FIN, u32::from(rare.fin)),
        (tcp::ACK, counters.acks),
    ] {
        if all(count) {
            value |= flag;
        }
    }
    Flags { mask: KINDS, value }
}

/// Signatures that take most of the sample, at most `max`, each with the share of the sample that it takes.
#[must_use]
pub fn synthesise(destination: &Address, sample: &[Sample], max: usize) -> Vec<Signature> {
    let mut left: Vec<Sample> = sample.to_vec();
    let mut signatures = Vec::new();
    while signatures.len() < max && left.len() >= FLOWS_MIN.min(sample.len().max(1)) {
        let group = largest_group(&left);
        if group.len() < FLOWS_MIN {
            break;
        }
        let signature = describe(destination, &group);
        let before = left.len();
        left.retain(|one| !takes(&signature, one));
        if left.len() == before {
            break;
        }
        signatures.push(signature);
    }
    signatures
}

/// The flow that an alert shows for the sample: one of an amplifying service where that is the attack and there is one, else
/// one of the most frequent kind.
#[must_use]
pub fn typical(sample: &[Sample], attack: Family) -> Option<&Sample> {
    let amplifies = |one: &&Sample| attack == Family::Amplification && one.is_from_amplifier();
    sample.iter().find(amplifies).or_else(|| {
        let (kind, _) = mode(sample.iter().map(|one| (one.protocol, one.flags)))?;
        sample.iter().find(|one| (one.protocol, one.flags) == kind)
    })
}

/// The most frequent of the values, the greatest of them where several are, and how often it is there.
fn mode<T: Copy + Ord + std::hash::Hash>(values: impl Iterator<Item = T>) -> Option<(T, usize)> {
    let mut counts: HashMap<T, usize> = HashMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    counts
        .into_iter()
        .max_by_key(|(value, count)| (*count, *value))
}

/// Flows of one protocol and kind of flags, and of one source port if many have it.
fn largest_group(left: &[Sample]) -> Vec<Sample> {
    let Some(((number, flags), _)) = mode(left.iter().map(|one| (one.protocol, one.flags))) else {
        return Vec::new();
    };
    let of_kind = |one: &&Sample| one.protocol == number && one.flags == flags;
    let mut group: Vec<Sample> = left.iter().filter(of_kind).copied().collect();
    if let Some((port, count)) = mode(group.iter().map(|one| one.source_port))
        && count as f32 >= PORT_SHARE * group.len() as f32
        && count >= FLOWS_MIN
    {
        group.retain(|one| one.source_port == port);
    }
    group
}

fn describe(destination: &Address, group: &[Sample]) -> Signature {
    let prefix = Prefix::host(destination.to_ip());
    let common = |value: Option<(u16, usize)>| match value {
        Some((port, count)) if count as f32 >= COMMON_SHARE * group.len() as f32 => Range {
            min: port,
            max: port,
        },
        _ => Range::ANY,
    };
    let first = group[0];
    let least = group.iter().map(|one| one.payload.0).min().unwrap_or(0);
    let most = group
        .iter()
        .map(|one| one.payload.1)
        .max()
        .unwrap_or(u16::MAX);
    // The sample need not have the extremes.
    let slack = if least == most {
        0
    } else {
        (most - least) / 8 + 16
    };
    Signature {
        destination: prefix.address(),
        destination_mask: prefix.mask(),
        source_ports: common(mode(group.iter().map(|one| one.source_port))),
        destination_ports: common(mode(group.iter().map(|one| one.port))),
        payload: Range {
            min: least.saturating_sub(slack),
            max: most.saturating_add(slack),
        },
        protocol: first.protocol,
        any_protocol: 0,
        flags_mask: first.flags.mask,
        flags: first.flags.value,
        spare_established: 1,
        // A client that means it sends its SYN again; a flood from made-up sources does not.
        spare_returning: u8::from(first.flags.value & (tcp::SYN | tcp::ACK) == tcp::SYN),
        ..Signature::ANY
    }
}

/// Whether a signature takes a flow's packets.
#[must_use]
pub fn takes(signature: &Signature, one: &Sample) -> bool {
    signature.protocol == one.protocol
        && signature.flags_mask == one.flags.mask
        && signature.flags == one.flags.value
        && signature.source_ports.contains(one.source_port)
        && signature.destination_ports.contains(one.port)
        && signature.payload.min <= one.payload.0
        && one.payload.1 <= signature.payload.max
}

/// Which kind of flood a sample is of. Reflectors answer what they were not asked: from the port of a service that
/// amplifies, from one port of many hosts, or with SYN and ACK.
#[must_use]
pub fn family(sample: &[Sample]) -> Family {
    let share = |test: &dyn Fn(&Sample) -> bool| {
        sample.iter().filter(|one| test(one)).count() as f32 / sample.len().max(1) as f32
    };
    let syn_ack = tcp::SYN | tcp::ACK;
    if share(&|one| one.protocol == protocol::TCP && one.flags.value & syn_ack == syn_ack) > 0.5 {
        return Family::Amplification;
    }
    let udp = |one: &Sample| one.protocol == protocol::UDP;
    let from_amplifier = share(&Sample::is_from_amplifier);
    let from_one_port = mode(
        sample
            .iter()
            .filter(|one| udp(one))
            .map(|one| one.source_port),
    )
    .map_or(0.0, |(_, count)| count as f32 / sample.len() as f32);
    let payload =
        sample.iter().map(|one| one.payload_mean).sum::<f32>() / sample.len().max(1) as f32;
    if from_amplifier > 0.3 || from_one_port > 0.6 && payload > 64.0 {
        Family::Amplification
    } else {
        Family::Flood
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VICTIM: [u8; 4] = [192, 0, 2, 1];

    fn sample(n: u32, change: impl Fn(&mut Sample, u32)) -> Vec<Sample> {
        let one = |n: u32| {
            let mut one = Sample {
                source: Address::from_ipv4((0x0a00_0000 + n).to_be_bytes()),
                source_port: 1_024 + (n * 7_919 % 60_000) as u16,
                port: 80,
                protocol: protocol::TCP,
                flags: Flags {
                    mask: 0x17,
                    value: tcp::SYN,
                },
                payload: (0, 0),
                payload_mean: 0.0,
            };
            change(&mut one, n);
            one
        };
        (0..n).map(one).collect()
    }

    fn synthesised(sample: &[Sample]) -> Vec<Signature> {
        let signatures = synthesise(&Address::from_ipv4(VICTIM), sample, 4);
        let taken = sample
            .iter()
            .filter(|one| signatures.iter().any(|signature| takes(signature, one)))
            .count();
        assert!(
            taken * 20 >= sample.len() * 19,
            "{taken} of {}",
            sample.len()
        );
        signatures
    }

    #[test]
    fn a_syn_flood_on_one_port() {
        let flood = sample(200, |_, _| {});
        let signatures = synthesised(&flood);
        assert_eq!(signatures.len(), 1);
        let one = &signatures[0];
        assert_eq!(
            (one.destination_ports.min, one.destination_ports.max),
            (80, 80)
        );
        assert_eq!(one.source_ports, Range::ANY);
        assert_eq!((one.flags_mask, one.flags), (0x17, tcp::SYN));
        assert_eq!((one.payload.min, one.payload.max), (0, 0));
        assert_eq!(one.spare_established, 1);
        assert_eq!(family(&flood), Family::Flood);
    }

    #[test]
    fn answers_of_reflectors_are_told_by_their_port_and_the_fragments_by_their_lack_of_one() {
        let answers = sample(300, |one, n| {
            one.protocol = protocol::UDP;
            one.flags = Flags { mask: 0, value: 0 };
            (one.source_port, one.port) = if n % 3 == 0 {
                (0, 0)
            } else {
                (53, 40_000 + n as u16)
            };
            one.payload = (1_200, 1_400);
            one.payload_mean = 1_300.0;
        });
        let signatures = synthesised(&answers);
        assert_eq!(signatures.len(), 2);
        let mut ports: Vec<u16> = signatures.iter().map(|s| s.source_ports.min).collect();
        ports.sort_unstable();
        assert_eq!(ports, [0, 53]);
        assert!(signatures.iter().all(|s| s.payload.min > 1_000));
        assert_eq!(family(&answers), Family::Amplification);
    }

    #[test]
    fn syn_with_ack_is_reflected() {
        let answers = sample(50, |one, _| one.flags.value = tcp::SYN | tcp::ACK);
        assert_eq!(family(&answers), Family::Amplification);
        assert_eq!(synthesised(&answers)[0].flags, tcp::SYN | tcp::ACK);
    }

    #[test]
    fn a_flood_of_two_kinds_has_two_signatures() {
        let flood = sample(200, |one, n| {
            if n % 2 == 0 {
                one.protocol = protocol::UDP;
                one.flags = Flags { mask: 0, value: 0 };
                one.port = n as u16;
                one.payload = (512, 512);
            }
        });
        let signatures = synthesised(&flood);
        assert_eq!(signatures.len(), 2);
    }

    #[test]
    fn a_few_flows_make_no_signature() {
        assert!(synthesise(&Address::from_ipv4(VICTIM), &sample(5, |_, _| {}), 4).is_empty());
        assert!(synthesise(&Address::from_ipv4(VICTIM), &[], 4).is_empty());
    }
}
