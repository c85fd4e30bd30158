//! Training step of one fixed decoder on the CPU, forward and backward by hand; refuses to know runs, files and data.
//!
//! The network is Llama's with MiniCPM's multipliers: RMSNorm, rotary embedding by halves, grouped-query causal
//! attention, SwiGLU, no bias, the embedding tied with the head. Parameters, gradients and moments are flat float32
//! buffers of one layout. Threads share a batch by sequences and each works on a tile of a few hundred tokens through
//! all layers, so that activations stay in the caches and no thread waits for another inside a tile.

mod adamw;
mod attention;
mod elementwise;
mod head;
mod norm;
pub(crate) mod pool;
mod products;
mod simd;
pub(crate) mod spec;
mod step;
mod tile;

pub(crate) use adamw::{AdamStep, GroupRange, adamw_step};
pub(crate) use spec::ModelSpec;
pub(crate) use step::Engine;
