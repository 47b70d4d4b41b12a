//! Forests that must come out as they do, and the parts they are made of.

use super::{
    Bootstrap, ClassWeights, FeaturesPerSplit, ForestOptions, Schema, Table, TableError,
    TrainError, Trained, Unseen,
    bins::Binned,
    calibration, finish, folds,
    grow::{Grower, Limits, Sample},
    out_of_fold, predict,
    random::Random,
    train_forest,
};
use crate::model::{Card, Ensemble, feature_hash};

fn schema(features: usize, classes: usize) -> Schema {
    Schema {
        feature_set: "test/1".to_owned(),
        features: (0..features).map(|n| format!("f{n}")).collect(),
        classes: (0..classes).map(|n| format!("c{n}")).collect(),
    }
}

/// Columns of few and of many values with gaps in them; the class follows from the first two
/// and from whether the third is missing. Ten rows a group.
fn table(rows: usize, features: usize, seed: u64) -> Table {
    let mut random = Random::new(seed, 1);
    let mut columns = vec![0.0; rows * features];
    for (n, value) in columns.iter_mut().enumerate() {
        *value = match random.below(20) {
            0 => f32::NAN,
            1 => f32::INFINITY,
            _ if (n / rows).is_multiple_of(2) => random.below(6) as f32,
            _ => random.below(1 << 20) as f32 / 1e6,
        };
    }
    let labels = (0..rows).map(|row| {
        let high = columns[row] > 2.0;
        let large = columns[rows + row] > 0.4;
        let noise = random.below(20) == 0;
        u16::from((high ^ large) ^ noise) + u16::from(columns[2 * rows + row].is_nan())
    });
    let labels: Vec<u16> = labels.collect();
    let groups = (0..rows as u32).map(|row| row / 10).collect();
    Table::new(
        schema(features, 3),
        columns,
        labels,
        vec![1.0; rows],
        groups,
    )
    .unwrap()
}

fn train(table: &Table, options: &ForestOptions) -> Trained {
    train_forest(table, &table.all_rows(), options, &|| ()).unwrap()
}

fn options() -> ForestOptions {
    ForestOptions {
        trees: 20,
        depth_max: 8,
        ..ForestOptions::default()
    }
}

/// One tree on every row, looking at every feature.
fn one_tree() -> ForestOptions {
    ForestOptions {
        trees: 1,
        features_per_split: FeaturesPerSplit::All,
        bootstrap: Bootstrap::None,
        ..options()
    }
}

fn right(labels: &[u16], probabilities: &[f32], classes: usize) -> f64 {
    let rows = labels.iter().zip(probabilities.chunks(classes));
    let hit = rows.filter(|(label, row)| {
        let best = row.iter().copied().fold(f32::MIN, f32::max);
        row[usize::from(**label)] == best
    });
    hit.count() as f64 / labels.len() as f64
}

#[test]
fn the_number_of_threads_does_not_matter_and_the_seed_does() {
    let table = table(3_000, 9, 1);
    for bootstrap in [Bootstrap::Rows, Bootstrap::Groups] {
        let with = |threads, seed| {
            let options = ForestOptions {
                threads,
                seed,
                bootstrap,
                class_weights: ClassWeights::Balanced,
                ..options()
            };
            let trained = train(&table, &options);
            let bits: Vec<u32> = trained.out_of_bag.iter().map(|p| p.to_bits()).collect();
            (trained.ensemble.to_bytes().unwrap(), bits)
        };
        let one = with(1, 5);
        assert!(one == with(2, 5) && one == with(7, 5));
        assert!(one.0 != with(1, 6).0);
    }
}

#[test]
fn a_forest_learns_what_no_single_feature_tells() {
    let learned = table(6_000, 6, 2);
    let fresh = table(3_000, 6, 3);
    for features_per_split in [FeaturesPerSplit::SquareRoot, FeaturesPerSplit::All] {
        let options = ForestOptions {
            features_per_split,
            ..options()
        };
        let trained = train(&learned, &options);
        let probabilities = predict(&trained.ensemble, &fresh, &fresh.all_rows(), 2).unwrap();
        let accuracy = right(fresh.labels(), &probabilities, 3);
        let out_of_bag = right(learned.labels(), &trained.out_of_bag, 3);
        assert!(accuracy > 0.9, "{features_per_split:?}: {accuracy}");
        assert!(
            (accuracy - out_of_bag).abs() < 0.03,
            "{accuracy} and {out_of_bag}"
        );
    }
}

/// A tree on every row of a table: what it says by bins, and what by values.
#[test]
fn training_and_serving_go_the_same_way() {
    let table = table(2_000, 7, 4);
    let rows = table.all_rows();
    let binned = Binned::new(&table, &rows, 0, 2);
    let mut grower = Grower::new(&binned, 3);
    // On half of the rows, so that others fall into bins that the tree has not seen.
    let mut samples: Vec<Sample> = rows
        .iter()
        .step_by(2)
        .map(|&row| Sample {
            row,
            label: table.labels()[row as usize].into(),
            weight: 1,
        })
        .collect();
    let limits = Limits {
        depth_max: 20,
        leaf_weight_min: 1,
        features_per_split: 3,
    };
    let grown = grower.grow(&mut samples, limits, &mut Random::new(0, 0));
    let schema = table.schema().clone();
    let card = Card {
        feature_hash: feature_hash(&schema.feature_set, &schema.features),
        feature_set: schema.feature_set,
        features: schema.features,
        classes: schema.classes,
        ..Card::default()
    };
    let ensemble = Ensemble::from_trees(card, std::slice::from_ref(&grown.tree)).unwrap();
    let (mut values, mut got) = ([0.0; 7], [0.0; 3]);
    for row in rows {
        table.row(row as usize, &mut values);
        ensemble.score(&values, &mut got);
        let leaf = grown.leaf_of(&binned, row);
        assert_eq!(got, grown.tree.values[leaf * 3..][..3], "row {row}");
    }
    assert!(grown.tree.nodes.len() > 200);
}

#[test]
fn whether_a_value_is_missing_can_be_what_matters() {
    let columns = (0..100).map(|n| if n < 30 { f32::NAN } else { n as f32 });
    let labels = (0..100).map(|n| u16::from(n < 30)).collect();
    let table = Table::new(
        schema(1, 2),
        columns.collect(),
        labels,
        vec![1.0; 100],
        vec![0; 100],
    )
    .unwrap();
    let trained = train(&table, &one_tree());
    assert_eq!(trained.ensemble.nodes(), 3);
    let mut p = [0.0; 2];
    for (x, want) in [(f32::NAN, 1.0), (50.0, 0.0), (1e30, 0.0), (-1e30, 0.0)] {
        trained.ensemble.score(&[x], &mut p);
        assert_eq!(p[1], want, "{x}");
    }
}

#[test]
fn a_row_of_weight_three_is_three_rows() {
    let single = table(200, 4, 5);
    let times = |row: usize| row % 4;
    let weights = (0..200).map(|row| times(row) as f32).collect();
    let parts = |rows: &[usize], weights: Vec<f32>| {
        let columns = (0..4).flat_map(|f| rows.iter().map(move |&row| (f, row)));
        let columns = columns.map(|(f, row)| single.column(f)[row]).collect();
        let labels = rows.iter().map(|&row| single.labels()[row]).collect();
        let groups = vec![0; rows.len()];
        Table::new(schema(4, 3), columns, labels, weights, groups).unwrap()
    };
    let rows: Vec<usize> = (0..200).collect();
    let weighted = parts(&rows, weights);
    let repeated: Vec<usize> = rows
        .iter()
        .flat_map(|&row| std::iter::repeat_n(row, times(row)))
        .collect();
    let repeated = parts(&repeated, vec![1.0; repeated.len()]);
    let options = ForestOptions {
        leaf_weight_min: 5.0,
        ..one_tree()
    };
    let (a, b) = (train(&weighted, &options), train(&repeated, &options));
    let all = single.all_rows();
    let of = |trained: &Trained| predict(&trained.ensemble, &single, &all, 1).unwrap();
    // Rows of weight 0 still have a say in where the bins end, not in what is split.
    assert_eq!(a.ensemble.nodes(), b.ensemble.nodes());
    let same = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6;
    let agreeing = of(&a)
        .iter()
        .zip(&of(&b))
        .filter(|pair| same(*pair))
        .count();
    assert!(agreeing as f64 > 0.97 * 600.0, "{agreeing} of 600");
}

#[test]
fn leaves_weigh_what_is_asked() {
    let table = table(1_000, 5, 6);
    let options = ForestOptions {
        leaf_weight_min: 50.0,
        ..one_tree()
    };
    let ensemble = train(&table, &options).ensemble;
    let scores = predict(&ensemble, &table, &table.all_rows(), 1).unwrap();
    let mut leaves: Vec<&[f32]> = scores.chunks(3).collect();
    leaves.sort_by(|a, b| a.partial_cmp(b).unwrap());
    let sizes: Vec<usize> = leaves.chunk_by(|a, b| a == b).map(<[_]>::len).collect();
    assert!(
        sizes.len() > 4 && sizes.iter().all(|size| *size >= 50),
        "{sizes:?}"
    );
}

#[test]
fn balanced_classes_weigh_the_same() {
    let table = table(1_000, 5, 7);
    let options = ForestOptions {
        class_weights: ClassWeights::Balanced,
        leaf_weight_min: 1e9,
        ..one_tree()
    };
    let ensemble = train(&table, &options).ensemble;
    let mut p = [0.0; 3];
    ensemble.score(&[0.0; 5], &mut p);
    assert!(p.iter().all(|p| (p - 1.0 / 3.0).abs() < 1e-4), "{p:?}");
}

#[test]
fn out_of_bag_are_whole_groups() {
    let table = table(1_000, 5, 8);
    let options = ForestOptions {
        bootstrap: Bootstrap::Groups,
        trees: 1,
        ..options()
    };
    let trained = train(&table, &options);
    let rows: Vec<bool> = trained
        .out_of_bag
        .chunks(3)
        .map(|row| row[0].is_nan())
        .collect();
    assert!(
        rows.chunks(10)
            .all(|group| group.iter().all(|seen| *seen == group[0]))
    );
    let left_out = rows.iter().filter(|seen| !**seen).count();
    assert!((250..480).contains(&left_out), "{left_out}");
    let all = train(&table, &one_tree());
    assert!(all.out_of_bag.iter().all(|p| p.is_nan()));
}

/// scikit-learn 1.9.1's `IsotonicRegression(out_of_bounds="clip")` on the same points.
#[test]
fn calibration_is_isotonic_regression() {
    let x = [0.1, 0.1, 0.2, 0.3, 0.35, 0.4, 0.5, 0.5, 0.6, 0.7, 0.8, 0.9];
    let labels = [0, 1, 0, 0, 1, 0, 1, 0, 1, 1, 0, 1];
    let weights = [1.0, 2.0, 1.0, 1.0, 0.5, 2.0, 1.0, 1.0, 3.0, 1.0, 1.0, 2.0];
    let scores: Vec<f32> = x.iter().flat_map(|x| [1.0 - x, *x]).collect();
    let curves = calibration(&labels, &scores, &weights, 2);
    for (x, y) in [
        (0.0, 0.3333333),
        (0.1, 0.3333333),
        (0.3, 0.3333333),
        (0.38, 0.3333333),
        (0.45, 0.4166666),
        (0.5, 0.5),
        (0.55, 0.65),
        (0.65, 0.8),
        (0.85, 0.9),
        (0.9, 1.0),
        (1.0, 1.0),
    ] {
        let got = curves[1].at(x);
        assert!((got - y).abs() < 1e-6, "at {x}: {got} is not {y}");
    }
    assert!(calibration(&[0], &[f32::NAN, f32::NAN], &[1.0], 2).is_empty());
}

#[test]
fn a_finished_model_keeps_its_false_alarm_rates() {
    let learned = table(4_000, 6, 11);
    let trained = train(&learned, &options());
    let unseen = Unseen {
        labels: learned.labels(),
        scores: &trained.out_of_bag,
        weights: learned.weights(),
    };
    let rates = [("one in twenty", 0.05), ("one in a hundred", 0.01)];
    let (model, report) = finish(trained.ensemble, unseen, Some(0), &rates, "oob_").unwrap();
    let model = Ensemble::from_bytes(&model.to_bytes().unwrap()).unwrap();
    let card = model.card();
    assert_eq!(card.calibration.len(), 3);
    assert_eq!(card.operating_points[1].name, "one in a hundred");
    assert_eq!(
        card.metrics["oob_attack_roc_auc"],
        report.attack.unwrap().roc_auc.unwrap()
    );
    assert!(card.metrics["oob_class_1_recall_at_one in twenty"] > 0.8);
    assert!(
        report.calibration_error < 0.02,
        "{}",
        report.calibration_error
    );
    // On rows of the same kind that nobody has seen the rate holds but for chance.
    let fresh = table(4_000, 6, 12);
    let scores = predict(&model, &fresh, &fresh.all_rows(), 2).unwrap();
    let threshold = card.operating_points[0].thresholds[1].unwrap();
    let others = || (0..4_000).filter(|&row| fresh.labels()[row] == 0);
    let alarms = others()
        .filter(|row| scores[row * 3 + 1] >= threshold)
        .count();
    let rate = alarms as f64 / others().count() as f64;
    assert!(rate < 0.07, "{rate}");

    let nothing = Unseen {
        scores: &[f32::NAN; 12_000],
        ..unseen
    };
    assert!(finish(model, nothing, None, &rates, "").is_err());
}

#[test]
fn folds_keep_groups_whole_and_spread_classes() {
    // Forty groups of unequal size; the last eight are all attack, the rest a tenth.
    let groups: Vec<u32> = (0..40_u32).flat_map(|g| vec![g; 10 + g as usize]).collect();
    let attack = |(row, group): (usize, &u32)| u16::from(*group >= 32 || row % 10 == 0);
    let labels: Vec<u16> = groups.iter().enumerate().map(attack).collect();
    let fold_of = folds(&groups, &labels, 4, 1).unwrap();
    for pair in 1..groups.len() {
        assert!(groups[pair] != groups[pair - 1] || fold_of[pair] == fold_of[pair - 1]);
    }
    let share = |class: u16, fold: u16| {
        let of_class = || labels.iter().zip(&fold_of).filter(|(l, _)| **l == class);
        of_class().filter(|(_, f)| **f == fold).count() as f64 / of_class().count() as f64
    };
    for fold in 0..4 {
        for class in 0..2 {
            assert!(
                (share(class, fold) - 0.25).abs() < 0.08,
                "{class} in {fold}"
            );
        }
    }
    assert_eq!(fold_of, folds(&groups, &labels, 4, 1).unwrap());
    for wrong in [0, 1, 41] {
        let refusal = folds(&groups, &labels, wrong, 1).unwrap_err().to_string();
        assert!(refusal.contains("40 groups"), "{refusal}");
    }
}

#[test]
fn out_of_fold_scores_are_of_rows_not_seen() {
    let table = table(2_000, 5, 9);
    let scores = out_of_fold(&table, 4, &options(), &|| ()).unwrap();
    let sums = scores.chunks(3).map(|row| row.iter().sum::<f32>());
    assert!(sums.into_iter().all(|sum| (sum - 1.0).abs() < 1e-5));
    let accuracy = right(table.labels(), &scores, 3);
    assert!((0.85..0.97).contains(&accuracy), "{accuracy}");
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let small = table(100, 3, 10);
    let changes: [&dyn Fn(&mut ForestOptions); 6] = [
        &|o| o.trees = 0,
        &|o| o.depth_max = 1_000,
        &|o| o.leaf_weight_min = f64::NAN,
        &|o| o.features_per_split = FeaturesPerSplit::Count(0),
        &|o| o.class_weights = ClassWeights::Each(vec![1.0]),
        &|o| o.class_weights = ClassWeights::Each(vec![1.0, -1.0, 1.0]),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut options = options();
        change(&mut options);
        let refused = train_forest(&small, &[0], &options, &|| ());
        assert!(
            matches!(refused, Err(TrainError::Option { .. })),
            "change {number}"
        );
    }
    let with = |rows: &[u32]| train_forest(&small, rows, &options(), &|| ());
    assert!(matches!(with(&[]), Err(TrainError::Empty)));
    assert!(matches!(
        with(&[100]),
        Err(TrainError::Row {
            row: 100,
            rows: 100
        })
    ));
    // A single row is enough for a forest that knows one answer.
    assert_eq!(with(&[7]).unwrap().ensemble.nodes(), 20);

    let new = |columns, labels: &[u16], weights, groups| {
        Table::new(schema(1, 2), columns, labels.to_vec(), weights, groups).unwrap_err()
    };
    let one = || vec![1.0];
    assert!(matches!(
        new(vec![], &[0], one(), vec![0]),
        TableError::Length { .. }
    ));
    assert!(matches!(
        new(one(), &[2], one(), vec![0]),
        TableError::Label { .. }
    ));
    assert!(matches!(
        new(one(), &[0], vec![-1.0], vec![0]),
        TableError::Weight { .. }
    ));
    assert!(matches!(
        new(vec![], &[], vec![], vec![]),
        TableError::Count { .. }
    ));
}

#[test]
fn a_fingerprint_tells_tables_apart() {
    let print = |seed| table(50, 3, seed).fingerprint();
    assert_eq!(print(1), print(1));
    assert_ne!(print(1), print(2));
    assert_eq!(print(1).len(), 64);
}
