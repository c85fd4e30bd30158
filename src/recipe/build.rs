//! From laws to a recipe.
//!
//! Refuses to know how numbers are read off laws (`items`), what must hold (`gates`), and where fits are kept.

use crate::fit::Warning;
use crate::fit::batch::optimal_batch::BatchLaw;
use crate::fit::loss::loss_fit::LossFit;
use crate::fit::rate::learning_rate::LrFit;
use crate::fit::rate::lr_batch::LrBatchLaw;
use crate::model::mup::{BASE_WIDTH, Multipliers, Parametrization};
use crate::model::schedule::Decay;
use crate::recipe::next::Widening;
use crate::recipe::{Coordinates, Mup, OptimizerItem, Recipe, ShapeItem, alternatives, gates, items, published};

/// How long the big run is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Size {
    /// As long as is compute-optimal for its parameters.
    Optimal,
    /// So many tokens.
    Tokens(f64),
    /// So many FLOPs of training.
    Flops(f64),
    /// As many tokens as a machine takes in in that time.
    Hours {
        /// Hours.
        hours: f64,
        /// Its speed.
        tokens_per_second: f64,
    },
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ask {
    /// Parameters of the big run, without the embedding.
    pub params: f64,
    /// How long it is.
    pub size: Size,
}

/// The batch by curves of equal loss, and what it rests on.
#[derive(Debug, Clone, Copy)]
pub struct EqualLoss<'a> {
    /// The name of the fit.
    pub fit: &'a str,
    /// The law.
    pub law: &'a BatchLaw,
    /// Trials.
    pub trials: u64,
}

/// What is known.
#[derive(Debug, Clone)]
pub struct Evidence<'a> {
    /// The law of loss with the name of its fit.
    pub loss: Option<(&'a str, &'a LossFit)>,
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
    /// What the proxies were trained with.
    pub proxies: Proxies,
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
    /// Their optimizer.
    pub optimizer: OptimizerItem,
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
    /// Its form.
    pub form: Decay,
    /// Its share of the run.
    pub fraction: f64,
    /// Where it ends, as a share of the peak.
    pub last: f64,
}

/// Pairs of runs that differ in one thing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// How many.
    pub pairs: u64,
    /// Different learning rates among them.
    pub rates: u64,
    /// Mean difference of their losses, nats per token.
    pub mean: f64,
}

/// Writes the recipe; also says for each gate in order which experiment would answer it, where it fails.
pub fn build(ask: &Ask, evidence: &Evidence<'_>) -> (Recipe, Vec<Option<Widening>>) {
    let (model, shape) = published::shape(ask.params);
    let params = shape.params_non_embedding();
    let items = items::items(ask, evidence, shape);
    let tokens = items["tokens"].value.as_f64().unwrap_or_default();
    let (gates, widenings): (Vec<_>, Vec<_>) = gates::gates(evidence, params.as_f64(), tokens).into_iter().unzip();
    let fits = [
        evidence.loss.map(|it| it.0),
        evidence.lr.map(|it| it.0),
        evidence
            .lr_batch
            .map(|it| it.0)
            .or(evidence.equal_loss.map(|it| it.fit)),
    ];
    let mut recipe = Recipe {
        recipe: String::new(),
        params: params.0,
        verdict: gates::verdict(&gates),
        fits: fits.into_iter().flatten().map(str::to_owned).collect(),
        shape: ShapeItem::new(&model, shape, published::vocab(params.0), published::CONTEXT),
        parametrization: evidence.proxies.parametrization,
        mup: Mup {
            base_width: BASE_WIDTH,
            scale_emb: evidence.proxies.multipliers.scale_emb,
            scale_depth: evidence.proxies.multipliers.scale_depth,
            init_std: evidence.proxies.multipliers.init_std,
        },
        optimizer: evidence.proxies.optimizer,
        items,
        alternatives: evidence
            .loss
            .map(|(_, law)| alternatives::alternatives(law, params.as_f64(), tokens))
            .unwrap_or_default(),
        published: published::minicpm(),
        gates,
        warnings: warnings(evidence),
    };
    let text = serde_json::to_string(&recipe).unwrap_or_default();
    recipe.recipe = blake3::hash(text.as_bytes()).to_hex().chars().take(12).collect();
    (recipe, widenings)
}

fn warnings(evidence: &Evidence<'_>) -> Vec<Warning> {
    let mut warnings: Vec<Warning> = Vec::new();
    warnings.extend(evidence.loss.iter().flat_map(|(_, law)| law.warnings.clone()));
    warnings.extend(evidence.lr.iter().flat_map(|(_, law)| law.warnings.clone()));
    warnings.extend(evidence.lr_batch.iter().flat_map(|(_, law)| law.warnings.clone()));
    warnings.extend(of_proxies(&evidence.proxies));
    let text =
        "the predicted loss is in nats per token of the proxies' tokenizer and text; with others it is another number";
    warnings.push(Warning::new("loss_of_the_proxies_data", text));
    warnings
}

/// What the proxies leave open.
fn of_proxies(proxies: &Proxies) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if proxies.parametrization == Parametrization::Standard {
        let text = "the proxies are not scaled by muP: their best learning rate is not that of a wider model, and the \
                    recipe divides none by the width";
        warnings.push(Warning::new("not_mup", text));
    }
    if !proxies.differ_in.is_empty() {
        let text = format!(
            "the trials differ in {}; the recipe takes what the best trial of the largest size had",
            proxies.differ_in.join(", ")
        );
        warnings.push(Warning::new("mixed_settings", text));
    }
    if let Some(pairs) = proxies.wsd_less_cosine.filter(|pairs| pairs.mean > 0.0) {
        let text = format!(
            "cosine ended {:.4} nats lower than WSD, mean of {} pairs: compare them each at its best learning rate and \
             with a longer decay before WSD is paid for",
            pairs.mean, pairs.pairs
        );
        warnings.push(Warning::new("cosine_ended_lower", text));
    }
    warnings
}
