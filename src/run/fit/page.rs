//! What a page says of the laws of the learning rate and of the batch.
//!
//! Refuses to fit where a law is kept already, and to draw.

use crate::fit::Estimate;
use crate::fit::batch::equal_loss_curves::ReadFrom;
use crate::fit::rate::learning_rate::{LrFit, LrRule};
use crate::fit::rate::transfer::{TOLERANCE, Verdict};
use crate::report::study::{BatchMinimum, BatchRule, RateLaw, Transfer};
use crate::run::fit::batch::KeptBatch;
use crate::units::significant;

/// The law of the learning rate as a page shows it; `at` is its [`LrFit::predict`].
pub(in crate::run) fn rate_law<'a>(law: &LrFit, at: &'a dyn Fn(f64, f64) -> f64) -> RateLaw<'a> {
    // The rule is the same everywhere.
    let is_constant = law.predict(1e6, 1e6).by == LrRule::Constant;
    let formula = match &law.power {
        Some(power) if !is_constant => format!(
            "\u{3b7} = {}\u{b7}N^a\u{b7}D^b with a = {}, b = {}",
            significant(power.c, 3),
            with_interval(&power.n_exponent),
            with_interval(&power.d_exponent)
        ),
        Some(_) | None => format!("a constant {}", with_interval(&law.best)),
    };
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
        formula,
        is_constant,
        at,
        transfer,
    }
}

/// The law of the batch as a page shows it; `at` is its law by tokens.
pub(in crate::run) fn batch_rule<'a>(kept: &KeptBatch, at: &'a dyn Fn(f64) -> f64) -> BatchRule<'a> {
    let law = &kept.law;
    let formula = |letter: &str, power: &crate::fit::numeric::power_law::Power| {
        format!(
            "batch = {}\u{b7}{letter}^k with k = {}",
            significant(power.c, 3),
            with_interval(&power.exponent)
        )
    };
    BatchRule {
        formulas: [formula("D", &law.by_tokens), formula("L", &law.by_loss)],
        at,
        read_from: match kept.read_from {
            ReadFrom::FinalLosses => "final losses",
            ReadFrom::TrainingLosses => "training losses along the runs",
        },
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

/// `0.31 (95 % interval 0.22 to 0.4)`.
fn with_interval(estimate: &Estimate) -> String {
    let interval = estimate.ci95.map_or_else(String::new, |[low, high]| {
        format!(" (95 % interval {} to {})", significant(low, 3), significant(high, 3))
    });
    format!("{}{interval}", significant(estimate.value, 3))
}
