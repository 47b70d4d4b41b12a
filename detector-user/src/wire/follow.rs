//! Interfaces that come and go: those whose names match are attached as they come, and
//! what is left of those that went is cleared away.
//!
//! Nothing here waits: whoever follows calls [`Follower::poll`] every [`POLL_INTERVAL`].

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use super::{
    attach::{self, AttachError, Attached, Request},
    interface::{self, Interface},
    pins::Pins,
};

/// How often to poll.
pub const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// An interface that could not be attached is tried again after this many polls.
pub const RETRY_POLLS: u32 = 30;
/// An interface is gone when it was not there in this many polls in a row: one may be
/// renamed while the list is read.
pub const GONE_POLLS: u32 = 2;

/// A name, or a glob: `*` any characters, `?` any one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

/// What no interface's name can match.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?}: no interface can have this name: 1 to 15 bytes, no slash and no blank \
     (* and ? stand for any characters and any one)"
)]
pub struct PatternError(String);

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let wrong = |c: char| c == '/' || c.is_whitespace() || c.is_control();
        let bytes = text.bytes().filter(|b| *b != b'*').count();
        let absurd =
            text.is_empty() || matches!(text, "." | "..") || bytes > 15 || text.contains(wrong);
        if absurd {
            Err(PatternError(text.to_owned()))
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Pattern {
    /// The pattern as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it can match several names.
    #[must_use]
    pub fn is_glob(&self) -> bool {
        self.0.contains(['*', '?'])
    }

    /// Whether a name matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        glob(
            &self.0.chars().collect::<Vec<_>>(),
            &name.chars().collect::<Vec<_>>(),
        )
    }
}

/// Greedy matching with one point to return to: the last star.
fn glob(pattern: &[char], name: &[char]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// What a poll found and did.
#[derive(Debug)]
pub enum Happened {
    /// An interface came, or was there at first, and is attached.
    Attached(Attached),
    /// It could not be attached; it is tried again every [`RETRY_POLLS`], and reported
    /// again when the reason changes.
    Refused {
        /// Which.
        interface: Interface,
        /// Why.
        error: AttachError,
    },
    /// An attached interface went; its pins are cleared away.
    Gone {
        /// Its name.
        name: String,
        /// Its index.
        index: u32,
        /// What could not be cleared away.
        error: Option<AttachError>,
    },
}

/// Follows the interfaces whose names match.
pub struct Follower {
    patterns: Vec<Pattern>,
    request: Request,
    known: BTreeMap<u32, Known>,
}

struct Known {
    name: String,
    absent_polls: u32,
    /// Why it is not attached, and how many polls it is left alone for.
    refused: Option<(String, u32)>,
}

impl Follower {
    /// Follows interfaces that match one of the patterns; each is attached as `request`
    /// says.
    #[must_use]
    pub fn new(patterns: Vec<Pattern>, request: Request) -> Self {
        Self {
            patterns,
            request,
            known: BTreeMap::new(),
        }
    }

    /// Looks once: attaches what came, clears away what went.
    pub fn poll(&mut self, pins: &Pins) -> Vec<Happened> {
        let request = self.request;
        self.step(
            &interface::list(),
            |interface| attach::attach(pins, interface, &request),
            |index| attach::detach(pins, index),
        )
    }

    /// Interfaces that are attached, by what is known here.
    pub fn attached(&self) -> impl Iterator<Item = (u32, &str)> {
        self.known
            .iter()
            .filter(|(_, known)| known.refused.is_none())
            .map(|(index, known)| (*index, known.name.as_str()))
    }

    fn step(
        &mut self,
        present: &[Interface],
        mut attach: impl FnMut(&Interface) -> Result<Attached, AttachError>,
        mut detach: impl FnMut(u32) -> Result<bool, AttachError>,
    ) -> Vec<Happened> {
        let mut happened = Vec::new();
        // There is always a loopback: an empty list is one that could not be read.
        if present.is_empty() {
            return happened;
        }
        for (index, known) in &mut self.known {
            let there = present.iter().any(|interface| interface.index == *index);
            known.absent_polls = if there { 0 } else { known.absent_polls + 1 };
        }
        let gone: Vec<u32> = self
            .known
            .iter()
            .filter(|(_, known)| known.absent_polls >= GONE_POLLS)
            .map(|(index, _)| *index)
            .collect();
        for index in gone {
            let Some(known) = self.known.remove(&index) else {
                continue;
            };
            if known.refused.is_none() {
                let error = detach(index).err();
                happened.push(Happened::Gone {
                    name: known.name,
                    index,
                    error,
                });
            }
        }
        for interface in present {
            if !self
                .patterns
                .iter()
                .any(|pattern| pattern.matches(&interface.name))
            {
                continue;
            }
            let earlier = match self.known.get_mut(&interface.index) {
                Some(Known { refused: None, .. }) => continue,
                // One that was renamed while it was being attached is tried at once.
                Some(Known {
                    refused: Some((_, polls)),
                    name,
                    ..
                }) if *polls > 0 && *name == interface.name => {
                    *polls -= 1;
                    continue;
                }
                Some(Known {
                    refused: Some((reason, _)),
                    ..
                }) => Some(reason.clone()),
                None => None,
            };
            let refused = match attach(interface) {
                Ok(attached) => {
                    happened.push(Happened::Attached(attached));
                    None
                }
                Err(error) => {
                    let reason = error.to_string();
                    if earlier.as_ref() != Some(&reason) {
                        happened.push(Happened::Refused {
                            interface: interface.clone(),
                            error,
                        });
                    }
                    Some((reason, RETRY_POLLS))
                }
            };
            let known = Known {
                name: interface.name.clone(),
                absent_polls: 0,
                refused,
            };
            self.known.insert(interface.index, known);
        }
        happened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, index: u32) -> Interface {
        Interface {
            name: name.to_owned(),
            index,
            ethernet: true,
        }
    }

    fn attached(interface: &Interface) -> Result<Attached, AttachError> {
        Ok(Attached {
            features: detector_common::config::feature::ALL,
            interface: interface.clone(),
            ingress: 1,
            egress: 3,
            replaced: false,
            native_refused: None,
            burst_clock_refused: None,
        })
    }

    fn refused(interface: &Interface) -> Result<Attached, AttachError> {
        Err(AttachError::Full {
            interface: interface.name.clone(),
        })
    }

    fn follower() -> Follower {
        Follower::new(
            vec!["veth*".parse().unwrap(), "eth0".parse().unwrap()],
            Request::default(),
        )
    }

    #[test]
    fn globs_match_as_globs_do() {
        for (pattern, name, matches) in [
            ("veth*", "veth0", true),
            ("veth*", "veth", true),
            ("veth*", "eth0", false),
            ("*", "anything", true),
            ("eth?", "eth0", true),
            ("eth?", "eth10", false),
            ("*a*b", "xaxbxb", true),
            ("*a*b", "xaxbxc", false),
            ("e*0", "eth10", true),
            ("eth0", "eth0", true),
            ("eth0", "eth00", false),
        ] {
            let pattern: Pattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(name), matches, "{pattern} {name}");
        }
        for absurd in ["", "a/b", "a b", "..", "sixteen-bytes-xx"] {
            assert!(absurd.parse::<Pattern>().is_err(), "{absurd}");
        }
    }

    #[test]
    fn what_comes_is_attached_once_and_what_goes_is_detached_once() {
        let mut follower = follower();
        let (lo, a, b) = (
            interface("lo", 1),
            interface("veth0", 2),
            interface("eth0", 3),
        );
        let happened = follower.step(&[lo.clone(), a.clone()], attached, |_| unreachable!());
        assert!(matches!(&happened[..], [Happened::Attached(one)] if one.interface == a));
        let both = [lo.clone(), a, b.clone()];
        let happened = follower.step(&both, attached, |_| unreachable!());
        assert!(matches!(&happened[..], [Happened::Attached(one)] if one.interface == b));
        assert!(
            follower
                .step(&both, attached, |_| unreachable!())
                .is_empty()
        );
        // Absent once: perhaps it was being renamed.
        assert!(
            follower
                .step(&[lo.clone(), b.clone()], attached, |_| unreachable!())
                .is_empty()
        );
        assert!(
            follower
                .step(&both, attached, |_| unreachable!())
                .is_empty()
        );
        assert!(
            follower
                .step(&[lo.clone(), b.clone()], attached, |_| unreachable!())
                .is_empty()
        );
        let happened = follower.step(&[lo, b], attached, |_| Ok(true));
        assert!(matches!(
            &happened[..],
            [Happened::Gone {
                index: 2,
                error: None,
                ..
            }]
        ));
        assert_eq!(follower.attached().collect::<Vec<_>>(), [(3, "eth0")]);
    }

    #[test]
    fn a_list_that_cannot_be_read_detaches_nothing() {
        let mut follower = follower();
        follower.step(&[interface("veth0", 2)], attached, |_| unreachable!());
        for _ in 0..10 {
            assert!(follower.step(&[], attached, |_| unreachable!()).is_empty());
        }
    }

    #[test]
    fn a_refused_one_is_reported_once_and_tried_again() {
        let mut follower = follower();
        let present = [interface("veth0", 2)];
        let first = follower.step(&present, refused, |_| unreachable!());
        assert!(matches!(&first[..], [Happened::Refused { .. }]));
        let mut tries = 0;
        for _ in 0..=RETRY_POLLS {
            let again = |interface: &Interface| {
                tries += 1;
                refused(interface)
            };
            assert!(
                follower
                    .step(&present, again, |_| unreachable!())
                    .is_empty()
            );
        }
        assert_eq!(tries, 1);
        for _ in 0..RETRY_POLLS {
            assert!(
                follower
                    .step(&present, attached, |_| unreachable!())
                    .is_empty()
            );
        }
        let last = follower.step(&present, attached, |_| unreachable!());
        assert!(matches!(&last[..], [Happened::Attached(_)]));
        // One that was being renamed meanwhile is tried at once.
        let mut renamed = super::tests::follower();
        renamed.step(&present, refused, |_| unreachable!());
        let now = [interface("veth7", 2)];
        assert!(matches!(
            &renamed.step(&now, attached, |_| unreachable!())[..],
            [Happened::Attached(_)]
        ));
        // A refused one that goes has nothing to be cleared away.
        let mut other = super::tests::follower();
        other.step(&present, refused, |_| unreachable!());
        for _ in 0..3 {
            assert!(
                other
                    .step(&[interface("lo", 1)], attached, |_| unreachable!())
                    .is_empty()
            );
        }
    }
}
