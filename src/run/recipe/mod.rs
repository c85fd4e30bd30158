//! Recipes: fits what one rests on, writes it with its files, and registers and scores forecasts.
//!
//! Refuses to know how a number is read off a law, and how a recipe is printed.

pub mod advise;
pub mod coordinates;
pub mod files;
pub mod forecast;
pub mod next_runs;
pub mod rounds;
