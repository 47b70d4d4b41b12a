//! What tcpdump saw, read by nothing of the detector's: plain pcap files of Ethernet.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::IpAddr,
    path::{Path, PathBuf},
    process::{ChildStderr, Command, Stdio},
    time::Duration,
};

use super::{
    space::{Running, Space},
    wait_for,
};

/// A running tcpdump.
pub struct Tcpdump {
    running: Running,
    errors: BufReader<ChildStderr>,
    file: PathBuf,
}

impl Tcpdump {
    /// Starts to write what an interface receives and sends, headers only.
    pub fn start(space: &Space, interface: &str, file: &Path) -> Self {
        let mut command = Command::new("tcpdump");
        command
            .args([
                "-i",
                interface,
                "-n",
                "-s",
                "160",
                "-U",
                "--immediate-mode",
                "-B",
                "131072",
                "-Z",
                "root",
                "-w",
            ])
            .arg(file)
            .args(["tcp or udp or icmp or icmp6"])
            .stderr(Stdio::piped());
        let mut running = space.start(command);
        let mut errors = BufReader::new(running.0.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert!(errors.read_line(&mut line).unwrap() > 0, "tcpdump ended");
        }
        Self {
            running,
            errors,
            file: file.to_owned(),
        }
    }

    /// Waits until nothing more is written, ends it, and reads what it wrote.
    pub fn end(mut self) -> Vec<Seen> {
        let size = || fs::metadata(&self.file).map_or(0, |file| file.len());
        let mut before = 0;
        wait_for(Duration::from_secs(5), || {
            let last = std::mem::replace(&mut before, size());
            std::thread::sleep(Duration::from_millis(400));
            last == before && before > 0
        });
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.running.0),
            rustix::process::Signal::INT,
        )
        .unwrap();
        let mut said = String::new();
        self.errors.read_to_string(&mut said).unwrap();
        self.running.0.wait().unwrap();
        // "N packets captured", "N packets received by filter", "0 packets dropped by kernel".
        let numbers: Vec<&str> = said
            .lines()
            .filter_map(|line| line.split_once(" packets ").map(|l| l.0))
            .collect();
        assert!(
            matches!(numbers[..], [captured, received, "0"] if captured == received),
            "{said}"
        );
        read(&fs::read(&self.file).unwrap())
    }
}

/// A packet of a capture.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub protocol: u8,
    pub source: (IpAddr, u16),
    pub destination: (IpAddr, u16),
    /// Bytes of the frame.
    pub bytes: u64,
    /// Bytes of all headers.
    pub headers: u64,
}

fn read(file: &[u8]) -> Vec<Seen> {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    assert_eq!(
        word(0),
        0xa1b2_c3d4,
        "not a pcap file of this machine's byte order"
    );
    let mut seen = Vec::new();
    let mut at = 24;
    while at + 16 <= file.len() {
        let (held, whole) = (word(at + 8) as usize, word(at + 12));
        if let Some(packet) = packet(&file[at + 16..at + 16 + held], u64::from(whole)) {
            seen.push(packet);
        }
        at += 16 + held;
    }
    seen
}

/// TCP, UDP and echoes; IPv6 without extension headers.
fn packet(frame: &[u8], bytes: u64) -> Option<Seen> {
    let ip = &frame[14..];
    let (protocol, header, source, destination) = match ip[0] >> 4 {
        4 => {
            let address = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&ip[at..at + 4]).unwrap());
            (ip[9], usize::from(ip[0] & 15) * 4, address(12), address(16))
        }
        6 => {
            let address = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&ip[at..at + 16]).unwrap());
            (ip[6], 40, address(8), address(24))
        }
        _ => return None,
    };
    let transport = &ip[header..];
    let port = |at: usize| u16::from_be_bytes([transport[at], transport[at + 1]]);
    let (ports, length) = match protocol {
        6 => ((port(0), port(2)), usize::from(transport[12] >> 4) * 4),
        17 => ((port(0), port(2)), 8),
        // An echo request and its reply, as the detector numbers them.
        1 if transport[0] == 8 => ((8, 0), 8),
        1 if transport[0] == 0 => ((0, 8), 8),
        58 if transport[0] == 128 => ((128, 129), 8),
        58 if transport[0] == 129 => ((129, 128), 8),
        _ => return None,
    };
    Some(Seen {
        protocol,
        source: (source, ports.0),
        destination: (destination, ports.1),
        bytes,
        headers: (14 + header + length) as u64,
    })
}

/// A flow's two ends, the one that compares lower first, and its protocol.
pub type Ends = ((IpAddr, u16), (IpAddr, u16), u8);

/// Packets and bytes of a flow that its lower end sent, then those of the other.
pub type Counts = [[u64; 2]; 2];

/// Adds packets to flows, each as what `counts` makes of it: packets and bytes.
pub fn add(
    flows: &mut BTreeMap<Ends, Counts>,
    packets: impl Iterator<Item = Seen>,
    counts: impl Fn(&Seen) -> [u64; 2],
) {
    for packet in packets {
        let from_low = packet.source <= packet.destination;
        let ends = if from_low {
            (packet.source, packet.destination, packet.protocol)
        } else {
            (packet.destination, packet.source, packet.protocol)
        };
        let sum = &mut flows.entry(ends).or_default()[usize::from(!from_low)];
        let more = counts(&packet);
        sum[0] += more[0];
        sum[1] += more[1];
    }
}

/// A frame as it is.
pub fn as_one(packet: &Seen) -> [u64; 2] {
    [1, packet.bytes]
}

/// A TCP frame as the segments that an interface of this MTU sends, which repeat its
/// headers.
pub fn as_segments(mtu: u64) -> impl Fn(&Seen) -> [u64; 2] {
    move |packet| {
        let payload = packet.bytes - packet.headers;
        let most = mtu + 14 - packet.headers;
        let segments = payload.div_ceil(most).max(1);
        [segments, packet.bytes + (segments - 1) * packet.headers]
    }
}
