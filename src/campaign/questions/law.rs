//! How does the loss fall with size and tokens? The smallest sizes first; then, run by run, what says most of the target
//! for its cost, until nothing more would change the answer.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::campaign::cost::Costs;
use crate::campaign::frame::Frame;
use crate::campaign::gain::{Belief, Place};
use crate::campaign::questions::{Step, asked, percent, settled};
use crate::campaign::state::{Chosen, Design, Proposal, State};
use crate::fit::observation::Observation;
use crate::record::TrialRow;
use crate::setup::{Factor, Setup};
use crate::spec;
use crate::spec::study_file::Question;
use crate::units::human_count;

/// Runs that shrink the target's standard error by less than this share are not worth asking for.
const GAIN_MIN: f64 = 0.05;
/// Nor is anything, once the target's standard error, by the law alone, is below this share of its loss.
const ERROR_MIN: f64 = 2.5e-3;
/// Seeds of one run at most.
const SEEDS_MAX: u64 = 4;
/// Seeds are asked for where they scatter by at least this share of what runs are off the law.
const NOISE_SHARE: f64 = 0.5;

/// A trunk with its decays: one size, one seed, all budgets up to one.
#[derive(Debug, Clone, PartialEq)]
struct Unit {
    model: String,
    tokens: Vec<u64>,
    seed: u64,
}

pub(super) fn step(state: &State<'_>, chosen: &mut Chosen, costs: &dyn Costs, room: f64) -> Step {
    let frame = state.frame;
    let first: &[String] = if state.design == Design::Grid {
        &frame.models
    } else {
        frame.small()
    };
    let units: Vec<Unit> = first.iter().map(|model| whole(frame, model)).collect();
    let why = "How does the loss fall with size and tokens, at the best rate, batch and decay?";
    let (_, ask) = ask_for(state, chosen, &units, why);
    if ask.is_some() {
        return Step { ask, ..Step::default() };
    }
    let Some(belief) = law_of(state, chosen) else {
        // No law yet: the next size may give one.
        let more = frame.models.iter().map(|model| whole(frame, model));
        let next: Vec<Unit> = more.filter(|unit| !is_trained(state, chosen, unit)).take(1).collect();
        let ask = if next.is_empty() {
            None
        } else {
            ask_for(state, chosen, &next, "The runs carry no law of loss yet.").1
        };
        return Step { ask, ..Step::default() };
    };
    let (ask, starved) = refined(state, chosen, &belief, costs, room);
    Step {
        answer: Some(answer(state, &belief)),
        ask,
        starved,
    }
}

fn whole(frame: &Frame, model: &str) -> Unit {
    Unit {
        model: model.to_owned(),
        tokens: frame.tokens.clone(),
        seed: 0,
    }
}

fn ask_for(state: &State<'_>, chosen: &Chosen, units: &[Unit], why: &str) -> (bool, Option<Proposal>) {
    let mut grid = settled(chosen);
    let frame = state.frame;
    let variant = |unit: &Unit, tokens: u64| -> BTreeMap<String, Value> {
        let lr = chosen.lr(Frame::params(&unit.model) as f64, frame.middle_tokens());
        [
            ("model", json!(unit.model)),
            ("lr", json!(lr)),
            ("tokens", json!(tokens)),
        ]
        .map(|(path, value)| (path.to_owned(), value))
        .into()
    };
    grid.variants = units
        .iter()
        .flat_map(|unit| unit.tokens.iter().map(|&tokens| variant(unit, tokens)))
        .collect();
    grid.seeds = vec![units.first().map_or(0, |unit| unit.seed)];
    let words: Vec<String> = units.iter().map(words).collect();
    let (_, ask) = asked(state, Question::Law, &grid, words.join("; "), why);
    (ask.is_none(), ask)
}

fn words(unit: &Unit) -> String {
    let tokens: Vec<String> = unit.tokens.iter().map(|tokens| human_count(*tokens as f64)).collect();
    let seed = if unit.seed == 0 {
        String::new()
    } else {
        format!(", seed {}", unit.seed)
    };
    format!("{} on {} tokens{seed}", unit.model, tokens.join(", "))
}

fn is_trained(state: &State<'_>, chosen: &Chosen, unit: &Unit) -> bool {
    ask_for(state, chosen, std::slice::from_ref(unit), "").0
}

/// What is believed of the loss: by the runs at the settings that were chosen.
pub(in crate::campaign) fn law_of(state: &State<'_>, chosen: &Chosen) -> Option<Belief> {
    Belief::of(&observations(state, chosen), chosen.noise)
}

/// The finished runs that differ in size, budget and seed alone, each size at its best rate. Those at other rates stay out:
/// the lowest of several is lower by chance as well, and only small sizes have several.
pub(in crate::campaign) fn observations(state: &State<'_>, chosen: &Chosen) -> Vec<Observation> {
    let grid = settled(chosen)
        .with("model", [state.frame.probe()])
        .with("lr", [chosen.lr(1.0, 1.0)])
        .with("tokens", [state.frame.longest()]);
    let text = grid.text(state.study, state.frame, "reference", "");
    let Ok((sweep, _)) = spec::read(&text, "reference.yaml", &[]) else {
        return Vec::new();
    };
    let Some(setup) = sweep.trials.first().map(|trial| TrialRow::setup_of(&trial.settings)) else {
        return Vec::new();
    };
    let middle = state.frame.middle_tokens();
    let is_best = |row: &TrialRow| row.lr.to_bits() == chosen.lr(row.params_non_embedding as f64, middle).to_bits();
    let alike = |row: &&TrialRow| row.setup == setup && row.batch_tokens == chosen.batch_tokens && is_best(row);
    state.rows.iter().filter(alike).filter_map(observation).collect()
}

pub(in crate::campaign) fn observation(row: &TrialRow) -> Option<Observation> {
    Some(Observation {
        label: row.trial.clone(),
        params: row.params_non_embedding as f64,
        tokens: row.tokens as f64,
        loss: row.final_loss?,
        lr: Some(row.lr),
        batch_tokens: Some(row.batch_tokens as f64),
        schedule: Some(row.schedule.name().to_owned()),
        seed: Some(row.seed),
        flops: None,
        setup: Some(Setup::from(row).without([Factor::Seed])),
    })
}

/// A unit with what it would do and cost.
struct Candidate {
    unit: Unit,
    cost: f64,
    /// The share by which the target's standard error falls.
    gain: f64,
}

/// The units that are not trained: larger sizes, each up to a budget, and further seeds of what was trained.
fn untrained(state: &State<'_>, chosen: &Chosen, belief: &Belief) -> Vec<Unit> {
    let frame = state.frame;
    let mut units = Vec::new();
    let is_noisy = chosen.noise.is_some_and(|noise| noise >= NOISE_SHARE * belief.scatter);
    let most = if is_noisy { SEEDS_MAX } else { 1 };
    for model in &frame.models {
        let mut seeds = (0..most).map(|seed| Unit {
            seed,
            ..whole(frame, model)
        });
        let Some(next) = seeds.find(|unit| !is_trained(state, chosen, unit)) else {
            continue;
        };
        // A first seed may stop early; to train a further one by halves says little of noise.
        let shortest = if next.seed == 0 { 1 } else { frame.tokens.len() };
        let parts = (shortest..=frame.tokens.len()).map(|count| Unit {
            tokens: frame.tokens[..count].to_vec(),
            ..next.clone()
        });
        units.extend(parts.filter(|unit| !is_trained(state, chosen, unit)));
    }
    units
}

/// The runs to add, and whether such as would help cost more than there is room for.
fn refined(
    state: &State<'_>,
    chosen: &Chosen,
    belief: &Belief,
    costs: &dyn Costs,
    room: f64,
) -> (Option<Proposal>, bool) {
    let candidates = candidates(state, chosen, belief, costs);
    // The other designs are there to compare with: they do not know what says most.
    let knows = matches!(state.design, Design::Chosen | Design::Grid);
    let helps = |it: &&Candidate| !knows || (it.gain >= GAIN_MIN && belief_error(state, belief) >= ERROR_MIN);
    let (fits, dear): (Vec<&Candidate>, Vec<&Candidate>) =
        candidates.iter().filter(helps).partition(|it| it.cost <= room);
    let order = |a: &&Candidate, b: &&Candidate| match state.design {
        Design::Chosen | Design::Grid => (b.gain / b.cost.max(1e-12)).total_cmp(&(a.gain / a.cost.max(1e-12))),
        Design::Cheapest => a.cost.total_cmp(&b.cost),
        Design::Random => lot(state, &a.unit).cmp(&lot(state, &b.unit)),
    };
    let mut fits = fits;
    fits.sort_by(|a, b| order(a, b).then_with(|| words(&a.unit).cmp(&words(&b.unit))));
    let Some(first) = fits.first() else {
        return (None, !dear.is_empty());
    };
    let mut taken: Vec<&Candidate> = Vec::new();
    let (mut sizes, mut spent) = (BTreeSet::new(), 0.0);
    for &it in fits.iter().filter(|it| it.unit.seed == first.unit.seed) {
        if (taken.len() as u64) < state.workers && spent + it.cost <= room && sizes.insert(&it.unit.model) {
            spent += it.cost;
            taken.push(it);
        }
    }
    let units: Vec<Unit> = taken.iter().map(|it| it.unit.clone()).collect();
    let why = match state.design {
        Design::Chosen | Design::Grid => format!(
            "These runs shrink the standard error of the target's loss most for their cost: the first by {}.",
            percent(first.gain)
        ),
        Design::Random => "These runs were drawn.".to_owned(),
        Design::Cheapest => "These runs are the cheapest.".to_owned(),
    };
    (ask_for(state, chosen, &units, &why).1, false)
}

/// The standard error of the target's loss by the law alone, as a share of it.
fn belief_error(state: &State<'_>, belief: &Belief) -> f64 {
    let known = belief.covariance(&[target(state)]);
    known.map_or(f64::NAN, |known| known.variance(0).sqrt())
}

fn target(state: &State<'_>) -> Place {
    Place {
        params: state.study.target.params as f64,
        tokens: state.study.target.tokens as f64,
    }
}

fn candidates(state: &State<'_>, chosen: &Chosen, belief: &Belief, costs: &dyn Costs) -> Vec<Candidate> {
    let units = untrained(state, chosen, belief);
    let mut places = vec![target(state)];
    let mut of_units = Vec::new();
    for unit in &units {
        let from = places.len();
        let params = Frame::params(&unit.model) as f64;
        places.extend(unit.tokens.iter().map(|&tokens| Place {
            params,
            tokens: tokens as f64,
        }));
        of_units.push((from..places.len()).collect::<Vec<usize>>());
    }
    let Some(known) = belief.covariance(&places) else {
        return Vec::new();
    };
    let before = known.variance(0).sqrt();
    let each = units.into_iter().zip(of_units).filter_map(|(unit, places)| {
        let text = ask_for(state, chosen, std::slice::from_ref(&unit), "").1?.text;
        let cost = costs.of(&[&text]).ok()?.in_unit(state.study.budget.kind);
        let gain = 1.0 - known.after(&places).variance(0).sqrt() / before.max(1e-12);
        Some(Candidate { unit, cost, gain })
    });
    each.collect()
}

/// An order that is drawn, and is the same each time.
fn lot(state: &State<'_>, unit: &Unit) -> [u8; 32] {
    let text = format!("{} {} {}", state.study.name, state.made.len(), words(unit));
    *blake3::hash(text.as_bytes()).as_bytes()
}

fn answer(state: &State<'_>, belief: &Belief) -> String {
    let error = belief_error(state, belief);
    let loss = belief.loss(target(state)).unwrap_or(f64::NAN);
    format!(
        "the {} law on {} runs: {loss:.3} nats at the target, ± {} by the law alone",
        belief.law,
        belief.runs,
        percent(error)
    )
}
