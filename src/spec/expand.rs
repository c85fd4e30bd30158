//! From a draft to combinations and draws of its values.
//!
//! Refuses to know how the file was written, and what becomes of a combination (`trials`).

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::spec::TrialSpec;
use crate::spec::axes::{AXES, Setting, find};
use crate::spec::draw;
use crate::spec::mistake::{Findings, Wrong};
use crate::spec::parameters::{Asked, Choice, Condition, Parameters, Range};
use crate::spec::read::{Draft, Method};
use crate::spec::resolve::Given;
use crate::spec::trials::Trials;

/// More trials than one sweep may ask for, before any are excluded.
pub(crate) const TRIALS_MAX: u64 = 100_000;

/// Values that are chosen together.
pub(crate) type Row = Vec<(usize, Rc<Given>)>;

/// What is chosen at once: one axis, or axes that move together.
pub(crate) enum Unit {
    /// One of these rows.
    Rows {
        name: &'static str,
        rows: Vec<Row>,
        weights: Option<Vec<f64>>,
    },
    /// A number from a range.
    Range {
        axis: usize,
        range: Range,
        given: Rc<Given>,
    },
}

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
    let all = all_parameters(draft);
    let mut broken = BTreeSet::new();
    for parameters in all {
        broken.extend(parameters.meant.iter().copied());
        let unread = |asked: &&Asked| asked.choice == Choice::Broken;
        broken.extend(parameters.asked.iter().filter(unread).map(|asked| asked.axis));
    }
    broken
}

pub(crate) fn all_parameters(draft: &Draft) -> impl Iterator<Item = &Parameters> {
    let overrides = draft.overrides.iter().map(|(_, _, parameters)| parameters);
    std::iter::once(&draft.parameters).chain(&draft.trials).chain(overrides)
}

/// What is chosen at once, in the order of the file; a list of trials comes first and wins over the parameters.
fn units(draft: &Draft, findings: &mut Findings) -> Vec<Unit> {
    let mut units = Vec::new();
    if draft.method == Method::List && !draft.trials.is_empty() {
        let mut rows = Vec::new();
        for trial in &draft.trials {
            let entry: Vec<Unit> = trial
                .asked
                .iter()
                .filter_map(|asked| unit(asked, draft.method, findings))
                .collect();
            let count = product(&entry).min(TRIALS_MAX);
            rows.extend((0..count).map(|index| nth(&entry, index)));
        }
        units.push(Unit::Rows {
            name: "trials",
            rows,
            weights: None,
        });
    }
    for asked in &draft.parameters.asked {
        match draft.zip.iter().find(|(group, _)| group.contains(&asked.axis)) {
            None => units.extend(unit(asked, draft.method, findings)),
            Some((group, place)) => {
                // The group stands where the first of its axes stands.
                let leads = |other: &&Asked| group.contains(&other.axis);
                let first = draft.parameters.asked.iter().find(leads);
                if first.is_some_and(|first| first.axis == asked.axis) {
                    match zipped(group, &draft.parameters) {
                        Ok(zipped) => units.extend(zipped),
                        Err(wrong) => findings.mistake(*place, "zip", wrong),
                    }
                }
            }
        }
    }
    units
}

/// One axis on its own; none if it has no values that could be read.
pub(crate) fn unit(asked: &Asked, method: Method, findings: &mut Findings) -> Option<Unit> {
    match &asked.choice {
        Choice::Broken => None,
        Choice::Values { values, weights } => Some(Unit::Rows {
            name: AXES[asked.axis].path,
            rows: values.iter().map(|value| vec![(asked.axis, value.clone())]).collect(),
            weights: weights.clone(),
        }),
        Choice::Range(_) if method != Method::Random => {
            let wrong = Wrong::new("a range has no end of values; only random sweeps draw from one");
            findings.mistake(asked.place, &asked.key, wrong.with("values: […], or method: random"));
            None
        }
        Choice::Range(range) => Some(Unit::Range {
            axis: asked.axis,
            range: *range,
            given: Rc::new(Given {
                setting: Setting::Number(range.min),
                place: asked.place,
                key: asked.key.clone(),
            }),
        }),
    }
}

/// Axes that move together; nothing if one of them could not be read.
fn zipped(group: &[usize], parameters: &Parameters) -> Result<Option<Unit>, Wrong> {
    let mut columns = Vec::new();
    for &axis in group {
        match parameters.get(axis).map(|asked| &asked.choice) {
            Some(Choice::Values { values, .. }) => columns.push((axis, values)),
            Some(Choice::Range(_)) => {
                let message = format!("`{}` is a range and cannot move with others", AXES[axis].path);
                return Err(Wrong::new(message).with("values: […]"));
            }
            Some(Choice::Broken) | None => return Ok(None),
        }
    }
    let length = columns.first().map_or(0, |(_, values)| values.len());
    if columns.iter().any(|(_, values)| values.len() != length) {
        let lengths: Vec<String> = columns
            .iter()
            .map(|(axis, values)| format!("{} has {}", AXES[*axis].path, values.len()))
            .collect();
        let message = format!(
            "axes that move together need equally many values: {}",
            lengths.join(", ")
        );
        return Err(Wrong::new(message));
    }
    let row = |index: usize| -> Row {
        let values = columns.iter();
        values.map(|(axis, values)| (*axis, values[index].clone())).collect()
    };
    Ok(Some(Unit::Rows {
        name: group.iter().map(|&axis| AXES[axis].path).min().unwrap_or("zip"),
        rows: (0..length).map(row).collect(),
        weights: None,
    }))
}

/// What every sweep must say: its data, and its models. Data that is missing is put in, so that the reading goes on.
fn require(draft: &Draft, broken: &BTreeSet<usize>, units: &mut Vec<Unit>, findings: &mut Findings) {
    let given = |wanted: &dyn Fn(&str) -> bool| {
        broken.iter().any(|&axis| wanted(AXES[axis].path))
            || all_parameters(draft).any(|p| p.asked.iter().any(|a| wanted(AXES[a.axis].path)))
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

/// How many combinations there are.
pub(crate) fn product(units: &[Unit]) -> u64 {
    let count = |unit: &Unit| match unit {
        Unit::Rows { rows, .. } => rows.len() as u64,
        Unit::Range { .. } => 1,
    };
    units
        .iter()
        .fold(1, |product: u64, unit| product.saturating_mul(count(unit)))
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

/// The combination of this index; the last unit turns fastest.
pub(crate) fn nth(units: &[Unit], index: u64) -> Row {
    let mut left = index;
    let mut chosen: Vec<&Row> = Vec::new();
    for unit in units.iter().rev() {
        if let Unit::Rows { rows, .. } = unit {
            let count = (rows.len() as u64).max(1);
            chosen.extend(rows.get((left % count) as usize));
            left /= count;
        }
    }
    chosen.into_iter().flatten().cloned().collect()
}

/// The draw of this index.
pub(crate) fn drawn(units: &[Unit], seed: u64, index: u64) -> Row {
    let mut row = Row::new();
    for unit in units {
        match unit {
            Unit::Rows { name, rows, weights } => {
                let chosen = draw::index(draw::unit(seed, name, index), rows.len(), weights.as_deref());
                row.extend(rows.get(chosen).into_iter().flatten().cloned());
            }
            Unit::Range { axis, range, given } => {
                let number = draw::within(draw::unit(seed, AXES[*axis].path, index), *range, &AXES[*axis]);
                let drawn = AXES[*axis].nearest(number);
                let setting = drawn.or_else(|| AXES[*axis].nearest(range.min));
                row.extend(setting.map(|setting| {
                    (
                        *axis,
                        Rc::new(Given {
                            setting,
                            ..Given::clone(given)
                        }),
                    )
                }));
            }
        }
    }
    row
}

/// The conditions of each axis, in an order in which none depends on a later one.
fn ordered_conditions<'d>(draft: &'d Draft, findings: &mut Findings) -> Option<Vec<(usize, Vec<&'d Condition>)>> {
    let mut open: BTreeMap<usize, Vec<&Condition>> = BTreeMap::new();
    for asked in all_parameters(draft).flat_map(|parameters| &parameters.asked) {
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
