//! From a draft to combinations and draws of its values.
//!
//! Refuses to know how the file was written, and what becomes of a combination (`trials`).

mod combinations;
mod draw;
mod trials;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::spec::axes::{AXES, find};
use crate::spec::expand::combinations::{TRIALS_MAX, Unit, drawn, nth, product, units};
use crate::spec::expand::trials::Trials;
use crate::spec::kind::Setting;
use crate::spec::read::parameters::{Asked, Choice, Condition, Parameters};
use crate::spec::read::{Draft, Method};
use crate::spec::resolve::Given;
use crate::spec::sweep::TrialSpec;
use crate::spec::syntax::mistakes::{Findings, Wrong};

/// Makes the trials of a draft. Axes that could not be read are left out, and nothing is said about them again.
pub(crate) fn expand(draft: &Draft, findings: &mut Findings) -> Option<(Vec<TrialSpec>, Vec<String>)> {
    let broken = broken(draft);
    let model = |axis: &usize| AXES[*axis].path == "model" || AXES[*axis].path.starts_with("shape.");
    let mut units = units(draft, findings);
    require(draft, &broken, &mut units, findings);
    let conditions = ordered_conditions(draft, findings)?;
    let total = total(draft, &units, findings)?;
    if broken.iter().any(model) {
        return None;
    }
    let mut trials = Trials::new(draft, conditions, broken);
    for index in 0..total {
        let rows = match draft.method {
            Method::Grid | Method::List => nth(&units, index),
            Method::Random => drawn(&units, draft.random_seed, index),
        };
        trials.point(rows, index, findings);
    }
    Some(trials.finish(findings))
}

/// The axes of which some value could not be read.
fn broken(draft: &Draft) -> BTreeSet<usize> {
    let all = draft.all_parameters();
    let mut broken = BTreeSet::new();
    for parameters in all {
        broken.extend(parameters.meant.iter().copied());
        let unread = |asked: &&Asked| asked.choice == Choice::Broken;
        broken.extend(parameters.asked.iter().filter(unread).map(|asked| asked.axis));
    }
    broken
}

/// What every sweep must say: its data, and its models. Data that is missing is put in, so that the reading goes on.
fn require(draft: &Draft, broken: &BTreeSet<usize>, units: &mut Vec<Unit>, findings: &mut Findings) {
    let given = |wanted: &dyn Fn(&str) -> bool| {
        broken.iter().any(|&axis| wanted(AXES[axis].path))
            || draft
                .all_parameters()
                .any(|p| p.asked.iter().any(|a| wanted(AXES[a.axis].path)))
    };
    if !given(&|path| path == "model" || path.starts_with("shape.")) {
        let wrong = Wrong::new("`model` must be given: a rung of the ladder, or a `shape`");
        findings.mistake(draft.place, "parameters.model", wrong.with("model: 9M"));
    }
    let is_broken = |&axis: &usize| AXES[axis].path == "data";
    let missing = !given(&|path| path == "data");
    if missing {
        let wrong = Wrong::new("`data` must be given: the name of a prepared data set");
        findings.mistake(draft.place, "data", wrong.with("data: rust-sources"));
    }
    if let (true, Some(axis)) = (missing || broken.iter().any(is_broken), find("data")) {
        let setting = Setting::Word("missing".to_owned());
        let given = Given {
            setting,
            place: draft.place,
            key: "data".to_owned(),
        };
        let rows = vec![vec![(axis, Rc::new(given))]];
        units.push(Unit::Rows {
            name: "data",
            rows,
            weights: None,
        });
    }
}

/// How many points there are before overrides and seeds, checked against the limit.
fn total(draft: &Draft, units: &[Unit], findings: &mut Findings) -> Option<u64> {
    let seeds = draft.seeds.len() as u64;
    let points = match (draft.method, draft.count, draft.run_cap) {
        (Method::Grid | Method::List, _, _) => product(units),
        (Method::Random, Some(count), _) => count,
        // So many draws that one call of `run` is enough for all of them.
        (Method::Random, None, Some(cap)) => (cap / seeds).max(1),
        (Method::Random, None, None) => {
            let wrong = Wrong::new("a random sweep needs `count` (draws) or `run_cap`");
            findings.mistake(draft.place, "count", wrong.with("count: 100"));
            return None;
        }
    };
    let values = |asked: &Asked| match &asked.choice {
        Choice::Values { values, .. } => values.len() as u64,
        Choice::Range(_) | Choice::Broken => 1,
    };
    let replaced = |parameters: &Parameters| {
        let counts = parameters.asked.iter().map(values);
        counts.fold(1, u64::saturating_mul)
    };
    let most = match draft.method {
        Method::Random => 1,
        Method::Grid | Method::List => {
            let overrides = draft.overrides.iter();
            overrides
                .map(|(_, _, parameters)| replaced(parameters))
                .max()
                .unwrap_or(1)
        }
    };
    let trials = points.saturating_mul(most).saturating_mul(seeds);
    if trials > TRIALS_MAX {
        let message = format!("{trials} combinations are more than the {TRIALS_MAX} that one sweep may ask for");
        let wrong = Wrong::new(message).with("fewer values, `zip`, or method: random with `count`");
        findings.mistake(draft.place, "parameters", wrong);
        return None;
    }
    Some(points)
}

/// The conditions of each axis, in an order in which none depends on a later one.
fn ordered_conditions<'d>(draft: &'d Draft, findings: &mut Findings) -> Option<Vec<(usize, Vec<&'d Condition>)>> {
    let mut open: BTreeMap<usize, Vec<&Condition>> = BTreeMap::new();
    for asked in draft.all_parameters().flat_map(|parameters| &parameters.asked) {
        open.entry(asked.axis).or_default().extend(&asked.when);
    }
    for (axis, condition) in &draft.when {
        if let Some(conditions) = open.get_mut(axis) {
            conditions.push(condition);
        } else {
            let path = AXES[*axis].path;
            let text = format!("`when` of `{path}` has no effect: it is not among the parameters");
            findings.note(condition.place, text);
        }
    }
    open.retain(|_, conditions| !conditions.is_empty());
    let mut ordered = Vec::new();
    while !open.is_empty() {
        let depends = |conditions: &[&Condition]| {
            let names = conditions.iter().flat_map(|condition| condition.expr.names());
            names.into_iter().any(|name| {
                open.keys().any(|&axis| {
                    let path = AXES[axis].path;
                    let sizes = matches!(name, "params" | "model") && (path == "model" || path.starts_with("shape."));
                    path == name || sizes
                })
            })
        };
        let Some(axis) = open.iter().find(|(_, c)| !depends(c)).map(|(&axis, _)| axis) else {
            for (axis, conditions) in &open {
                let wrong = Wrong::new("these conditions depend on one another in a circle");
                let place = conditions.first().map_or(draft.place, |condition| condition.place);
                findings.mistake(place, &format!("when.{}", AXES[*axis].path), wrong);
            }
            return None;
        };
        ordered.extend(open.remove(&axis).map(|conditions| (axis, conditions)));
    }
    Some(ordered)
}
