//! Before the first run: the frame that the budget carries, the steps in order with their costs, and what the budget
//! cannot decide.
//!
//! Refuses to run anything.

use serde::Serialize;

use crate::campaign::cost::{Cost, Costs};
use crate::campaign::decide::amount;
use crate::campaign::frame::{Frame, Setting};
use crate::campaign::grid::Grid;
use crate::campaign::questions;
use crate::campaign::state::{Chosen, Design, State};
use crate::spec::study_file::{Question, StudyFile};
use crate::units::{human_count, significant};

/// A step that is foreseen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Foreseen {
    pub question: &'static str,
    /// What it is to decide.
    pub what: String,
    pub why: String,
    #[serde(flatten)]
    pub cost: Cost,
    /// Whether the budget carries it after the steps before it.
    pub affordable: bool,
}

/// A study before it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlook {
    pub frame: Frame,
    pub steps: Vec<Foreseen>,
    /// What it will not be able to decide, each with the reason.
    pub cannot: Vec<String>,
}

/// Grids widen, and seeds are added: so much more than the first grids is kept for that.
const MARGIN: f64 = 1.25;

/// The most ambitious frame that the budget carries with some room; else the least.
pub fn outlook(study: &StudyFile, setting: &Setting, costs: &dyn Costs) -> Outlook {
    let frames = Frame::all(study, setting);
    let unit = study.budget.kind;
    let fits = |frame: &&Frame| {
        let texts: Vec<String> = steps_of(study, frame).into_iter().flat_map(|step| step.texts).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        costs
            .of(&texts)
            .is_ok_and(|cost| MARGIN * cost.in_unit(unit) <= study.budget.limit)
    };
    let frame = frames.iter().find(fits).or(frames.last()).cloned();
    let frame = frame.unwrap_or_else(|| Frame::all(study, setting).remove(0));
    of_frame(study, frame, costs)
}

/// What a frame costs step by step.
pub fn of_frame(study: &StudyFile, frame: Frame, costs: &dyn Costs) -> Outlook {
    let unit = study.budget.kind;
    let mut texts: Vec<String> = Vec::new();
    let mut spent = Cost::default();
    let (mut steps, mut cannot) = (Vec::new(), Vec::new());
    for step in steps_of(study, &frame) {
        let mut with = texts.clone();
        with.extend(step.texts);
        let all: Vec<&str> = with.iter().map(String::as_str).collect();
        let total = match costs.of(&all) {
            Ok(total) => total,
            Err(why) => {
                cannot.push(format!("{}: {why}", step.question.name()));
                continue;
            }
        };
        let cost = total.less(spent);
        let affordable = total.in_unit(unit) <= study.budget.limit;
        if affordable {
            (texts, spent) = (with, total);
        } else {
            let left = study.budget.limit - spent.in_unit(unit);
            let (needs, left) = (amount(cost.in_unit(unit), unit), amount(left, unit));
            cannot.push(format!(
                "{}: it needs {needs}, and {left} are left by the steps before it",
                step.question.name()
            ));
        }
        steps.push(Foreseen {
            question: step.question.name(),
            what: step.what,
            why: step.why,
            cost,
            affordable,
        });
    }
    cannot.extend(beyond(study, &frame));
    Outlook { frame, steps, cannot }
}

/// A step as it would be asked without any answer before it.
struct Planned {
    question: Question,
    what: String,
    why: String,
    texts: Vec<String>,
}

fn steps_of(study: &StudyFile, frame: &Frame) -> Vec<Planned> {
    let state = State {
        study,
        frame,
        made: &[],
        rows: &[],
        left: study.budget.limit,
        design: Design::Grid,
        workers: 1,
        recipe: None,
    };
    let free = Free;
    let mut steps = Vec::new();
    for &question in &study.questions {
        let mut chosen = Chosen::of(frame);
        if question == Question::Forecast {
            steps.extend(forecast(study, frame, &chosen));
            continue;
        }
        let step = questions::step(question, &state, &mut chosen, &free, f64::INFINITY);
        steps.extend(step.ask.map(|ask| Planned {
            question,
            what: ask.what,
            why: ask.why,
            texts: vec![ask.text],
        }));
    }
    steps
}

fn forecast(study: &StudyFile, frame: &Frame, chosen: &Chosen) -> Option<Planned> {
    let ahead = frame.ahead.as_ref()?;
    let lr = chosen.lr(Frame::params(ahead) as f64, frame.middle_tokens());
    let grid = Grid::default()
        .with("model", [ahead.as_str()])
        .with("lr", [lr])
        .with("tokens", [frame.longest()])
        .with("batch_tokens", [chosen.batch_tokens]);
    Some(Planned {
        question: Question::Forecast,
        what: format!(
            "a forecast of {ahead} on {} tokens, registered before it is trained",
            human_count(frame.longest() as f64)
        ),
        why: "Does the law foretell a run that is larger than all others?".to_owned(),
        texts: vec![grid.text(study, frame, "forecast", "")],
    })
}

/// Costs nothing: a first grid does not depend on it.
struct Free;

impl Costs for Free {
    fn of(&self, _texts: &[&str]) -> Result<Cost, String> {
        Ok(Cost::default())
    }
}

/// What no budget of these proxies decides.
fn beyond(study: &StudyFile, frame: &Frame) -> Vec<String> {
    /// A study vouches for runs as many times larger at most (`recipe/reach.rs`).
    const REACH: f64 = 10.0;
    let mut cannot = Vec::new();
    let largest = frame
        .ahead
        .iter()
        .chain(frame.models.last())
        .map(|model| Frame::params(model))
        .max()
        .unwrap_or(1);
    let of_size = study.target.params as f64 / largest as f64;
    let of_tokens = study.target.tokens as f64 / frame.longest().max(1) as f64;
    if of_size > REACH || of_tokens > REACH {
        cannot.push(format!(
            "the loss of the target: it has {} times the parameters and {} times the tokens of the largest run here, and a \
             study vouches for {REACH} times at most; its rate, batch and schedule are decided all the same",
            human_count(significant(of_size, 2)),
            human_count(significant(of_tokens, 2))
        ));
    }
    let left_out = Question::ALL.iter().filter(|question| !study.asks(**question));
    cannot.extend(left_out.map(|question| format!("{}: the file does not ask it", question.name())));
    if study.asks(Question::Forecast) && frame.ahead.is_none() {
        cannot.push("forecast: a size that is larger than those of the law is missing among the models".to_owned());
    }
    cannot
}
