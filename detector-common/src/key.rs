//! Addresses, the canonical flow key, and its keyed hash.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv6 address, or an IPv4 address in its IPv4-mapped form (`::ffff:a.b.c.d`),
/// so that both families share one layout and a mapped address on the wire is the
/// IPv4 address that it names. The bytes of `words` are in network order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The sixteen bytes, in memory order.
    pub words: [u64; 2],
}

impl Address {
    /// From the sixteen bytes of an IPv6 header.
    #[inline(always)]
    #[must_use]
    pub fn from_ipv6(bytes: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        Self {
            words: [
                u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
                u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
            ],
        }
    }

    /// From the four bytes of an IPv4 header.
    #[inline(always)]
    #[must_use]
    pub fn from_ipv4(bytes: [u8; 4]) -> Self {
        let [a, b, c, d] = bytes;
        Self {
            words: [0, u64::from_ne_bytes([0, 0, 0xff, 0xff, a, b, c, d])],
        }
    }

    /// The sixteen bytes in network order.
    #[must_use]
    pub fn octets(self) -> [u8; 16] {
        let mut octets = [0; 16];
        let (left, right) = octets.split_at_mut(8);
        left.copy_from_slice(&self.words[0].to_ne_bytes());
        right.copy_from_slice(&self.words[1].to_ne_bytes());
        octets
    }

    /// As the standard library's type; a mapped address comes back as IPv4.
    #[must_use]
    pub fn to_ip(self) -> IpAddr {
        Ipv6Addr::from(self.octets()).to_canonical()
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::from_ipv4(v4.octets()),
            IpAddr::V6(v6) => Self::from_ipv6(v6.octets()),
        }
    }
}

impl From<Ipv4Addr> for Address {
    fn from(address: Ipv4Addr) -> Self {
        Self::from_ipv4(address.octets())
    }
}

/// What identifies a flow: its two endpoints in a fixed order, so that both
/// directions have one key, the protocol, and the zone it was seen in.
///
/// A zone is an attached interface: a packet that a router forwards is one packet
/// of a flow on each of its two interfaces, not two packets of one flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Address of the endpoint that compares lower.
    pub low: Address,
    /// Address of the other endpoint.
    pub high: Address,
    /// Port of the low endpoint.
    pub low_port: u16,
    /// Port of the high endpoint.
    pub high_port: u16,
    /// Zone in the upper 24 bits, IP protocol in the lower 8.
    pub zone_protocol: u32,
}

/// Largest zone number: 24 bits.
pub const ZONE_MAX: u32 = (1 << 24) - 1;

impl FlowKey {
    /// The key of the flow between `source` and `destination`, and whether the
    /// source is its low endpoint.
    #[inline(always)]
    #[must_use]
    pub fn new(
        source: (Address, u16),
        destination: (Address, u16),
        protocol: u8,
        zone: u32,
    ) -> (Self, bool) {
        let zone_protocol = zone << 8 | protocol as u32;
        let from_low = endpoint_le(source, destination);
        let (low, high) = if from_low {
            (source, destination)
        } else {
            (destination, source)
        };
        let key = Self {
            low: low.0,
            high: high.0,
            low_port: low.1,
            high_port: high.1,
            zone_protocol,
        };
        (key, from_low)
    }

    /// IP protocol number.
    #[inline(always)]
    #[must_use]
    pub fn protocol(&self) -> u8 {
        self.zone_protocol as u8
    }

    /// The zone (interface index) in which the flow was seen.
    #[must_use]
    pub fn zone(&self) -> u32 {
        self.zone_protocol >> 8
    }

    /// Keyed hash of the whole key.
    ///
    /// Multilinear-HM over ten 32-bit characters with 64-bit random keys (Lemire
    /// and Kaser, "Strongly universal string hashing is fast", The Computer Journal
    /// 57(11), 2014, section 3): `m0 + Σ (m[2i+1] + s[2i]) (m[2i+2] + s[2i+1])`
    /// mod 2⁶⁴, whose upper 33 bits are strongly universal for whoever does not know the keys,
    /// so that nobody outside can choose flows that fall into one set; then [`mixed`]. No BPF program
    /// has a cheaper one: six multiplications.
    #[inline(always)]
    #[must_use]
    pub fn hash(&self, seed: &HashSeed) -> u64 {
        let words = [
            self.low.words[0],
            self.low.words[1],
            self.high.words[0],
            self.high.words[1],
            (self.low_port as u64) << 48
                | (self.high_port as u64) << 32
                | self.zone_protocol as u64,
        ];
        let m = &seed.words;
        let mut sum = m[0];
        sum = sum.wrapping_add(product(words[0], m[1], m[2]));
        sum = sum.wrapping_add(product(words[1], m[3], m[4]));
        sum = sum.wrapping_add(product(words[2], m[5], m[6]));
        sum = sum.wrapping_add(product(words[3], m[7], m[8]));
        mixed(sum.wrapping_add(product(words[4], m[9], m[10])))
    }
}

/// The hash with its bits mixed, one to one.
///
/// Universality bounds how often two flows meet, on average over the keys. It does not
/// keep a run of neighbours apart: they differ in one character, so their hashes are an
/// arithmetic progression, and where the keys give it an unlucky step, with one draw in a
/// hundred, hundreds of them share few sets. Its upper half folded into its lower half, and a product, break the progression.
#[inline(always)]
pub(crate) fn mixed(hash: u64) -> u64 {
    let folded = (hash ^ hash >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    folded ^ folded >> 32
}

#[inline(always)]
pub(crate) fn product(word: u64, low_key: u64, high_key: u64) -> u64 {
    low_key
        .wrapping_add(word & 0xffff_ffff)
        .wrapping_mul(high_key.wrapping_add(word >> 32))
}

#[inline(always)]
fn endpoint_le(a: (Address, u16), b: (Address, u16)) -> bool {
    let (x, y) = (a.0.words, b.0.words);
    if x[0] != y[0] {
        return x[0] < y[0];
    }
    if x[1] != y[1] {
        return x[1] < y[1];
    }
    a.1 <= b.1
}

/// The random keys of [`FlowKey::hash`], drawn when the programs are loaded.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashSeed {
    /// `m0` to `m10`.
    pub words: [u64; 11],
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seed() -> HashSeed {
        let mut words = [0u64; 11];
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for word in &mut words {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            *word = state ^ state >> 29;
        }
        HashSeed { words }
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        let v4 = Address::from_ipv4([192, 0, 2, 1]);
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(v4, Address::from(mapped));
        assert_eq!(v4.to_ip(), IpAddr::from([192, 0, 2, 1]));
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        assert_eq!(Address::from(v6).to_ip(), v6);
    }

    proptest! {
        #[test]
        fn both_directions_have_one_key(a: [u8; 16], b: [u8; 16], p: u16, q: u16, protocol: u8, zone in 0..=ZONE_MAX) {
            let (a, b) = ((Address::from_ipv6(a), p), (Address::from_ipv6(b), q));
            let (there, from_low) = FlowKey::new(a, b, protocol, zone);
            let (back, to_low) = FlowKey::new(b, a, protocol, zone);
            prop_assert_eq!(there, back);
            prop_assert_eq!(from_low != to_low, a != b);
            prop_assert_eq!(there.hash(&seed()), back.hash(&seed()));
            prop_assert_eq!((there.protocol(), there.zone()), (protocol, zone));
        }
    }

    /// With any keys: a hash that is linear fails with one draw in a hundred or so.
    #[test]
    fn neighbours_fit_their_sets_whatever_the_keys() {
        const SETS: usize = 1024;
        let mut state = 1u64;
        for draw in 0..1000 {
            let mut seed = HashSeed::default();
            for word in &mut seed.words {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                *word = (state ^ state >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
            }
            for step in [0x0100, 0x0001] {
                let mut sets = [0u8; SETS];
                for n in 0..800u32 {
                    let address = Address::from(Ipv4Addr::from(0x0a00_0000 + n / step));
                    let port = 1024 + (n % step) as u16;
                    let server = (Address::from_ipv4([10, 9, 9, 9]), 443);
                    let (key, _) = FlowKey::new((address, port), server, 6, 0);
                    sets[(key.hash(&seed) >> 44) as usize % SETS] += 1;
                }
                // Poisson with mean 0.8: more than 12 in one of all these with odds of 1e-5.
                let most = sets.iter().max();
                assert!(
                    most.is_some_and(|&most| most <= 12),
                    "draw {draw}: {most:?} in a set"
                );
            }
        }
    }

    #[test]
    fn hash_spreads_neighbouring_flows_over_sets() {
        let seed = seed();
        let mut sets = [0u32; 1024];
        for n in 0..65_536u32 {
            let (key, _) = FlowKey::new(
                (Address::from(Ipv4Addr::from(0x0a00_0000 + n)), 1024),
                (Address::from_ipv4([10, 9, 9, 9]), 80),
                6,
                0,
            );
            sets[(key.hash(&seed) >> 54) as usize] += 1;
        }
        // Poisson with mean 64: 1024 draws stay within 64 ± 48 but for odds below 1e-6.
        assert!(sets.iter().all(|&n| (16..=112).contains(&n)), "{sets:?}");
    }
}
