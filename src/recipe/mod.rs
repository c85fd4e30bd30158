//! What to use at scale: every number with its interval, its origin and how far it reaches.
//!
//! Reads laws, not runs. A number from a paper is `published`, never `fitted`. Refuses to know where fits are kept.

mod alternatives;
pub mod build;
mod by_loss;
pub mod evidence;
pub mod forecast;
mod gates;
mod imported;
mod item;
mod items;
pub mod next;
pub mod published;
pub mod reach;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fit::Warning;
use crate::model::mup::Parametrization;
use crate::model::shape::Shape;
pub use crate::recipe::item::{Extrapolated, Item, Source};
use crate::recipe::reach::RunSize;

/// A recipe, as `sandbox recipe --json` prints it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Its name: a hash of all else.
    pub recipe: String,
    /// Parameters of the big run without the embedding.
    pub params: u64,
    /// How much of it is verified.
    pub verdict: Verdict,
    /// The fits that it rests on.
    pub fits: Vec<String>,
    pub shape: ShapeItem,
    /// How its initialisation and learning rates follow the width: as those of the proxies did.
    pub parametrization: Parametrization,
    pub mup: Mup,
    /// The optimizer's other constants: those of the proxies.
    pub optimizer: OptimizerItem,
    /// Its numbers, by name.
    pub items: BTreeMap<String, Item>,
    /// The largest run for which the study vouches.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reach: Option<RunSize>,
    /// The run that would have to be among the proxies for the target to lie within; none: it does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to_reach: Option<RunSize>,
    /// What else the same compute or the same loss could buy, by the law of loss.
    pub alternatives: Vec<Alternative>,
    /// What published laws of the learning rate and the batch say of the same run.
    #[serde(default)]
    pub imported: Vec<ImportedLaw>,
    /// What `MiniCPM-2.4B` was trained with, to compare.
    pub published: Vec<PublishedItem>,
    pub gates: Vec<Gate>,
    /// What a reader must know.
    pub warnings: Vec<Warning>,
}

/// How much of a recipe is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Verified,
    /// The target is within reach, but some gate failed.
    Partly,
    /// The target is out of reach of what was measured.
    Unverified,
}

impl Verdict {
    /// The word in JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Partly => "partly",
            Self::Unverified => "unverified",
        }
    }
}

/// The architecture of the big run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShapeItem {
    /// Its rung, or `derived`.
    pub model: String,
    /// Width of the residual stream.
    pub width: u64,
    pub layers: u64,
    pub heads: u64,
    /// Key and value heads.
    pub kv_heads: u64,
    /// Width of the feed-forward layer.
    pub d_ff: u64,
    /// Size of the vocabulary.
    pub vocab: u64,
    /// Tokens in a sequence.
    pub context: u64,
}

/// What a model's shape takes from the text that it is trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextShape {
    /// Size of the vocabulary.
    pub vocab: u64,
    /// Tokens in a sequence.
    pub context: u64,
}

/// The items in the order in which people read them.
pub const ITEMS: [&str; 13] = [
    "lr",
    "lr_hidden",
    "batch_tokens",
    "batch_warmup_tokens",
    "warmup_tokens",
    "schedule",
    "decay_fraction",
    "decay",
    "final_fraction",
    "tokens",
    "tokens_compute_optimal",
    "flops",
    "loss",
];

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mup {
    /// The width at which both parametrisations agree.
    pub base_width: u64,
    /// Multiplies the embedding's output.
    pub scale_emb: f64,
    /// Multiplies each residual branch, over √layers.
    pub scale_depth: f64,
    /// Standard deviation of the initial weights at the base width.
    pub init_std: f64,
}

/// The constants of `AdamW` beside its learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OptimizerItem {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Weight decay, multiplied by each group's learning rate.
    pub weight_decay: f64,
    /// Largest global norm of the gradient.
    pub clip: f64,
}

/// A run beside the one that is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    pub name: String,
    pub params: f64,
    pub tokens: f64,
    /// FLOPs of its training, as 6ND.
    pub flops: f64,
    pub loss: f64,
    /// The interval of that mean.
    pub ci95: Option<[f64; 2]>,
    /// FLOPs of inference for each token, as 2N.
    pub inference_flops_per_token: f64,
}

/// A number of a published recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublishedItem {
    /// The item of a recipe that it compares with.
    pub item: String,
    pub value: serde_json::Value,
    pub source: String,
}

/// What a published law says of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImportedLaw {
    /// Whose it is.
    pub law: String,
    /// The item of the recipe that it compares with.
    pub item: String,
    pub value: f64,
    pub formula: String,
    pub source: String,
    /// What its letters count, and what it was measured with.
    pub convention: String,
}

/// What a coordinate check has found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Coordinates {
    /// The narrowest and the widest model.
    pub widths: [u64; 2],
    /// How many times more the residual stream changes in a few steps at one width than at another.
    pub stream: f64,
    /// The same of the logits.
    pub logits: f64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    pub name: String,
    pub passed: bool,
    /// Why, with the numbers.
    pub why: String,
    /// The sweep to run next.
    pub next: Option<String>,
}

impl ShapeItem {
    fn new(model: &str, shape: Shape, text: TextShape) -> Self {
        Self {
            model: model.to_owned(),
            width: shape.width,
            layers: shape.layers,
            heads: shape.heads,
            kv_heads: shape.kv_heads,
            d_ff: shape.d_ff,
            vocab: text.vocab,
            context: text.context,
        }
    }
}
