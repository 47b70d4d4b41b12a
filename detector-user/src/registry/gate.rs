//! The gate: what a model must show before it goes into production.

use serde::{Deserialize, Serialize};

/// How a model does on a hold-out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Fingerprint of the hold-out, SHA-256 in hexadecimal digits; figures of different ones do not compare.
    pub data_fingerprint: String,
    /// Area under the ROC curve, attack or not.
    pub roc_auc: Option<f64>,
    /// F1, mean over the classes.
    pub f1_macro: Option<f64>,
    /// Cohen's kappa.
    pub kappa: Option<f64>,
    /// Share of the benign rows that are found to be an attack.
    pub false_alarm_rate: Option<f64>,
}

/// What a model must show. A figure that is not known is not good enough.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gate {
    /// Least area under the ROC curve.
    pub roc_auc_min: f64,
    /// Least F1, mean over the classes.
    pub f1_macro_min: f64,
    /// Least kappa.
    pub kappa_min: f64,
    /// Greatest share of benign rows that are found to be an attack.
    pub false_alarm_rate_max: f64,
    /// A model must do no worse than that in production on the same hold-out, by area and by F1, than by this.
    pub worse_max: f64,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            roc_auc_min: 0.95,
            f1_macro_min: 0.7,
            kappa_min: 0.6,
            false_alarm_rate_max: 0.01,
            worse_max: 0.0,
        }
    }
}

impl Gate {
    /// What speaks against a candidate; nothing: the gate is open. `production` has the figures of the model in production
    /// on the same hold-out, if there is one.
    #[must_use]
    pub fn objections(&self, candidate: &Figures, production: Option<&Figures>) -> Vec<String> {
        let mut against = Vec::new();
        let mut bound = |name: &str, value: Option<f64>, bound: f64, least: bool| match value {
            // Not a number is within no bound.
            Some(value) if least && value >= bound || !least && value <= bound => {}
            Some(value) => {
                let side = if least { "least" } else { "most" };
                against.push(format!("{name} is {value:.4} where {bound} is the {side}"));
            }
            None => against.push(format!("{name} is not known")),
        };
        bound("ROC-AUC", candidate.roc_auc, self.roc_auc_min, true);
        bound("macro-F1", candidate.f1_macro, self.f1_macro_min, true);
        bound("kappa", candidate.kappa, self.kappa_min, true);
        bound(
            "false-alarm rate",
            candidate.false_alarm_rate,
            self.false_alarm_rate_max,
            false,
        );
        let Some(production) = production else {
            return against;
        };
        if candidate.data_fingerprint != production.data_fingerprint {
            against.push("the model in production was judged on another hold-out".to_owned());
            return against;
        }
        for (name, candidate, production) in [
            ("ROC-AUC", candidate.roc_auc, production.roc_auc),
            ("macro-F1", candidate.f1_macro, production.f1_macro),
        ] {
            // What production's is not known of, nothing is worse than.
            if let (Some(candidate), Some(production)) = (candidate, production)
                && candidate < production - self.worse_max
            {
                against.push(format!(
                    "{name} is {candidate:.4}, and that of the model in production {production:.4}"
                ));
            }
        }
        against
    }
}
