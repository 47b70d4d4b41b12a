//! What the agent, with the model that is built in, decides about every shared capture: nobody in benign traffic is denied,
//! and attacks that are visible in flows are told of by their family.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a step that fails is a test that fails"
)]

mod needs;

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use detector_user::{
    agent::replay::ReplayAgent,
    decide::{
        alert::{Decision, Kind},
        family::Family,
        policy::Policy,
    },
    flow::FLOWS_MAX_DEFAULT,
    score::Scorer,
    wire::capture::CaptureReader,
};

/// What was decided about a capture.
#[derive(Debug, Default)]
struct Decided {
    families: BTreeSet<Family>,
    alerts: Vec<String>,
    verdicts: Vec<String>,
}

fn decide(path: &Path, scorer: Option<Arc<Scorer>>) -> Option<Decided> {
    let mut reader = CaptureReader::open(path).ok()?;
    let decided = RefCell::new(Decided::default());
    let tell = |decision: &Decision| {
        let mut decided = decided.borrow_mut();
        if let Some(act) = &decision.act {
            decided.verdicts.push(format!("{act:?}"));
        }
        if let Some(alert) = &decision.alert
            && matches!(alert.kind, Kind::Attack(_))
        {
            decided.families.insert(alert.family);
            let source = alert.source.map(|(address, _)| address);
            decided
                .alerts
                .push(format!("{} {source:?}: {}", alert.family, alert.reason));
        }
    };
    let mut agent = ReplayAgent::new(FLOWS_MAX_DEFAULT, Policy::default(), scorer, true, tell);
    while let Ok(Some(frame)) = reader.next_frame() {
        agent.frame(frame.time_ns, frame.bytes);
    }
    agent.finish();
    Some(decided.into_inner())
}

fn captures(folder: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(needs::captures().join(folder)) else {
        needs::skip(&format!("no captures at {}", needs::captures().display()));
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn built_in() -> Option<Arc<Scorer>> {
    Some(Arc::new(Scorer::of(None).unwrap()))
}

#[test]
fn nobody_in_benign_traffic_is_denied() {
    for scorer in [built_in(), None] {
        for folder in ["benign", "protocols"] {
            for path in captures(folder) {
                let Some(decided) = decide(&path, scorer.clone()) else {
                    continue;
                };
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                for alert in &decided.alerts {
                    println!("{folder}/{name}: {alert}");
                }
                assert!(
                    decided.verdicts.is_empty(),
                    "{name}: {:?}",
                    decided.verdicts
                );
            }
        }
    }
}

/// Attacks that are visible in flows, by the beginnings of their captures' names.
const VISIBLE: [(&str, Family); 34] = [
    ("cicddos2019_syn_ponyweng", Family::Flood),
    ("cicddos2019_synflood", Family::Flood),
    ("doup123_icmp_blacknurse", Family::Flood),
    ("doup123_udp_flood_hping", Family::Flood),
    ("stopddos_pkt.TCP.synflood.spoofed", Family::Flood),
    ("suricata_dhcp_request_flood", Family::Flood),
    ("suricata_ipv6_denial6-5", Family::Flood),
    ("suricata_rsmurf6", Family::Flood),
    ("stopddos_amp.TCP.reflection", Family::Amplification),
    ("stopddos_amp.UDP.bacnet", Family::Amplification),
    ("stopddos_amp.dns.RRSIG", Family::Amplification),
    ("esnet_masscan_tcp", Family::Scan),
    ("ndpi_synscan", Family::Scan),
    ("ppa_synscan", Family::Scan),
    ("ppa_portscan", Family::Scan),
    ("nmap_ACK_SCAN", Family::Scan),
    ("nmap_FIN_SCAN", Family::Scan),
    ("nmap_FTP_BOUNCE_SCAN", Family::Scan),
    ("nmap_IP_PROTOCOL_SCAN", Family::Scan),
    ("nmap_NULL_SCAN", Family::Scan),
    ("nmap_RPC_SCAN", Family::Scan),
    ("nmap_TCP_CONNECT_SCAN", Family::Scan),
    ("nmap_TCP_SYN_SCAN", Family::Scan),
    ("nmap_UDP_SCAN", Family::Scan),
    ("nmap_WINDOW_SCAN", Family::Scan),
    ("nmap_XMAS_TREE_SCAN", Family::Scan),
    ("nmap_version_scan", Family::Scan),
    ("pcaphunt_hs-icmpScan", Family::Scan),
    ("pcaphunt_hs-tcp_ackPingSweepRand", Family::Scan),
    ("pcaphunt_hs-tcp_synPingSweepRand", Family::Scan),
    ("pcaphunt_ps-tcp", Family::Scan),
    ("joy_ssh_hydra_bruteforce", Family::BruteForce),
    ("zeek_ftp_bruteforce", Family::BruteForce),
    ("zeek_sshguess", Family::BruteForce),
];

#[test]
fn visible_attacks_are_told_of_by_their_family_with_a_model_and_without() {
    for scorer in [built_in(), None] {
        let mut missed = Vec::new();
        for path in captures("attack") {
            let Some(decided) = decide(&path, scorer.clone()) else {
                continue;
            };
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            println!("{name}: {:?}", decided.families);
            let expected = VISIBLE.iter().find(|(begin, _)| name.starts_with(begin));
            if let Some((_, family)) = expected
                && !decided.families.contains(family)
            {
                missed.push(format!("{name}: {family} expected, {:?}", decided.families));
            }
        }
        assert!(missed.is_empty(), "{missed:#?}");
    }
}
