//! A flow as it is shown: the record's numbers under the names that people use.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use detector_common::{
    packet::tcp,
    periods::Periods,
    record::{FlowRecord, state},
    transport::icmp_counterpart,
};

use super::{community_id, protocol};

/// One flow, live or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Its counters, normalized.
    pub record: FlowRecord,
    /// Its periods; there are none where the record counts no idle period.
    pub periods: Option<Periods>,
    /// Unix time of the record's time 0, µs: 0 for captures, the time of boot for live flows.
    pub epoch_us: u64,
    /// The capture that it began in.
    pub capture: Option<Arc<str>>,
}

/// How far a flow has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Only one side has spoken, and not much.
    New,
    /// The other side has spoken too.
    Answered,
    /// The side that began spoke again after an answer, or there were enough packets.
    Established,
    /// TCP is over: RST, or FIN both ways and its acknowledgement.
    Closed,
}

impl State {
    /// As it stands in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Answered => "answered",
            Self::Established => "established",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Flow {
    /// The flow of a record, at time 0 of `epoch_us`.
    #[must_use]
    pub fn new(record: &FlowRecord, periods: Option<&Periods>, epoch_us: u64) -> Self {
        Self {
            record: record.normalized(),
            periods: periods.copied(),
            epoch_us,
            capture: None,
        }
    }

    fn forward_is_low(&self) -> bool {
        self.record.state & state::FORWARD_IS_LOW != 0
    }

    /// Address of the side that began.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        self.endpoints().0.0
    }

    /// Address of the other side.
    #[must_use]
    pub fn destination(&self) -> IpAddr {
        self.endpoints().1.0
    }

    /// Both sides with the numbers that the key has in the place of ports; the side that began first.
    #[must_use]
    pub fn endpoints(&self) -> ((IpAddr, u16), (IpAddr, u16)) {
        let key = &self.record.key;
        let low = (key.low.to_ip(), key.low_port);
        let high = (key.high.to_ip(), key.high_port);
        if self.forward_is_low() {
            (low, high)
        } else {
            (high, low)
        }
    }

    /// Ports, of the side that began first; `None` where the protocol has none.
    #[must_use]
    pub fn ports(&self) -> Option<(u16, u16)> {
        let ((_, source), (_, destination)) = self.endpoints();
        protocol::has_ports(self.protocol()).then_some((source, destination))
    }

    /// ICMP type of the side that began, and the code where the flow is of one code: a request and its reply, whose
    /// types differ, are one flow whatever their code.
    #[must_use]
    pub fn icmp(&self) -> Option<(u8, Option<u8>)> {
        if !protocol::is_icmp(self.protocol()) {
            return None;
        }
        // Types and codes are of one byte each, by the parser.
        let ((_, kind), (_, other)) = self.endpoints();
        let (kind, other) = (kind as u8, other as u8);
        let answerable = icmp_counterpart(self.protocol(), kind).is_some();
        Some((kind, (!answerable).then_some(other)))
    }

    /// IP protocol number.
    #[must_use]
    pub fn protocol(&self) -> u8 {
        self.record.key.protocol()
    }

    /// First packet, µs since the Unix epoch.
    #[must_use]
    pub fn first_unix_us(&self) -> u64 {
        self.epoch_us.saturating_add(self.record.first_us)
    }

    /// Last packet, µs since the Unix epoch.
    #[must_use]
    pub fn last_unix_us(&self) -> u64 {
        self.first_unix_us()
            .saturating_add(self.record.last_us.into())
    }

    /// How far it has come.
    #[must_use]
    pub fn state(&self) -> State {
        let bits = self.record.state;
        let both = state::FORWARD_SEEN | state::BACKWARD_SEEN;
        if bits & state::CLOSED != 0 {
            State::Closed
        } else if self.record.is_established() {
            State::Established
        } else if bits & both == both {
            State::Answered
        } else {
            State::New
        }
    }

    /// TCP flags that any packet had.
    #[must_use]
    pub fn tcp_flags(&self) -> u8 {
        let r = &self.record;
        let (f, b) = (&r.forward_flags, &r.backward_flags);
        [
            (tcp::FIN, f.fin > 0 || b.fin > 0),
            (tcp::SYN, f.syn > 0 || b.syn > 0),
            (tcp::RST, f.rst > 0 || b.rst > 0),
            (tcp::PSH, r.forward.pushes > 0 || r.backward.pushes > 0),
            (tcp::ACK, r.forward.acks > 0 || r.backward.acks > 0),
            (tcp::URG, f.urg > 0 || b.urg > 0),
            (tcp::ECE, r.ece > 0),
            (tcp::CWR, r.cwr > 0),
        ]
        .iter()
        .filter(|(_, seen)| *seen)
        .fold(0, |flags, (flag, _)| flags | flag)
    }

    /// Packets of both directions.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.record.totals().0
    }

    /// Bytes of both directions, link headers included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.record.totals().1
    }

    /// Community ID, version 1.
    #[must_use]
    pub fn community_id(&self) -> String {
        let (source, destination) = self.endpoints();
        community_id::v1(source, destination, self.protocol())
    }
}

/// TCP flags as letters, in the order in which they are on the wire: `CEUAPRSF`.
#[must_use]
pub fn flag_letters(flags: u8) -> String {
    const LETTERS: [(u8, char); 8] = [
        (tcp::CWR, 'C'),
        (tcp::ECE, 'E'),
        (tcp::URG, 'U'),
        (tcp::ACK, 'A'),
        (tcp::PSH, 'P'),
        (tcp::RST, 'R'),
        (tcp::SYN, 'S'),
        (tcp::FIN, 'F'),
    ];
    LETTERS
        .iter()
        .filter(|(flag, _)| flags & flag != 0)
        .map(|(_, letter)| letter)
        .collect()
}
