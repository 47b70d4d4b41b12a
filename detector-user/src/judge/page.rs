//! Figures and curves on a page of HTML that needs nothing else: no script, no other file.

use std::fmt::Write as _;

use super::{Ranking, Report};

/// Points of a curve.
const POINTS: usize = 400;
/// Classes whose curves are drawn.
const CURVES: usize = 12;
/// Side of a plot, in pixels.
const SIDE: f64 = 320.0;
/// Room for its axes.
const EDGE: f64 = 44.0;

/// What a page is of.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    /// What was judged.
    pub title: &'a str,
    /// The classes.
    pub names: &'a [String],
    /// The figures.
    pub judged: &'a Report,
    /// Class of each row.
    pub labels: &'a [u16],
    /// Rows × classes.
    pub scores: &'a [f32],
    /// The class that is no attack.
    pub benign: Option<u16>,
    /// Rates at which recall was sought.
    pub rates: &'a [f64],
}

/// The page.
#[must_use]
pub fn html(of: &Of<'_>) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut text, of);
    text
}

fn write(out: &mut String, of: &Of<'_>) -> std::fmt::Result {
    let judged = of.judged;
    let title = escaped(of.title);
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n<style>{STYLE}</style></head><body>\n<h1>{title}</h1>"
    )?;
    writeln!(
        out,
        "<p>{} rows; accuracy {:.4}, macro-F1 {:.4}, weighted F1 {:.4}, κ {}, log-loss {:.4}, Brier {:.4}, calibration error {:.4}</p>",
        judged.rows,
        judged.accuracy,
        judged.macro_average.f1,
        judged.weighted_average.f1,
        number(judged.kappa),
        judged.log_loss,
        judged.brier,
        judged.calibration_error
    )?;
    if let Some(attack) = &judged.attack {
        writeln!(
            out,
            "<p>Attack or not: ROC-AUC {}, PR-AUC {}</p>",
            number(attack.roc_auc),
            number(attack.pr_auc)
        )?;
    }
    classes(out, of)?;
    confusion(out, of)?;
    let rankings = rankings(of);
    let of_each = |curve: &dyn Fn(&Ranking) -> Vec<(f64, f64)>| -> Vec<(String, Vec<(f64, f64)>)> {
        rankings
            .iter()
            .map(|(name, ranking)| (name.clone(), curve(ranking)))
            .collect()
    };
    writeln!(out, "<h2>Curves</h2><div class=\"plots\">")?;
    plot(
        out,
        "Receiver operating characteristic",
        ("false-alarm rate", "recall"),
        &of_each(&|r| r.roc_curve(POINTS)),
    )?;
    plot(
        out,
        "Precision and recall",
        ("recall", "precision"),
        &of_each(&|r| r.precision_recall_curve(POINTS)),
    )?;
    writeln!(out, "</div></body></html>")
}

fn classes(out: &mut String, of: &Of<'_>) -> std::fmt::Result {
    writeln!(
        out,
        "<h2>Classes</h2><table><tr><th>class</th><th>rows</th><th>precision</th><th>recall</th><th>F1</th><th>ROC-AUC</th><th>PR-AUC</th>"
    )?;
    for rate in of.rates {
        write!(out, "<th>recall at {rate:e}</th>")?;
    }
    writeln!(out, "</tr>")?;
    for (class, name) in of.names.iter().enumerate() {
        let (score, detection) = (
            &of.judged.classes[class],
            &of.judged.one_against_rest[class],
        );
        write!(
            out,
            "<tr><th>{}</th><td>{:.0}</td><td>{:.3}</td><td>{:.3}</td><td>{:.3}</td><td>{}</td><td>{}</td>",
            escaped(name),
            score.support,
            score.precision,
            score.recall,
            score.f1,
            number(detection.roc_auc),
            number(detection.pr_auc)
        )?;
        for at in &detection.at_false_alarm_rates {
            write!(out, "<td>{:.3}</td>", at.recall)?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</table>")
}

fn confusion(out: &mut String, of: &Of<'_>) -> std::fmt::Result {
    writeln!(
        out,
        "<h2>Confusion matrix</h2><p>Rows are what it is, columns what was found.</p><table><tr><th></th>"
    )?;
    for name in of.names {
        write!(out, "<th>{}</th>", escaped(name))?;
    }
    writeln!(out, "</tr>")?;
    for (name, weights) in of.names.iter().zip(&of.judged.confusion.weights) {
        let sum: f64 = weights.iter().sum();
        write!(out, "<tr><th>{}</th>", escaped(name))?;
        for weight in weights {
            let share = if sum > 0.0 { weight / sum } else { 0.0 };
            write!(
                out,
                "<td style=\"background:rgba(40,90,200,{share:.2})\">{weight:.0}</td>"
            )?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</table>")
}

fn rankings(of: &Of<'_>) -> Vec<(String, Ranking)> {
    let classes = of.names.len();
    let rows = || of.labels.iter().zip(of.scores.chunks_exact(classes));
    let mut all = Vec::new();
    if let Some(benign) = of.benign {
        let points =
            rows().map(|(label, row)| (*label != benign, 1.0 - row[usize::from(benign)], 1.0));
        all.push(("attack".to_owned(), Ranking::new(points)));
    }
    for (class, name) in of.names.iter().enumerate().take(CURVES) {
        if of.benign == Some(class as u16) {
            continue;
        }
        let points = rows().map(|(label, row)| (usize::from(*label) == class, row[class], 1.0));
        all.push((name.clone(), Ranking::new(points)));
    }
    all
}

fn plot(
    out: &mut String,
    title: &str,
    (across, up): (&str, &str),
    curves: &[(String, Vec<(f64, f64)>)],
) -> std::fmt::Result {
    let whole = SIDE + 2.0 * EDGE;
    let (x, y) = (|x: f64| EDGE + x * SIDE, |y: f64| EDGE + (1.0 - y) * SIDE);
    writeln!(
        out,
        "<figure><figcaption>{title}</figcaption><svg viewBox=\"0 0 {whole} {whole}\" width=\"{whole}\" height=\"{whole}\" role=\"img\" aria-label=\"{title}\">"
    )?;
    for n in 0..=4 {
        let at = f64::from(n) / 4.0;
        writeln!(
            out,
            "<path class=\"grid\" d=\"M{:.1} {:.1}V{:.1}M{:.1} {:.1}H{:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\">{at}</text><text x=\"{:.1}\" y=\"{:.1}\">{at}</text>",
            x(at),
            y(0.0),
            y(1.0),
            x(0.0),
            y(at),
            x(1.0),
            x(at),
            y(0.0) + 14.0,
            x(0.0) - 18.0,
            y(at) + 4.0
        )?;
    }
    writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\">{across}</text><text transform=\"translate(12 {:.1}) rotate(-90)\">{up}</text>",
        x(0.5),
        y(0.0) + 32.0,
        y(0.5)
    )?;
    for (number, (_, points)) in curves.iter().enumerate() {
        if points.is_empty() {
            continue;
        }
        write!(
            out,
            "<polyline style=\"stroke:{}\" points=\"",
            colour(number)
        )?;
        for (a, b) in points {
            write!(out, "{:.1},{:.1} ", x(*a), y(*b))?;
        }
        writeln!(out, "\"/>")?;
    }
    writeln!(out, "</svg><ul>")?;
    for (number, (name, _)) in curves.iter().enumerate() {
        writeln!(
            out,
            "<li style=\"color:{}\">{}</li>",
            colour(number),
            escaped(name)
        )?;
    }
    writeln!(out, "</ul></figure>")
}

/// Hues far from one another, whatever their number.
fn colour(number: usize) -> String {
    format!("hsl({} 70% 40%)", (number * 137) % 360)
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

const STYLE: &str = "body{font:14px system-ui,sans-serif;margin:2em;max-width:70em}table{border-collapse:collapse}\
th,td{padding:.2em .6em;border:1px solid #ccc;text-align:right}svg text{font-size:11px;text-anchor:middle;fill:#444}\
.grid{stroke:#ddd;fill:none}polyline{fill:none;stroke-width:1.5}.plots{display:flex;flex-wrap:wrap;gap:2em}ul{list-style:square}";
