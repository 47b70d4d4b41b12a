//! Both directions of real traffic: the flow records of an attached interface against
//! what tcpdump wrote on it, to the packet and the byte.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

mod lab;

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
    net::{IpAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    thread,
    time::Duration,
};

use detector_common::{
    counters::{Event, Fate},
    record::state,
};
use detector_user::wire::attach::{self, Mode};
use lab::{
    Lab,
    capture::{self, Counts, Ends, Seen, Tcpdump},
    frames::{ACK, TCP, tcp_frame, v4},
    plane::{self, Plane},
    raw::Raw,
    space::{Space, veth},
    wait_for,
};

const DOWN: usize = 6 << 20;
const UP: usize = 4 << 20;
const ADDRESSES: [(&str, &str); 2] = [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")];

fn spaces() -> (Space, Space) {
    let (client, server) = (Space::new(), Space::new());
    veth((&client, "vc"), (&server, "vs"));
    for (space, name, v4, v6) in [
        (&client, "vc", "10.0.0.1/24", "fd00::1/64"),
        (&server, "vs", "10.0.0.2/24", "fd00::2/64"),
    ] {
        space.set("ipv6/conf/all/disable_ipv6", "0");
        space.set(format!("ipv6/conf/{name}/disable_ipv6"), "0");
        space.set("ipv4/ping_group_range", "0 2147483647");
        space.run(&format!("ip address add {v4} dev {name}"));
        space.run(&format!("ip address add {v6} dev {name} nodad"));
    }
    (client, server)
}

/// Answers each connection: reads what the first eight bytes say, and writes what the
/// second do.
fn serve(listener: &TcpListener, connections: usize) {
    for _ in 0..connections {
        let (mut stream, _) = listener.accept().unwrap();
        let mut order = [0; 16];
        stream.read_exact(&mut order).unwrap();
        let up = u64::from_be_bytes(order[..8].try_into().unwrap());
        let down = u64::from_be_bytes(order[8..].try_into().unwrap());
        io::copy(&mut (&stream).take(up), &mut io::sink()).unwrap();
        stream.write_all(&vec![0x5a; down as usize]).unwrap();
    }
}

fn transfer(server: &str, up: usize, down: usize) {
    let mut stream = TcpStream::connect((server, 80)).unwrap();
    let order = [(up as u64).to_be_bytes(), (down as u64).to_be_bytes()].concat();
    stream.write_all(&order).unwrap();
    stream.write_all(&vec![0xa5; up]).unwrap();
    let got = io::copy(&mut stream, &mut io::sink()).unwrap();
    assert_eq!(got, down as u64);
}

/// Datagrams there and back, some larger than the MTU of 1500.
fn datagrams(client: &Space, server: &Space, (from, to): (&str, &str)) {
    let server = server.within(|| UdpSocket::bind((to, 53)).unwrap());
    let client = client.within(|| UdpSocket::bind((from, 5353)).unwrap());
    client.connect((to, 53)).unwrap();
    let mut buffer = [0; 2048];
    for n in 0..200usize {
        client.send(&vec![1; n * 7]).unwrap();
        let (got, peer) = server.recv_from(&mut buffer).unwrap();
        assert_eq!(got, n * 7);
        server.send_to(&vec![2; n * 3], peer).unwrap();
        assert_eq!(client.recv(&mut buffer).unwrap(), n * 3);
    }
}

/// Echo requests and their replies, through a ping socket.
fn ping(client: &Space, to: &str) {
    let to: IpAddr = to.parse().unwrap();
    let (family, protocol, kind) = match to {
        IpAddr::V4(_) => (libc::AF_INET, libc::IPPROTO_ICMP, 8),
        IpAddr::V6(_) => (libc::AF_INET6, libc::IPPROTO_ICMPV6, 128),
    };
    client.within(|| {
        // SAFETY: a system call without pointers; the socket is owned from here on. A ping
        // socket takes the same calls as one for UDP.
        let socket = unsafe {
            let fd = libc::socket(family, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, protocol);
            assert!(fd >= 0, "ping socket: {}", io::Error::last_os_error());
            UdpSocket::from(OwnedFd::from_raw_fd(fd))
        };
        assert!(socket.as_raw_fd() > 0);
        socket
            .set_read_timeout(Some(Duration::from_secs(2)))
            .unwrap();
        socket.connect((to, 0)).unwrap();
        for n in 0..20u8 {
            let mut echo = vec![kind, 0, 0, 0, 0, 0, 0, n];
            echo.extend(vec![n; usize::from(n) * 50]);
            socket.send(&echo).unwrap();
            let mut buffer = [0; 2048];
            assert_eq!(socket.recv(&mut buffer).unwrap(), echo.len());
        }
    });
}

/// The records, as the capture names them.
fn records(plane: &Plane) -> BTreeMap<Ends, Counts> {
    let mut flows: BTreeMap<Ends, Counts> = BTreeMap::new();
    for flow in plane.flows() {
        let record = &flow.record;
        let low = (record.key.low.to_ip(), record.key.low_port);
        let high = (record.key.high.to_ip(), record.key.high_port);
        let [forward, backward] =
            [&record.forward, &record.backward].map(|d| [u64::from(d.packets), d.bytes]);
        let of_low = if record.state & state::FORWARD_IS_LOW != 0 {
            [forward, backward]
        } else {
            [backward, forward]
        };
        // Neighbour discovery and the like are not compared.
        let icmp = matches!(record.key.protocol(), 1 | 58);
        if icmp && !matches!((low.1, high.1), (0, 8) | (8, 0) | (128, 129) | (129, 128)) {
            continue;
        }
        // Addresses compare in the capture as the standard library orders them.
        let (ends, counts) = if low <= high {
            ((low, high, record.key.protocol()), of_low)
        } else {
            ((high, low, record.key.protocol()), [of_low[1], of_low[0]])
        };
        let sum = flows.entry(ends).or_default();
        for (sum, more) in sum.iter_mut().flatten().zip(counts.iter().flatten()) {
            *sum += more;
        }
    }
    flows
}

/// Packets and bytes that the capture has and the records lack; the flow of which the
/// records have more, or which is in one of them only.
fn lacking(
    counted: &BTreeMap<Ends, Counts>,
    expected: &BTreeMap<Ends, Counts>,
) -> Result<[u64; 2], Ends> {
    let mut sum = [0; 2];
    for ends in counted.keys().chain(expected.keys()) {
        let (Some(_), Some(_)) = (counted.get(ends), expected.get(ends)) else {
            return Err(*ends);
        };
    }
    for (ends, expected) in expected {
        for (have, want) in counted[ends].iter().zip(expected) {
            for n in 0..2 {
                sum[n] += want[n].checked_sub(have[n]).ok_or(*ends)?;
            }
        }
    }
    Ok(sum)
}

struct Case {
    mtu: u64,
    offload: bool,
    mode: Mode,
}

fn compare(case: &Case) {
    let Some(lab) = Lab::new(&["tcpdump", "ethtool"]) else {
        return;
    };
    let what = format!(
        "MTU {}, offload {}, {:?}",
        case.mtu, case.offload, case.mode
    );
    let (client, server) = spaces();
    for (space, name) in [(&client, "vc"), (&server, "vs")] {
        space.run(&format!("ip link set dev {name} mtu {}", case.mtu));
        let state = if case.offload { "on" } else { "off" };
        space.run(&format!(
            "ethtool -K {name} tso {state} gso {state} gro {state}"
        ));
    }
    let pins = lab.pins();
    let attached = plane::attach_in(
        &server,
        &pins,
        "vs",
        &plane::request_in(case.mode, 4096, 64),
    );
    assert_eq!(attached.native_refused, None);
    let plane = Plane::open(&pins);
    let files = tempfile::tempdir().unwrap();
    let dumps = [
        Tcpdump::start(&server, "vs", &files.path().join("vs")),
        Tcpdump::start(&client, "vc", &files.path().join("vc")),
    ];
    for (from, to) in ADDRESSES {
        let listener = server.within(|| TcpListener::bind((to, 80)).unwrap());
        thread::scope(|scope| {
            scope.spawn(|| serve(&listener, 3));
            client.within(|| {
                transfer(to, 0, DOWN);
                transfer(to, UP, 0);
                transfer(to, UP / 4, DOWN / 4);
            });
        });
        datagrams(&client, &server, (from, to));
        ping(&client, to);
    }
    let mut before = 0;
    wait_for(Duration::from_secs(5), || {
        let last = std::mem::replace(&mut before, plane.account().in_records.packets);
        thread::sleep(Duration::from_millis(100));
        last == before
    });
    let [on_server, on_client] = dumps.map(Tcpdump::end);
    let from_client = |packet: &&Seen| {
        ADDRESSES
            .iter()
            .any(|(from, _)| packet.source.0 == from.parse::<IpAddr>().unwrap())
    };
    let leaves = on_server
        .iter()
        .filter(|packet| !from_client(packet))
        .copied();
    let arrives = on_client.iter().filter(from_client).copied();
    let largest = on_server
        .iter()
        .chain(&on_client)
        .map(|packet| packet.bytes)
        .max()
        .unwrap();
    assert_eq!(
        largest > case.mtu + 14,
        case.offload,
        "{what}: largest frame {largest}"
    );
    let mut expected = BTreeMap::new();
    // What leaves counts as the segments that it will be cut into.
    capture::add(&mut expected, leaves, capture::as_segments(case.mtu));
    // What arrives counts as the frames that arrived: what the other side sent.
    capture::add(&mut expected, arrives, capture::as_one);
    let counted = records(&plane);
    assert_eq!(
        expected.len(),
        2 * 5,
        "{what}: flows in the capture: {expected:#?}"
    );
    let totals = expected
        .values()
        .flatten()
        .fold([0; 2], |sum, one| [sum[0] + one[0], sum[1] + one[1]]);
    println!(
        "{what}: {} flows, {} packets, {} bytes, largest frame {largest}",
        expected.len(),
        totals[0],
        totals[1]
    );
    // A packet whose record another CPU holds for too long (it was interrupted) is counted
    // as not admitted: the one thing that may lack, and no more than one in a thousand.
    let account = plane.account();
    let refused = account.total.tally(Fate::NotAdmitted);
    let lacking = lacking(&counted, &expected).unwrap_or_else(|ends| {
        panic!(
            "{what}: {ends:?}: in the record {:?}, in the capture {:?}",
            counted.get(&ends),
            expected.get(&ends)
        )
    });
    println!(
        "  {} contended, {refused:?} not admitted",
        account.total.event(Event::Contended)
    );
    assert_eq!(
        lacking,
        [refused.packets, refused.bytes],
        "{what}: in no record, but in the capture"
    );
    assert!(
        refused.packets * 1000 <= totals[0],
        "{what}: {refused:?} not admitted"
    );
    assert_eq!(plane.account().difference(), (0, 0), "{what}");
    if !case.offload {
        // With nothing merged or cut, the interface's own capture says the same of both ways.
        let mut own = BTreeMap::new();
        capture::add(&mut own, on_server.into_iter(), capture::as_one);
        assert_eq!(expected, own, "{what}: the captures of both sides");
    }
    attach::detach_all(&pins).unwrap();
}

#[test]
fn records_equal_the_capture_without_offload() {
    for mtu in [1500, 9000] {
        compare(&Case {
            mtu,
            offload: false,
            mode: Mode::Native,
        });
    }
}

#[test]
fn records_equal_the_capture_with_offload() {
    for mtu in [1500, 9000] {
        compare(&Case {
            mtu,
            offload: true,
            mode: Mode::Native,
        });
    }
}

#[test]
fn records_equal_the_capture_in_generic_mode() {
    compare(&Case {
        mtu: 1500,
        offload: false,
        mode: Mode::Generic,
    });
}

/// What a virtual machine sends through its host says how long the segments are to be,
/// and not how many: nobody has counted them when it passes the egress hook.
#[test]
fn a_large_frame_of_a_virtual_machine_counts_as_its_segments() {
    let Some(lab) = Lab::new(&[]) else { return };
    let (client, server) = spaces();
    let pins = lab.pins();
    let attached = plane::attach_in(&server, &pins, "vs", &plane::request(64, 16));
    let plane = Plane::open(&pins);
    let raw = server.within(|| Raw::of_a_virtual_machine("vs"));
    let listener = client.within(|| Raw::listener("vc"));
    const SEGMENT: usize = 1000;
    let (from, to) = (v4([10, 0, 0, 2], 80), v4([10, 0, 0, 1], 5000));
    // Of nine and a half segments, of one, and of one and a bit.
    for payload in [SEGMENT * 9 + 500, SEGMENT, SEGMENT + 1] {
        raw.send_to_be_cut(
            &tcp_frame(from, to, ACK, &vec![7; payload]),
            54,
            SEGMENT as u16,
        );
    }
    let mut arrived = 0;
    while let Some(frame) = listener.receive(Duration::from_millis(300)) {
        arrived += usize::from(frame.len() > 54 && frame[23] == TCP);
    }
    assert_eq!(arrived, 3, "frames, uncut, for the pair takes them whole");
    let key = plane::key(from, to, TCP, attached.interface.index);
    let records = plane.records_of(&key);
    let record = &records[0].record;
    let payload = (SEGMENT * 11 + 501) as u64;
    assert_eq!(
        (record.forward.packets, record.forward.payload),
        (10 + 1 + 2, payload)
    );
    assert_eq!(record.forward.bytes, payload + 13 * 54);
    assert_eq!(
        (record.forward.payload_min, record.forward.payload_max),
        (1, SEGMENT as u16)
    );
}
