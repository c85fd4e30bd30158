//! The questions of a study, a file each: what the runs answer, and the sweep that would say more.
//!
//! Each is asked in turn with what those before have settled. Refuses to know what a sweep costs.

mod batch;
mod constants;
mod decay;
mod law;
mod noise;
mod rates;

use crate::campaign::cost::Costs;
use crate::campaign::grid::{Grid, matched};
use crate::campaign::state::{Chosen, Proposal, State};
use crate::record::TrialRow;
use crate::spec::study_file::Question;

pub(super) use law::law_of;
#[cfg(test)]
pub(super) use law::{observation, observations};

/// What a question has come to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Step {
    /// The best answer that the runs give; none: they give none.
    pub answer: Option<String>,
    /// The sweep that would say more; none: nothing is missing.
    pub ask: Option<Proposal>,
    /// Whether runs that would say more cost more than there is room for.
    pub starved: bool,
}

/// What a question says now; settles what follows from it. `room`: what a step may cost, in the unit of the budget.
pub fn step(question: Question, state: &State<'_>, chosen: &mut Chosen, costs: &dyn Costs, room: f64) -> Step {
    match question {
        Question::Noise => noise::step(state, chosen),
        Question::Constants => constants::step(state, chosen),
        Question::Rates => rates::step(state, chosen),
        Question::Batch => batch::step(state, chosen),
        Question::Decay => decay::step(state, chosen),
        Question::Law => law::step(state, chosen, costs, room),
        // Its run is not chosen by a grid: `decide` sees to it.
        Question::Forecast => Step::default(),
    }
}

/// The sweep of the next decision: `STUDY-03-rates`.
fn sweep_name(state: &State<'_>, question: Question) -> String {
    format!("{}-{:02}-{}", state.study.name, state.made.len() + 1, question.name())
}

/// A sweep of a grid, if some of its trials are still to be trained; and the rows of those that have ended.
fn asked<'a>(
    state: &State<'a>,
    question: Question,
    grid: &Grid,
    what: String,
    why: &str,
) -> (Vec<Option<&'a TrialRow>>, Option<Proposal>) {
    let sweep = sweep_name(state, question);
    let text = grid.text(state.study, state.frame, &sweep, why);
    let rows = matched(&text, state.rows);
    let missing = rows.iter().any(Option::is_none) || rows.is_empty();
    let proposal = Proposal {
        question,
        what,
        why: why.to_owned(),
        sweep,
        text,
    };
    (rows, missing.then_some(proposal))
}

/// A grid with the settings that are chosen: one batch, decay and set of constants.
fn settled(chosen: &Chosen) -> Grid {
    let mut grid = Grid::default()
        .with("batch_tokens", [chosen.batch_tokens])
        .with("schedule.decay_fraction", [chosen.decay_fraction]);
    for (path, value) in &chosen.constants {
        grid = grid.with(path, [value.clone()]);
    }
    grid
}

/// A relative difference, in per cent.
fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}
