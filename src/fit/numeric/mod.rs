//! The numerical methods that the laws share. Refuses to know what the numbers mean.

pub(crate) mod akima;
pub mod bootstrap;
pub(crate) mod descent;
pub(crate) mod linear_algebra;
pub mod power_law;
pub mod statistics;
