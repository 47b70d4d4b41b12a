//! One trial: an agent that knows nothing yet, the clients at work, the attack, and what came of it.
//!
//! Nothing in it is taken on the agent's word but its alerts. When the attack began, and what of it came through, is
//! what witnesses saw (see [`crate::lab::witness`]); what was dropped is what the kernel counted.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::agent::Agent;
use super::attack::{Ready, Running, tool_log};
use super::events::{self, Alert, by_family};
use super::scenario::{Attack, Scenario};
use super::watch::{Seen, Watch, dropped};
use crate::lab::clients::{Clients, Service, TIMEOUT};
use crate::lab::network::{ATTACKER_MAC, CLIENT_MAC, SERVER_PORT};
use crate::lab::stop::Stop;
use crate::lab::witness::Witness;
use crate::lab::{INTERFACE, Lab};

/// Until the clients have begun.
const SETTLE: Duration = Duration::from_millis(500);
/// Without the attack, to compare with; the agent learns in it what is usual.
const BEFORE: Duration = Duration::from_millis(2500);
/// What clients ask for within this time of the onset is asked for during the attack, be the attack over before.
const DURING_MIN: Duration = Duration::from_secs(1);
/// Without the attack; by then every request of the time before has succeeded or failed.
const AFTER: Duration = TIMEOUT;
/// Until what was sent has arrived.
const IN_FLIGHT: Duration = Duration::from_millis(150);
/// Between two looks at the attack.
const LOOK: Duration = Duration::from_millis(20);

/// What all trials have in common.
pub(super) struct Props<'a> {
    pub(super) binary: &'a Path,
    pub(super) stop: &'a Stop,
    /// Where events and logs are kept.
    pub(super) logs: Option<&'a Path>,
    /// How long the laboratory stays before the agent ends.
    pub(super) keep_going: Duration,
}

/// What a trial is played on.
#[derive(Clone, Copy)]
pub(super) struct Stage<'a> {
    pub(super) lab: &'a Lab,
    pub(super) props: &'a Props<'a>,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) scenario: &'static str,
    /// From the first packet of the attack on the wire until the first alert that is not on a client, ms.
    pub(super) alert_ms: Option<f64>,
    /// … until the first alert of the expected family, ms.
    pub(super) family_ms: Option<f64>,
    /// … until a drop was seen, ms.
    pub(super) first_drop_ms: Option<f64>,
    /// Share of the attack's packets dropped since then.
    pub(super) dropped_share: Option<f64>,
    /// The attack's packets on the wire.
    pub(super) attack_packets: u64,
    /// Those of them that came through.
    pub(super) attack_packets_passed: u64,
    /// Packets dropped by verdicts, whosever they are.
    pub(super) dropped_packets: u64,
    /// How long it lasted, ms.
    pub(super) attack_ms: f64,
    pub(super) before: Service,
    pub(super) during: Service,
    pub(super) after: Service,
    /// Alerts by family.
    pub(super) alerts: BTreeMap<String, usize>,
    /// Verdicts, each in a sentence.
    pub(super) verdicts: Vec<String>,
    /// What was said or done against a client, or with no attack about, each in a sentence.
    pub(super) false_verdicts: Vec<String>,
    pub(super) false_alerts: Vec<String>,
    /// What the agent told of itself, and of what is over, each in a sentence.
    pub(super) notes: Vec<String>,
    /// Packets of clients that verdicts dropped.
    pub(super) client_packets_dropped: u64,
    /// CPU time of the agent during the attack, share of one CPU.
    pub(super) agent_cpu: f64,
    /// The first alert of the attack, in a sentence.
    pub(super) first_alert: Option<String>,
}

/// Who counts.
struct Witnesses {
    attack_sent: Witness,
    attack_passed: Arc<Witness>,
    clients_sent: Witness,
    clients_passed: Witness,
    lost_before: u64,
}

/// The attack's time, by both clocks.
struct Times {
    onset: SystemTime,
    began: Instant,
}

/// Plays a scenario once.
pub(super) fn play(
    stage: Stage<'_>,
    scenario: &Scenario,
    ready: &Ready,
    name: &str,
) -> Result<Outcome> {
    let mut agent = Agent::start(stage.lab, stage.props.binary, stage.props.stop)?;
    let outcome = perform(stage, scenario, ready, &mut agent).and_then(|outcome| {
        keep_going(stage, &mut agent)?;
        Ok(outcome)
    });
    let kept = stage
        .props
        .logs
        .map(|folder| keep(folder, name, &agent, stage.lab));
    let outcome = outcome.with_context(|| format!("scenario {}", scenario.name))?;
    kept.transpose()?;
    agent.end()?;
    Ok(outcome)
}

fn perform(
    stage: Stage<'_>,
    scenario: &Scenario,
    ready: &Ready,
    agent: &mut Agent<'_>,
) -> Result<Outcome> {
    let stop = stage.props.stop;
    let witnesses = Witnesses::new(stage.lab)?;
    let mut clients = Clients::start(stage.lab, scenario.work)?;
    stop.sleep(SETTLE)?;
    let before = Instant::now();
    stop.sleep(BEFORE)?;
    let dropped_before = dropped(agent.pins())?;
    let watch = Watch::start(agent.pins(), Arc::clone(&witnesses.attack_passed))?;
    let (cpu, begun) = (agent.cpu()?, Instant::now());
    let running = ready.begin(stage.lab)?;
    let over = attack(scenario, running, stop)?;
    let agent_cpu = (agent.cpu()? - cpu).as_secs_f64() / begun.elapsed().as_secs_f64();
    stop.sleep(IN_FLIGHT)?;
    let seen = watch.end()?;
    let times = witnesses.times(&scenario.attack, begun)?;
    let during_end = over.max(times.began + DURING_MIN);
    stop.sleep_until(during_end + AFTER)?;
    let end = Instant::now();
    clients.end()?;
    stop.sleep(IN_FLIGHT)?;
    agent.check()?;
    let mut outcome = Outcome {
        scenario: scenario.name,
        alert_ms: None,
        family_ms: None,
        first_drop_ms: None,
        dropped_share: None,
        attack_packets: witnesses.attack_sent.count()?,
        attack_packets_passed: seen.last.passed,
        dropped_packets: dropped(agent.pins())?,
        attack_ms: ms(over.saturating_duration_since(times.began)),
        before: clients.service(before, times.began),
        during: clients.service(times.began, during_end),
        after: clients.service(during_end, end),
        alerts: BTreeMap::new(),
        verdicts: Vec::new(),
        false_verdicts: Vec::new(),
        false_alerts: Vec::new(),
        notes: Vec::new(),
        client_packets_dropped: witnesses.clients_dropped(stage.lab)?,
        agent_cpu,
        first_alert: None,
    };
    outcome.judge_drops(scenario, &times, &seen, dropped_before);
    outcome.judge_alerts(scenario, &times, &agent.alerts()?);
    outcome.judge_verdicts(scenario, agent)?;
    Ok(outcome)
}

/// Waits until the attack is over; when that was.
fn attack(scenario: &Scenario, mut running: Running, stop: &Stop) -> Result<Instant> {
    let end = Instant::now() + Duration::from_secs(scenario.lasts_s);
    while running.goes_on()? && Instant::now() < end {
        stop.sleep(LOOK)?;
    }
    running.end()?;
    Ok(Instant::now())
}

impl Witnesses {
    fn new(lab: &Lab) -> Result<Self> {
        let sent = |mac| Witness::new(lab.wire(), SERVER_PORT, mac);
        let passed = |mac| Witness::new(lab.server(), INTERFACE, mac);
        Ok(Self {
            attack_sent: sent(ATTACKER_MAC)?,
            attack_passed: Arc::new(passed(ATTACKER_MAC)?),
            clients_sent: sent(CLIENT_MAC)?,
            clients_passed: passed(CLIENT_MAC)?,
            lost_before: lab.lost_on_the_wire()?,
        })
    }

    /// When the attack was. Where there is none, the time in which it might have been.
    fn times(&self, attack: &Attack, begun: Instant) -> Result<Times> {
        let since = |time: Instant| SystemTime::now() - time.elapsed();
        let onset = match (self.attack_sent.first()?, attack) {
            (None, Attack::None) => since(begun),
            (None, _) => bail!("no packet of the attack was seen on the wire"),
            (Some(_), Attack::None) => bail!("there was to be no attack, and one was seen"),
            (Some(onset), _) => onset,
        };
        let ago = SystemTime::now().duration_since(onset).unwrap_or_default();
        let began = Instant::now().checked_sub(ago).unwrap_or(begun).max(begun);
        Ok(Times { onset, began })
    }

    /// Packets of clients that did not come through, less those that the wire may have lost: what is left was dropped.
    fn clients_dropped(&self, lab: &Lab) -> Result<u64> {
        let lost = lab.lost_on_the_wire()? - self.lost_before;
        let sent = self.clients_sent.count()?;
        Ok(sent.saturating_sub(self.clients_passed.count()? + lost))
    }
}

impl Outcome {
    fn judge_drops(
        &mut self,
        scenario: &Scenario,
        times: &Times,
        seen: &Seen,
        dropped_before: u64,
    ) {
        if dropped_before > 0 {
            let text = format!("{dropped_before} packets dropped before the attack began");
            self.false_verdicts.push(text);
        }
        let Some(first) = seen.first_drop else {
            return;
        };
        if matches!(scenario.attack, Attack::None) {
            let text = format!("{} packets dropped", seen.last.dropped);
            self.false_verdicts.push(text);
            return;
        }
        self.first_drop_ms = Some(since_ms(first.at, times.onset));
        let dropped = seen.last.dropped - first.dropped;
        let all = dropped + (seen.last.passed - first.passed);
        self.dropped_share = (all > 0).then(|| dropped as f64 / all as f64);
    }

    fn judge_alerts(&mut self, scenario: &Scenario, times: &Times, alerts: &[Alert]) {
        self.alerts = by_family(alerts);
        let is_true = |alert: &&Alert| {
            scenario.family.is_some() && alert.at >= times.onset && !alert.is_on_client()
        };
        let (of_attacks, others): (Vec<&Alert>, Vec<&Alert>) =
            alerts.iter().partition(|alert| alert.is_of_attack());
        for alert in of_attacks.iter().filter(|alert| !is_true(alert)) {
            let place = match alert.is_verdict() {
                true => &mut self.false_verdicts,
                false => &mut self.false_alerts,
            };
            place.push(alert.sentence());
        }
        self.notes = others.iter().map(|alert| alert.sentence()).collect();
        let true_ones = || of_attacks.iter().copied().filter(is_true);
        let earliest = |alerts: &mut dyn Iterator<Item = &Alert>| {
            alerts
                .min_by_key(|alert| alert.at)
                .map(|alert| (since_ms(alert.at, times.onset), alert.sentence()))
        };
        let first = earliest(&mut true_ones());
        let of_family =
            earliest(&mut true_ones().filter(|alert| scenario.family == Some(&alert.family)));
        self.family_ms = of_family.map(|(ms, _)| ms);
        (self.alert_ms, self.first_alert) = first.unzip();
    }

    fn judge_verdicts(&mut self, scenario: &Scenario, agent: &Agent<'_>) -> Result<()> {
        for verdict in agent.verdicts()? {
            let text = format!(
                "{} {} {}: {} ({} dropped)",
                verdict.action,
                verdict.kind,
                verdict.target,
                verdict.reason,
                verdict.dropped_packets
            );
            let none_is_due = scenario.family.is_none();
            if none_is_due || events::is_on_client(&verdict.target) {
                self.false_verdicts.push(text.clone());
            }
            self.verdicts.push(text);
        }
        Ok(())
    }
}

/// Keeps what the agent and the attacker's tool had to say.
fn keep(folder: &Path, name: &str, agent: &Agent<'_>, lab: &Lab) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let attack = tool_log(lab);
    let files = agent.files().chain([("attack.log", attack)]);
    for (kind, from) in files.filter(|(_, from)| from.exists()) {
        fs::copy(&from, folder.join(format!("{name}.{kind}")))
            .with_context(|| format!("cannot keep {}", from.display()))?;
    }
    Ok(())
}

/// Keeps the laboratory as it is, so that somebody may look around in it. A signal ends that, and nothing else.
fn keep_going(stage: Stage<'_>, agent: &mut Agent<'_>) -> Result<()> {
    if stage.props.keep_going.is_zero() {
        return Ok(());
    }
    super::say(&format!(
        "\nThe laboratory stays for {} s (Ctrl-C ends it). In another terminal, as root:\n  export {}\n  \
         ip netns exec {} {} flows --watch",
        stage.props.keep_going.as_secs(),
        agent.environment(),
        stage.lab.server().name(),
        stage.props.binary.display()
    ));
    let end = Instant::now() + stage.props.keep_going;
    while Instant::now() < end {
        let left = end.saturating_duration_since(Instant::now());
        if stage
            .props
            .stop
            .sleep(left.min(Duration::from_secs(1)))
            .is_err()
        {
            return Ok(());
        }
        agent.check()?;
    }
    Ok(())
}

fn since_ms(time: SystemTime, onset: SystemTime) -> f64 {
    match time.duration_since(onset) {
        Ok(after) => ms(after),
        Err(before) => -ms(before.duration()),
    }
}

fn ms(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e3
}
