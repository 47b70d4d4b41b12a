//! Boosting, isolation, parts and made-up rows: what they must come out as.

use super::{
    BoostOptions, IsolationOptions, Leak, Learner, LinfaOptions, Schema, SplitBy, Table, leaks,
    parts, predict, random::Random, smote, train_boost, train_isolation,
};
use crate::judge::{Ranking, judge};

fn schema(features: &[&str], classes: usize) -> Schema {
    Schema {
        feature_set: "test/1".to_owned(),
        features: features.iter().map(ToString::to_string).collect(),
        classes: (0..classes).map(|n| format!("c{n}")).collect(),
    }
}

/// The class is told by two features together, with some of a third missing; ten rows a group.
fn table(rows: usize, classes: usize) -> Table {
    let mut random = Random::new(5, 5);
    let mut columns = vec![0.0; rows * 3];
    for value in &mut columns {
        *value = match random.below(15) {
            0 => f32::NAN,
            _ => random.below(1 << 20) as f32 / (1 << 20) as f32,
        };
    }
    let labels = (0..rows).map(|row| {
        let high = columns[row] > 0.5;
        let large = columns[rows + row] > 0.5;
        let class = usize::from(high ^ large) + 2 * usize::from(high && large && classes > 2);
        if random.below(20) == 0 {
            0
        } else {
            class as u16
        }
    });
    let labels = labels.collect();
    let groups = (0..rows as u32).map(|row| row / 10).collect();
    let weights = vec![1.0; rows];
    Table::new(
        schema(&["a", "b", "c"], classes),
        columns,
        labels,
        weights,
        groups,
    )
    .unwrap()
}

fn accuracy(learner: &Learner, table: &Table) -> f64 {
    let parts = parts(table, None, SplitBy::Stratified, 1).unwrap();
    let validation = Some((table, &parts.validation[..]));
    let (model, _) = learner
        .fit(table, &parts.train, validation, &|| {})
        .unwrap();
    let scores = predict(&model, table, &parts.test, 1).unwrap();
    let labels: Vec<u16> = parts
        .test
        .iter()
        .map(|&row| table.labels()[row as usize])
        .collect();
    let weights = vec![1.0; labels.len()];
    judge(&labels, &scores, &weights, table.classes(), None, &[])
        .unwrap()
        .accuracy
}

#[test]
fn what_two_features_tell_together_is_learnt() {
    for classes in [2, 3] {
        let table = table(3_000, classes);
        for learner in [
            Learner::Boost(BoostOptions {
                rounds: 60,
                ..BoostOptions::default()
            }),
            Learner::Linfa(LinfaOptions::default()),
        ] {
            let found = accuracy(&learner, &table);
            assert!(
                found > 0.85,
                "{}, {classes} classes: {found}",
                learner.name()
            );
        }
    }
}

#[test]
fn boosting_is_the_same_on_any_number_of_threads_and_ends_where_it_no_longer_helps() {
    for classes in [2, 3] {
        let table = table(1_500, classes);
        let parts = parts(&table, None, SplitBy::Stratified, 1).unwrap();
        let train = |threads| {
            let options = BoostOptions {
                rounds: 400,
                threads,
                seed: 9,
                ..BoostOptions::default()
            };
            train_boost(
                &table,
                &parts.train,
                Some((&table, &parts.validation)),
                &options,
                &|| {},
            )
            .unwrap()
        };
        let (one, two) = (train(1), train(2));
        assert!(one.ensemble == two.ensemble);
        assert!(one.rounds < 200, "{} rounds", one.rounds);
        let bytes = one.ensemble.to_bytes().unwrap();
        assert!(crate::model::Ensemble::from_bytes(&bytes).unwrap() == one.ensemble);
    }
}

#[test]
fn odd_rows_are_isolated_soon() {
    let mut random = Random::new(1, 1);
    let rows = 2_000;
    let mut columns = Vec::new();
    for feature in 0..4 {
        for row in 0..rows {
            let sum: f32 = (0..6).map(|_| random.below(1_000) as f32).sum();
            let far = if row % 50 == 0 && feature < 2 {
                6_000.0
            } else {
                0.0
            };
            columns.push(if random.below(30) == 0 {
                f32::NAN
            } else {
                sum + far
            });
        }
    }
    let labels: Vec<u16> = (0..rows).map(|row| u16::from(row % 50 == 0)).collect();
    let table = Table::new(
        schema(&["a", "b", "c", "d"], 2),
        columns,
        labels.clone(),
        vec![1.0; rows],
        vec![0; rows],
    )
    .unwrap();
    let train = |threads| {
        let options = IsolationOptions {
            trees: 100,
            threads,
            ..IsolationOptions::default()
        };
        train_isolation(&table, &table.all_rows(), &options, &|| {}).unwrap()
    };
    let model = train(1);
    assert!(model == train(3));
    let scores = predict(&model, &table, &table.all_rows(), 1).unwrap();
    let points = labels
        .iter()
        .zip(scores.chunks(2))
        .map(|(label, pair)| (*label == 1, pair[1], 1.0));
    assert!(Ranking::new(points).roc_auc().unwrap() > 0.98);
    // As the paper has it, rows that are alike score below a half.
    let usual: f32 = scores.chunks(2).skip(1).take(49).map(|pair| pair[1]).sum();
    assert!(usual / 49.0 < 0.5);
}

#[test]
fn parts_keep_classes_times_and_groups() {
    let table = table(1_000, 3);
    let times: Vec<f64> = (0..1_000)
        .map(|row| f64::from(997 - row * 7 % 997))
        .collect();
    for by in [SplitBy::Stratified, SplitBy::Time, SplitBy::Group] {
        let parts = parts(&table, Some(&times), by, 1).unwrap();
        let mut all = [&parts.train[..], &parts.validation, &parts.test].concat();
        all.sort_unstable();
        assert_eq!(all, table.all_rows());
        let size = |part: &[u32]| part.len() as f64 / 1_000.0;
        assert!(
            (size(&parts.train) - 0.7).abs() < 0.03,
            "{by:?}: {}",
            size(&parts.train)
        );
        assert!((size(&parts.test) - 0.15).abs() < 0.03, "{by:?}");
        let of_class = |part: &[u32], class: u16| {
            part.iter()
                .filter(|row| table.labels()[**row as usize] == class)
                .count() as f64
        };
        for class in 0..3 {
            let share = of_class(&parts.test, class) / of_class(&all, class);
            assert!(
                (share - 0.15).abs() < 0.05,
                "{by:?}: class {class} has {share}"
            );
        }
        match by {
            SplitBy::Stratified => {}
            SplitBy::Time => {
                let of = |part: &[u32], class: u16| -> Vec<f64> {
                    let rows = part
                        .iter()
                        .filter(|row| table.labels()[**row as usize] == class);
                    rows.map(|row| times[*row as usize]).collect()
                };
                for class in 0..3 {
                    let last = of(&parts.train, class).into_iter().fold(0.0, f64::max);
                    let first = of(&parts.test, class).into_iter().fold(f64::MAX, f64::min);
                    assert!(last <= first);
                }
            }
            SplitBy::Group => {
                let groups = |part: &[u32]| -> std::collections::BTreeSet<u32> {
                    part.iter()
                        .map(|row| table.groups()[*row as usize])
                        .collect()
                };
                assert!(groups(&parts.train).is_disjoint(&groups(&parts.test)));
            }
        }
    }
    assert!(parts(&table, None, SplitBy::Time, 1).is_err());
}

#[test]
fn made_up_rows_lie_between_those_of_their_class() {
    let rows = 120;
    let mut columns: Vec<f32> = (0..rows).map(|n| n as f32).collect();
    columns.extend((0..rows).map(|n| (n % 2) as f32));
    let labels: Vec<u16> = (0..rows).map(|n| u16::from(n >= 100)).collect();
    let table = Table::new(
        schema(&["x", "word"], 2),
        columns,
        labels,
        vec![1.0; rows],
        vec![0; rows],
    )
    .unwrap();
    let more = smote(&table, &table.all_rows(), &[false, true], 100, 1).unwrap();
    assert_eq!(more.rows(), 200);
    for row in rows..more.rows() {
        assert_eq!(more.labels()[row], 1);
        assert!((100.0..120.0).contains(&more.column(0)[row]));
        assert!(more.column(1)[row].fract() == 0.0);
    }
    assert_eq!(
        smote(&table, &table.all_rows(), &[false, true], 2, 1)
            .unwrap()
            .rows(),
        140
    );
}

#[test]
fn leaks_are_named() {
    let rows = 200;
    let labels: Vec<u16> = (0..rows).map(|n| (n % 2) as u16).collect();
    let mut columns: Vec<f32> = labels.iter().map(|label| f32::from(*label)).collect();
    columns.extend((0..rows).map(|n| (n % 4) as f32));
    columns.extend(vec![1.0; rows]);
    let names = ["tell", "dst_port", "src_ip"];
    let table = Table::new(
        schema(&names, 2),
        columns,
        labels,
        vec![1.0; rows],
        vec![0; rows],
    )
    .unwrap();
    let parts = parts(&table, None, SplitBy::Stratified, 1).unwrap();
    let found = leaks(&table, &parts);
    assert!(
        matches!(found[0], Leak::SameRows { rows: 30, of: 30 }),
        "{found:?}"
    );
    assert!(found.contains(&Leak::Port {
        feature: "dst_port".to_owned()
    }));
    assert!(found.contains(&Leak::Identity {
        feature: "src_ip".to_owned(),
        what: "identity".to_owned()
    }));
    let alone = found
        .iter()
        .any(|leak| matches!(leak, Leak::OneFeature { feature, .. } if feature == "tell"));
    assert!(alone, "{found:?}");
}
