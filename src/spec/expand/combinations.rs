//! What is chosen at once: the values of one axis, or of axes that move together, and how one of each is picked.
//!
//! Refuses to know what becomes of a combination (`trials`).

use std::rc::Rc;

use crate::spec::axes::AXES;
use crate::spec::expand::draw;
use crate::spec::kind::Setting;
use crate::spec::read::parameters::{Asked, Choice, Parameters, Range};
use crate::spec::read::{Draft, Method};
use crate::spec::resolve::Given;
use crate::spec::syntax::mistakes::{Findings, Wrong};

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

/// What is chosen at once, in the order of the file; a list of trials comes first and wins over the parameters.
pub(crate) fn units(draft: &Draft, findings: &mut Findings) -> Vec<Unit> {
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
                let drawn = draw::setting(seed, index, *range, &AXES[*axis]);
                let setting = drawn.or_else(|| AXES[*axis].kind.nearest(range.min));
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
