//! Laws as a page takes them.
//!
//! Refuses to know where they were fitted, and to draw.

use std::collections::BTreeMap;

use crate::fit::Estimate;
use crate::fit::law::{About, AnyKept, Law as _, reasons};
use crate::fit::laws::{BatchFit, Chinchilla, lr_formula};
use crate::fit::rate::learning_rate::LrFit;
use crate::fit::rate::transfer::{TOLERANCE, Verdict};
use crate::fit::view::{Rows, View};
use crate::record::TrialRow;
use crate::report::law_view::{HeldOut, LawInput, LawPoint, Predict, Spread};
use crate::report::study::{BatchMinimum, BatchRule, RateLaw, Transfer};
use crate::units::{human_count, significant};

/// The law of loss before anything is known of it.
pub(super) const NO_LAW: LawInput<'static> = LawInput {
    law: Chinchilla::ABOUT.name,
    fit: None,
    formula: Chinchilla::ABOUT.formula,
    params_are: "params_non_embedding",
    refused: None,
    constants: &[],
    facts: &[],
    warnings: &[],
    points: &[],
    held: &[],
    predict: None,
    spread: None,
    size_exponent: None,
};

/// The rows of tables as facts: what stands first, then each column with its heading.
fn rows(tables: &[Rows]) -> Vec<(String, String)> {
    let row = |table: &Rows, row: &[String]| {
        let cells = table.columns.iter().zip(row).skip(1);
        let cells: Vec<String> = cells.map(|(heading, cell)| format!("{heading} {cell}")).collect();
        (row.first().cloned().unwrap_or_default(), cells.join(", "))
    };
    tables
        .iter()
        .flat_map(|table| table.rows.iter().map(move |it| row(table, it)))
        .collect()
}

/// What is meant, then the word by which README explains it.
pub(super) fn sentence(text: &str, code: &str) -> String {
    format!("{text} ({code})")
}

/// What a page says of a law of loss.
pub(super) struct LossParts<'a> {
    about: &'a About,
    fit: &'a str,
    params_are: &'a str,
    view: View,
    held: Vec<HeldOut>,
    warnings: Vec<String>,
    points: Vec<LawPoint>,
    size_exponent: Option<Estimate>,
}

impl<'a> LossParts<'a> {
    pub(super) fn new(any: &'a AnyKept, trials: &[TrialRow]) -> Self {
        let law = any.kept.law.as_ref();
        let mut view = law.view();
        let models: BTreeMap<&str, &str> = trials
            .iter()
            .map(|row| (row.trial.as_str(), row.model.as_str()))
            .collect();
        // A run of a table is called by its size, to two digits.
        let model = |trial: &str, params: f64| {
            let known = models.get(trial).copied();
            known.map_or_else(|| human_count(significant(params, 2)), str::to_owned)
        };
        let points = view.points.iter().map(|run| LawPoint {
            trial: run.label.clone(),
            model: model(&run.label, run.params),
            params: run.params,
            tokens: run.tokens,
            loss: run.loss,
            held_out: run.is_held_out,
        });
        let held = view.held_out.iter().map(|run| HeldOut {
            trial: run.label.clone(),
            model: model(&run.label, run.params),
            params: run.params,
            tokens: run.tokens,
            loss: run.loss,
            predicted: run.predicted,
            ci95: run.ci95,
        });
        let (points, held) = (points.collect(), held.collect());
        let exponent = any.body.pointer("/allocation/a").cloned();
        let of_runs = [
            ("runs", format!("{} entered", view.rests_on)),
            ("left out", reasons(&any.kept.left_out)),
        ];
        let of_runs = of_runs.map(|(name, text)| (name.to_owned(), text));
        let of_tables = if any.about.compare.is_none() {
            rows(&view.tables)
        } else {
            Vec::new()
        };
        view.facts = of_runs
            .into_iter()
            .chain(of_tables)
            .chain(view.facts)
            .chain(any.chosen_from())
            .collect();
        Self {
            about: any.about,
            fit: &any.kept.fit,
            params_are: any.convention(),
            view,
            held,
            warnings: law.warnings().iter().map(|it| sentence(&it.text, &it.code)).collect(),
            points,
            size_exponent: exponent.and_then(|it| serde_json::from_value(it).ok()),
        }
    }

    pub(super) fn input<'b>(&'b self, predict: Predict<'b>, spread: Spread<'b>) -> LawInput<'b> {
        LawInput {
            law: self.about.name,
            fit: Some(self.fit),
            formula: &self.view.formula,
            params_are: self.params_are,
            refused: None,
            constants: &self.view.constants,
            facts: &self.view.facts,
            warnings: &self.warnings,
            points: &self.points,
            held: &self.held,
            predict: Some(predict),
            spread: Some(spread),
            size_exponent: self.size_exponent,
        }
    }
}

/// The law of the learning rate as a page shows it; `at` is its [`LrFit::predict`].
pub(super) fn rate_law<'a>(law: &LrFit, at: &'a dyn Fn(f64, f64) -> f64) -> RateLaw<'a> {
    let transfer = law.transfer.as_ref().map(|it| Transfer {
        verdict: match it.verdict {
            Verdict::Verified => "verified",
            Verdict::Drifts => "drifts",
            Verdict::NotKnown => "not_known",
        }
        .to_owned(),
        widths: [it.from_width, law.widths[1]],
        verified_to: it.verified_to_width,
        compared: it.compared.words(),
        drift: it.drift.map(|drift| drift.value),
        ci95: it.drift.and_then(|drift| drift.ci95),
        tolerance: TOLERANCE,
    });
    RateLaw {
        formula: lr_formula(law),
        is_constant: law.is_constant(),
        at,
        interval: None,
        transfer,
    }
}

/// The law of the batch as a page shows it; `at` is its law by tokens.
pub(super) fn batch_rule<'a>(kept: &BatchFit, at: &'a dyn Fn(f64) -> f64) -> BatchRule<'a> {
    let law = &kept.law;
    BatchRule {
        formulas: kept.formulas(),
        at,
        read_from: kept.read_from.words(),
        minima: law
            .levels
            .iter()
            .map(|level| BatchMinimum {
                params: level.params,
                loss: level.loss,
                batch_tokens: level.batch_tokens,
                tokens: level.tokens,
            })
            .collect(),
    }
}
