//! What is measured: a program, loaded, and run in place or behind the mutator.

use std::{
    os::fd::{AsFd as _, AsRawFd as _},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, MapData, ProgramArray},
    programs::{ProgramFd, SchedClassifier, Xdp},
};
use detector_common::{abi::program, verdict::Action};
use detector_user::{
    enforce::{
        target::Target,
        writer::{Order, Writer},
    },
    wire::{
        clock::Clock,
        load::{self, Loader, Settings},
        pins::Pins,
        tables::Tables,
    },
};

use super::scratch::Scratch;

/// Aligned as an ELF reader wants it.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

static PEERS: &Aligned<[u8]> = &Aligned(*include_bytes!("../../ebpf/object/peers.bpf.o"));

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

/// Where a program hangs: a program array takes programs of one kind only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// XDP, fragment-capable.
    XdpFrags,
    /// XDP.
    Xdp,
    /// TC.
    Tc,
}

/// A loaded program.
pub struct Subject {
    /// As it stands in the table.
    pub name: String,
    /// Instructions that the verifier looked at.
    pub verified: Option<u32>,
    /// Keeps maps and programs alive.
    pub ebpf: Ebpf,
    hook: Hook,
    program: ProgramFd,
}

/// A mutator with its next program, and its plan.
pub struct Mutator {
    program: ProgramFd,
    plan: Array<MapData, Plan>,
    _next: ProgramArray<MapData>,
    _ebpf: Ebpf,
}

fn peers(entries: u32) -> Result<Ebpf> {
    let mut loader = EbpfLoader::new();
    for map in ["LRU", "LRU_PERCPU", "HASH"] {
        loader.map_max_entries(map, entries);
    }
    loader.load(&PEERS.0).context("loading the peers")
}

impl Subject {
    /// A peer.
    pub fn peer(name: &str, program: &str, hook: Hook, entries: u32) -> Result<Self> {
        Self::from(name, program, hook, peers(entries)?)
    }

    /// A program of any object.
    pub fn from(name: &str, program: &str, hook: Hook, mut ebpf: Ebpf) -> Result<Self> {
        let found = ebpf
            .program_mut(program)
            .with_context(|| format!("no program {program}"))?;
        let (fd, info) = if hook == Hook::Tc {
            let tc: &mut SchedClassifier = found.try_into()?;
            tc.load().with_context(|| format!("loading {program}"))?;
            (tc.fd()?.try_clone()?, tc.info()?)
        } else {
            let xdp: &mut Xdp = found.try_into()?;
            xdp.load().with_context(|| format!("loading {program}"))?;
            (xdp.fd()?.try_clone()?, xdp.info()?)
        };
        let verified = info.verified_instruction_count();
        Ok(Self {
            name: name.to_owned(),
            verified,
            ebpf,
            hook,
            program: fd,
        })
    }

    /// One of the detector's programs, over its own maps.
    pub fn detector(name: &str, hook: Hook, features: u32, slots: u32) -> Result<(Self, Tables)> {
        Self::detector_with(name, hook, features, slots, &[])
    }

    /// The same, with verdicts that drop in force.
    pub fn detector_with(
        name: &str,
        hook: Hook,
        features: u32,
        slots: u32,
        verdicts: &[Target],
    ) -> Result<(Self, Tables)> {
        let scratch = Scratch::new()?;
        let pins = Pins::new(scratch.path().join("detector"));
        pins.create()?;
        let settings = Settings {
            features,
            flow_slots: slots,
            ..Settings::default()
        };
        let loader = Loader {
            pins: Some(&pins),
            settings,
            seed: load::draw_seed()?,
        };
        let mut ebpf = loader.open(0, 0)?;
        loader.initialize(&mut ebpf)?;
        if !pins.clock().exists() {
            let clock: &mut Xdp = ebpf
                .program_mut(program::CLOCK)
                .context("no clock")?
                .try_into()?;
            clock.pin(pins.clock())?;
        }
        let mut tables = Tables::of(&ebpf)?;
        let clock = Clock::open(&pins)?;
        for target in verdicts {
            Writer::unshared(&mut tables, &clock).add(&Order {
                target: *target,
                action: Action::DROP,
                packets_per_second: 0,
                bytes_per_second: 0,
                services: Vec::new(),
                time_to_live: Some(Duration::from_secs(3600)),
                reason: "measured".to_owned(),
            })?;
        }
        let program = if hook == Hook::Tc {
            program::EGRESS
        } else {
            program::INGRESS
        };
        Ok((Self::from(name, program, hook, ebpf)?, tables))
    }

    /// The program itself.
    pub fn fd(&self) -> i32 {
        self.program.as_fd().as_raw_fd()
    }

    /// A mutator in front of it.
    pub fn behind(&self, plan: Plan) -> Result<Mutator> {
        let mut ebpf = peers(1)?;
        let (program, next) = match self.hook {
            Hook::XdpFrags => ("mutate_frags", "NEXT"),
            Hook::Xdp => ("mutate_plain", "NEXT_PLAIN"),
            Hook::Tc => ("mutate_tc", "NEXT_TC"),
        };
        let mut plans: Array<_, Plan> = ebpf.take_map("PLAN").context("no plan")?.try_into()?;
        plans.set(0, plan, 0)?;
        let mut next: ProgramArray<_> = ebpf.take_map(next).context("no next")?.try_into()?;
        let mutator = Self::from("mutator", program, self.hook, ebpf)?;
        next.set(0, &self.program, 0)?;
        Ok(Mutator {
            program: mutator.program,
            plan: plans,
            _next: next,
            _ebpf: mutator.ebpf,
        })
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

/// What a program returned, and how long a run of it took, ns.
pub struct Run {
    pub returned: u32,
    pub ns: u32,
}

/// Runs a program `repeat` times over the frame.
pub fn run(program: i32, frame: &[u8], repeat: u32) -> Result<Run> {
    const BPF_PROG_TEST_RUN: i64 = 10;
    let mut attributes = [0u8; 80];
    attributes[0..4].copy_from_slice(&program.to_ne_bytes());
    attributes[8..12].copy_from_slice(&(frame.len() as u32).to_ne_bytes());
    attributes[16..24].copy_from_slice(&(frame.as_ptr() as u64).to_ne_bytes());
    attributes[32..36].copy_from_slice(&repeat.to_ne_bytes());
    // SAFETY: the attributes of this command; the frame outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_TEST_RUN,
            attributes.as_mut_ptr(),
            attributes.len(),
        )
    };
    if result != 0 {
        bail!("BPF_PROG_TEST_RUN: {}", std::io::Error::last_os_error());
    }
    let word = |at: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&attributes[at..at + 4]);
        u32::from_ne_bytes(bytes)
    };
    Ok(Run {
        returned: word(4),
        ns: word(36),
    })
}

/// The last CPU: interrupts and other work gather on the first.
pub fn pin_to_last_cpu() {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpus - 1);
    let _ = rustix::thread::sched_setaffinity(None, &set);
}
