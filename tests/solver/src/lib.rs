//! The law engine without the rest of the program.

#[path = "../../../src/fit/mod.rs"]
pub mod fit;
#[path = "../../../src/setup.rs"]
pub mod setup;
#[path = "../../../src/units.rs"]
pub mod units;
