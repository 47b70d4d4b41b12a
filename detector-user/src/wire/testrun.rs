//! Frames of a capture through the kernel programs, one by one, by
//! `BPF_PROG_TEST_RUN`: the same programs that hang on interfaces, over maps of this
//! process' own, with the capture's time for clock.

use std::sync::atomic::Ordering;

use aya::{
    Ebpf,
    maps::{Map, MapData, RingBuf},
    programs::{TestRun as _, TestRunOptions, Xdp},
};
use detector_common::{
    abi::{ENDED_BYTES, map, program},
    config::{Control, feature},
    event::EndedFlow,
};

use super::{
    load::{self, LoadError, Loader, Settings},
    tables::{Tables, TablesError},
};
use crate::{
    drain::{
        account::AccountError,
        reader::{Snapshot, Which},
    },
    flow::{Account, Ended, FrameSink},
};

/// Smallest frame that the kernel's test run takes.
pub const FRAME_BYTES_MIN: usize = 14;
/// Largest: the linear part and seventeen fragments of a page each.
pub const FRAME_BYTES_MAX: usize = 17 * 4096;
/// Frames after which the ring of ended flows is emptied: fewer than fit it.
const FRAMES_BETWEEN_DRAINS: u32 = ENDED_BYTES / 512;
/// The return value of a program that drops.
const XDP_DROP: u32 = 1;
const NOW_WORD: usize = std::mem::offset_of!(Control, replay_now_ns) / 8;

/// Why a frame could not be run.
#[derive(Debug, thiserror::Error)]
pub enum TestRunError {
    /// Loading.
    #[error(transparent)]
    Tables(#[from] TablesError),
    /// Reading the counters.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The kernel did not run it.
    #[error("running a frame of {bytes} bytes through the kernel: {cause}")]
    Frame {
        /// Its length.
        bytes: usize,
        /// What the kernel said.
        cause: String,
    },
}

impl TestRunError {
    /// Whether permission was what lacked.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        matches!(self, Self::Tables(error) if error.is_permission())
    }
}

impl From<LoadError> for TestRunError {
    fn from(error: LoadError) -> Self {
        Self::Tables(error.into())
    }
}

/// The ingress program, loaded over its own maps and not attached anywhere.
pub struct TestRun {
    ebpf: Ebpf,
    tables: Tables,
    ended: RingBuf<MapData>,
    since_drain: u32,
    left_out: u64,
}

impl TestRun {
    /// Loads the program.
    ///
    /// # Errors
    /// [`TestRunError`].
    pub fn new(mut settings: Settings) -> Result<Self, TestRunError> {
        settings.features |= feature::REPLAY_CLOCK;
        let seed = load::draw_seed().map_err(|cause| LoadError::Map {
            operation: "drawing the hash keys of",
            map: map::SETS,
            cause: cause.to_string(),
        })?;
        let loader = Loader {
            pins: None,
            settings,
            seed,
        };
        let mut ebpf = loader.open(0, 0)?;
        loader.initialize(&mut ebpf)?;
        load::ingress(&mut ebpf)?;
        let tables = Tables::of(&ebpf)?;
        let ended = ebpf
            .take_map(map::ENDED)
            .and_then(|map: Map| RingBuf::try_from(map).ok())
            .ok_or_else(|| LoadError::Map {
                operation: "opening",
                map: map::ENDED,
                cause: "not a ring buffer".to_owned(),
            })?;
        Ok(Self {
            ebpf,
            tables,
            ended,
            since_drain: 0,
            left_out: 0,
        })
    }

    /// Runs one frame at its time; whether it was dropped. Frames shorter or longer
    /// than the kernel takes are left out and counted.
    ///
    /// # Errors
    /// [`TestRunError::Frame`].
    pub fn run(&mut self, time_ns: u64, bytes: &[u8]) -> Result<bool, TestRunError> {
        if !(FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&bytes.len()) {
            self.left_out += 1;
            return Ok(false);
        }
        self.tables.control.words(0)[NOW_WORD].store(time_ns, Ordering::Relaxed);
        let xdp: &mut Xdp = load::find(&mut self.ebpf, program::INGRESS)?;
        let options = TestRunOptions {
            data_in: Some(bytes),
            ..TestRunOptions::new()
        };
        let result = xdp.test_run(options).map_err(|error| TestRunError::Frame {
            bytes: bytes.len(),
            cause: load::chain(&error),
        })?;
        self.since_drain += 1;
        Ok(result.return_value == XDP_DROP)
    }

    /// Frames that the kernel's test run does not take.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The tables.
    #[must_use]
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The tables, to write verdicts.
    pub fn tables_mut(&mut self) -> &mut Tables {
        &mut self.tables
    }

    fn drain(&mut self, ended: &mut Ended<'_>) {
        self.since_drain = 0;
        while let Some(item) = self.ended.next() {
            if let Some(bytes) = item.get(..size_of::<EndedFlow>()) {
                let flow: EndedFlow = bytemuck::pod_read_unaligned(bytes);
                let periods = (flow.record.idle_periods > 0).then_some(&flow.periods);
                ended(&flow.record.normalized(), periods);
            }
        }
    }
}

impl FrameSink for TestRun {
    type Error = TestRunError;

    fn frame(
        &mut self,
        time_ns: u64,
        bytes: &[u8],
        ended: &mut Ended<'_>,
    ) -> Result<(), TestRunError> {
        self.run(time_ns, bytes)?;
        if self.since_drain >= FRAMES_BETWEEN_DRAINS {
            self.drain(ended);
        }
        Ok(())
    }

    fn finish(&mut self, ended: &mut Ended<'_>) -> Result<(), TestRunError> {
        self.drain(ended);
        let mut live: Vec<Snapshot> = Vec::new();
        self.tables
            .scan(Which::Live, |snapshot| live.push(*snapshot));
        live.sort_by_key(|snapshot| snapshot.record.first_us);
        for snapshot in live {
            let periods = self.tables.periods_of(&snapshot);
            ended(&snapshot.record.normalized(), periods.as_ref());
            self.tables.release(snapshot.way);
        }
        Ok(())
    }

    fn account(&self) -> Result<Account, TestRunError> {
        let account = self.tables.account()?;
        let ethertypes = (0..=u16::MAX)
            .map(|ethertype| (ethertype, self.tables.ethertypes.load(ethertype.into())))
            .filter(|(_, tally)| tally.packets > 0)
            .collect();
        Ok(Account {
            counters: account.total,
            in_records: account.in_records,
            ethertypes,
        })
    }
}
