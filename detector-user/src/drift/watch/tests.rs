//! Windows, states, and what begins them anew.

use std::collections::BTreeMap;

use super::*;
use crate::model::{Reference, Spread};

const SECOND: u64 = 1_000_000;

/// Values from 0 to 1, evenly, whatever their number.
fn even(n: u64) -> f32 {
    (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / (1 << 24) as f32
}

fn card() -> Card {
    let spread = || Spread::of((0..10_000).map(even).collect());
    Card {
        features: vec!["a".to_owned(), "b".to_owned()],
        classes: vec!["attack".to_owned(), "benign".to_owned()],
        reference: Some(Reference {
            rows: 10_000,
            class: "benign".to_owned(),
            score: spread(),
            features: BTreeMap::from([("b".to_owned(), spread())]),
        }),
        ..Card::default()
    }
}

fn watch() -> Watch {
    let mut watch = Watch::default();
    watch.set(DriftSettings {
        window_rows: 2_000,
        window_s: 10,
        ..DriftSettings::default()
    });
    watch.set_model(Some(&card()));
    watch
}

/// Ticks of ten rows each, a second apart, whose feature b and score are bent so.
fn pass(watch: &mut Watch, from_s: u64, ticks: u64, bend: impl Fn(f32) -> f32) {
    for tick in from_s..from_s + ticks {
        watch.expect(10);
        for row in 0..10 {
            let (b, score) = (bend(even(10 * tick + row)), bend(even(10 * tick + row)));
            assert!(watch.wants_next());
            watch.add(&[f32::NAN, b], &[1.0 - score, score], tick * SECOND);
        }
        watch.end(tick * SECOND);
    }
}

#[test]
fn traffic_as_it_was_is_stable_and_other_traffic_is_not() {
    let mut watch = watch();
    pass(&mut watch, 0, 199, |x| x);
    assert_eq!(watch.drift().state, State::Gathering);
    assert_eq!(
        (watch.drift().gathered, watch.drift().wanted),
        (1_990, 2_000)
    );
    pass(&mut watch, 199, 1, |x| x);
    let stable = watch.drift();
    assert_eq!(
        (stable.state, stable.windows, stable.moved),
        (State::Stable, 1, 0)
    );
    assert!(stable.score_psi < Some(0.02), "{stable:?}");
    assert_eq!(stable.since_us, Some(199 * SECOND));
    pass(&mut watch, 200, 200, |x| x);
    assert_eq!(watch.drift().since_us, Some(199 * SECOND), "still so");
    pass(&mut watch, 400, 200, |x| x * x.sqrt());
    assert_eq!(watch.drift().state, State::Shifting, "{:?}", watch.drift());
    pass(&mut watch, 600, 200, |x| x * 0.3);
    let drifted = watch.drift();
    assert_eq!(
        (drifted.state, drifted.windows, drifted.moved),
        (State::Drifted, 4, 1)
    );
    assert_eq!((drifted.features, &*drifted.top[0].feature), (1, "b"));
    assert_eq!(
        watch.counts(),
        Counts {
            rows: 8_000,
            set_aside: 0,
            windows: 4
        }
    );
    // What is missing, or outside of all that was there, is elsewhere, too.
    for (n, elsewhere) in [f32::NAN, 2.0, -1.0].into_iter().enumerate() {
        pass(&mut watch, 800 + 200 * n as u64, 200, |_| elsewhere);
        assert!(watch.drift().score_psi > Some(3.0), "{:?}", watch.drift());
    }
}

#[test]
fn features_that_have_moved_are_drift_though_the_model_says_the_same() {
    for (share, wanted) in [(0.5, State::Drifted), (1.0, State::Shifting)] {
        let mut card = card();
        let reference = card.reference.as_mut().unwrap();
        // As feature b is spread, and stays so.
        let spread = reference.features["b"].clone();
        reference.features.insert("a".to_owned(), spread);
        let mut watch = watch();
        watch.set(DriftSettings {
            moved_share: share,
            ..watch.settings
        });
        watch.set_model(Some(&card));
        watch.expect(10);
        for n in 0..2_000 {
            let (x, score) = (even(n), even(n));
            watch.add(&[x, 5.0], &[1.0 - score, score], n * SECOND);
        }
        watch.end(2_000 * SECOND);
        let drift = watch.drift();
        assert!(drift.score_psi < Some(0.02), "{drift:?}");
        assert_eq!((drift.state, drift.moved), (wanted, 1), "{drift:?}");
    }
}

#[test]
fn a_window_needs_rows_and_time() {
    let mut watch = watch();
    // A thousand rows each second, of which some are looked at.
    let mut wanted = 0;
    for tick in 0..200_u64 {
        watch.expect(1_000);
        for row in 0..1_000 {
            if watch.wants_next() {
                wanted += 1;
                let x = even(1_000 * tick + row);
                watch.add(&[0.0, x], &[1.0 - x, x], tick * SECOND / 100);
            }
        }
        watch.end(tick * SECOND / 100);
    }
    let at_most = 200 * ROWS_PER_TICK_MAX as u64;
    assert!((at_most * 9 / 10..=at_most).contains(&wanted), "{wanted}");
    assert_eq!(
        watch.drift().state,
        State::Gathering,
        "two seconds are too few"
    );
    watch.end(9 * SECOND);
    assert_eq!(watch.drift().state, State::Gathering);
    watch.end(10 * SECOND);
    assert_eq!(watch.drift().state, State::Stable);
}

#[test]
fn another_model_begins_anew_and_one_that_says_nothing_is_unknown() {
    let mut watch = watch();
    pass(&mut watch, 0, 200, |_| 0.1);
    assert_eq!(watch.drift().state, State::Drifted);
    watch.set_model(Some(&card()));
    let begun = watch.drift();
    assert_eq!(
        (begun.state, begun.windows, begun.score_psi),
        (State::Gathering, 0, None)
    );
    assert_eq!(watch.counts().rows, 2_000, "counters only rise");
    pass(&mut watch, 200, 100, |x| x);
    watch.set(DriftSettings {
        drifted: 1.0,
        ..watch.settings
    });
    assert_eq!(watch.drift().gathered, 0, "other settings, another window");
    for none in [Some(Card::default()), None] {
        watch.set_model(none.as_ref());
        watch.expect(10);
        assert!(!watch.wants_next());
        watch.end(SECOND);
        assert_eq!(watch.drift().state, State::Unknown);
    }
}
