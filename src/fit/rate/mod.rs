//! Laws of the best learning rate: alone (a parabola in ln lr for each group of runs, and how its lowest point drifts),
//! and together with the batch (one surface for all groups, whose lowest point moves as a power law).
//!
//! `transfer` is the verdict on muP's promise that the best rate of a narrow proxy serves a wide model.

pub mod batch_form;
pub mod learning_rate;
pub mod lr_batch;
mod lr_batch_surface;
mod lr_edges;
pub mod lr_parabola;
pub mod over_tokens;
pub mod transfer;
mod valley_laws;
