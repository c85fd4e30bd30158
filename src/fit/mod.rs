//! Laws from observations: what a size and a number of tokens cost in loss, and which learning rate they want.
//!
//! ```text
//! observation → select → design → core (solver on a table) → spread (draws) → hold_out → judge → loss_law
//!                                     chinchilla: the law itself          predict: from a law to a number
//! ```
//! Pure functions on plain numbers: the same runs in any order give the same bits, on any number of threads. A law
//! that the data cannot carry is refused by a named code. Refuses to know databases, sweeps and printing.

pub mod bowl;
pub mod chinchilla;
mod core;
pub mod design;
pub mod estimate;
pub mod hold_out;
mod judge;
pub mod learning_rate;
mod linear;
pub mod loss_law;
pub mod observation;
mod outliers;
pub mod predict;
pub mod refusal;
pub mod select;
mod solver;
pub mod spread;
mod stats;
pub mod table;
