//! The scenarios: what the attackers do, what the clients do meanwhile, and what the detector must make of it.

use std::net::Ipv4Addr;

use crate::lab::clients::Work;
use crate::lab::craft::{Ports, Recipe, Sources, Transport};
use crate::lab::traffic::{PACKETS_MAX, Turn};

/// Packets a second of a flood.
const FLOOD_PER_SECOND: u32 = 40_000;
/// Packets a second of the captured flood: it has no more of them, and its sources came but once.
const CAPTURED_PER_SECOND: u32 = 9_000;
/// Packets a second of an amplification, whose packets are large. They come again and again, as reflectors do.
const AMPLIFICATION_PER_SECOND: u32 = 20_000;
/// How long an attack lasts that would go on by itself.
const LASTS_S: u64 = 4;
/// How long an attack may last that ends by itself.
const ENDS_S: u64 = 5;
/// How long an attack lasts that needs time to do harm.
const SLOW_S: u64 = 8;
/// How long passwords are guessed by SSH: a connection takes six guesses, of two seconds and more each.
const GUESSING_S: u64 = 12;
/// The host in StopDDoS's captures.
const STOPDDOS: Ipv4Addr = Ipv4Addr::new(10, 10, 10, 10);
const TCP: u8 = 6;
const UDP: u8 = 17;

/// A scenario.
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    /// What happens, for a person.
    pub story: &'static str,
    /// What the attackers do.
    pub attack: Attack,
    /// For how long at most, in seconds.
    pub lasts_s: u64,
    /// What the clients do.
    pub work: Work,
    /// What the detector must do.
    pub must: Must,
    /// The family that the alert must name; none where there is no attack.
    pub family: Option<&'static str>,
}

/// What the detector must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Must {
    /// Nothing: no verdict at all.
    LeaveAlone,
    /// Drop the attack, soon and nearly all of it, so that clients are served.
    Drop,
    /// Alert, in every trial.
    Alert,
}

/// What the attackers do.
pub enum Attack {
    /// There are none.
    None,
    /// They send captured packets.
    Replayed {
        /// The capture, below the shared captures.
        capture: &'static str,
        /// Which of its packets.
        turn: Turn,
        /// How fast.
        per_second: u32,
        /// What they send where the capture is not there.
        stand_in: Recipe,
    },
    /// They send crafted packets.
    Crafted {
        /// Which.
        recipe: Recipe,
        /// How fast.
        per_second: u32,
    },
    /// They run a program; [`PASSWORDS`] in it stands for a file of guesses.
    Tool(&'static [&'static str]),
    /// Each of them asks for pages, in earnest, as fast as he is told.
    Requests {
        /// Pages a second, of each attacker.
        per_second: u32,
    },
}

/// What a file of passwords to guess stands in place of.
pub const PASSWORDS: &str = "PASSWORDS";

/// What an attack shares with most.
const ATTACK: Scenario = Scenario {
    name: "",
    story: "",
    attack: Attack::None,
    lasts_s: LASTS_S,
    work: Work::Browse,
    must: Must::Drop,
    family: Some("flood"),
};

const fn scan(
    name: &'static str,
    story: &'static str,
    command: &'static [&'static str],
) -> Scenario {
    Scenario {
        name,
        story,
        attack: Attack::Tool(command),
        lasts_s: ENDS_S,
        must: Must::Alert,
        family: Some("scan"),
        ..ATTACK
    }
}

const GUESSING: Scenario = Scenario {
    lasts_s: GUESSING_S,
    must: Must::Alert,
    family: Some("brute-force"),
    ..ATTACK
};

/// A SYN flood from forged sources, as `hping3 --syn --rand-source` sends it: no source comes twice while it lasts.
const SYNS: Recipe = Recipe {
    transport: Transport::Syn,
    sources: Sources::Random,
    source_port: Ports::Random,
    port: Ports::One(80),
    payload: (0, 0),
    count: PACKETS_MAX as u32,
};

/// Datagrams from forged sources.
const DATAGRAMS: Recipe = Recipe {
    transport: Transport::Udp,
    port: Ports::One(27_015),
    payload: (32, 256),
    ..SYNS
};

/// The reflectors' answers.
const REFLECTED: Recipe = Recipe {
    count: 5_000,
    ..DATAGRAMS
};

/// All, in the order in which the demonstration shows them.
pub static ALL: [Scenario; 18] = [
    Scenario {
        name: "benign",
        story: "No attack: clients browse, download and log in by SSH. Nobody may be blocked.",
        lasts_s: SLOW_S,
        work: Work::Everything,
        must: Must::LeaveAlone,
        family: None,
        ..ATTACK
    },
    Scenario {
        name: "syn-flood",
        story: "SYNs to the web server's port, each from another forged source, as hping3 --rand-source sends them: no \
                address is worth a verdict, and clients come to the same port.",
        attack: Attack::Crafted {
            recipe: SYNS,
            per_second: FLOOD_PER_SECOND,
        },
        ..ATTACK
    },
    Scenario {
        name: "udp-flood",
        story: "Datagrams of random bytes to one port, each from another forged source.",
        attack: Attack::Crafted {
            recipe: DATAGRAMS,
            per_second: FLOOD_PER_SECOND,
        },
        ..ATTACK
    },
    Scenario {
        name: "dns-amplification",
        story: "Large answers of open DNS resolvers, in fragments, to questions that the attacker asked in the server's \
                name (StopDDoS's capture, of which what is no UDP is left out).",
        attack: Attack::Replayed {
            capture: "attack/stopddos_amp.dns.RRSIG.fragmented.pcap",
            turn: Turn {
                victim: STOPDDOS,
                protocol: UDP,
                port: None,
            },
            per_second: AMPLIFICATION_PER_SECOND,
            stand_in: Recipe {
                source_port: Ports::One(53),
                port: Ports::Random,
                payload: (1_000, 1_400),
                ..REFLECTED
            },
        },
        family: Some("amplification"),
        ..ATTACK
    },
    Scenario {
        name: "bacnet-amplification",
        story: "Answers of thousands of building controllers and cameras (BACnet, port 37810) that nobody asked \
                (StopDDoS's capture).",
        attack: Attack::Replayed {
            capture: "attack/stopddos_amp.UDP.bacnet.IOT.37810.pcapng",
            turn: Turn {
                victim: Ipv4Addr::new(10, 10, 10, 1),
                protocol: UDP,
                port: None,
            },
            per_second: AMPLIFICATION_PER_SECOND,
            stand_in: Recipe {
                source_port: Ports::One(37_810),
                port: Ports::One(30_120),
                payload: (96, 761),
                ..REFLECTED
            },
        },
        family: Some("amplification"),
        ..ATTACK
    },
    Scenario {
        name: "ipv6-flood",
        story: "SYNs by IPv6 behind two extension headers, each from another forged source. The clients browse by IPv6.",
        attack: Attack::Crafted {
            recipe: Recipe {
                sources: Sources::Random6,
                ..SYNS
            },
            per_second: FLOOD_PER_SECOND,
        },
        work: Work::Browse6,
        ..ATTACK
    },
    Scenario {
        name: "flood-while-working",
        story: "A captured SYN flood of 37 thousand forged sources (StopDDoS), turned on the web server's port, while \
                clients browse and download.",
        attack: Attack::Replayed {
            capture: "attack/stopddos_pkt.TCP.synflood.spoofed.pcap",
            turn: Turn {
                victim: STOPDDOS,
                protocol: TCP,
                port: Some(80),
            },
            per_second: CAPTURED_PER_SECOND,
            stand_in: Recipe {
                count: 40_000,
                ..SYNS
            },
        },
        work: Work::BrowseAndDownload,
        ..ATTACK
    },
    scan(
        "nmap-syn",
        "nmap's SYN scan of the thousand most common ports.",
        &["nmap", "-n", "-Pn", "-sS", "198.18.0.1"],
    ),
    scan(
        "nmap-connect",
        "nmap's scan of the thousand most common ports by whole connections.",
        &["nmap", "-n", "-Pn", "-sT", "198.18.0.1"],
    ),
    scan(
        "nmap-udp",
        "nmap's UDP scan. The server's kernel answers once a second, so nmap is soon slow.",
        &["nmap", "-n", "-Pn", "-sU", "198.18.0.1"],
    ),
    scan(
        "nmap-fin",
        "nmap's FIN scan, which looks for ports with packets that belong to no connection.",
        &["nmap", "-n", "-Pn", "-sF", "198.18.0.1"],
    ),
    scan(
        "nmap-xmas",
        "nmap's Xmas scan: FIN, PSH and URG.",
        &["nmap", "-n", "-Pn", "-sX", "198.18.0.1"],
    ),
    scan(
        "nmap-version",
        "nmap's version detection: a SYN scan, and then it talks to what is open.",
        &["nmap", "-n", "-Pn", "-sV", "198.18.0.1"],
    ),
    scan(
        "masscan",
        "masscan, which keeps no connections, over all ports in random order, 5,000 a second.",
        &[
            "masscan",
            "198.18.0.1",
            "--ports",
            "1-65535",
            "--rate",
            "5000",
            "--wait",
            "0",
            "--interface",
            "eth0",
            "--source-ip",
            "198.18.2.200",
            "--router-mac",
            "02-00-00-00-00-01",
        ],
    ),
    Scenario {
        name: "ssh-guessing",
        story: "medusa guesses root's password by SSH, eight connections at a time. PAM makes each wrong guess wait two seconds.",
        attack: Attack::Tool(&[
            "medusa",
            "-h",
            "198.18.0.1",
            "-u",
            "root",
            "-P",
            PASSWORDS,
            "-M",
            "ssh",
            "-t",
            "8",
        ]),
        ..GUESSING
    },
    Scenario {
        name: "ftp-guessing",
        story: "medusa guesses root's password by FTP, eight connections at a time.",
        attack: Attack::Tool(&[
            "medusa",
            "-h",
            "198.18.0.1",
            "-u",
            "root",
            "-P",
            PASSWORDS,
            "-M",
            "ftp",
            "-t",
            "8",
        ]),
        lasts_s: SLOW_S,
        ..GUESSING
    },
    Scenario {
        name: "slow-http",
        story: "slowhttptest opens connections to the web server and sends on each of them a header now and then, until \
                it has no connection left for anybody else.",
        attack: Attack::Tool(&[
            "slowhttptest",
            "-H",
            "-c",
            "1000",
            "-r",
            "200",
            "-i",
            "3",
            "-x",
            "24",
            "-p",
            "3",
            "-l",
            "30",
            "-t",
            "GET",
            "-u",
            "http://198.18.0.1/",
        ]),
        lasts_s: SLOW_S,
        must: Must::Alert,
        family: Some("app-dos"),
        ..ATTACK
    },
    Scenario {
        name: "http-flood",
        story: "Twenty hosts ask for the page, in earnest, 250 times a second each, with a new connection every ten.",
        attack: Attack::Requests { per_second: 250 },
        lasts_s: SLOW_S,
        must: Must::Alert,
        family: Some("app-dos"),
        ..ATTACK
    },
];

/// The scenario of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}
