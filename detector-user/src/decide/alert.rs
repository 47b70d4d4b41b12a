//! What a decision says to people.

use std::net::IpAddr;

use super::{family::Family, policy::Step};
use crate::enforce::{order::Order, target::Target};

/// What an alert tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An attack was found, or more is done about it than before.
    Attack(Step),
    /// It is over: what was done is undone.
    Over,
    /// The agent stopped acting.
    Safety,
    /// Something of the agent itself failed, and it goes on without.
    Fault,
}

impl Kind {
    /// As it stands in events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Attack(step) => step.name(),
            Self::Over => "over",
            Self::Safety => "safety",
            Self::Fault => "fault",
        }
    }

    /// Severity as Suricata counts it: 1 is the gravest.
    #[must_use]
    pub fn severity(self) -> u8 {
        match self {
            Self::Attack(Step::Drop) | Self::Safety => 1,
            Self::Attack(Step::RateLimit | Step::Alert) | Self::Fault => 2,
            Self::Over => 3,
        }
    }
}

/// Where the evidence is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A tree ensemble.
    Model,
    /// A plain threshold.
    Rule,
}

impl By {
    /// As it stands in events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Rule => "rule",
        }
    }
}

/// One end of a flow: an address, and a port where there is one.
pub type End = (IpAddr, u16);

/// An alert.
#[derive(Clone, Debug)]
pub struct Alert {
    /// Clock of the flows, µs.
    pub at_us: u64,
    /// What it tells of.
    pub kind: Kind,
    /// Of which family; benign where it is not about an attack.
    pub family: Family,
    /// Where it comes from: the source, or one of many.
    pub source: Option<End>,
    /// Where it goes.
    pub destination: Option<End>,
    /// IP protocol.
    pub protocol: u8,
    /// About how many sources take part.
    pub sources: u32,
    /// Where the evidence is from.
    pub by: By,
    /// The model's probability of the family.
    pub score: Option<f32>,
    /// Why, for a person.
    pub reason: String,
    /// What is acted on, where something is.
    pub target: Option<Target>,
}

/// What is decided: an alert always, and what is to be done about it.
#[derive(Clone, Debug)]
pub struct Decision {
    /// What is told; `None` where a verdict is merely renewed.
    pub alert: Option<Alert>,
    /// What is done.
    pub act: Option<Act>,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Act {
    /// Write this verdict, in place of any on the same target.
    Put(Order),
    /// Remove the verdict on this target.
    Lift(Target),
}
