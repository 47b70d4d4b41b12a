//! What a replay did, in numbers and in words.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use detector_common::{
    counters::{Event, Fate},
    frame::Malformed,
};

use super::ReplayError;
use crate::cli::ethertype::{FIRST, name};
use crate::flow::Account;
use crate::output::Shown;
use crate::output::units::{count, grouped};

/// Kinds that one line names before it says "other".
const NAMED_MAX: usize = 8;

/// What a replay did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Captures read, those that are cut off included.
    pub captures_read: usize,
    /// Captures, and directories, that could not be read to the end.
    pub captures_failed: usize,
    /// Captures that end within a record.
    pub captures_cut_off: usize,
    /// Files in directories that are no captures.
    pub passed_over: usize,
    /// Frames read.
    pub frames: u64,
    /// Frames of which the capture holds only the beginning.
    pub frames_truncated: u64,
    /// Frames that claim to be longer than any can be.
    pub frames_clamped: u64,
    /// Packets of link types that are not read, by type.
    pub skipped: BTreeMap<u16, u64>,
    /// What became of the frames.
    pub account: Account,
    /// What became of the flows.
    pub shown: Shown,
}

impl Report {
    /// Whether all went well.
    ///
    /// # Errors
    /// Where captures failed, there were none, or the counters contradict each other.
    pub fn verdict(&self) -> Result<(), ReplayError> {
        let counters = &self.account.counters;
        if !self.account.is_conserved() {
            return Err(ReplayError::NotConserved {
                seen: counters.tally(Fate::Seen).packets,
                accounted: counters.accounted(self.account.in_records).packets,
            });
        }
        match (self.captures_read, self.captures_failed) {
            (0, 0) => Err(ReplayError::NoCaptures),
            (_, 0) => Ok(()),
            (read, failed) => Err(ReplayError::Captures {
                failed,
                total: read + failed,
            }),
        }
    }

    /// Prints the summary to standard error. That nobody may read it is no reason to fail.
    pub(super) fn print(&self, took: Duration) {
        let _ = std::io::stderr().write_all(self.text(took).as_bytes());
    }

    /// The summary. Writing to a String cannot fail.
    pub(super) fn text(&self, took: Duration) -> String {
        let counters = &self.account.counters;
        let seconds = took.as_secs_f64();
        let rate = if seconds > 0.0 {
            (self.frames as f64 / seconds) as u64
        } else {
            0
        };
        let mut text = String::new();
        let _ = writeln!(
            text,
            "replayed    {} frames of {} captures in {seconds:.2} s, {} packets a second",
            grouped(self.frames),
            grouped(self.captures_read as u64),
            count(rate),
        );
        let ended = counters.event(Event::FlowsEnded);
        let _ = write!(
            text,
            "flows       {}: {} ended, {} alive at the end",
            grouped(self.shown.flows),
            grouped(ended),
            grouped(self.shown.flows.saturating_sub(ended)),
        );
        if self.shown.matched != self.shown.flows {
            let _ = write!(text, "; {} wanted", grouped(self.shown.matched));
        }
        if self.shown.written != self.shown.matched {
            let _ = write!(
                text,
                "; {} written (--limit 0 for all)",
                grouped(self.shown.written)
            );
        }
        text.push('\n');
        let ethertypes = self.account.ethertypes.iter();
        line(
            &mut text,
            "not IP",
            "frames",
            ethertypes.map(|(number, tally)| (ethertype(*number), tally.packets)),
        );
        let reasons = Malformed::ALL.iter().zip(counters.malformed);
        line(
            &mut text,
            "malformed",
            "packets",
            reasons.map(|(reason, n)| (reason.name().to_owned(), n)),
        );
        let skipped = self.skipped.iter();
        line(
            &mut text,
            "skipped",
            "packets of link types that are not read",
            skipped.map(|(link, n)| (format!("type {link}"), *n)),
        );
        self.remarks(&mut text);
        self.identity(&mut text);
        text
    }

    /// What is seldom, and then worth a line.
    fn remarks(&self, text: &mut String) {
        let event = |event| self.account.counters.event(event);
        let remarks = [
            (
                event(Event::ShortTransport),
                "packets have a cut-off or absurd transport header; they are in flows",
            ),
            (
                self.frames_truncated,
                "frames were captured in part; the rest counts as zeros",
            ),
            (
                self.frames_clamped,
                "frames claim to be longer than any can be",
            ),
            (
                self.captures_cut_off as u64,
                "captures end within a record; all before it was read",
            ),
            (
                self.captures_failed as u64,
                "captures could not be read to the end",
            ),
            (
                self.passed_over as u64,
                "files in directories are no captures and were passed over",
            ),
        ];
        for (n, what) in remarks {
            if n > 0 {
                let _ = writeln!(text, "note        {} {what}", grouped(n));
            }
        }
        let refused = self.account.counters.tally(Fate::NotAdmitted).packets;
        if refused > 0 {
            let _ = writeln!(
                text,
                "warning     {} packets of further flows found the table full; see --flows-max",
                grouped(refused)
            );
        }
    }

    /// The conservation identity.
    fn identity(&self, text: &mut String) {
        let counters = &self.account.counters;
        let fates = Fate::ALL
            .into_iter()
            .filter(|fate| *fate != Fate::Seen)
            .map(|fate| (fate.name(), counters.tally(fate).packets))
            .filter(|(_, packets)| *packets > 0);
        let _ = write!(
            text,
            "accounted   {} seen {} {} in_records",
            grouped(counters.tally(Fate::Seen).packets),
            if self.account.is_conserved() {
                "="
            } else {
                "≠"
            },
            grouped(self.account.in_records.packets),
        );
        for (name, packets) in fates {
            let _ = write!(text, " + {} {name}", grouped(packets));
        }
        text.push('\n');
    }
}

/// One line with the parts of a sum, largest first; none where the sum is 0.
fn line(text: &mut String, title: &str, unit: &str, parts: impl Iterator<Item = (String, u64)>) {
    let mut by_name = BTreeMap::<String, u64>::new();
    for (name, n) in parts.filter(|(_, n)| *n > 0) {
        *by_name.entry(name).or_default() += n;
    }
    let mut parts: Vec<_> = by_name.into_iter().collect();
    let sum: u64 = parts.iter().map(|(_, n)| n).sum();
    if sum == 0 {
        return;
    }
    parts.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let _ = write!(text, "{title:<12}{} {unit}:", grouped(sum));
    for (name, n) in parts.iter().take(NAMED_MAX) {
        let _ = write!(text, " {} {name},", grouped(*n));
    }
    let rest: u64 = parts.iter().skip(NAMED_MAX).map(|(_, n)| n).sum();
    if rest > 0 {
        let _ = write!(text, " {} other,", grouped(rest));
    }
    text.pop();
    text.push('\n');
}

/// An EtherType by name, with its number where it is one.
fn ethertype(number: u16) -> String {
    match name(number) {
        Some(name) if number < FIRST => name.to_owned(),
        Some(name) => format!("{name} (0x{number:04x})"),
        None => format!("0x{number:04x}"),
    }
}
