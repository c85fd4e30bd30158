//! The law engine without the rest of the program.

#[path = "../../../src/fit/mod.rs"]
pub mod fit;
#[path = "../../../src/setup.rs"]
pub mod setup;
#[path = "../../../src/units.rs"]
pub mod units;
#[path = "../../../src/words.rs"]
pub mod words;

/// Of the model, the schedules alone.
#[path = "../../../src/model"]
pub mod model {
    pub mod schedule;
}
