//! What a recipe is asked for, and what it rests on: laws by the names of their fits, and what the trials have in common.
//!
//! Refuses to know how a number is read off a law, and which trials count.

use crate::fit::Warning;
use crate::fit::batch::optimal_batch::BatchLaw;
use crate::fit::law::OfLoss;
use crate::fit::rate::learning_rate::LrFit;
use crate::fit::rate::lr_batch::LrBatchLaw;
use crate::model::mup::{Multipliers, Parametrization};
use crate::model::schedule::Decay;
use crate::recipe::{Coordinates, OptimizerItem, TextShape};
use crate::spec::ScheduleName;

/// Where the best batches lie among those that were tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchEdges {
    /// At the smallest, or nothing is known.
    pub below: bool,
    /// At the largest, or nothing is known.
    pub above: bool,
    /// Half of the smallest would be less than a sequence.
    pub is_one_sequence: bool,
}

/// How long the big run is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Size {
    /// As long as is compute-optimal for its parameters.
    Optimal,
    Tokens(f64),
    /// So many FLOPs of training.
    Flops(f64),
    /// As many tokens as a machine takes in in that time.
    Hours {
        hours: f64,
        tokens_per_second: f64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ask {
    /// Parameters of the big run, without the embedding.
    pub params: f64,
    /// How long it is.
    pub size: Size,
    /// Whether numbers beyond what the study vouches for are asked for all the same.
    pub beyond: bool,
}

/// The batch by curves of equal loss, and what it rests on.
#[derive(Debug, Clone, Copy)]
pub struct EqualLoss<'a> {
    /// The name of the fit.
    pub fit: &'a str,
    pub law: &'a BatchLaw,
    pub trials: u64,
}

#[derive(Debug, Clone)]
pub struct Evidence<'a> {
    /// The law of loss with the name of its fit.
    pub loss: Option<(&'a str, &'a dyn OfLoss)>,
    /// The law of the learning rate with the name of its fit.
    pub lr: Option<(&'a str, &'a LrFit)>,
    /// The law of learning rate and batch with the name of its fit.
    pub lr_batch: Option<(&'a str, &'a LrBatchLaw)>,
    /// The batch by curves of equal loss.
    pub equal_loss: Option<EqualLoss<'a>>,
    /// Why there is no law of learning rate and batch.
    pub batch_refused: Option<String>,
    /// Different batch sizes among the trials.
    pub batches: usize,
    pub batch_edges: BatchEdges,
    /// What the proxies were trained with.
    pub proxies: Proxies,
    /// Which runs entered and which did not, where they differ in more than laws vary.
    pub selected: Vec<Warning>,
    /// What the coordinate check of this build has found, if it was run.
    pub coordinates: Option<Coordinates>,
}

/// What the proxies were trained with, beside what laws vary.
#[derive(Debug, Clone)]
pub struct Proxies {
    /// How they are scaled over the width.
    pub parametrization: Parametrization,
    /// The constants of that.
    pub multipliers: Multipliers,
    pub optimizer: OptimizerItem,
    pub text: TextShape,
    /// The tokens of a batch, where all of them have the same.
    pub batch_tokens: Option<u64>,
    /// The schedule of the runs on which the laws rest.
    pub schedule: ScheduleName,
    /// How their rate came down, where they were trained with WSD.
    pub annealing: Option<Annealing>,
    /// Names of settings in which they differ.
    pub differ_in: Vec<String>,
    /// WSD against cosine where all else is equal.
    pub wsd_less_cosine: Option<Comparison>,
}

/// The decay of WSD.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Annealing {
    pub form: Decay,
    /// Its share of the run.
    pub fraction: f64,
    /// Where it ends, as a share of the peak.
    pub last: f64,
}

/// Pairs of runs that differ in one thing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    pub pairs: u64,
    /// Different learning rates among them.
    pub rates: u64,
    /// Mean difference of their losses, nats per token.
    pub mean: f64,
}

impl Evidence<'_> {
    /// The names of the fits: of the loss, of the learning rate, of the batch.
    pub(super) fn fits(&self) -> Vec<String> {
        let batch = self.lr_batch.map(|it| it.0).or(self.equal_loss.map(|it| it.fit));
        let fits = [self.loss.map(|it| it.0), self.lr.map(|it| it.0), batch];
        fits.into_iter().flatten().map(str::to_owned).collect()
    }
}
