//! Who talks to whom in the tests of verdicts.

use detector_common::{
    counters::Fate,
    signature::{Range, Signature},
    verdict::Action,
};
use detector_user::{enforce::target::Target, wire::load::Settings};

use super::{
    frames::*,
    plane::{DROP, Runner, ZONE, key, prefix},
};

pub const DENIALS: [Action; 3] = [Action::RATE_LIMIT, Action::QUARANTINE, Action::DROP];

/// Who misbehaves, who does not, and whom they talk to.
pub struct Cast {
    pub bad: End,
    pub good: End,
    pub server: End,
    pub prefix: &'static str,
}

pub fn casts() -> [Cast; 2] {
    [
        Cast {
            bad: v4([10, 0, 0, 1], 1000),
            good: v4([10, 0, 1, 1], 1000),
            server: v4([10, 9, 0, 1], 80),
            prefix: "10.0.0.0/24",
        },
        Cast {
            bad: v6(1, 1000),
            good: v6(0x101, 1000),
            server: v6(0x900, 80),
            prefix: "fd00::/120",
        },
    ]
}

impl Cast {
    /// A target of each kind that takes what the bad one sends to the server.
    pub fn targets(&self) -> [(Target, Fate); 4] {
        let signature = Signature {
            destination_ports: Range { min: 80, max: 80 },
            any_protocol: 0,
            protocol: UDP,
            source_ports: Range {
                min: 1000,
                max: 1000,
            },
            spare_established: 0,
            ..Signature::ANY
        };
        [
            (Target::Address(self.bad.0), Fate::DroppedAddress),
            (Target::Prefix(prefix(self.prefix)), Fate::DroppedPrefix),
            (
                Target::Flow(key(self.bad, self.server, UDP, ZONE)),
                Fate::DroppedFlow,
            ),
            (Target::Signature(signature), Fate::DroppedSignature),
        ]
    }

    pub fn bad_frame(&self) -> Vec<u8> {
        udp_frame(self.bad, self.server, &[1; 100])
    }

    /// What none of the targets takes: another source, another port.
    pub fn good_frame(&self) -> Vec<u8> {
        udp_frame(self.good, (self.server.0, 81), &[1; 100])
    }
}

pub fn settings(verdict_slots: u32) -> Settings {
    Settings {
        flow_slots: 1024,
        verdict_slots,
        ..Settings::default()
    }
}

/// How many of `times` runs of a frame are dropped.
pub fn dropped(runner: &Runner, frame: &[u8], times: u32) -> u32 {
    (0..times).filter(|_| runner.run(frame) == DROP).count() as u32
}
