//! A model in training: the network with its flat parameters, AdamW, and one optimiser step.
//!
//! Refuses to know where batches come from, where states go, and who records the numbers.

pub(crate) mod fused_backend;
pub(crate) mod layout;
pub(crate) mod model;
pub(crate) mod optim;
pub(crate) mod step;
