//! What is measured: a program, loaded, and run in place or behind the mutator.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, MapData, ProgramArray},
    programs::{ProgramFd, Xdp},
};
use detector_user::wire::{
    load::{self, Loader, Settings},
    tables::Tables,
};

static PEERS: &[u8] = include_bytes!("../../ebpf/object/peers.bpf.o");

/// Entries of the peers' maps, and slots of the detector's table.
pub const ENTRIES: u32 = 1 << 20;

/// What the mutator makes of the packets' sources; see its source.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Plan {
    pub counter: u64,
    pub random: u64,
    pub mode: u32,
    pub flows: u32,
    pub spoofed: u32,
    pub sources: u32,
    pub two_way: u32,
    pub step: u32,
    pub legitimate: u32,
    pub reserved: u32,
}

// SAFETY: integers without padding.
unsafe impl aya::Pod for Plan {}

/// `Plan::mode`: one of `flows + 1` sources in turn.
pub const MODE_FLOWS: u32 = 0;
/// `Plan::mode`: any source.
pub const MODE_RANDOM: u32 = 1;
/// `Plan::mode`: one legitimate packet, then `spoofed` spoofed ones.
pub const MODE_MIXED: u32 = 2;

/// A loaded program.
pub struct Subject {
    /// As it stands in the table.
    pub name: String,
    /// Runs behind the mutator that has the fragments flag.
    pub frags: bool,
    pub program: ProgramFd,
    /// Keeps maps and programs alive.
    pub ebpf: Ebpf,
}

/// A mutator with its next program, and its plan.
pub struct Mutator {
    program: ProgramFd,
    _next: ProgramArray<MapData>,
    plan: Array<MapData, Plan>,
    _ebpf: Ebpf,
}

pub fn peers(entries: u32) -> Result<Ebpf> {
    let mut loader = EbpfLoader::new();
    for map in ["LRU", "LRU_PERCPU", "HASH"] {
        loader.map_max_entries(map, entries);
    }
    loader.load(PEERS).context("loading the peers")
}

impl Subject {
    /// A peer.
    pub fn peer(name: &str, program: &str, frags: bool, entries: u32) -> Result<Self> {
        let ebpf = peers(entries)?;
        Self::from(name, program, frags, ebpf)
    }

    /// A program of any object.
    pub fn from(name: &str, program: &str, frags: bool, mut ebpf: Ebpf) -> Result<Self> {
        let xdp: &mut Xdp = ebpf
            .program_mut(program)
            .with_context(|| format!("no program {program}"))?
            .try_into()?;
        xdp.load().with_context(|| format!("loading {program}"))?;
        let program = xdp.fd()?.try_clone()?;
        Ok(Self { name: name.to_owned(), frags, program, ebpf })
    }

    /// The detector's ingress program, over its own maps.
    pub fn detector(name: &str, features: u32, slots: u32) -> Result<(Self, Tables)> {
        let settings = Settings { features, flow_slots: slots, ..Settings::default() };
        let loader = Loader { pins: None, settings, seed: load::draw_seed()? };
        let mut ebpf = loader.open(0, 0)?;
        loader.initialize(&mut ebpf)?;
        let program = load::ingress(&mut ebpf)?.fd()?.try_clone()?;
        let tables = Tables::of(&ebpf)?;
        Ok((Self { name: name.to_owned(), frags: true, program, ebpf }, tables))
    }

    /// The program itself.
    pub fn fd(&self) -> i32 {
        self.program.as_fd().as_raw_fd()
    }

    /// A mutator in front of it.
    pub fn behind(&self, plan: Plan) -> Result<Mutator> {
        let mut ebpf = peers(1)?;
        let (program, next) = if self.frags { ("mutate_frags", "NEXT") } else { ("mutate_plain", "NEXT_PLAIN") };
        let xdp: &mut Xdp = ebpf.program_mut(program).context("no mutator")?.try_into()?;
        xdp.load()?;
        let program = xdp.fd()?.try_clone()?;
        let mut plans: Array<_, Plan> = ebpf.take_map("PLAN").context("no plan")?.try_into()?;
        plans.set(0, plan, 0)?;
        let mut next: ProgramArray<_> = ebpf.take_map(next).context("no next")?.try_into()?;
        next.set(0, &self.program, 0)?;
        Ok(Mutator { program, _next: next, plan: plans, _ebpf: ebpf })
    }
}

impl Mutator {
    pub fn fd(&self) -> i32 {
        self.program.as_fd().as_raw_fd()
    }

    pub fn plan(&mut self, plan: Plan) -> Result<()> {
        Ok(self.plan.set(0, plan, 0)?)
    }
}

/// A TCP segment from 10.0.0.1 to the server, 64 bytes.
pub fn frame() -> Vec<u8> {
    let mut frame = vec![0u8; 64];
    frame[12] = 0x08;
    frame[14] = 0x45;
    frame[17] = 50;
    frame[22] = 64;
    frame[23] = 6;
    frame[26..30].copy_from_slice(&[10, 0, 0, 1]);
    frame[30..34].copy_from_slice(&[198, 18, 0, 1]);
    frame[34..38].copy_from_slice(&[0x9c, 0x40, 0x01, 0xbb]);
    frame[46] = 0x50;
    frame[47] = 0x10;
    frame
}

/// Runs a program `repeat` times over the frame; ns a run.
pub fn run(program: i32, frame: &[u8], repeat: u32) -> Result<u32> {
    const BPF_PROG_TEST_RUN: i64 = 10;
    let mut attributes = [0u8; 80];
    attributes[0..4].copy_from_slice(&program.to_ne_bytes());
    attributes[8..12].copy_from_slice(&(frame.len() as u32).to_ne_bytes());
    attributes[16..24].copy_from_slice(&(frame.as_ptr() as u64).to_ne_bytes());
    attributes[32..36].copy_from_slice(&repeat.to_ne_bytes());
    // SAFETY: the attributes of this command; the frame outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_TEST_RUN, attributes.as_mut_ptr(), attributes.len())
    };
    if result != 0 {
        bail!("BPF_PROG_TEST_RUN: {}", std::io::Error::last_os_error());
    }
    Ok(u32::from_ne_bytes([attributes[36], attributes[37], attributes[38], attributes[39]]))
}

/// The last CPU: interrupts and other work gather on the first.
pub fn pin_to_last_cpu() {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpus - 1);
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

/// An own descriptor, for system calls of one's own.
pub fn own(fd: std::os::fd::BorrowedFd<'_>) -> Result<OwnedFd> {
    Ok(fd.try_clone_to_owned()?)
}
