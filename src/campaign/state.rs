//! What a decision is made from, and what a decision is.
//!
//! Refuses to decide.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::campaign::cost::Cost;
use crate::campaign::frame::Frame;
use crate::fit::rate::learning_rate::LrFit;
use crate::recipe::Verdict;
use crate::record::TrialRow;
use crate::spec::study_file::{Question, StudyFile};
use crate::units::significant;
use crate::words::words;

words! {
    /// How the next runs of the law are chosen.
    pub enum Design {
        /// Those that shrink the uncertainty of the target's loss most for their cost.
        Chosen = "chosen",
        /// In an order that is drawn.
        Random = "random",
        /// The cheapest first.
        Cheapest = "cheapest",
        /// All of them.
        Grid = "grid",
    }
}

words! {
    /// How a study ended.
    pub enum End {
        /// Every gate passes.
        Verified = "verified",
        /// Every question has its answer, and some gate stays open that no run within the ranges would close.
        Partly = "partly",
        /// The budget does not carry what would say more.
        Budget = "budget",
        /// No run within the ranges would change the recipe.
        NothingToGain = "nothing_to_gain",
    }
}

/// A decision as it is recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Made {
    pub n: u64,
    /// The question, or `stop`.
    pub question: String,
    pub what: String,
    pub why: String,
    /// The sweep that it runs; none: it runs nothing.
    pub sweep: Option<String>,
    /// The file of that sweep.
    #[serde(default)]
    pub text: Option<String>,
    #[serde(flatten)]
    pub cost: Cost,
    /// What it changed; none: it is not done.
    #[serde(default)]
    pub outcome: Option<String>,
}

/// What the gates of a recipe say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gates {
    pub verdict: Verdict,
    /// The names of those that fail.
    pub open: Vec<String>,
}

/// How it begins what a budget does not carry.
pub const TOO_DEAR: &str = "beyond the budget: ";

/// The question of the last decision.
pub const STOP: &str = "stop";

/// Everything that a decision rests on.
#[derive(Debug, Clone, Copy)]
pub struct State<'a> {
    pub study: &'a StudyFile,
    pub frame: &'a Frame,
    /// The decisions so far, all of them carried out.
    pub made: &'a [Made],
    /// The trials of the study's sweeps.
    pub rows: &'a [TrialRow],
    /// What is left of the budget, in its unit.
    pub left: f64,
    pub design: Design,
    /// Runs at once: so many are proposed together.
    pub workers: u64,
    /// What the recipe has come to; none: there is none yet.
    pub recipe: Option<&'a Gates>,
}

impl State<'_> {
    /// Whether nothing more is to be run for a question.
    pub fn is_dropped(&self, question: Question) -> bool {
        self.drops().any(|made| made.question == question.name())
    }

    /// Whether something was not run because the budget does not carry it.
    pub fn is_short(&self) -> bool {
        self.drops().any(|made| made.what.starts_with(TOO_DEAR))
    }

    /// What was decided not to be run since the study ended last: whoever goes on then has changed its file.
    fn drops(&self) -> impl Iterator<Item = &Made> {
        let ended = self.made.iter().rposition(|made| made.question == STOP);
        self.made[ended.map_or(0, |place| place + 1)..]
            .iter()
            .filter(|made| made.sweep.is_none() && made.question != STOP)
    }
}

/// What the questions have answered so far: what the next runs are trained with.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// Constants that are not the defaults, by path of the axis.
    pub constants: BTreeMap<String, Value>,
    /// Standard deviation of the final loss over seeds, relative to the loss; none: not known.
    pub noise: Option<f64>,
    /// The law of the learning rate.
    pub rates: Option<LrFit>,
    /// Rates that were tried, rising: a prediction near one of them is taken for it, which shares its trunk.
    pub tried: Vec<f64>,
    /// What the batch does to the rate.
    pub rate_factor: f64,
    pub batch_tokens: u64,
    pub decay_fraction: f64,
}

/// A rate within this factor of one that was tried is not told from it.
const SAME_RATE: f64 = 1.12;

impl Chosen {
    /// Before any answer.
    pub fn of(frame: &Frame) -> Self {
        Self {
            constants: BTreeMap::new(),
            noise: None,
            rates: None,
            tried: frame.lrs.clone(),
            rate_factor: 1.0,
            batch_tokens: frame.batch_tokens,
            decay_fraction: frame.decay_fraction,
        }
    }

    /// The learning rate of a size: one for all budgets, so that they share a trunk.
    pub fn lr(&self, params: f64, tokens: f64) -> f64 {
        let middle = self.tried.get(self.tried.len() / 2).copied().unwrap_or(0.01);
        let best = self
            .rates
            .as_ref()
            .map_or(middle, |law| law.predict(params, tokens).lr.value);
        let near = |lr: &&f64| (*lr / best).max(best / **lr) < SAME_RATE;
        let lr = self
            .tried
            .iter()
            .find(near)
            .copied()
            .unwrap_or_else(|| significant(best, 3));
        if self.rate_factor.to_bits() == 1.0_f64.to_bits() {
            lr
        } else {
            significant(lr * self.rate_factor, 3)
        }
    }

    /// The relative difference between two runs that noise leaves open; what is known of it at the least.
    pub fn resolution(&self) -> f64 {
        const LEAST: f64 = 1e-3;
        self.noise.map_or(2.0 * LEAST, |noise| (2.0 * noise).max(LEAST))
    }
}

/// Runs that a question wants.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    pub question: Question,
    /// What is run, in a few words.
    pub what: String,
    /// What it is to decide.
    pub why: String,
    pub sweep: String,
    /// The sweep file.
    pub text: String,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Run a sweep.
    Run { proposal: Proposal, cost: Cost },
    /// Register a forecast of a run, and train it.
    Forecast(Forecast),
    /// Run nothing for a question.
    Drop {
        question: Question,
        what: String,
        why: String,
    },
    /// End.
    Stop { end: End, why: String },
}

/// The run that is foretold.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    pub model: String,
    pub params: u64,
    pub tokens: u64,
    pub seeds: u64,
    pub why: String,
}
