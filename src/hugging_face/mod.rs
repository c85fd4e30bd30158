//! A model in the words of Hugging Face: configurations, folders that `transformers` loads, parameter groups.
//!
//! Configuration and weights in, values and bytes out. Refuses to know disks, training states, and how a recipe was
//! found.

mod config;
mod export;
mod groups;

pub use config::minicpm_config;
pub use export::{File, Form, Unexportable, export, tokenizer_files};
pub use groups::parameter_groups;

use crate::model::config::RunConfig;
use crate::model::mup::{Multipliers, Parametrization, Scaling};
use crate::model::shape::Shape;

/// All that the forward pass of a model depends on, besides its weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Architecture {
    pub shape: Shape,
    /// Size of the vocabulary.
    pub vocab: u64,
    /// Tokens in a sequence.
    pub context: u64,
    /// How initialisation and learning rates follow the width.
    pub parametrization: Parametrization,
    pub multipliers: Multipliers,
    /// The token that begins a text, if the tokenizer has one.
    pub bos: Option<u32>,
    /// The token that ends a text, if the tokenizer has one.
    pub eos: Option<u32>,
}

impl Architecture {
    /// The architecture of a run on data whose documents end with a token.
    ///
    /// The same token begins a text, because in training every document but the first follows it.
    pub fn of_run(config: &RunConfig, end_of_document: Option<u32>) -> Self {
        Self {
            shape: config.shape,
            vocab: config.vocab,
            context: config.context,
            parametrization: config.parametrization,
            multipliers: config.multipliers,
            bos: end_of_document,
            eos: end_of_document,
        }
    }

    /// muP's table for this architecture.
    pub fn scaling(&self) -> Scaling {
        Scaling::new(self.shape, self.parametrization, self.multipliers)
    }

    /// What the scores of attention are multiplied by.
    fn attention_multiplier(&self) -> f64 {
        1.0 / (self.shape.head_dim as f64).sqrt()
    }
}

#[cfg(test)]
mod fixture {
    use super::*;

    /// A small architecture of which no multiplier is one.
    pub(super) fn small() -> Architecture {
        Architecture {
            shape: Shape::new(48, 3, 6, 2, 96).unwrap(),
            vocab: 61,
            context: 64,
            parametrization: Parametrization::Mup,
            multipliers: Multipliers {
                scale_emb: 7.0,
                scale_depth: 1.7,
                init_std: 0.1,
                ..Multipliers::default()
            },
            bos: None,
            eos: Some(2),
        }
    }

    /// `MiniCPM-2.4B` as it was released.
    pub(super) fn released() -> Architecture {
        Architecture {
            shape: crate::model::ladder::find("2.4B").unwrap().shape,
            vocab: 122_753,
            context: 4096,
            parametrization: Parametrization::Mup,
            multipliers: Multipliers::default(),
            bos: Some(1),
            eos: Some(2),
        }
    }
}
