//! What the agent decides about every shared capture, as a table.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::tool;

/// Why nothing is raised about some captures of attacks, by the beginnings of their names.
const SILENT: [(&str, &str); 12] = [
    (
        "honeynet_fc4_voip",
        "a honeypot's whole traffic: 97 flows in four minutes, the attack is in SIP payloads",
    ),
    ("ndpi_NTPv2", "one packet"),
    (
        "ndpi_dns-tunnel-iodine",
        "a tunnel in DNS names: one flow as large as a resolver's; no family of the model's",
    ),
    (
        "ndpi_dns_exfiltration",
        "a tunnel in DNS names: one flow as large as a resolver's; no family of the model's",
    ),
    (
        "ndpi_dos_win98",
        "a few malformed SMB datagrams: the attack is in the payload",
    ),
    (
        "ndpi_ssdp-m-search",
        "19 searches in 90 s, as any television sends them",
    ),
    (
        "pcaphunt_hs-arpScan",
        "ARP: not IP, counted by EtherType only",
    ),
    (
        "slips_test8_malicious",
        "ARP: not IP, counted by EtherType only",
    ),
    (
        "ppa_dosattack",
        "100 packets from 100 sources to 100 hosts: nobody is a victim here",
    ),
    ("stopddos_amp.TCP.syn.optionallyACK", "one packet a second"),
    (
        "zeek_dhcp_flood",
        "250 clients ask once each, and are answered",
    ),
    (
        "zeek_heartbleed",
        "one TLS connection: the attack is in the payload",
    ),
];

/// Folders of the shared captures, each with what is expected of it.
const FOLDERS: [(&str, &str); 4] = [
    ("attack", "Attacks"),
    ("mixed", "An attack inside benign traffic"),
    ("benign", "Benign: what raises anything"),
    ("protocols", "One protocol each: what raises anything"),
];

/// Tell what the agent decides about every shared capture.
#[derive(clap::Args)]
pub struct Args {
    /// Where the captures are [default: ../shared/data/pcap]
    #[arg(long, value_name = "DIRECTORY")]
    captures: Option<PathBuf>,
    /// Where to write the table, in Markdown [default: standard output]
    #[arg(short = 'O', long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Replays every capture with `--decide --enforce`.
///
/// # Errors
/// Where the captures are not there, or the detector fails.
pub fn run(args: &Args) -> Result<()> {
    let captures =
        (args.captures.clone()).unwrap_or_else(|| tool::root().join("../shared/data/pcap"));
    if !captures.is_dir() {
        bail!(
            "there are no shared captures at {}: name their directory with --captures",
            captures.display()
        );
    }
    let detector = tool::build_detector("release")?;
    let mut text = String::from(
        "# What is decided about the shared captures\n\n`detector replay --decide --enforce`, built-in model and thresholds. Of each \
         capture: frames, those that verdicts dropped, verdicts, and what was raised, with the highest action.\n",
    );
    for (folder, title) in FOLDERS {
        // It ends with 1 where some captures are of link types that are none of ours; it names them on standard error.
        let output = Command::new(&detector)
            .args(["replay", "--decide", "--enforce", folder])
            .current_dir(&captures)
            .stderr(Stdio::inherit())
            .output()
            .context("cannot start the detector")?;
        if output.stdout.is_empty() {
            bail!(
                "the detector decided nothing about {folder}: {}",
                output.status
            );
        }
        section(
            &mut text,
            folder,
            title,
            &String::from_utf8_lossy(&output.stdout),
        )?;
    }
    match &args.output {
        Some(path) => {
            fs::write(path, &text).with_context(|| format!("cannot write {}", path.display()))
        }
        None => {
            print!("{text}");
            Ok(())
        }
    }
}

/// A line of the detector's: `FILE: N frames, N dropped; N verdicts; WHAT`.
fn section(text: &mut String, folder: &str, title: &str, output: &str) -> Result<()> {
    let mut rows = BTreeMap::new();
    let (mut captures, mut verdicts) = (0u32, 0u32);
    for line in output.lines() {
        let parts = line.strip_prefix(folder).and_then(|rest| {
            let (name, rest) = rest.strip_prefix('/')?.split_once(": ")?;
            let mut rest = rest.splitn(3, "; ");
            Some((name, rest.next()?, rest.next()?, rest.next()?))
        });
        let (name, frames, of_verdicts, raised) = parts
            .with_context(|| format!("the detector said what is no line of a replay: {line}"))?;
        let count = of_verdicts.split(' ').next().unwrap_or_default();
        captures += 1;
        verdicts += count.parse::<u32>().unwrap_or(0);
        rows.insert(name, (frames, count, raised));
    }
    let silent = rows.values().filter(|row| row.2 == "nothing").count();
    write!(
        text,
        "\n## {title}\n\n{captures} captures, {silent} raise nothing, {verdicts} verdicts.\n\n\
         | {folder}/ | frames | verdicts | raised |\n|---|---|---:|---|\n"
    )?;
    for (name, (frames, count, raised)) in rows {
        let raised = match (raised, folder) {
            ("nothing", "attack") => {
                let why = SILENT.iter().find(|(begin, _)| name.starts_with(begin));
                format!(
                    "nothing: {}",
                    why.map_or("**not known why**", |(_, why)| why)
                )
            }
            ("nothing", "benign" | "protocols") => continue,
            _ => raised.to_owned(),
        };
        writeln!(text, "| {name} | {frames} | {count} | {raised} |")?;
    }
    Ok(())
}
