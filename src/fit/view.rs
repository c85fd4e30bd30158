//! How a fit of a law is shown: built once from the law, for the terminal and for pages alike.
//!
//! Refuses to know either, and how anything is set or drawn.

use crate::fit::{Estimate, Warning};
use crate::units::printed;

/// A law as it is shown.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct View {
    /// What it is: its formula.
    pub formula: String,
    /// What it rests on: `20 runs`.
    pub rests_on: String,
    pub constants: Vec<Constant>,
    /// What else it knows, row by row.
    pub tables: Vec<Rows>,
    /// How it was fitted and how well: a name, a sentence.
    pub facts: Vec<(String, String)>,
    /// The runs that it was fitted on, for laws of loss.
    pub points: Vec<Point>,
    /// The runs that a second fit had not seen.
    pub held_out: Vec<HeldOut>,
}

/// A constant of a law.
#[derive(Debug, Clone, PartialEq)]
pub struct Constant {
    pub name: String,
    /// Its value and how sure it is.
    pub estimate: Estimate,
    /// Its unit; empty if it has none.
    pub unit: &'static str,
    /// Whether it is that of a paper, because the data does not say it.
    pub is_published: bool,
}

impl Constant {
    /// A constant without a unit.
    pub fn new(name: impl Into<String>, estimate: Estimate) -> Self {
        Self {
            name: name.into(),
            estimate,
            unit: "",
            is_published: false,
        }
    }

    /// A constant of which only the value is known.
    pub fn bare(name: impl Into<String>, value: f64) -> Self {
        let (se, ci95) = (None, None);
        Self::new(name, Estimate { value, se, ci95 })
    }
}

/// A table of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    /// What its columns are called.
    pub columns: &'static [&'static str],
    /// Its rows, as long as the columns.
    pub rows: Vec<Vec<String>>,
}

/// A run against a law of loss.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub label: String,
    /// N as the law counts it.
    pub params: f64,
    pub tokens: f64,
    /// Measured loss, nats per token.
    pub loss: f64,
    /// Whether a second fit did not see it.
    pub is_held_out: bool,
}

/// A run that a second fit had not seen.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldOut {
    pub label: String,
    /// N as the law counts it.
    pub params: f64,
    pub tokens: f64,
    /// Measured loss, nats per token.
    pub loss: f64,
    pub predicted: f64,
    /// The 95 % interval of a new run.
    pub ci95: Option<[f64; 2]>,
}

/// A fact: a name, a sentence.
pub(crate) fn fact(name: &str, text: impl Into<String>) -> (String, String) {
    (name.to_owned(), text.into())
}

/// `0.31 (95 % interval 0.22 to 0.4)`.
pub fn with_interval(estimate: &Estimate) -> String {
    let interval = estimate.ci95.map_or_else(String::new, |[low, high]| {
        format!(" (95 % interval {} to {})", printed(low, 3), printed(high, 3))
    });
    format!("{}{interval}", printed(estimate.value, 3))
}

/// `poor_fit: runs scatter by 4 % of the loss`.
pub fn warned(warning: &Warning) -> String {
    format!("{}: {}", warning.code, warning.text)
}
