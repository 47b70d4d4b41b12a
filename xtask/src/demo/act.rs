//! One attack, from before its onset until after its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::attack::Attack;
use super::detector::{Detector, Verdict};
use super::operator::{Culprit, Finding, Operator};
use super::say;
use crate::lab::client::{Client, TIMEOUT};
use crate::lab::sender::Sender;
use crate::lab::stop::Stop;
use crate::lab::traffic::Packet;
use crate::lab::{CLIENT, Lab, SERVER};

/// Without the attack, to compare with.
const BEFORE: Duration = Duration::from_secs(2);
/// With the attack and without a verdict, at the least.
const WATCHED: Duration = Duration::from_secs(3);
/// With the verdict; one that expires ends it earlier.
const ENFORCED: Duration = Duration::from_secs(5);
/// What is measured ends this long before the verdict expires.
const BEFORE_EXPIRY: Duration = Duration::from_millis(1500);
/// With the attack, and the verdict expired.
const EXPIRED: Duration = Duration::from_secs(2);
/// Without the attack; by then every request of the phases before has succeeded or failed.
const AFTER: Duration = TIMEOUT;
/// Between two looks of the operator.
const LOOK: Duration = Duration::from_millis(300);
/// Between two looks at the verdict.
const POLL: Duration = Duration::from_millis(5);
/// Readings of a verdict, of which the best is taken.
const READINGS: u32 = 10;
/// How long the operator may take to find the attack, and the verdict to act and to expire.
const PATIENCE: Duration = Duration::from_secs(20);
/// Until what was sent has arrived.
const IN_FLIGHT: Duration = Duration::from_millis(200);

/// What the act is played on.
#[derive(Clone, Copy)]
pub(super) struct Stage<'a> {
    pub(super) lab: &'a Lab,
    pub(super) detector: &'a Detector,
    pub(super) client: &'a Client,
    pub(super) stop: &'a Stop,
}

/// An attack, about to be played.
pub(super) struct Act {
    attack: &'static Attack,
    packets: Arc<Vec<Packet>>,
}

/// Some time of an act.
#[derive(Clone, Debug)]
pub(super) struct Phase {
    pub(super) name: &'static str,
    pub(super) from: Instant,
    pub(super) to: Instant,
    /// Packets that the attacker sent.
    pub(super) sent: u64,
    /// Packets that the verdict dropped.
    pub(super) dropped: u64,
}

/// What came of it.
pub(super) struct Outcome {
    pub(super) attack: &'static Attack,
    pub(super) phases: Vec<Phase>,
    /// From the onset until the operator found it.
    pub(super) found: Duration,
    /// From the order to write the verdict until its first drop was seen.
    pub(super) first_drop: Duration,
    /// Packets of the attack that came past the verdict in the enforced phase.
    pub(super) let_through: u64,
    /// Packets of the attack that passed when the verdict had expired, where that is shown. At least these: of a flow
    /// that ended and began anew several times between two looks, only the last life is seen.
    pub(super) passed_expired: Option<u64>,
    /// Whether the verdict was on somebody who is no attacker.
    pub(super) false_verdict: bool,
}

/// An attack under way.
struct Running<'a> {
    stage: Stage<'a>,
    operator: Operator<'a>,
    sender: Sender,
    onset: Instant,
}

/// Where the attacker and the verdict stand.
#[derive(Clone, Copy)]
struct Mark {
    at: Instant,
    sent: u64,
    dropped: u64,
}

impl Outcome {
    /// The phase with the verdict in force.
    pub(super) fn enforced(&self) -> Option<&Phase> {
        self.phases.iter().find(|phase| phase.name == "enforced")
    }

    /// Share of what the attacker sent in the enforced phase that was dropped.
    pub(super) fn dropped_share(&self) -> f64 {
        self.enforced()
            .map_or(0.0, |phase| phase.dropped as f64 / phase.sent.max(1) as f64)
    }
}

impl Act {
    pub(super) fn new(attack: &'static Attack, packets: Vec<Packet>) -> Self {
        Self {
            attack,
            packets: Arc::new(packets),
        }
    }

    pub(super) fn play(self, stage: Stage<'_>) -> Result<Outcome> {
        let before = Instant::now();
        stage.stop.sleep(BEFORE)?;
        let operator = Operator::new(stage.detector, stage.lab.server())?;
        let onset = Instant::now();
        let mut running = Running {
            stage,
            operator,
            sender: Sender::start(
                stage.lab.attacker(),
                Arc::clone(&self.packets),
                self.attack.pace,
            )?,
            onset,
        };
        say(&format!(
            "\n  {:>5.2} s  onset; nothing is dropped, only watched",
            0.0
        ));
        let (finding, found) = running.watch()?;
        let false_verdict = finding.culprit == Culprit::Source(CLIENT.into());
        let ordered = running.mark(0);
        let reason = running.order(self.attack, &finding)?;
        let (first, begun) = running.until_first_drop(&reason, ordered.at)?;
        let first_drop = first - ordered.at;
        running.operator.look()?;
        let ended = running.enforce(self.attack, &reason, ordered.at)?;
        let let_through = running.operator.look()?.packets(&finding.culprit);
        let mut phases = vec![
            Phase {
                name: "before",
                from: before,
                to: onset,
                sent: 0,
                dropped: 0,
            },
            Mark {
                at: onset,
                sent: 0,
                dropped: 0,
            }
            .until("watched", ordered),
            begun.until("enforced", ended),
        ];
        running.tell_enforced(&phases[2], let_through);
        let mut over = ended;
        let mut passed_expired = None;
        if self.attack.outlasts_verdict {
            let (phase, passed) = running.outlast(&reason, &finding.culprit)?;
            over.at = phase.to;
            phases.push(phase);
            passed_expired = Some(passed);
        }
        running.sender.stop()?;
        stage.stop.sleep(AFTER)?;
        phases.push(Phase {
            name: "after",
            from: over.at,
            to: Instant::now(),
            sent: 0,
            dropped: 0,
        });
        tell_client(&phases, stage.client);
        Ok(Outcome {
            attack: self.attack,
            phases,
            found,
            first_drop,
            let_through,
            passed_expired,
            false_verdict,
        })
    }
}

impl Running<'_> {
    fn tell(&self, text: &str) {
        say(&format!(
            "  {:>5.2} s  {text}",
            self.onset.elapsed().as_secs_f64()
        ));
    }

    fn mark(&self, dropped: u64) -> Mark {
        Mark {
            at: Instant::now(),
            sent: self.sender.sent(),
            dropped,
        }
    }

    /// Watches: what the operator found, and how long after the onset.
    fn watch(&mut self) -> Result<(Finding, Duration)> {
        let mut found = None;
        loop {
            self.stage.stop.sleep(LOOK)?;
            if found.is_none() {
                found = self
                    .operator
                    .look()?
                    .finding()?
                    .map(|finding| (finding, self.onset.elapsed()));
                if let Some((finding, _)) = &found {
                    self.tell(&format!("found: {}", describe(finding)));
                }
            }
            match found {
                Some(found) if self.onset.elapsed() >= WATCHED => return Ok(found),
                None if self.onset.elapsed() >= PATIENCE => {
                    bail!("the attack was not found within {} s", PATIENCE.as_secs())
                }
                _ => {}
            }
        }
    }

    /// Writes the verdict; its reason, by which it is known.
    fn order(&self, attack: &Attack, finding: &Finding) -> Result<String> {
        let reason = format!(
            "{}: {:.0} fruitless flows/s",
            attack.name, finding.fruitless_per_second
        );
        let ttl = format!("{}s", attack.ttl_s);
        let (address, to, port);
        let target: &[&str] = match &finding.culprit {
            Culprit::Source(source) => {
                address = source.to_string();
                &["--address", &address]
            }
            Culprit::Service(service) => {
                (to, port) = (format!("{SERVER}/32"), service.port.to_string());
                let looks = [
                    "--signature",
                    "--to",
                    &to,
                    "--protocol",
                    &service.protocol,
                    "--dport",
                    &port,
                ];
                &[
                    &looks[..],
                    if service.protocol == "tcp" {
                        &["--flags", "syn,!ack"]
                    } else {
                        &[]
                    },
                ]
                .concat()
            }
        };
        let what = ["--action", "drop", "--ttl", &ttl, "--reason", &reason];
        self.tell("the operator writes the verdict");
        let command = [&["verdicts", "add"], target, &what].concat();
        self.stage
            .detector
            .show(self.stage.lab.server(), &command)?;
        Ok(reason)
    }

    fn verdict(&self, reason: &str) -> Result<Option<Verdict>> {
        self.stage.detector.verdict(self.stage.lab.server(), reason)
    }

    /// What the verdict dropped by now.
    fn dropped(&self, reason: &str) -> Result<u64> {
        let verdict = self.verdict(reason)?.context("the verdict is gone")?;
        Ok(verdict.dropped_packets)
    }

    /// When the first drop was seen, and where attacker and verdict stand a moment later.
    fn until_first_drop(&self, reason: &str, ordered: Instant) -> Result<(Instant, Mark)> {
        while self.dropped(reason)? == 0 {
            if ordered.elapsed() > PATIENCE {
                bail!(
                    "the verdict has dropped nothing within {} s",
                    PATIENCE.as_secs()
                );
            }
            self.stage.stop.sleep(POLL)?;
        }
        let seen = Instant::now();
        self.tell(&format!(
            "it drops: seen {} after the order",
            milliseconds(seen - ordered)
        ));
        Ok((seen, self.steady(reason)?.0))
    }

    /// Where attacker and verdict stand, read when least was sent between the one reading and the other: with what had
    /// been sent before the verdict was read, and with what had been sent after.
    fn steady(&self, reason: &str) -> Result<(Mark, Mark)> {
        let mut best: Option<(Mark, Mark)> = None;
        for _ in 0..READINGS {
            let mut before = self.mark(0);
            before.dropped = self.dropped(reason)?;
            let after = self.mark(before.dropped);
            let between = |marks: &(Mark, Mark)| marks.1.sent - marks.0.sent;
            if best
                .as_ref()
                .is_none_or(|best| after.sent - before.sent < between(best))
            {
                best = Some((before, after));
            }
            if after.sent == before.sent {
                break;
            }
            self.stage.stop.sleep(POLL)?;
        }
        best.context("the verdict was not read")
    }

    /// Lets the verdict work, to the end of the attack or to where it soon expires.
    fn enforce(&mut self, attack: &Attack, reason: &str, ordered: Instant) -> Result<Mark> {
        if attack.outlasts_verdict {
            let end = ordered + Duration::from_secs(attack.ttl_s) - BEFORE_EXPIRY;
            self.stage.stop.sleep_until(end)?;
            return Ok(self.steady(reason)?.1);
        }
        self.stage.stop.sleep(ENFORCED)?;
        let sent = self.sender.stop()?;
        let at = Instant::now();
        self.stage.stop.sleep(IN_FLIGHT)?;
        let dropped = self.dropped(reason)?;
        Ok(Mark { at, sent, dropped })
    }

    fn tell_enforced(&self, phase: &Phase, let_through: u64) {
        self.tell(&format!(
            "since the first drop: {} packets sent, {} dropped, {let_through} came through",
            phase.sent, phase.dropped
        ));
    }

    /// The attack goes on past the verdict's expiry; the packets that passed then.
    fn outlast(&mut self, reason: &str, culprit: &Culprit) -> Result<(Phase, u64)> {
        let begun = Instant::now();
        while self
            .verdict(reason)?
            .is_some_and(|verdict| !verdict.expired)
        {
            if begun.elapsed() > PATIENCE {
                bail!("the verdict does not expire");
            }
            self.stage.stop.sleep(LOOK)?;
        }
        // None where the verdict was cleared away.
        let dropped = |running: &Self| {
            running
                .verdict(reason)
                .map(|verdict| verdict.map_or(0, |v| v.dropped_packets))
        };
        let expired = self.mark(dropped(self)?);
        self.operator.look()?;
        self.stage.stop.sleep(EXPIRED)?;
        let passed = self.operator.look()?.packets(culprit);
        let end = self.mark(dropped(self)?);
        let phase = expired.until("expired", end);
        self.tell(&format!(
            "the verdict has expired: of {} packets sent since at least {passed} came through, {} more were dropped",
            phase.sent, phase.dropped
        ));
        Ok((phase, passed))
    }
}

impl Mark {
    fn until(self, name: &'static str, end: Mark) -> Phase {
        Phase {
            name,
            from: self.at,
            to: end.at,
            sent: end.sent.saturating_sub(self.sent),
            dropped: end.dropped.saturating_sub(self.dropped),
        }
    }
}

fn describe(finding: &Finding) -> String {
    let rate = finding.fruitless_per_second;
    match &finding.culprit {
        Culprit::Source(source) => format!("{source} has {rate:.0} fruitless flows a second"),
        Culprit::Service(service) => format!(
            "{rate:.0} fruitless flows a second to {}/{}, from {} sources at one look",
            service.protocol, service.port, finding.sources
        ),
    }
}

/// How the client fared in the phases that are over for long enough.
fn tell_client(phases: &[Phase], client: &Client) {
    let fared: Vec<String> = phases
        .iter()
        .filter(|phase| phase.name != "after")
        .map(|phase| {
            let service = client.service(phase.from, phase.to);
            let share = service.share() * 100.0;
            format!(
                "{} {share:.1} % (p99 {})",
                phase.name,
                milliseconds(service.p99)
            )
        })
        .collect();
    say(&format!(
        "           the client was served: {}",
        fared.join(", ")
    ));
}

/// A time span for people.
pub(super) fn milliseconds(span: Duration) -> String {
    let ms = span.as_secs_f64() * 1000.0;
    match ms {
        ..9.95 => format!("{ms:.1} ms"),
        ..999.5 => format!("{ms:.0} ms"),
        _ => format!("{:.2} s", ms / 1000.0),
    }
}
