//! Never-block prefixes win over every verdict that denies, and cost nothing elsewhere.

use detector_common::{
    counters::Event,
    packet::tcp,
    verdict::{Action, Kind},
};

use crate::{
    HERE, PEER, build,
    host::Host,
    order::{KINDS, dropped, limit, put},
    passes, request, verdict,
};

#[test]
fn a_never_block_prefix_wins_over_every_denial() {
    for kind in KINDS {
        for deny in [limit(), verdict(Action::QUARANTINE), verdict(Action::DROP)] {
            for bits in [32, 24, 0] {
                let host = Host::new(64);
                put(&host, kind, 1, deny);
                host.never_block(PEER, bits);
                for n in 1..6 {
                    assert!(passes(&host, &request(tcp::ACK)), "{kind:?} {bits}");
                    assert_eq!(host.event(Event::NeverBlocked), n);
                }
                assert_eq!(dropped(&host), []);
                // It counts for nothing: it neither hits, nor ends the search.
                assert_eq!(host.hits(1), Default::default());
                assert!(host.first_hits.borrow().is_empty());
                assert_eq!(host.check(), Ok(()));
            }
        }
    }
    // All of them together.
    let host = Host::new(64);
    for (n, kind) in KINDS.into_iter().enumerate() {
        put(&host, kind, n as u32 + 1, verdict(Action::DROP));
    }
    host.never_block(PEER, 32);
    assert!(passes(&host, &request(tcp::SYN)));
    assert_eq!(host.event(Event::NeverBlocked), 4);
}

#[test]
fn never_block_follows_changes_of_the_list() {
    for kind in KINDS {
        let host = Host::new(64);
        put(&host, kind, 1, verdict(Action::DROP));
        host.never_block(HERE, 32);
        assert!(!passes(&host, &request(tcp::ACK)), "{kind:?}");
        assert!(!passes(&host, &request(tcp::ACK)), "{kind:?}");
        host.never_block(PEER, 32);
        assert!(passes(&host, &request(tcp::ACK)), "{kind:?}");
        host.never_block.borrow_mut().pop();
        host.generation.set(host.generation.get() + 1);
        assert!(!passes(&host, &request(tcp::ACK)), "{kind:?}");
    }
}

#[test]
fn never_block_prefixes_are_asked_only_by_a_denial() {
    let host = Host::new(64);
    host.never_block(HERE, 32);
    host.put_address(1, HERE, verdict(Action::DROP));
    host.put_prefix(2, HERE, 24, verdict(Action::DROP));
    assert!(passes(&host, &request(tcp::SYN)));
    host.put_address(3, PEER, verdict(Action::PASS));
    assert!(passes(&host, &request(tcp::ACK)));
    assert_eq!(host.never_block_lookups.get(), 0);
    // And by one on an address once.
    host.put_address(3, PEER, verdict(Action::DROP));
    (0..9).for_each(|_| assert!(!passes(&host, &request(tcp::ACK))));
    assert_eq!(host.never_block_lookups.get(), 1);
}

/// What was found of one source says nothing of the next under the same verdict.
#[test]
fn a_never_block_address_is_found_after_its_neighbour_was_not() {
    for kind in [Kind::PREFIX, Kind::SIGNATURE] {
        let host = Host::new(64);
        put(&host, kind, 1, verdict(Action::DROP));
        let neighbour = std::net::IpAddr::from([198, 51, 100, 8]);
        host.never_block(neighbour, 32);
        let from_neighbour = build::frame(neighbour, HERE, &build::tcp((1, 2), tcp::SYN, 0));
        for _ in 0..3 {
            assert!(!passes(&host, &request(tcp::SYN)), "{kind:?}");
            assert!(passes(&host, &from_neighbour), "{kind:?}");
        }
    }
}
