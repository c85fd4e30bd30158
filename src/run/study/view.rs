//! A study as it is told: its last word, its decisions, its story.
//!
//! Refuses to print.

use serde::Serialize;

use crate::campaign::decide::amount;
use crate::campaign::state::{End, Made, STOP};
use crate::recipe::Recipe;
use crate::recipe::forecast::Score;
use crate::spec::study_file::{Cap, Unit};
use crate::units::human_seconds;

/// What a study may cost, and what it has.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spent {
    pub kind: Unit,
    pub limit: f64,
    pub spent: f64,
}

/// A decision as it is printed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DecisionView {
    pub n: u64,
    pub question: String,
    pub what: String,
    pub why: String,
    pub sweep: Option<String>,
    pub tokens: u64,
    pub flops: f64,
    pub seconds: f64,
    /// What it changed; none: it is not done.
    pub outcome: Option<String>,
}

impl From<&Made> for DecisionView {
    fn from(made: &Made) -> Self {
        Self {
            n: made.n,
            question: made.question.clone(),
            what: made.what.clone(),
            why: made.why.clone(),
            sweep: made.sweep.clone(),
            tokens: made.cost.tokens,
            flops: made.cost.flops,
            seconds: made.cost.seconds,
            outcome: made.outcome.clone(),
        }
    }
}

/// The last word of a study.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StudyView {
    pub study: String,
    /// How it ended; none: it has not.
    pub state: Option<&'static str>,
    pub budget: Spent,
    pub decisions: Vec<DecisionView>,
    pub forecast: Option<Score>,
    pub recipe: Option<Recipe>,
}

/// What has been spent of a budget by decisions, as they were planned; `seconds`: what their stages have taken.
pub fn spent(budget: Cap, made: &[Made], seconds: f64) -> Spent {
    let planned: f64 = made.iter().map(|made| made.cost.in_unit(budget.kind)).sum();
    let spent = match budget.kind {
        // Whichever is more: a plan's speed is an estimate.
        Unit::Hours => planned.max(seconds / 3600.0),
        Unit::Flops | Unit::Tokens => planned,
    };
    Spent {
        kind: budget.kind,
        limit: budget.limit,
        // The sum of nothing is -0.0.
        spent: spent + 0.0,
    }
}

/// How a study ended, if its last decision says so.
pub fn end(made: &[Made]) -> Option<End> {
    made.last()
        .filter(|made| made.question == STOP)
        .and_then(|made| End::parse(&made.what))
}

/// A decision in one line: what, why, what it cost, what it changed.
pub fn line(made: &Made) -> String {
    let cost = match made.cost.trials {
        0 => String::new(),
        trials => format!(
            " [{trials} trials, {}, about {}]",
            amount(made.cost.tokens as f64, Unit::Tokens),
            human_seconds(made.cost.seconds)
        ),
    };
    let outcome = made
        .outcome
        .as_ref()
        .map_or_else(String::new, |outcome| format!(" → {outcome}"));
    format!(
        "{}. {}: {}{cost} ({}){outcome}",
        made.n, made.question, made.what, made.why
    )
}
