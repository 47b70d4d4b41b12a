//! Draining the native table as the agent drains the kernel's: at ticks, in the captures' own time.

use detector_common::{
    key::FlowKey,
    packet::{Packet, protocol},
    periods::Periods,
    record::{FlowRecord, is_answered, micros},
};

use crate::flow::Table;

/// Between two ticks, µs, unless told otherwise.
pub const TICK_US: u64 = 100_000;
/// In a pause longer than this there is a tick each [`PAUSE_TICK_US`] only, µs.
const PAUSE_US: u64 = 2_000_000;
const PAUSE_TICK_US: u64 = 1_000_000;
/// After a pause of this length nothing is left to be done, µs.
const PAUSE_MAX_US: u64 = 600_000_000;

/// What is done at ticks: live and in replay.
pub trait Stages {
    /// A flow that has changed since the last tick.
    fn flow(&mut self, way: u32, record: &FlowRecord, periods: Option<&Periods>, now_us: u64);
    /// All changes were told: the tick itself.
    fn tick(&mut self, now_us: u64);
}

/// The native flow table, with ticks.
pub struct NativeDrain {
    table: Table,
    next_us: Option<u64>,
    now_us: u64,
}

impl NativeDrain {
    /// A table of at most `flows_max` flows.
    #[must_use]
    pub fn new(flows_max: u32) -> Self {
        Self {
            table: Table::that_tells_changes(flows_max),
            next_us: None,
            now_us: 0,
        }
    }

    /// Runs the ticks that come before a frame of this time.
    pub fn until(&mut self, time_ns: u64, stages: &mut impl Stages) {
        // A clock that steps back is held.
        let time_us = micros(time_ns).max(self.now_us);
        self.now_us = time_us;
        let next_us = self.next_us.unwrap_or(time_us + TICK_US);
        if time_us < next_us {
            self.next_us = Some(next_us);
            return;
        }
        self.tick(next_us, stages);
        let mut last_us = next_us;
        let stop_us = time_us.min(next_us + PAUSE_MAX_US);
        loop {
            let step_us = if stop_us - last_us > PAUSE_US {
                PAUSE_TICK_US
            } else {
                TICK_US
            };
            if last_us + step_us > stop_us {
                break;
            }
            last_us += step_us;
            self.tick(last_us, stages);
        }
        self.next_us = Some(last_us.max(time_us.saturating_sub(TICK_US)) + TICK_US);
    }

    /// Counts a frame, after [`Self::until`] of its time.
    pub fn count(&mut self, time_ns: u64, frame: &[u8]) {
        self.table.count(time_ns, frame, &mut |_, _| {});
    }

    fn tick(&mut self, now_us: u64, stages: &mut impl Stages) {
        self.table
            .take_changed(&mut |_, _| {}, |way, record, periods| {
                stages.flow(way, record, periods, now_us);
            });
        stages.tick(now_us);
    }

    /// The last tick: what came after the one before it.
    pub fn finish(&mut self, stages: &mut impl Stages) {
        let now_us = self.next_us.unwrap_or(self.now_us).max(self.now_us);
        self.tick(now_us, stages);
        self.table.hand_out(&mut |_, _| {});
        self.next_us = None;
        self.now_us = 0;
    }

    /// Whether signatures that spare established flows spare a packet of this one, as in the kernel's engine.
    #[must_use]
    pub fn is_spared(&self, key: &FlowKey, from_low: bool, packet: &Packet) -> bool {
        self.table.find(key).is_some_and(|record| {
            packet.protocol == protocol::TCP && record.is_established()
                || is_answered(record.state, from_low, packet.tcp_flags)
        })
    }
}
