//! Laws of the final loss over parameters N and tokens D, and of the loss off the best batch.
//!
//! ```text
//! objective (runs, residuals, slopes) → solver → point_fit → bootstrap_intervals
//!                                                  ↓
//!                            hold_out, outliers → diagnostics → loss_law
//! ```
//! | file | equation | source |
//! |---|---|---|
//! | `chinchilla` | `L = E + A/N^α + B/D^β` | Hoffmann et al. 2022, arXiv 2203.15556, approach 3 |
//! | `isoflop` | `N_opt = k·C^a` from minima at equal compute | the same, approach 2 |
//! | `three_term` | `L = E + A/N^α + B/S^β + G/b^γ`, steps S, batch b | Schaipp 2026, arXiv 2607.01487 |
//!
//! `loss_fit` is what is kept of a law and what it predicts; `model_selection` chooses between laws by hold-out.

pub mod bootstrap_intervals;
pub mod chinchilla;
mod diagnostics;
pub mod forms;
pub mod hold_out;
pub mod isoflop;
pub mod loss_fit;
pub mod loss_law;
pub mod minima;
pub mod model_selection;
pub(in crate::fit) mod objective;
mod outliers;
pub(in crate::fit) mod point_fit;
mod solver;
mod structure;
pub mod three_term;
