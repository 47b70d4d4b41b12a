//! What can be left out of the programs, by name.

use detector_common::{
    config::feature,
    verdict::{Action, Kind},
};

/// A part of the programs that can be left out, and what packets cost less for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Feature {
    /// Counting flows: verdicts are enforced and nothing else
    Flows,
    /// IPv6: counted as non-IP
    Ipv6,
    /// VLAN tags: tagged frames are counted as non-IP
    Vlan,
    /// Verdicts on addresses
    AddressVerdicts,
    /// Verdicts on prefixes
    PrefixVerdicts,
    /// Verdicts on flows
    FlowVerdicts,
    /// Signatures
    Signatures,
    /// Rate limits: such a verdict lets everything pass
    RateLimits,
    /// Handing ended flows to the reader
    Ended,
    /// One reading of the clock for up to 16 packets of a burst: each packet reads it
    BurstClock,
}

impl Feature {
    const ALL: [Self; 10] = [
        Self::Flows,
        Self::Ipv6,
        Self::Vlan,
        Self::AddressVerdicts,
        Self::PrefixVerdicts,
        Self::FlowVerdicts,
        Self::Signatures,
        Self::RateLimits,
        Self::Ended,
        Self::BurstClock,
    ];

    fn bit(self) -> u32 {
        match self {
            Self::Flows => feature::FLOWS,
            Self::Ipv6 => feature::IPV6,
            Self::Vlan => feature::VLAN,
            Self::AddressVerdicts => feature::ADDRESS_VERDICTS,
            Self::PrefixVerdicts => feature::PREFIX_VERDICTS,
            Self::FlowVerdicts => feature::FLOW_VERDICTS,
            Self::Signatures => feature::SIGNATURES,
            Self::RateLimits => feature::RATE_LIMITS,
            Self::Ended => feature::ENDED,
            Self::BurstClock => feature::BURST_CLOCK,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Flows => "flows",
            Self::Ipv6 => "ipv6",
            Self::Vlan => "vlan",
            Self::AddressVerdicts => "address-verdicts",
            Self::PrefixVerdicts => "prefix-verdicts",
            Self::FlowVerdicts => "flow-verdicts",
            Self::Signatures => "signatures",
            Self::RateLimits => "rate-limits",
            Self::Ended => "ended",
            Self::BurstClock => "burst-clock",
        }
    }
}

/// The bits of all features but these.
pub(super) fn all_but(left_out: &[Feature]) -> u32 {
    left_out
        .iter()
        .fold(feature::ALL, |bits, feature| bits & !feature.bit())
}

/// Names of the features that are left out.
pub(super) fn left_out(bits: u32) -> Vec<&'static str> {
    Feature::ALL
        .into_iter()
        .filter(|feature| bits & feature.bit() == 0)
        .map(Feature::name)
        .collect()
}

/// What a program would have to have and lacks to enforce a verdict.
pub(super) fn lacking(bits: u32, kind: Kind, action: Action) -> Option<&'static str> {
    let needed = match kind {
        Kind::ADDRESS => &[Feature::AddressVerdicts][..],
        Kind::PREFIX => &[Feature::PrefixVerdicts],
        Kind::FLOW => &[Feature::FlowVerdicts, Feature::Flows],
        _ => &[Feature::Signatures],
    };
    let limit = (action == Action::RATE_LIMIT).then_some(Feature::RateLimits);
    needed
        .iter()
        .copied()
        .chain(limit)
        .find(|feature| bits & feature.bit() == 0)
        .map(Feature::name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum as _;

    #[test]
    fn names_are_those_of_the_command_line() {
        for feature in Feature::value_variants() {
            assert_eq!(
                feature.to_possible_value().unwrap().get_name(),
                feature.name()
            );
            assert_eq!(left_out(all_but(&[*feature])), [feature.name()]);
        }
        assert_eq!(Feature::value_variants(), Feature::ALL);
        assert!(left_out(feature::ALL).is_empty());
    }

    #[test]
    fn what_a_verdict_needs() {
        let bits = all_but(&[Feature::RateLimits, Feature::Flows]);
        assert_eq!(lacking(bits, Kind::ADDRESS, Action::DROP), None);
        assert_eq!(
            lacking(bits, Kind::ADDRESS, Action::RATE_LIMIT),
            Some("rate-limits")
        );
        assert_eq!(lacking(bits, Kind::FLOW, Action::DROP), Some("flows"));
    }
}
