//! The story of a study that chose its own sweeps: question, answer, evidence, cost, a row a decision.
//!
//! Refuses to know how it decided.

use crate::report::view::{Cell, Column, Table};

/// A decision of a study.
#[derive(Debug, Clone, PartialEq)]
pub struct Chapter {
    pub question: String,
    /// What it changed.
    pub answer: String,
    /// What was run, and why.
    pub evidence: String,
    /// What it cost, in words.
    pub cost: String,
}

/// The table of a story.
pub fn table(chapters: Vec<Chapter>) -> Table {
    let row = |it: Chapter| [it.question, it.answer, it.evidence, it.cost].map(Cell::from).into();
    Table {
        columns: ["question", "answer", "evidence", "cost"].map(Column::words).into(),
        rows: chapters.into_iter().map(row).collect(),
    }
}
