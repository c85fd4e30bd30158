//! The step written by hand: the fused passes of [`crate::fused`] on the memory of libtorch's tensors.
//!
//! For float32 on the CPU; everything else takes libtorch's own gradient, which is the reference that tests this one.
//! Refuses to know schedules and jobs.

use sandbox::model::config::{Precision, RMS_EPS, ROPE_THETA, RunConfig};
use tch::{Device, Kind, Tensor};

use crate::fused::{AdamStep, Engine, GroupRange, ModelSpec, adamw_step};
use crate::trainer::layout::Layout;
use crate::trainer::model::Batch;
use crate::trainer::optim::AdamW;

/// The passes of one run with all their buffers.
pub(crate) struct FusedBackend {
    engine: Engine,
    /// The gradient of the step.
    gradient: Vec<f32>,
    /// The groups of muP, with the factor on the learning rate.
    groups: Vec<(std::ops::Range<usize>, f64)>,
    /// Tokens of so many windows at a time.
    part: usize,
}

impl FusedBackend {
    /// The passes of a run; none where libtorch does them.
    pub(crate) fn new(config: &RunConfig, layout: &Layout, device: Device) -> Option<Self> {
        if device != Device::Cpu || config.precision != Precision::Float32 {
            return None;
        }
        let (shape, scaling) = (config.shape, config.scaling());
        let size = |value: u64| usize::try_from(value).ok();
        let spec = ModelSpec {
            width: size(shape.width)?,
            layers: size(shape.layers)?,
            heads: size(shape.heads)?,
            kv_heads: size(shape.kv_heads)?,
            d_ff: size(shape.d_ff)?,
            vocab: size(config.vocab)?,
            context: size(config.context)?,
            scale_emb: scaling.embedding() as f32,
            residual: scaling.residual() as f32,
            logits_divisor: scaling.logits_divisor() as f32,
            norm_eps: RMS_EPS as f32,
            rope_theta: ROPE_THETA as f32,
        };
        // The passes know heads that fill the width, with rows in pairs.
        let is_known = shape.heads * shape.head_dim == shape.width && shape.head_dim.is_multiple_of(2);
        let groups = layout.spans().into_iter().map(|span| {
            let start = usize::try_from(span.offset).ok()?;
            let end = start + usize::try_from(span.len).ok()?;
            Some((start..end, scaling.lr_factor(span.group)))
        });
        let micro_batch = size(config.numerics.micro_batch.clamp(1, config.sequences()))?;
        is_known.then_some(())?;
        Some(Self {
            engine: Engine::new(&spec, micro_batch, size(config.numerics.threads)?),
            gradient: vec![0.0; usize::try_from(layout.numel()).ok()?],
            groups: groups.collect::<Option<_>>()?,
            part: micro_batch * (size(config.context)? + 1),
        })
    }

    /// Mean loss over all tokens of the batch; its gradient is kept for [`FusedBackend::update`].
    pub(crate) fn loss_and_gradient(&mut self, flat: &Tensor, batch: &Batch) -> f64 {
        let params = floats(flat);
        self.gradient.fill(0.0);
        let tokens = batch.inputs.numel() as f64;
        let mut sum = 0.0;
        for part in batch.windows.chunks(self.part) {
            sum += self
                .engine
                .accumulate(params, &mut self.gradient, part, (1.0 / tokens) as f32);
        }
        sum / tokens
    }

    /// Summed loss of a batch in nats.
    pub(crate) fn loss_sum(&mut self, flat: &Tensor, batch: &Batch) -> f64 {
        let params = floats(flat);
        let parts = batch.windows.chunks(self.part);
        parts.map(|part| self.engine.loss(params, part)).sum()
    }

    /// Clips and updates with the kept gradient; gives its global norm before that. Nothing changes where that is not
    /// finite.
    pub(crate) fn update(&mut self, flat: &Tensor, optimizer: &AdamW, lr: f64, step: u64) -> f64 {
        let settings = optimizer.settings;
        let group = |(range, factor): &(std::ops::Range<usize>, f64)| GroupRange {
            range: range.clone(),
            lr: lr * factor,
            weight_decay: settings.weight_decay,
        };
        let update = AdamStep {
            groups: self.groups.iter().map(group).collect(),
            beta1: settings.beta1,
            beta2: settings.beta2,
            eps: settings.eps,
            clip: settings.clip,
            step,
        };
        let moments = (floats_mut(&optimizer.exp_avg), floats_mut(&optimizer.exp_avg_sq));
        adamw_step(self.engine.pool(), floats_mut(flat), &self.gradient, moments, &update)
    }

    #[cfg(test)]
    pub(crate) fn gradient(&self) -> &[f32] {
        &self.gradient
    }
}

/// The numbers of a tensor.
fn floats(tensor: &Tensor) -> &[f32] {
    let numel = check(tensor);
    #[expect(unsafe_code, reason = "libtorch lends its memory by pointer")]
    // SAFETY: a contiguous float32 tensor on the CPU has so many elements at its address, and nothing writes to them
    // while the slice lives: this thread alone has the trainer.
    unsafe {
        std::slice::from_raw_parts(tensor.data_ptr().cast(), numel)
    }
}

/// The numbers of a tensor, to be written.
#[expect(clippy::mut_from_ref, reason = "a tensor is a handle; its memory is its own")]
fn floats_mut(tensor: &Tensor) -> &mut [f32] {
    let numel = check(tensor);
    #[expect(unsafe_code, reason = "libtorch lends its memory by pointer")]
    // SAFETY: as for `floats`; the parameters and the two moments are three tensors, each lent once in a step.
    unsafe {
        std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), numel)
    }
}

fn check(tensor: &Tensor) -> usize {
    assert!(
        tensor.device() == Device::Cpu && tensor.kind() == Kind::Float && tensor.is_contiguous(),
        "the trainer's vectors are contiguous float32 on the CPU"
    );
    tensor.numel()
}
