//! The law engine without the rest of the program.

#[path = "../../../src/fit/mod.rs"]
pub mod fit;
#[path = "../../../src/units.rs"]
pub mod units;
