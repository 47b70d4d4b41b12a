//! A data plane: attached, read, written, and run frame by frame.

use aya::{
    Ebpf,
    maps::{Map, MapData, RingBuf},
    programs::{SchedClassifier, TestRun as _, TestRunOptions, Xdp},
};
use bytemuck::Pod;
use detector_common::{
    abi::program,
    config::feature,
    counters::{Counters, Event, Fate, Tally},
    key::{Address, FlowKey, HashSeed},
    verdict::{Action, Service},
};
use detector_user::{
    drain::{
        account::Account,
        reader::{Snapshot, Which},
    },
    enforce::{
        target::{Prefix, Target},
        writer::{Order, Writer},
    },
    wire::{
        attach::{self, Attached, Request},
        clock::Clock,
        interface::Interface,
        load::{self, Loader, Settings},
        pins::Pins,
        tables::Tables,
    },
};
use std::{net::IpAddr, time::Duration};

use super::{
    Lab,
    frames::{End, udp_frame, v4},
    raw::Raw,
    space::Space,
};

pub const DROP: u32 = 1;
pub const PASS: u32 = 2;

/// Zone of test runs.
pub const ZONE: u32 = 77;
/// Entry of the counters that test runs use: no interface's.
const COUNTERS: u32 = 60;

/// What one attaches with, with a table of so many slots.
pub fn request(flow_slots: u32, verdict_slots: u32) -> Request {
    let settings = Settings {
        flow_slots,
        verdict_slots,
        ..Settings::default()
    };
    Request {
        settings,
        ..Request::default()
    }
}

/// Attaches to an interface of a namespace.
pub fn attach_in(space: &Space, pins: &Pins, name: &str, request: &Request) -> Attached {
    try_attach_in(space, pins, name, request).unwrap()
}

/// The same, whatever becomes of it.
pub fn try_attach_in(
    space: &Space,
    pins: &Pins,
    name: &str,
    request: &Request,
) -> Result<Attached, attach::AttachError> {
    space.within(|| attach::attach(pins, &Interface::find(name)?, request))
}

/// The maps of a data plane, and its clock.
pub struct Plane {
    pub pins: Pins,
    pub tables: Tables,
    pub clock: Clock,
}

impl Plane {
    /// That which is pinned.
    pub fn open(pins: &Pins) -> Self {
        Self {
            pins: pins.clone(),
            tables: Tables::open(pins).unwrap(),
            clock: Clock::open(pins).unwrap(),
        }
    }

    /// One that hangs nowhere, of these sizes.
    pub fn unattached(lab: &Lab, settings: Settings) -> Self {
        let pins = lab.pins();
        pins.create().unwrap();
        let loader = Loader {
            pins: Some(&pins),
            settings,
            seed: load::draw_seed().unwrap(),
        };
        let mut ebpf = loader.open(ZONE, COUNTERS).unwrap();
        loader.initialize(&mut ebpf).unwrap();
        Self::open(&pins)
    }

    /// The verdict writer.
    pub fn writer(&mut self) -> Writer<'_> {
        Writer::new(&self.pins, &mut self.tables, &self.clock).unwrap()
    }

    /// A runner of the programs, with everything that the data plane can do.
    pub fn runner(&self) -> Runner {
        self.runner_with(feature::ALL)
    }

    pub fn runner_with(&self, features: u32) -> Runner {
        let control = self.tables.control.load(0);
        let settings = Settings {
            features,
            flow_slots: control.flow_slots,
            verdict_slots: control.verdict_slots,
        };
        Runner::new(&self.pins, settings, control.seed)
    }

    pub fn account(&self) -> Account {
        self.tables.account().unwrap()
    }

    pub fn tally(&self, fate: Fate) -> Tally {
        self.account().total.tally(fate)
    }

    pub fn event(&self, event: Event) -> u64 {
        self.account().total.event(event)
    }

    /// What arrived at an interface and what left by it.
    pub fn of(&self, index: u32) -> (Counters, Counters) {
        let account = self.account();
        let one = account
            .interfaces
            .iter()
            .find(|i| i.interface.index == index)
            .unwrap();
        (one.ingress, one.egress)
    }

    /// Live flows.
    pub fn flows(&self) -> Vec<Snapshot> {
        let mut flows = Vec::new();
        self.tables
            .scan(Which::Live, |snapshot| flows.push(*snapshot));
        flows
    }

    /// Live records of one flow.
    pub fn records_of(&self, key: &FlowKey) -> Vec<Snapshot> {
        self.flows()
            .into_iter()
            .filter(|flow| flow.record.key == *key)
            .collect()
    }

    /// Opens a ring.
    pub fn ring(&self, name: &str) -> RingBuf<MapData> {
        let data = MapData::from_pin(self.pins.map(name)).unwrap();
        RingBuf::try_from(Map::RingBuf(data)).unwrap()
    }
}

/// Everything in a ring.
pub fn drain<T: Pod>(ring: &mut RingBuf<MapData>) -> Vec<T> {
    let mut all = Vec::new();
    while let Some(item) = ring.next() {
        assert!(item.len() >= size_of::<T>(), "{} bytes", item.len());
        all.push(bytemuck::pod_read_unaligned(&item[..size_of::<T>()]));
    }
    all
}

fn options(frame: &[u8], times: u32) -> TestRunOptions<'_> {
    TestRunOptions {
        data_in: Some(frame),
        repeat: times,
        ..TestRunOptions::new()
    }
}

/// The programs, loaded once more over the same maps, for `BPF_PROG_TEST_RUN`.
pub struct Runner {
    ingress: Ebpf,
    egress: Ebpf,
}

impl Runner {
    fn new(pins: &Pins, settings: Settings, seed: HashSeed) -> Self {
        let loader = Loader {
            pins: Some(pins),
            settings,
            seed,
        };
        let mut ingress = loader.open(ZONE, COUNTERS).unwrap();
        load::ingress(&mut ingress).unwrap();
        let mut egress = loader.open(ZONE, COUNTERS + 1).unwrap();
        load::egress(&mut egress).unwrap();
        Self { ingress, egress }
    }

    /// A frame arrives, as often as said; what becomes of it the last time.
    pub fn arrives(&self, frame: &[u8], times: u32) -> u32 {
        let xdp: &Xdp = self
            .ingress
            .program(program::INGRESS)
            .unwrap()
            .try_into()
            .unwrap();
        xdp.test_run(options(frame, times)).unwrap().return_value
    }

    /// A frame arrives.
    pub fn run(&self, frame: &[u8]) -> u32 {
        self.arrives(frame, 1)
    }

    /// A frame leaves, as often as said.
    pub fn leaves(&self, frame: &[u8], times: u32) {
        let tc: &SchedClassifier = self
            .egress
            .program(program::EGRESS)
            .unwrap()
            .try_into()
            .unwrap();
        tc.test_run(options(frame, times)).unwrap();
    }
}

/// The key of a flow in a zone.
pub fn key(from: End, to: End, protocol: u8, zone: u32) -> FlowKey {
    FlowKey::new(
        (Address::from(from.0), from.1),
        (Address::from(to.0), to.1),
        protocol,
        zone,
    )
    .0
}

/// A verdict for an hour.
pub fn order(target: Target, action: Action) -> Order {
    Order {
        target,
        action,
        packets_per_second: if action == Action::RATE_LIMIT { 10 } else { 0 },
        bytes_per_second: 0,
        services: Vec::new(),
        time_to_live: Some(Duration::from_secs(3600)),
        reason: "test".to_owned(),
    }
}

/// A drop verdict on an address.
pub fn drop_address(address: IpAddr) -> Order {
    order(Target::Address(address), Action::DROP)
}

/// A prefix, read.
pub fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// A service.
pub fn service(protocol: u8, port: u16) -> Service {
    Service {
        port,
        protocol,
        reserved: 0,
    }
}

/// The same, in a mode.
pub fn request_in(mode: attach::Mode, flow_slots: u32, verdict_slots: u32) -> Request {
    Request {
        mode,
        ..request(flow_slots, verdict_slots)
    }
}

/// Programs that do next to nothing, which the verifier takes at once.
pub fn light() -> Request {
    let settings = Settings {
        features: feature::FLOWS,
        flow_slots: 64,
        verdict_slots: 16,
    };
    Request {
        settings,
        ..Request::default()
    }
}

/// Sends so many packets of one flow out of an interface.
pub fn send(space: &Space, name: &str, packets: usize) {
    let frame = udp_frame(v4([10, 0, 0, 1], 1), v4([10, 0, 0, 2], 2), &[]);
    space.within(|| {
        let raw = Raw::sender(name);
        raw.send_all((0..packets).map(|_| frame.as_slice()), &mut (0, 0));
    });
}

/// Packets that an interface has seen arrive.
pub fn seen(plane: &Plane, index: u32) -> u64 {
    plane.of(index).0.tally(Fate::Seen).packets
}
