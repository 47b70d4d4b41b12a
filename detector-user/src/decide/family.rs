//! What an attack is: the families that models tell apart and decisions are made by.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A family of attacks, or none.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Family {
    /// No attack.
    Benign = 0,
    /// A volumetric flood: SYN, UDP, ICMP and the like.
    Flood = 1,
    /// A reflected, amplified flood.
    Amplification = 2,
    /// A scan of ports or hosts.
    Scan = 3,
    /// Guessing passwords.
    BruteForce = 4,
    /// Slow or application-layer denial of service.
    AppDos = 5,
    /// An attack on a web application.
    WebAttack = 6,
}

impl Family {
    /// All, by number.
    pub const ALL: [Self; 7] = [
        Self::Benign,
        Self::Flood,
        Self::Amplification,
        Self::Scan,
        Self::BruteForce,
        Self::AppDos,
        Self::WebAttack,
    ];

    /// As it stands in models, events, metrics and configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Benign => "benign",
            Self::Flood => "flood",
            Self::Amplification => "amplification",
            Self::Scan => "scan",
            Self::BruteForce => "brute-force",
            Self::AppDos => "app-dos",
            Self::WebAttack => "web-attack",
        }
    }

    /// By its name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
