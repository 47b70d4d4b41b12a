//! The measures against numbers that scikit-learn 1.9.1 gave for the same rows.
#![expect(clippy::unreadable_literal, reason = "numbers as they were printed")]

use super::{JudgeError, Ranking, calibration_error, judge};

/// Rows and what scikit-learn says of them. `attack` has the two areas for 1 − p of class 0,
/// `at_false_alarm_rates` threshold, recall and rate at 5 % and 20 %, and
/// `calibration_error` was computed with numpy.
struct Case {
    labels: &'static [u16],
    probabilities: &'static [f32],
    weights: &'static [f32],
    roc_auc: &'static [f64],
    average_precision: &'static [f64],
    attack: &'static [f64],
    at_false_alarm_rates: &'static [f64],
    precision: &'static [f64],
    recall: &'static [f64],
    f1: &'static [f64],
    support: &'static [f64],
    macro_average: &'static [f64],
    confusion: &'static [f64],
    accuracy: f64,
    kappa: f64,
    log_loss: f64,
    brier: f64,
    calibration_error: f64,
}

fn near(got: impl IntoIterator<Item = f64>, want: &[f64], what: &str) {
    let got: Vec<f64> = got.into_iter().collect();
    let close = |(a, b): (&f64, &f64)| a == b || (a - b).abs() <= 1e-6 * b.abs().max(1.0);
    assert!(
        got.len() == want.len() && got.iter().zip(want).all(close),
        "{what}: {got:?} is not {want:?}"
    );
}

#[test]
fn every_measure_is_scikit_learns() {
    for (number, case) in CASES.iter().enumerate() {
        let classes = case.roc_auc.len();
        let report = judge(
            case.labels,
            case.probabilities,
            case.weights,
            classes,
            Some(0),
            &[0.05, 0.2],
        )
        .unwrap();
        let is = |what: &str, got: Vec<f64>, want: &[f64]| {
            near(got, want, &format!("{what} of case {number}"));
        };
        let rest = &report.one_against_rest;
        is(
            "ROC-AUC",
            rest.iter().map(|d| d.roc_auc.unwrap()).collect(),
            case.roc_auc,
        );
        is(
            "PR-AUC",
            rest.iter().map(|d| d.pr_auc.unwrap()).collect(),
            case.average_precision,
        );
        let attack = report.attack.unwrap();
        is(
            "attack",
            vec![attack.roc_auc.unwrap(), attack.pr_auc.unwrap()],
            case.attack,
        );
        let points = attack.at_false_alarm_rates.iter().flat_map(|at| {
            // Above every score scikit-learn has an infinite threshold.
            let threshold = at.threshold.map_or(f64::INFINITY, f64::from);
            [threshold, at.recall, at.false_alarm_rate]
        });
        is("thresholds", points.collect(), case.at_false_alarm_rates);
        let of = |f: fn(&super::ClassScore) -> f64| report.classes.iter().map(f).collect();
        is("precision", of(|c| c.precision), case.precision);
        is("recall", of(|c| c.recall), case.recall);
        is("F1", of(|c| c.f1), case.f1);
        is("support", of(|c| c.support), case.support);
        let average = report.macro_average;
        is(
            "macro",
            vec![average.precision, average.recall, average.f1],
            case.macro_average,
        );
        // scikit-learn's "weighted": its own numbers of the classes, by their support.
        let support: f64 = case.support.iter().sum();
        let weighted = |of: &[f64]| -> f64 {
            of.iter()
                .zip(case.support)
                .map(|(x, s)| x * s / support)
                .sum()
        };
        let average = report.weighted_average;
        is(
            "weighted",
            vec![average.precision, average.recall, average.f1],
            &[
                weighted(case.precision),
                weighted(case.recall),
                weighted(case.f1),
            ],
        );
        is(
            "confusion",
            report.confusion.weights.concat(),
            case.confusion,
        );
        is("accuracy", vec![report.accuracy], &[case.accuracy]);
        is("kappa", vec![report.kappa.unwrap()], &[case.kappa]);
        is("log-loss", vec![report.log_loss], &[case.log_loss]);
        is("Brier", vec![report.brier], &[case.brier]);
        let fifteen = calibration_error(case.labels, case.probabilities, case.weights, classes, 15);
        assert_eq!(fifteen, report.calibration_error);
        is("calibration", vec![fifteen], &[case.calibration_error]);
    }
}

#[test]
fn rows_without_probabilities_or_weight_are_left_out() {
    let p = [0.9, 0.1, f32::NAN, f32::NAN, 0.2, 0.8, 1.0, 0.0];
    let report = judge(&[0, 1, 1, 1], &p, &[1.0, 1.0, 1.0, 0.0], 2, Some(0), &[]).unwrap();
    assert_eq!((report.rows, report.rows_left_out), (2, 2));
    assert_eq!(report.accuracy, 1.0);
    assert_eq!(report.attack.unwrap().roc_auc, Some(1.0));
}

#[test]
fn what_cannot_be_said_is_not_said() {
    let one_kind = judge(
        &[0, 0],
        &[1.0, 0.0, 0.5, 0.5],
        &[1.0; 2],
        2,
        Some(0),
        &[0.1],
    )
    .unwrap();
    assert_eq!(one_kind.kappa, None);
    let attack = one_kind.attack.unwrap();
    assert_eq!((attack.roc_auc, attack.pr_auc), (None, None));
    // The highest score is a benign row's: no threshold is good enough.
    let wrong = Ranking::new([(true, 0.5, 1.0), (false, 0.9, 1.0)].into_iter());
    assert_eq!(wrong.at_false_alarm_rate(0.5).threshold, None);
    assert_eq!(wrong.at_false_alarm_rate(1.0).threshold, Some(0.5));
    // Only positives: nothing to choose a threshold by.
    let positive = Ranking::new(std::iter::once((true, 0.5, 1.0)));
    assert_eq!(positive.at_false_alarm_rate(1.0).threshold, None);
    for (refused, why) in [
        (judge(&[0], &[1.0], &[1.0], 2, None, &[]), "length"),
        (judge(&[2], &[1.0, 0.0], &[1.0], 2, None, &[]), "label"),
        (judge(&[0], &[1.0, 0.0], &[1.0], 2, Some(2), &[]), "benign"),
        (judge(&[0], &[f32::NAN, 0.0], &[1.0], 2, None, &[]), "empty"),
    ] {
        let error: JudgeError = refused.unwrap_err();
        assert!(error.to_string().starts_with("cannot judge"), "{why}");
    }
}

const CASES: &[Case] = &[
    Case {
        labels: &[
            0, 1, 1, 1, 1, 0, 1, 1, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1,
        ],
        probabilities: &[
            0.7, 0.3, 0.7, 0.3, 0.1, 0.9, 0.8, 0.2, 0.1, 0.9, 0.5, 0.5, 0.1, 0.9, 0.4, 0.6, 0.9,
            0.1, 0.4, 0.6, 1.0, 0.0, 0.1, 0.9, 0.3, 0.7, 1.0, 0.0, 1.0, 0.0, 0.7, 0.3, 0.3, 0.7,
            0.7, 0.3, 0.3, 0.7, 0.8, 0.2, 0.6, 0.4, 0.6, 0.4, 0.0, 1.0, 0.1, 0.9,
        ],
        weights: &[
            1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0,
            1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0,
        ],
        roc_auc: &[0.8428571428571427, 0.8428571428571427],
        average_precision: &[0.8014529914529913, 0.8891671820243248],
        attack: &[0.8428571428571427, 0.8891671820243248],
        at_false_alarm_rates: &[
            0.8999999761581421,
            0.42857142857142855,
            0.0,
            0.5,
            0.7142857142857143,
            0.2,
        ],
        precision: &[0.6923076923076923, 0.9090909090909091],
        recall: &[0.9, 0.7142857142857143],
        f1: &[0.782608695652174, 0.8],
        support: &[10.0, 14.0],
        macro_average: &[0.8006993006993006, 0.8071428571428572, 0.791304347826087],
        confusion: &[9.0, 1.0, 4.0, 10.0],
        accuracy: 0.7916666666666666,
        kappa: 0.5890410958904109,
        log_loss: 0.4660114403814101,
        brier: 0.16083333610246578,
        calibration_error: 0.14166667312383652,
    },
    Case {
        labels: &[0, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        probabilities: &[
            0.41, 0.59, 0.93, 0.07, 0.31, 0.69, 0.47, 0.53, 0.3, 0.7, 0.65, 0.35, 0.0, 1.0, 0.11,
            0.89, 0.45, 0.55, 0.33, 0.67, 0.2, 0.8, 0.08, 0.92, 0.92, 0.08, 0.5, 0.5, 0.13, 0.87,
            0.34, 0.66, 0.29, 0.71, 0.91, 0.09, 0.37, 0.63, 0.79, 0.21,
        ],
        weights: &[
            2.7, 1.4, 1.4, 1.5, 2.2, 2.5, 2.9, 1.4, 2.3, 1.4, 2.6, 1.1, 2.7, 1.8, 2.3, 1.8, 1.3,
            1.7, 0.6, 0.6,
        ],
        roc_auc: &[0.6330126781102593, 0.6330126781102593],
        average_precision: &[0.6192467103506015, 0.72758507756612],
        attack: &[0.6330126781102593, 0.72758507756612],
        at_false_alarm_rates: &[
            0.8899999856948853,
            0.2918918989277653,
            0.0,
            0.800000011920929,
            0.43243243521891694,
            0.12994349978079633,
        ],
        precision: &[0.6355140225441032, 0.5725490185445384],
        recall: &[0.3841807939664636, 0.7891891891195271],
        f1: &[0.4788732428655717, 0.6636363628974631],
        support: &[17.700000047683716, 18.49999988079071],
        macro_average: &[0.6040315205443207, 0.5866849915429954, 0.5712548028815174],
        confusion: &[
            6.800000071525574,
            10.899999976158142,
            3.899999976158142,
            14.599999904632568,
        ],
        accuracy: 0.591160221503901,
        kappa: 0.1748652421413841,
        log_loss: 0.7254371666244765,
        brier: 0.2603035842508107,
        calibration_error: 0.28339778935065807,
    },
    Case {
        labels: &[
            0, 1, 2, 0, 0, 1, 0, 0, 1, 0, 0, 2, 0, 0, 2, 0, 1, 2, 0, 0, 2, 2, 0, 1,
        ],
        probabilities: &[
            0.1, 0.4, 0.5, 0.0, 0.4, 0.6, 0.5, 0.2, 0.3, 0.1, 0.4, 0.5, 0.3, 0.1, 0.6, 0.1, 0.5,
            0.4, 0.7, 0.1, 0.2, 0.9, 0.1, 0.0, 0.3, 0.5, 0.2, 0.9, 0.1, 0.0, 0.1, 0.7, 0.2, 0.5,
            0.2, 0.3, 0.1, 0.8, 0.1, 0.8, 0.1, 0.1, 0.5, 0.0, 0.5, 0.7, 0.3, 0.0, 0.0, 0.4, 0.6,
            0.1, 0.6, 0.3, 0.0, 0.4, 0.6, 0.1, 0.5, 0.4, 0.5, 0.4, 0.1, 0.5, 0.0, 0.5, 0.3, 0.4,
            0.3, 0.5, 0.3, 0.2,
        ],
        weights: &[
            1.1, 2.7, 2.9, 0.7, 1.8, 1.0, 1.5, 2.4, 2.3, 1.0, 1.3, 1.6, 1.5, 2.2, 2.5, 1.3, 1.6,
            0.7, 1.4, 2.9, 1.8, 1.9, 2.0, 1.9,
        ],
        roc_auc: &[0.554128214928904, 0.7227530373480044, 0.5582788674509394],
        average_precision: &[0.7054162288980277, 0.3604988052320236, 0.34878736520007175],
        attack: &[0.554128214928904, 0.606457946813773],
        at_false_alarm_rates: &[
            f64::INFINITY,
            0.0,
            0.0,
            1.0,
            0.20574162986448227,
            0.06635070950812358,
        ],
        precision: &[0.40000000227065313, 0.282051278263128, 0.0],
        recall: &[0.3981042683482001, 0.34736841603329305, 0.0],
        f1: &[0.3990498838447766, 0.31132075039357554, 0.0],
        support: &[21.100000083446503, 9.5, 11.400000035762787],
        macro_average: &[0.2273504268445937, 0.24849089479383105, 0.23679021141278403],
        confusion: &[
            8.400000095367432,
            7.700000047683716,
            4.999999940395355,
            1.899999976158142,
            3.299999952316284,
            4.300000071525574,
            10.700000047683716,
            0.699999988079071,
            0.0,
        ],
        accuracy: 0.2785714289160813,
        kappa: -0.15299937521015683,
        log_loss: 1.6186142442811702,
        brier: 0.7106190434829277,
        calibration_error: 0.3307142930351148,
    },
];

/// The points of scikit-learn 1.9's `roc_curve` and `precision_recall_curve` (the latter turned round, without its last point,
/// which no threshold gives) for the same four rows.
#[test]
fn curves_are_scikit_learns() {
    let rows = [(false, 0.1), (false, 0.4), (true, 0.35), (true, 0.8)];
    let ranking = Ranking::new(rows.into_iter().map(|(is, score)| (is, score, 1.0)));
    let roc = [(0.0, 0.0), (0.0, 0.5), (0.5, 0.5), (0.5, 1.0), (1.0, 1.0)];
    assert_eq!(ranking.roc_curve(1_000), roc);
    let precision_recall = [(0.5, 1.0), (0.5, 0.5), (1.0, 2.0 / 3.0), (1.0, 0.5)];
    assert_eq!(ranking.precision_recall_curve(1_000), precision_recall);
    let many = (0..10_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 31 == 1, n as f32, 1.0));
    let points = Ranking::new(many).roc_curve(100);
    assert!(
        points.len() < 210 && points.last() == Some(&(1.0, 1.0)),
        "{}",
        points.len()
    );
}
