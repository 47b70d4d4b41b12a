use semver::Version;

use super::*;
use crate::model::{Card, Ensemble, Tree, TreeNode, feature_hash};

const AT: &str = "2026-11-21T00:00:00.000000Z";

fn model(version: &str) -> Vec<u8> {
    let features = vec!["x".to_owned()];
    let card = Card {
        name: "edge".to_owned(),
        version: version.to_owned(),
        feature_set: "test/1".to_owned(),
        feature_hash: feature_hash("test/1", &features),
        features,
        classes: vec!["benign".to_owned(), "flood".to_owned()],
        ..Card::default()
    };
    let tree = Tree {
        nodes: vec![TreeNode::Leaf],
        values: vec![0.5, 0.5],
    };
    Ensemble::from_trees(card, &[tree])
        .unwrap()
        .to_bytes()
        .unwrap()
}

fn figures(roc_auc: f64) -> Figures {
    Figures {
        data_fingerprint: "of a test".to_owned(),
        roc_auc: Some(roc_auc),
        f1_macro: Some(0.9),
        kappa: Some(0.9),
        false_alarm_rate: Some(0.001),
    }
}

fn ungated(stage: Stage) -> Promotion<'static> {
    Promotion {
        stage,
        reason: "of a test",
        gate: None,
        at: AT,
    }
}

fn v(text: &str) -> Version {
    Version::parse(text).unwrap()
}

/// The same on every store.
fn life(registry: &Registry) {
    for version in ["1.9.0", "1.10.0", "2.0.0-rc.1"] {
        registry.push(&model(version), AT).unwrap();
    }
    let versions = registry.versions("edge").unwrap();
    let names: Vec<String> = versions.iter().map(|one| one.version.to_string()).collect();
    assert_eq!(names, ["1.9.0", "1.10.0", "2.0.0-rc.1"], "as numbers");
    assert_eq!(registry.names().unwrap(), ["edge"]);
    assert_eq!(registry.file(&versions[1]).unwrap(), model("1.10.0"));
    let again = registry.push(&model("1.9.0"), AT).unwrap_err();
    assert!(matches!(again, RegistryError::Exists { .. }), "{again}");

    assert_eq!(registry.stages("edge").unwrap(), Stages::default());
    for (place, stage) in [
        (0, Stage::Production),
        (1, Stage::Staging),
        (1, Stage::Production),
    ] {
        registry.promote(&versions[place], &ungated(stage)).unwrap();
    }
    let stages = registry.stages("edge").unwrap();
    assert_eq!(stages.production, Some(v("1.10.0")));
    assert_eq!((stages.staging, stages.former), (None, vec![v("1.9.0")]));
    // The same once more is no change.
    registry
        .promote(&versions[1], &ungated(Stage::Production))
        .unwrap();
    assert_eq!(registry.history("edge").unwrap().len(), 3);

    assert_eq!(registry.roll_back("edge", "worse", AT).unwrap(), v("1.9.0"));
    assert_eq!(
        registry.stages("edge").unwrap().production,
        Some(v("1.9.0"))
    );
    let none = registry.roll_back("edge", "worse", AT).unwrap_err();
    assert!(none.to_string().contains("former version"), "{none}");
    let history = registry.history("edge").unwrap();
    assert_eq!(history.len(), 4);
    assert_eq!(history[3].action, Action::Rollback);
}

#[test]
fn models_are_pushed_promoted_and_rolled_back_on_every_store() {
    life(&Registry::new(Store::in_memory().unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let address = folder.path().join("made").display().to_string();
    life(&Registry::new(Store::open(&address).unwrap()));
    // What one process wrote another reads, by the other way of writing the address.
    let again = Registry::new(Store::open(&format!("file://{address}")).unwrap());
    assert_eq!(again.history("edge").unwrap().len(), 4);
}

#[test]
fn of_promotions_that_come_at_once_none_is_lost() {
    const EACH: u32 = 8;
    let folder = tempfile::tempdir().unwrap();
    let open = || Registry::new(Store::open(folder.path().to_str().unwrap()).unwrap());
    let registry = open();
    for n in 0..4 {
        registry.push(&model(&format!("1.0.{n}")), AT).unwrap();
    }
    std::thread::scope(|scope| {
        for half in 0..2 {
            let registry = open();
            scope.spawn(move || {
                for n in 0..EACH {
                    let version = v(&format!("1.0.{}", 2 * half + n % 2));
                    let entry = registry.entry("edge", &version).unwrap();
                    registry
                        .promote(&entry, &ungated(Stage::Production))
                        .unwrap();
                }
            });
        }
    });
    let history = registry.history("edge").unwrap();
    // Each went into production, and each change tells truly what it was made from.
    assert_eq!(history.len(), 2 * EACH as usize);
    for pair in history.windows(2) {
        let former = pair[0].stages.production.clone().unwrap();
        assert_eq!(pair[1].stages.former.last(), Some(&former));
    }
}

#[test]
fn the_gate_says_why_it_stays_shut() {
    let registry = Registry::new(Store::in_memory().unwrap());
    registry.push(&model("1.0.0"), AT).unwrap();
    let entry = registry.entry("edge", &v("1.0.0")).unwrap();
    let gate = Gate::default();
    let attempt = |candidate: &Figures, production: Option<&Figures>| {
        registry.promote(
            &entry,
            &Promotion {
                gate: Some((&gate, candidate, production)),
                ..ungated(Stage::Production)
            },
        )
    };
    let cases = [
        (
            figures(0.9),
            None,
            "ROC-AUC is 0.9000 where 0.95 is the least",
        ),
        (figures(f64::NAN), None, "ROC-AUC is NaN"),
        (
            Figures {
                kappa: None,
                ..figures(0.99)
            },
            None,
            "kappa is not known",
        ),
        (
            Figures {
                false_alarm_rate: Some(0.02),
                ..figures(0.99)
            },
            None,
            "false-alarm rate is 0.0200 where 0.01 is the most",
        ),
        (
            figures(0.98),
            Some(figures(0.99)),
            "that of the model in production 0.9900",
        ),
        (
            figures(0.99),
            Some(Figures {
                data_fingerprint: "of another".to_owned(),
                ..figures(0.98)
            }),
            "another hold-out",
        ),
    ];
    for (candidate, production, why) in cases {
        let refused = attempt(&candidate, production.as_ref())
            .unwrap_err()
            .to_string();
        assert!(refused.contains(why), "{refused}");
        assert_eq!(registry.stages("edge").unwrap().production, None);
    }
    attempt(&figures(0.99), Some(&figures(0.99))).unwrap();
    let change = registry.history("edge").unwrap().remove(0);
    assert_eq!(change.figures, Some(figures(0.99)));
}

#[test]
fn what_is_damaged_or_away_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new(Store::open(folder.path().to_str().unwrap()).unwrap());
    registry.push(&model("1.0.0"), AT).unwrap();
    let entry = registry.entry("edge", &v("1.0.0")).unwrap();
    let file = folder.path().join("edge/versions/1.0.0/model.bin");
    std::fs::write(&file, b"other").unwrap();
    let damaged = registry.file(&entry).unwrap_err().to_string();
    assert!(
        damaged.contains("model.bin") && damaged.contains("SHA-256"),
        "{damaged}"
    );
    let refused = registry.promote(&entry, &ungated(Stage::Production));
    assert!(refused.is_err(), "what is promoted must be whole");
    let object = folder.path().join("edge/versions/1.0.0/entry.json");
    std::fs::write(&object, b"{").unwrap();
    let damaged = registry.versions("edge").unwrap_err().to_string();
    assert!(damaged.contains("entry.json"), "{damaged}");
    let missing = registry.versions("nosuch").unwrap_err().to_string();
    assert!(missing.contains("no model nosuch"), "{missing}");
    for name in ["", "../x", "a/b", ".hidden", "a b"] {
        let refused = registry.versions(name).unwrap_err();
        assert!(
            matches!(refused, RegistryError::Word { .. }),
            "{name}: {refused}"
        );
    }
    for address in ["ftp://x/y", "s3://", "file://relative", "/proc/nosuch"] {
        let refused = Store::open(address).err().map(|error| error.to_string());
        assert!(
            refused.as_ref().is_some_and(|text| text.contains(address)),
            "{address}: {refused:?}"
        );
    }
    drop(folder);
    assert!(registry.versions("edge").is_err());
}
