//! What a report is made of: the rows of a study, and what was fitted to them.
//!
//! Refuses to know where rows come from, and what is shown of them.

use crate::recipe::Recipe;
use crate::recipe::forecast::Score;
use crate::record::TrialRow;
use crate::report::curves::Curves;
use crate::report::law_view::LawInput;

/// Everything a report is made of.
#[derive(Clone, Copy)]
pub struct Study<'a> {
    /// Name of the sweep.
    pub sweep: &'a str,
    /// What the study asks, in the words of its file.
    pub question: Option<&'a str>,
    /// Every trial, whatever has become of it.
    pub trials: &'a [TrialRow],
    /// What was kept of their points.
    pub curves: &'a Curves,
    /// Loss against learning rate, one a size and budget. Without any, they are read off the trials.
    pub bowls: &'a [LrBowl],
    /// How the best learning rate moves.
    pub rates: Option<&'a RateLaw<'a>>,
    /// How the best batch moves.
    pub batch: Option<&'a BatchRule<'a>>,
    /// The fitted laws, and the refused ones with their reason; the first with a prediction is drawn.
    pub laws: &'a [LawInput<'a>],
    /// The recipe of the big run.
    pub recipe: Option<&'a Recipe>,
    /// What was forecast of a run before it was trained, and what came.
    pub forecast: Option<&'a Score>,
    /// Another study to stand beside it.
    pub beside: Option<&'a Other<'a>>,
}

/// Another study that stands beside one.
#[derive(Debug, Clone, Copy)]
pub struct Other<'a> {
    pub name: &'a str,
    pub trials: &'a [TrialRow],
}

impl Study<'_> {
    /// Whether there is nothing but a law.
    pub(crate) fn is_law_alone(&self) -> bool {
        self.trials.is_empty() && self.laws.iter().any(|law| law.refused.is_none())
    }
}

/// The losses of one size and budget over the learning rate.
#[derive(Debug, Clone, PartialEq)]
pub struct LrBowl {
    /// Name of the size.
    pub model: String,
    /// Its parameters without the embedding.
    pub params: u64,
    /// Tokens of every run.
    pub tokens: u64,
    /// Tokens of a batch.
    pub batch_tokens: u64,
    /// The runs; the loss of a diverged one is none.
    pub points: Vec<LrPoint>,
    /// The best learning rate; none when it is not bracketed.
    pub best: Option<BestLr>,
}

/// One run of a bowl.
#[derive(Debug, Clone, PartialEq)]
pub struct LrPoint {
    /// Name of the trial.
    pub trial: String,
    pub lr: f64,
    /// Final loss, nats per token; none if it diverged.
    pub loss: Option<f64>,
}

/// A best learning rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BestLr {
    pub lr: f64,
    /// Its 95 % interval.
    pub ci95: Option<[f64; 2]>,
    /// The loss there, nats per token.
    pub loss: f64,
    /// Nats for a factor e off the best: what the parabola about it rises by.
    pub curvature: Option<f64>,
}

/// The law of the best learning rate.
#[derive(Clone)]
pub struct RateLaw<'a> {
    /// In words or letters: `a constant 0.0102`.
    pub formula: String,
    /// Whether it is the same everywhere.
    pub is_constant: bool,
    /// The best rate at N parameters and D tokens.
    pub at: &'a dyn Fn(f64, f64) -> f64,
    /// Its 95 % interval there.
    pub interval: Option<&'a dyn Fn(f64, f64) -> Option<[f64; 2]>>,
    /// Whether the rate of narrow models serves wide ones.
    pub transfer: Option<Transfer>,
}

/// The verdict on transfer along the width.
#[derive(Debug, Clone, PartialEq)]
pub struct Transfer {
    /// `verified`, `drifts` or `not_known`.
    pub verdict: String,
    /// The smallest and the largest width with a best rate.
    pub widths: [f64; 2],
    /// The largest width up to which it is verified.
    pub verified_to: Option<f64>,
    /// What else was equal: `at equal tokens`.
    pub compared: &'static str,
    /// By which factor the best rate changes between the widths.
    pub drift: Option<f64>,
    /// Its 95 % interval.
    pub ci95: Option<[f64; 2]>,
    /// The factor that is tolerated.
    pub tolerance: f64,
}

/// The law of the best batch.
#[derive(Clone)]
pub struct BatchRule<'a> {
    /// By tokens and by loss: `batch = 12·D^0.46`.
    pub formulas: [String; 2],
    /// The best batch of a run of D tokens, in tokens.
    pub at: &'a dyn Fn(f64) -> f64,
    /// What the minima are read from: `final losses`.
    pub read_from: &'static str,
    /// The minima that it rests on.
    pub minima: Vec<BatchMinimum>,
}

/// The batch that reaches a loss with fewest tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchMinimum {
    pub params: f64,
    /// Loss, nats per token.
    pub loss: f64,
    pub batch_tokens: f64,
    /// Tokens that it takes.
    pub tokens: f64,
}
