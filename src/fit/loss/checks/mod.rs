//! What checks a law of loss: runs that it has not seen, rows far off it, the shape of what it leaves over, and what of
//! that a reader must know. Refuses to change a constant.

pub(crate) mod diagnostics;
pub mod foresight;
pub mod hold_out;
pub(crate) mod outliers;
mod structure;
