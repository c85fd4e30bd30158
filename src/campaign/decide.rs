//! The next decision: the first question that lacks something, if the budget carries it; else why the study ends.
//!
//! Refuses to know how a question is answered.

use serde_json::json;

use crate::campaign::cost::{Cost, Costs};
use crate::campaign::frame::Frame;
use crate::campaign::grid::Grid;
use crate::campaign::questions::{self, Step, law_of};
use crate::campaign::state::{Chosen, Decision, End, Forecast, State, TOO_DEAR};
use crate::model::ladder::LADDER;
use crate::recipe::Verdict;
use crate::spec::study_file::{Question, Unit};
use crate::units::{human_count, human_seconds};

/// Decides what to do next.
pub fn decide(state: &State<'_>, costs: &dyn Costs) -> Decision {
    let mut chosen = Chosen::of(state.frame);
    let mut starved = false;
    for &question in &state.study.questions {
        if question == Question::Forecast {
            if let Some(decision) = foretell(state, &chosen, costs) {
                return decision;
            }
            continue;
        }
        let room = state.left - reserve(state, &chosen, costs, question);
        let step = questions::step(question, state, &mut chosen, costs, room);
        starved |= step.starved;
        if !state.is_dropped(question)
            && let Some(decision) = carried(state, costs, question, step, room)
        {
            return decision;
        }
    }
    stop(state, starved)
}

/// What a question has answered, in words; none: nothing yet.
pub fn answer(question: Question, state: &State<'_>, costs: &dyn Costs) -> Option<String> {
    let mut chosen = Chosen::of(state.frame);
    for &asked in &state.study.questions {
        let step = questions::step(asked, state, &mut chosen, costs, 0.0);
        if asked == question {
            return step.answer;
        }
    }
    None
}

/// Runs what a question asks for where the budget carries it; none: the question is done.
fn carried(state: &State<'_>, costs: &dyn Costs, question: Question, step: Step, room: f64) -> Option<Decision> {
    let proposal = step.ask?;
    let drop = |what: String, why: String| Some(Decision::Drop { question, what, why });
    let again = state
        .made
        .last()
        .is_some_and(|made| made.question == question.name() && made.what == proposal.what);
    if again {
        let why = "its trials have no result: they were taken out, or another set of them was run".to_owned();
        return drop(proposal.what, why);
    }
    let cost = match costs.of(&[&proposal.text]) {
        Ok(cost) => cost,
        Err(why) => return drop(proposal.what, why),
    };
    let unit = state.study.budget.kind;
    let needed = cost.in_unit(unit);
    // Without rates and a law there is no recipe: nothing is kept back from them.
    let is_core = matches!(question, Question::Rates | Question::Law) && step.answer.is_none();
    if needed <= room || (is_core && needed <= state.left) {
        return Some(Decision::Run { proposal, cost });
    }
    let why = format!(
        "it costs {}, and {} are left{}",
        amount(needed, unit),
        amount(state.left, unit),
        kept(state.left - room, unit)
    );
    if is_core {
        return Some(Decision::Stop {
            end: End::Budget,
            why: format!("{} cannot be answered: {why}", question.name()),
        });
    }
    drop(format!("{TOO_DEAR}{}", proposal.what), why)
}

fn kept(reserve: f64, unit: Unit) -> String {
    if reserve > 0.0 {
        format!(
            ", of which {} are kept for the law and the forecast",
            amount(reserve, unit)
        )
    } else {
        String::new()
    }
}

/// An amount of a budget, in words.
pub fn amount(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Hours => human_seconds(value.max(0.0) * 3600.0),
        Unit::Flops => format!("{:.2e} FLOP", value.max(0.0)),
        Unit::Tokens => format!("{} tokens", human_count(value.max(0.0))),
    }
}

/// What the questions after one have to have, at the settings of now.
fn reserve(state: &State<'_>, chosen: &Chosen, costs: &dyn Costs, question: Question) -> f64 {
    let mut texts = Vec::new();
    let frame = state.frame;
    if question < Question::Law && state.study.asks(Question::Law) {
        let smallest: Vec<String> = frame
            .small()
            .iter()
            .map(|model| single(state, chosen, model, &frame.tokens))
            .collect();
        texts.extend(smallest);
    }
    let foretold = state.made.iter().any(|made| made.question == Question::Forecast.name());
    if let Some(ahead) = frame.ahead.as_ref().filter(|_| !foretold) {
        texts.push(single(state, chosen, ahead, &[frame.longest()]));
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    costs.of(&texts).unwrap_or_default().in_unit(state.study.budget.kind)
}

/// A sweep of one size at the settings of now.
fn single(state: &State<'_>, chosen: &Chosen, model: &str, tokens: &[u64]) -> String {
    let frame = state.frame;
    let lr = chosen.lr(Frame::params(model) as f64, frame.middle_tokens());
    let mut grid = Grid::default()
        .with("model", [model])
        .with("lr", [lr])
        .with("tokens", tokens.iter().copied())
        .with("batch_tokens", [chosen.batch_tokens])
        .with("schedule.decay_fraction", [json!(chosen.decay_fraction)]);
    for (path, value) in &chosen.constants {
        grid = grid.with(path, [value.clone()]);
    }
    grid.text(state.study, frame, "single", "")
}

/// The forecast of the largest run that the budget affords; none: it is made, or nothing is to be foretold.
fn foretell(state: &State<'_>, chosen: &Chosen, costs: &dyn Costs) -> Option<Decision> {
    let question = Question::Forecast;
    let done = state.made.iter().any(|made| made.question == question.name());
    let ahead = state.frame.ahead.as_ref().filter(|_| !done)?;
    let drop = |what: String, why: String| Some(Decision::Drop { question, what, why });
    if law_of(state, chosen).is_none() {
        return drop(
            format!("a forecast of {ahead}"),
            "there is no law of loss to foretell by".to_owned(),
        );
    }
    let unit = state.study.budget.kind;
    let tokens = state.frame.longest();
    for model in larger(state.frame, ahead) {
        let text = single(state, chosen, model, &[tokens]);
        let cost = costs.of(&[&text]).unwrap_or_default();
        if cost.in_unit(unit) <= state.left {
            return Some(Decision::Forecast(Forecast {
                model: model.to_owned(),
                params: Frame::params(model),
                tokens,
                seeds: 1,
                why: format!(
                    "The largest run that the budget affords: {} at the most.",
                    amount(cost.in_unit(unit), unit)
                ),
            }));
        }
    }
    let cost: Cost = costs
        .of(&[&single(state, chosen, ahead, &[tokens])])
        .unwrap_or_default();
    let why = format!(
        "it costs {}, and {} are left",
        amount(cost.in_unit(unit), unit),
        amount(state.left, unit)
    );
    drop(format!("{TOO_DEAR}a forecast of {ahead}"), why)
}

/// The size that is foretold, then smaller ones that are still larger than all others.
fn larger<'a>(frame: &Frame, ahead: &'a str) -> Vec<&'a str> {
    let largest = frame.models.last().map_or(0, |model| Frame::params(model));
    let between = LADDER.iter().rev().map(|rung| rung.name).filter(|name| {
        let params = Frame::params(name);
        params > largest && params < Frame::params(ahead)
    });
    std::iter::once(ahead).chain(between).collect()
}

fn stop(state: &State<'_>, starved: bool) -> Decision {
    let open = state
        .recipe
        .map_or_else(String::new, |recipe| match recipe.open.as_slice() {
            [] => String::new(),
            open => format!("; open gates: {}", open.join(", ")),
        });
    let verdict = state.recipe.map(|recipe| recipe.verdict);
    let (end, why) = if verdict == Some(Verdict::Verified) {
        (End::Verified, "every gate of the recipe passes".to_owned())
    } else if starved || state.is_short() {
        (
            End::Budget,
            format!("the {} that are left do not carry what would say more", left(state)),
        )
    } else if verdict == Some(Verdict::Partly) {
        (
            End::Partly,
            "every question has its answer, and no run within the ranges would close what is open".to_owned(),
        )
    } else {
        (
            End::NothingToGain,
            "no run within the ranges would change the recipe".to_owned(),
        )
    };
    Decision::Stop { end, why: why + &open }
}

fn left(state: &State<'_>) -> String {
    amount(state.left, state.study.budget.kind)
}
