//! The policy: how much evidence it takes, and what is done then. Each number has a default and a key in the configuration.

use serde::{Deserialize, Serialize};

use super::family::Family;

/// How much evidence leads to which action. A threshold of 0 means never.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Ladder {
    /// Raise an alert.
    pub alert: f32,
    /// Limit the rate.
    pub rate_limit: f32,
    /// Drop.
    pub drop: f32,
}

impl Ladder {
    const fn new(alert: f32, rate_limit: f32, drop: f32) -> Self {
        Self {
            alert,
            rate_limit,
            drop,
        }
    }

    /// The highest action for so much.
    #[must_use]
    pub fn step(&self, evidence: f32) -> Option<Step> {
        let reached = |threshold: f32| threshold > 0.0 && evidence >= threshold;
        if reached(self.drop) {
            Some(Step::Drop)
        } else if reached(self.rate_limit) {
            Some(Step::RateLimit)
        } else if reached(self.alert) {
            Some(Step::Alert)
        } else {
            None
        }
    }
}

/// What is done about an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Tell.
    Alert,
    /// Let some of it pass.
    RateLimit,
    /// Let nothing of it pass.
    Drop,
}

impl Step {
    /// As it stands in events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::RateLimit => "rate-limit",
            Self::Drop => "drop",
        }
    }
}

/// The model's part: a flow counts as evidence where its family's probability reaches the model's own threshold, chosen on
/// held-out captures.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct ModelPolicy {
    /// Flows of a source, less by e each minute, found to be of the family, and what that leads to.
    pub flows: Ladder,
    /// The same for floods, of which every flow is a small part.
    pub flood_flows: Ladder,
    /// The same for application-layer denial, in which a source has few but long flows.
    pub app_dos_flows: Ladder,
    /// The same for guessing passwords and attacks on web applications, which take few flows.
    pub few_flows: Ladder,
    /// Flows of many sources at one service, each with little of it, that are told of; a few flows of a source suffice then.
    pub crowd_flows: f32,
    /// Share of a source's recent flows that must be of the family before it is acted upon.
    pub share_min: f32,
}

impl Default for ModelPolicy {
    fn default() -> Self {
        Self {
            flows: Ladder::new(10.0, 30.0, 60.0),
            flood_flows: Ladder::new(50.0, 100.0, 200.0),
            app_dos_flows: Ladder::new(8.0, 30.0, 60.0),
            few_flows: Ladder::new(4.0, 10.0, 20.0),
            crowd_flows: 50.0,
            share_min: 0.8,
        }
    }
}

impl ModelPolicy {
    /// The ladder of a family.
    #[must_use]
    pub fn ladder(&self, family: Family) -> Ladder {
        match family {
            Family::Flood | Family::Amplification => self.flood_flows,
            Family::AppDos => self.app_dos_flows,
            Family::BruteForce | Family::WebAttack => self.few_flows,
            Family::Scan | Family::Benign => self.flows,
        }
    }
}

/// Plain thresholds, which work with no model at all. Counts of the last moments fade with a time constant of 2 s, others
/// with one of a minute.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct RulePolicy {
    /// Flows of a source that were not answered, or were refused, to different ports or hosts.
    pub scan_misses: Ladder,
    /// Share of a source's flows that must have missed.
    pub scan_miss_share: f32,
    /// Ports or hosts that it must have tried.
    pub scan_targets: f32,
    /// Where the fewer of hosts and ports that it tried are more than this share of the others, it must have tried many
    /// ports of each host.
    pub scan_narrow_share: f32,
    /// More flows within moments than this from one source to one or few hosts, each from another port, are a flood.
    pub scan_flows_max: f32,
    /// Short logins of a source at one service.
    pub login_attempts: Ladder,
    /// More packets a flow than this from the client are work, not guessing.
    pub login_packets_max: f32,
    /// Small packets that a source sent lately and that were not answered.
    pub flood_packets: Ladder,
    /// Bytes of the same, where packets are large.
    pub flood_bytes: Ladder,
    /// Connections of a source to one service lately that carried nothing.
    pub flood_flows: Ladder,
    /// Connections of a source that asked and were not yet answered, for the request was never finished.
    pub waiting: Ladder,
    /// Connections of that kind at one service from which on two of a source suffice.
    pub waiting_service: f32,
    /// Requests of a source at one service lately.
    pub requests: Ladder,
    /// The same while the service is asked `requests_service` times lately, and that is more than usual.
    pub requests_crowded: Ladder,
    /// Requests of all at one web service lately from which on it is crowded.
    pub requests_service: f32,
    /// Times what is usual.
    pub requests_over_baseline: f32,
    /// Connections of a source to one service lately.
    pub connections: Ladder,
}

impl Default for RulePolicy {
    fn default() -> Self {
        Self {
            scan_misses: Ladder::new(14.0, 40.0, 100.0),
            scan_miss_share: 0.7,
            scan_targets: 9.0,
            scan_narrow_share: 0.25,
            scan_flows_max: 1_200.0,
            login_attempts: Ladder::new(5.0, 12.0, 24.0),
            login_packets_max: 60.0,
            flood_packets: Ladder::new(900.0, 2_000.0, 4_000.0),
            flood_bytes: Ladder::new(20e6, 40e6, 80e6),
            flood_flows: Ladder::new(150.0, 300.0, 600.0),
            waiting: Ladder::new(8.0, 16.0, 32.0),
            waiting_service: 100.0,
            requests: Ladder::new(400.0, 800.0, 3_000.0),
            requests_crowded: Ladder::new(100.0, 200.0, 0.0),
            requests_service: 1_000.0,
            requests_over_baseline: 5.0,
            connections: Ladder::new(200.0, 400.0, 800.0),
        }
    }
}

/// Floods from many sources, answered at the victim.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct VictimPolicy {
    /// Flows to one destination lately that were not answered, or whose handshake was not completed.
    pub flows: Ladder,
    /// Packets of such flows lately.
    pub packets: Ladder,
    /// Packets of amplifying services lately for which the destination had not asked.
    pub reflected: Ladder,
    /// Services that they must come from.
    pub reflectors_min: f32,
    /// Share of its flows, or packets, lately that must be so.
    pub share_min: f32,
    /// Sources that it must come from.
    pub sources_min: f32,
    /// It must exceed what is usual by this factor,
    pub over_baseline: f32,
    /// or be more than this.
    pub always: f32,
    /// Packets a second that a signature lets through, or what is usual if that is more.
    pub pass_packets_per_second: u64,
    /// A signature is lifted when it has met fewer packets a second than this for [`VictimPolicy::quiet_s`].
    pub quiet_packets_per_second: f64,
    /// Seconds of quiet after which a signature is lifted.
    pub quiet_s: u64,
    /// Signatures for one destination at a time.
    pub signatures_max: usize,
}

impl Default for VictimPolicy {
    fn default() -> Self {
        Self {
            flows: Ladder::new(50.0, 200.0, 0.0),
            packets: Ladder::new(3_000.0, 6_000.0, 0.0),
            reflected: Ladder::new(80.0, 300.0, 0.0),
            reflectors_min: 8.0,
            share_min: 0.7,
            sources_min: 20.0,
            over_baseline: 5.0,
            always: 20_000.0,
            pass_packets_per_second: 100,
            quiet_packets_per_second: 50.0,
            quiet_s: 10,
            signatures_max: 4,
        }
    }
}

/// How long verdicts on sources last.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct VerdictPolicy {
    /// The first, s; each repetition doubles it.
    pub ttl_s: u64,
    /// At most, s.
    pub ttl_max_s: u64,
    /// A repetition is forgotten after so much quiet, s.
    pub forgive_s: u64,
    /// Packets a second that a rate-limited source may send.
    pub rate_limit_packets_per_second: u64,
}

impl Default for VerdictPolicy {
    fn default() -> Self {
        Self {
            ttl_s: 60,
            ttl_max_s: 3_600,
            forgive_s: 1_800,
            rate_limit_packets_per_second: 50,
        }
    }
}

/// Past these the agent stops acting and says so.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct BudgetPolicy {
    /// Share of the sources that were served lately.
    pub served_share_max: f32,
    /// So many of them may be denied whatever their share.
    pub served_min: u32,
    /// Verdicts on sources a minute.
    pub verdicts_per_minute_max: u32,
}

impl Default for BudgetPolicy {
    fn default() -> Self {
        Self {
            served_share_max: 0.05,
            served_min: 5,
            verdicts_per_minute_max: 300,
        }
    }
}

/// All of it: the section `[decide]` of the configuration.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// What the model says.
    pub model: ModelPolicy,
    /// Plain thresholds on sources.
    pub rules: RulePolicy,
    /// Plain thresholds on destinations.
    pub victims: VictimPolicy,
    /// How long verdicts last.
    pub verdicts: VerdictPolicy,
    /// The budget.
    pub budget: BudgetPolicy,
}
