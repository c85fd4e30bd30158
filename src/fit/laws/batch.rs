//! The law of the batch by curves of equal loss, as it is kept and shown.
//!
//! Refuses to know how its constants are found, and to choose the curves.

use serde::{Deserialize, Serialize};

use crate::fit::Warning;
use crate::fit::batch::equal_loss_curves::ReadFrom;
use crate::fit::batch::optimal_batch::{self, BatchLaw, Level};
use crate::fit::law::{About, Data, Fitted, Found, Law, LeftOut, LeftOutForm, Needs, Options, Place, Said};
use crate::fit::loss::loss_fit::Extrapolation;
use crate::fit::numeric::power_law::Power;
use crate::fit::refusal::Refusal;
use crate::fit::view::{Rows, View, fact, with_interval};
use crate::units::{human_count, printed};

/// batch = c·L^−k, or c·D^b: the batch that reaches a loss with the fewest tokens.
#[derive(Debug)]
pub struct Batch;

/// A fit of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchFit {
    /// What the curves are read from.
    pub read_from: ReadFrom,
    /// The trials, or the rows of a table, that the curves are read from.
    pub trials: Vec<String>,
    #[serde(flatten)]
    pub law: BatchLaw,
}

impl Law for Batch {
    type Fit = BatchFit;
    const ABOUT: About = About {
        name: "batch",
        tells: "the batch that reaches a loss with the fewest tokens",
        formula: "batch = c · L^-k, or c · D^k",
        source: "Hu et al. 2024 (MiniCPM), arXiv 2404.06395, section 3.2",
        limits: "three batches at one size, learning rates tuned",
        needs: Needs::BatchCurves,
        beside: None,
        compare: None,
        work_max: None,
        left_out: LeftOutForm::Pairs,
    };

    fn fit(data: &Data, _options: &Options<'_>) -> Result<Found<BatchFit>, Refusal> {
        let law = optimal_batch::fit(&data.batches.each)?;
        let (identity, left_out) = (law.clone(), law.left_out.iter().cloned().map(LeftOut::from));
        let left_out = left_out.collect();
        let fit = BatchFit {
            read_from: data.batches.read_from,
            trials: data.batches.trials.clone(),
            law,
        };
        Ok(Found::new(fit, &identity, left_out))
    }
}

impl BatchFit {
    /// By tokens and by loss: `batch = 12·D^k with k = 0.46`.
    pub fn formulas(&self) -> [String; 2] {
        let formula = |letter: &str, power: &Power| {
            let (c, k) = (printed(power.c, 3), with_interval(&power.exponent));
            format!("batch = {c}\u{b7}{letter}^k with k = {k}")
        };
        [formula("D", &self.law.by_tokens), formula("L", &self.law.by_loss)]
    }
}

impl Fitted for BatchFit {
    fn at(&self, place: Place) -> Option<Said> {
        let levels = self.law.levels.iter().map(|it| (it.params, it.tokens));
        Some(Said {
            batch_tokens: Some(self.law.by_tokens.at(place.tokens)),
            extrapolation: Extrapolation::beyond(levels, place.params, place.tokens),
            ..Said::default()
        })
    }

    fn warnings(&self) -> &[Warning] {
        &self.law.warnings
    }

    fn view(&self) -> View {
        let law = &self.law;
        let row = |name: &str, power: &Power| {
            let c = printed(power.c, 4);
            vec![name.to_owned(), c, with_interval(&power.exponent)]
        };
        let level = |it: &Level| {
            let loss = format!("{:.3}", it.loss);
            vec![
                human_count(it.params),
                loss,
                human_count(it.batch_tokens),
                human_count(it.tokens),
            ]
        };
        let by = Rows {
            columns: &["batch (tokens) by", "c", "exponent"],
            rows: vec![row("loss", &law.by_loss), row("tokens", &law.by_tokens)],
        };
        let levels = Rows {
            columns: &["params", "loss", "best batch", "tokens"],
            rows: law.levels.iter().map(level).collect(),
        };
        View {
            formula: Batch::ABOUT.formula.to_owned(),
            rests_on: format!("{} levels of loss, {} trials", law.levels.len(), self.trials.len()),
            tables: vec![by, levels],
            facts: vec![fact("read from", self.read_from.words())],
            ..View::default()
        }
    }
}
