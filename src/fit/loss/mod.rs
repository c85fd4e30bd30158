//! Laws of the final loss over parameters N and tokens D, and of the loss off the best batch.
//!
//! ```text
//! objective (runs, residuals, slopes) ← forms (a law each) → solver → point_fit → bootstrap_intervals
//!                                                                       ↓
//!                     checks (hold_out, outliers, structure → diagnostics) → loss_law
//! ```
//! | file | equation | source |
//! |---|---|---|
//! | `chinchilla`, `forms/additive` | `L = E + A/N^α + B/D^β` | Hoffmann et al. 2022, arXiv 2203.15556, approach 3 |
//! | `forms/joint` | `L = E + (A/N^α + B/D^β)^c` | Kaplan et al. 2020, arXiv 2001.08361, with E |
//! | `forms/farseer` | the data term moves with N | Li et al. 2025, arXiv 2506.10972 |
//! | `forms/tied` | the additive law with one exponent | Gadre et al. 2024, arXiv 2403.08540 |
//! | `isoflop`, `minima` | `N_opt = k·C^a`, `L_opt = E + k·C^-c` from minima at equal compute | Hoffmann et al., approach 2 |
//! | `three_term` | `L = E + A/N^α + B/S^β + G/b^γ`, steps S, batch b | Schaipp 2026, arXiv 2607.01487 |
//!
//! `loss_fit` is what is kept of a law and what it predicts; `model_selection` chooses between laws by hold-out, and
//! `foresight` says how far ahead one has seen.

pub mod bootstrap_intervals;
pub mod checks;
pub mod chinchilla;
pub mod forms;
pub mod isoflop;
pub mod loss_fit;
pub mod loss_law;
pub mod minima;
pub mod model_selection;
pub(in crate::fit) mod objective;
pub(in crate::fit) mod optimum;
pub(in crate::fit) mod point_fit;
mod solver;
pub mod three_term;
