//! The kernel's jiffies, in which verdicts expire: cheap enough to be asked for
//! each packet, but known only to the kernel. A small program tells both clocks
//! through `BPF_PROG_TEST_RUN`.

use std::{thread, time::Duration};

use aya::{
    Ebpf,
    programs::{TestRun as _, TestRunOptions, Xdp},
};
use aya_obj::programs::XdpAttachType;
use detector_common::abi::program;

use super::{
    load::{self, LoadError},
    pins::Pins,
};

/// Rates at which a kernel can be built to count (kernel/Kconfig.hz), far enough apart
/// that a count of jiffies that is one too high or too low still tells which it is. The
/// others of Alpha and MIPS are left out: 256 cannot be told from 250 in this time.
const RATES_HZ: [u32; 4] = [100, 250, 300, 1000];
/// How long the rate is measured.
const MEASURE: Duration = Duration::from_millis(120);

/// Both clocks at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// 64-bit jiffies.
    pub jiffies: u64,
    /// `CLOCK_MONOTONIC`, ns.
    pub monotonic_ns: u64,
}

/// The clock program, loaded.
pub struct Clock {
    program: Xdp,
}

impl Clock {
    /// The pinned one.
    ///
    /// # Errors
    /// [`LoadError`] where it is not there or may not be opened.
    pub fn open(pins: &Pins) -> Result<Self, LoadError> {
        let program = Xdp::from_pin(pins.clock(), XdpAttachType::Interface)
            .map_err(|error| load::refused(program::CLOCK, &error))?;
        Ok(Self { program })
    }

    /// What the clocks say.
    ///
    /// # Errors
    /// [`LoadError`] where the kernel does not run it.
    pub fn now(&self) -> Result<Now, LoadError> {
        run(&self.program)
    }
}

/// Loads the clock program of `ebpf` and tells how many jiffies a second has.
pub(super) fn measure(ebpf: &mut Ebpf) -> Result<u32, LoadError> {
    let clock: &mut Xdp = load::find(ebpf, program::CLOCK)?;
    if clock.fd().is_err() {
        clock
            .load()
            .map_err(|error| load::refused(program::CLOCK, &error))?;
    }
    let first = run(clock)?;
    thread::sleep(MEASURE);
    let second = run(clock)?;
    let jiffies = second.jiffies.wrapping_sub(first.jiffies) as f64;
    let seconds = second.monotonic_ns.wrapping_sub(first.monotonic_ns) as f64 / 1e9;
    let rate = jiffies / seconds;
    let distance = |hz: u32| (rate / f64::from(hz)).ln().abs();
    Ok(RATES_HZ
        .into_iter()
        .min_by(|&a, &b| distance(a).total_cmp(&distance(b)))
        .unwrap_or(RATES_HZ[0]))
}

fn run(program: &Xdp) -> Result<Now, LoadError> {
    let frame = [0u8; 64];
    let mut out = [0u8; 64];
    program
        .test_run(TestRunOptions {
            data_in: Some(&frame),
            data_out: Some(&mut out),
            ..TestRunOptions::new()
        })
        .map_err(|error| load::refused(program::CLOCK, &error))?;
    let word = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&out[at..at + 8]);
        u64::from_ne_bytes(bytes)
    };
    Ok(Now {
        jiffies: word(0),
        monotonic_ns: word(8),
    })
}
