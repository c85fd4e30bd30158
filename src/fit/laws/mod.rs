//! The list of all laws. The command line, its help, the table of laws in README.md, the database and `predict` read
//! it; to add a law is a file here and a line in [`LAWS`].

mod batch;
mod chinchilla;
mod curves;
mod farseer;
mod joint;
mod lr;
mod lr_batch;
mod minima;
mod surface;
mod three_term;
mod tied;

pub use batch::{Batch, BatchFit};
pub use chinchilla::Chinchilla;
pub use curves::{Annealing, CurvesFit, MultiPower};
pub use farseer::Farseer;
pub use joint::Joint;
pub use lr::{Lr, formula as lr_formula};
pub use lr_batch::{LrBatch, LrBatchFit};
pub use minima::{Minima, MinimaFit};
pub use three_term::{ThreeTerm, ThreeTermFit};
pub use tied::Tied;

use crate::fit::law::{About, Entry};

/// Every law; the first is the one that `sandbox fit` fits unless told otherwise.
pub static LAWS: &[Entry] = &[
    Entry::of::<Chinchilla>(),
    Entry::of::<Tied>(),
    Entry::of::<Joint>(),
    Entry::of::<ThreeTerm>(),
    Entry::of::<Farseer>(),
    Entry::of::<Minima>(),
    Entry::of::<Lr>(),
    Entry::of::<LrBatch>(),
    Entry::of::<Batch>(),
    Entry::of::<Annealing>(),
    Entry::of::<MultiPower>(),
    #[cfg(test)]
    Entry::of::<tests::MeanLoss>(),
];

/// The law of that name.
pub fn named(name: &str) -> Option<&'static Entry> {
    LAWS.iter().find(|law| law.about.name == name)
}

/// The names of the laws for which something holds.
pub fn names(holds: impl Fn(&About) -> bool) -> Vec<&'static str> {
    let about = LAWS.iter().map(|law| law.about);
    about.filter(|about| holds(about)).map(|about| about.name).collect()
}

#[cfg(test)]
mod tests;
