//! `AdamW` over one flat vector, with muP's learning rate for each group.
//!
//! As `MiniCPM`'s team has it: the decay is coupled to the learning rate of the group and applies to every parameter,
//! `p −= lr_group · weight_decay · p`. Refuses to know schedules and models.

use sandbox::model::config::Optimizer;
use sandbox::model::mup::Scaling;
use tch::{Tensor, no_grad};

use crate::trainer::layout::{Layout, Span};

/// The optimiser and its moments.
pub(crate) struct AdamW {
    pub(crate) exp_avg: Tensor,
    pub(crate) exp_avg_sq: Tensor,
    pub(crate) settings: Optimizer,
    /// The groups' spans with the factor on the learning rate.
    spans: Vec<(Span, f64)>,
}

impl AdamW {
    /// An optimiser that has seen nothing.
    pub(crate) fn new(settings: Optimizer, layout: &Layout, scaling: Scaling, flat: &Tensor) -> Self {
        let spans = layout
            .spans()
            .into_iter()
            .map(|span| (span, scaling.lr_factor(span.group)))
            .collect();
        Self {
            exp_avg: flat.detach().zeros_like(),
            exp_avg_sq: flat.detach().zeros_like(),
            settings,
            spans,
        }
    }

    /// Scales `gradient` so that its global norm is at most the limit; gives the norm before that.
    pub(crate) fn clip(&self, gradient: &mut Tensor) -> f64 {
        let norm = gradient.norm().double_value(&[]);
        if norm > self.settings.clip {
            // 1e-6 as PyTorch's `clip_grad_norm_` has it.
            *gradient *= self.settings.clip / (norm + 1e-6);
        }
        norm
    }

    /// One update, the `step`-th from 1, with `lr` as the learning rate of the embedding's group.
    pub(crate) fn update(&mut self, flat: &Tensor, gradient: &Tensor, lr: f64, step: u64) {
        let Optimizer {
            weight_decay,
            beta1,
            beta2,
            eps,
            lr: _,
            clip: _,
        } = self.settings;
        let steps = step as f64;
        let (correction1, correction2) = (1.0 - beta1.powf(steps), 1.0 - beta2.powf(steps));
        no_grad(|| {
            drop(self.exp_avg.lerp_(gradient, 1.0 - beta1));
            drop(self.exp_avg_sq.lerp_(&gradient.square(), 1.0 - beta2));
            let mut denominator = self.exp_avg_sq.sqrt();
            denominator *= 1.0 / correction2.sqrt();
            denominator += eps;
            let change = &self.exp_avg / denominator;
            for &(Span { offset, len, .. }, factor) in &self.spans {
                let lr_group = lr * factor;
                let mut part = flat.narrow(0, offset, len);
                let mut change = change.narrow(0, offset, len);
                part *= 1.0 - lr_group * weight_decay;
                change *= -lr_group / correction1;
                part += &change;
            }
        });
    }
}
