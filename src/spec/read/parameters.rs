//! The `parameters` of a sweep: which axes are given, and what values they take.
//!
//! Refuses to know how the values of different axes are combined.

use std::rc::Rc;

use crate::spec::axes::{self, AXES, Axis, GROUPS};
use crate::spec::resolve::{Given, names};
use crate::spec::syntax::expressions::Expr;
use crate::spec::syntax::mistakes::{Findings, Place, Wrong, closest};
use crate::spec::syntax::tree::{Data, Entry, Node, join};

/// A condition and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Condition {
    pub(crate) expr: Expr,
    pub(crate) text: String,
    pub(crate) place: Place,
}

/// One axis that was given.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    /// Its index in [`AXES`].
    pub(crate) axis: usize,
    /// Where its key stands.
    pub(crate) place: Place,
    /// The dotted key it stands under.
    pub(crate) key: String,
    /// The values it takes; [`Choice::Broken`] where none could be read.
    pub(crate) choice: Choice,
    /// Conditions under which it applies.
    pub(crate) when: Vec<Condition>,
}

/// The values an axis takes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Choice {
    Values {
        values: Vec<Rc<Given>>,
        /// Their probabilities, for random sweeps.
        weights: Option<Vec<f64>>,
    },
    /// Drawn from a range, in random sweeps.
    Range(Range),
    /// None that could be read; what is wrong has been said.
    Broken,
}

/// A range to draw from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Range {
    pub(crate) distribution: Distribution,
    pub(crate) min: f64,
    /// Its upper end.
    pub(crate) max: f64,
    /// Draws are rounded to multiples of this.
    pub(crate) step: Option<f64>,
}

/// How draws lie in a range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Distribution {
    Uniform,
    /// Uniform in the logarithm.
    LogUniform,
    Normal {
        mu: f64,
        sigma: f64,
    },
    /// The logarithm is normal; `mu` and `sigma` are its mean and deviation, as in W&B.
    LogNormal {
        mu: f64,
        sigma: f64,
    },
}

/// Distributions, by the names of W&B; the others have no use here.
const DISTRIBUTIONS: &[&str] = &[
    "categorical",
    "constant",
    "uniform",
    "log_uniform_values",
    "int_uniform",
    "q_uniform",
    "q_log_uniform_values",
    "normal",
    "q_normal",
    "log_normal",
    "q_log_normal",
];

/// Of these, those that have no ends of their own.
const NORMAL: &[&str] = &["normal", "q_normal", "log_normal", "q_log_normal"];

const KEYS: &[&str] = &[
    "values",
    "value",
    "min",
    "max",
    "mu",
    "sigma",
    "distribution",
    "q",
    "probabilities",
    "when",
];

/// The axes that were given, and those that may have been meant by keys that do not exist.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    /// The axes, in the order of the file.
    pub(crate) asked: Vec<Asked>,
    /// Axes that a wrong key probably meant: nothing can be said about their values.
    pub(crate) meant: Vec<usize>,
}

impl Parameters {
    /// The axis of this index.
    pub(crate) fn get(&self, axis: usize) -> Option<&Asked> {
        self.asked.iter().find(|asked| asked.axis == axis)
    }
}

/// Reads a mapping of axes that stands under `key`.
pub(crate) fn read(node: &Node, key: &str, findings: &mut Findings) -> Parameters {
    let mut parameters = Parameters::default();
    read_group(node, key, "", &mut parameters, findings);
    parameters
}

/// Reads a mapping of axes whose paths begin with `prefix`.
fn read_group(node: &Node, key: &str, prefix: &str, parameters: &mut Parameters, findings: &mut Findings) {
    let Data::Map(entries) = &node.data else {
        let wrong = Wrong::new(format!("expected a mapping of axes, found {}", node.found()));
        let example = match prefix {
            "schedule" => "schedule: {name: wsd}",
            "shape" => "shape: {width: 64, layers: 4, heads: 4}",
            _ => "parameters: {model: 9M, lr: [5e-3, 1e-2]}",
        };
        findings.mistake(node.place, key, wrong.with(example));
        return;
    };
    for entry in entries {
        let path = join(prefix, &entry.key);
        let key = join(key, &entry.key);
        if let Some(axis) = axes::find(&path) {
            read_once(axis, entry, key, parameters, findings);
        } else if GROUPS.contains(&path.as_str()) || (entry.key == "parameters" && !prefix.is_empty()) {
            // `schedule: {parameters: {…}}` as W&B nests, and `schedule: {…}` as people do.
            let prefix = if entry.key == "parameters" { prefix } else { &path };
            read_group(&entry.value, &key, prefix, parameters, findings);
        } else {
            unknown(entry, &path, &key, parameters, findings);
        }
    }
}

fn read_once(axis: usize, entry: &Entry, key: String, parameters: &mut Parameters, findings: &mut Findings) {
    if let Some(first) = parameters.get(axis) {
        let message = format!("given twice, the first time in line {}", first.place.line);
        findings.mistake(entry.place, &key, Wrong::new(message).with("keep one of the two"));
        return;
    }
    let (choice, when) = read_axis(&AXES[axis], &entry.value, &key, findings);
    parameters.asked.push(Asked {
        axis,
        place: entry.place,
        key,
        choice,
        when,
    });
}

fn unknown(entry: &Entry, path: &str, key: &str, parameters: &mut Parameters, findings: &mut Findings) {
    let wrong = Wrong::new(format!("there is no axis `{path}`"));
    let wrong = match path {
        "seed" | "seeds" => wrong.with("seeds: [0, 1, 2] at the top level"),
        _ => {
            let near = axes::suggest(path);
            parameters.meant.extend(near.and_then(axes::find));
            wrong.maybe(near)
        }
    };
    findings.mistake(entry.place, key, wrong);
}

/// The values of one axis, and when it applies.
fn read_axis(axis: &Axis, node: &Node, key: &str, findings: &mut Findings) -> (Choice, Vec<Condition>) {
    match &node.data {
        Data::Scalar { .. } | Data::List(_) => (read_values(axis, node, key, findings), Vec::new()),
        Data::Map(entries) => {
            let mut clean = true;
            for entry in entries {
                if !KEYS.contains(&entry.key.as_str()) {
                    clean = false;
                    let message = format!("an axis has no `{}`", entry.key);
                    let wrong = Wrong::new(message).maybe(closest(&entry.key, KEYS.iter().copied()));
                    findings.mistake(entry.place, &join(key, &entry.key), wrong);
                }
            }
            let when = node
                .get("when")
                .map_or_else(Vec::new, |node| conditions(node, &join(key, "when"), findings));
            let choice = read_choice(axis, node, key, clean, findings);
            (choice, when)
        }
    }
}

/// One value or a list of them.
fn read_values(axis: &Axis, node: &Node, key: &str, findings: &mut Findings) -> Choice {
    let items = match &node.data {
        Data::List(items) => items.as_slice(),
        Data::Scalar { .. } | Data::Map(_) => std::slice::from_ref(node),
    };
    if items.is_empty() {
        let wrong = Wrong::new("an empty list: no trial has a value").with("[…] with one value or more");
        findings.mistake(node.place, key, wrong);
        return Choice::Broken;
    }
    let mut values = Vec::new();
    for item in items {
        match axis.kind.read(item) {
            Ok(setting) => values.push(Rc::new(Given {
                setting,
                place: item.place,
                key: key.to_owned(),
            })),
            Err(wrong) => findings.mistake(item.place, key, wrong),
        }
    }
    if values.len() < items.len() {
        return Choice::Broken;
    }
    Choice::Values { values, weights: None }
}

/// The values that the keys of an axis describe; `clean` says that its keys are known.
fn read_choice(axis: &Axis, node: &Node, key: &str, clean: bool, findings: &mut Findings) -> Choice {
    let is_normal = |name: &Node| name.text().is_some_and(|name| NORMAL.contains(&name));
    let normal = node.get("distribution").filter(|name| is_normal(name));
    let range = node.get("min").or_else(|| node.get("max")).or(normal);
    match (node.get("values"), node.get("value"), range) {
        (Some(values), None, None) => {
            let values_key = join(key, "values");
            if !matches!(values.data, Data::List(_)) {
                let message = format!("expected a list, found {}", values.found());
                let near = values.text().map(|text| format!("[{text}]"));
                findings.mistake(values.place, &values_key, Wrong::new(message).maybe(near));
                return Choice::Broken;
            }
            let choice = read_values(axis, values, &values_key, findings);
            weigh(choice, node.get("probabilities"), key, findings)
        }
        (None, Some(value), None) => {
            let value_key = join(key, "value");
            if matches!(value.data, Data::List(_)) {
                let wrong = Wrong::new("expected one value, found a list").with("values");
                findings.mistake(value.place, &value_key, wrong);
                return Choice::Broken;
            }
            read_values(axis, value, &value_key, findings)
        }
        (None, None, Some(_)) if normal.is_some() => read_normal(axis, node, key, findings),
        (None, None, Some(_)) => read_range(axis, node, key, findings),
        (None, None, None) => {
            // A key that does not exist was probably one of these.
            if clean {
                let wrong = Wrong::new("no values: give `values`, `value`, or `min` and `max`");
                findings.mistake(node.place, key, wrong.with("values: […]"));
            }
            Choice::Broken
        }
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
            let wrong = Wrong::new("give only one of `values`, `value`, and `min` with `max`");
            findings.mistake(node.place, key, wrong.with("values"));
            Choice::Broken
        }
    }
}

/// Adds W&B's `probabilities` to a list of values.
fn weigh(choice: Choice, node: Option<&Node>, key: &str, findings: &mut Findings) -> Choice {
    let (Choice::Values { values, .. }, Some(node)) = (&choice, node) else {
        return choice;
    };
    let key = join(key, "probabilities");
    let Data::List(items) = &node.data else {
        let message = format!("expected a list, found {}", node.found());
        findings.mistake(node.place, &key, Wrong::new(message));
        return Choice::Broken;
    };
    let read = |item: &Node| item.text().and_then(crate::spec::kind::number).filter(|&p| p >= 0.0);
    let weights: Option<Vec<f64>> = items.iter().map(read).collect();
    match weights {
        Some(weights) if weights.len() == values.len() && weights.iter().sum::<f64>() > 0.0 => Choice::Values {
            values: values.clone(),
            weights: Some(weights),
        },
        Some(_) | None => {
            let message = format!("expected {} numbers from 0, one for each value", values.len());
            findings.mistake(node.place, &key, Wrong::new(message));
            Choice::Broken
        }
    }
}

/// One end of a range; none where it is not given, or cannot be read, which is reported.
fn read_end(axis: &Axis, node: &Node, key: &str, name: &str, findings: &mut Findings) -> Option<f64> {
    let end = node.get(name)?;
    let read = axis.kind.read(end).and_then(|setting| {
        setting
            .number()
            .ok_or_else(|| Wrong::new(format!("`{}` has no range", axis.path)).with("values"))
    });
    read.map_err(|wrong| findings.mistake(end.place, &join(key, name), wrong))
        .ok()
}

/// A range, with the distributions of W&B and their defaults.
fn read_range(axis: &Axis, node: &Node, key: &str, findings: &mut Findings) -> Choice {
    let mut end = |name: &str| {
        if node.get(name).is_none() {
            let wrong = Wrong::new(format!("a range needs `{name}` too"));
            findings.mistake(node.place, key, wrong.with(format!("{name}: …")));
        }
        read_end(axis, node, key, name, findings)
    };
    let (min, max) = (end("min"), end("max"));
    let (Some(min), Some(max)) = (min, max) else {
        return Choice::Broken;
    };
    if min > max {
        return swapped(node, key, min, max, findings);
    }
    read_distribution(node, key, (min, max), findings)
}

fn swapped(node: &Node, key: &str, min: f64, max: f64, findings: &mut Findings) -> Choice {
    let wrong = Wrong::new(format!("`min` {min} is above `max` {max}")).with("swap them");
    let place = node.get("min").unwrap_or(node).place;
    findings.mistake(place, &join(key, "min"), wrong);
    Choice::Broken
}

/// A normal distribution, or one of the logarithm; within `min` and `max` where they are given.
fn read_normal(axis: &Axis, node: &Node, key: &str, findings: &mut Findings) -> Choice {
    let is_log = node
        .get("distribution")
        .and_then(Node::text)
        .is_some_and(|name| name.contains("log"));
    let mut constant = |name: &str, is_right: fn(f64) -> bool, wanted: &str| {
        let given = node.get(name);
        let number = given.and_then(Node::text).and_then(crate::spec::kind::number);
        let number = number.filter(|&number| is_right(number));
        if number.is_none() {
            let wrong = Wrong::new(format!("a normal distribution needs `{name}`, {wanted}"));
            let place = given.unwrap_or(node).place;
            findings.mistake(place, &join(key, name), wrong.with(format!("{name}: …")));
        }
        number
    };
    let mu = constant(
        "mu",
        f64::is_finite,
        "its mean (of the logarithm, where that is normal)",
    );
    let sigma = constant("sigma", |sigma| sigma > 0.0, "its standard deviation, above 0");
    let min = read_end(axis, node, key, "min", findings).unwrap_or(f64::NEG_INFINITY);
    let max = read_end(axis, node, key, "max", findings).unwrap_or(f64::INFINITY);
    if min > max {
        return swapped(node, key, min, max, findings);
    }
    let (Some(mu), Some(sigma), Ok(step)) = (mu, sigma, read_step(node, key, findings)) else {
        return Choice::Broken;
    };
    let distribution = if is_log {
        Distribution::LogNormal { mu, sigma }
    } else {
        Distribution::Normal { mu, sigma }
    };
    // Two deviations hold nearly all draws: if none of them is a value, a trial could wait for one for ever.
    let is_value = |deviations: f64| {
        let number = mu + deviations * sigma;
        let number = if is_log { number.exp() } else { number };
        (min..=max).contains(&number) && axis.kind.nearest(number).is_some()
    };
    if !(-40..=40).any(|steps| is_value(0.05 * f64::from(steps))) {
        let message = format!("hardly a draw would be a value of `{}`", axis.path);
        findings.mistake(
            node.place,
            key,
            Wrong::new(message).with("mu and sigma in its units; for log_normal of its logarithm"),
        );
        return Choice::Broken;
    }
    Choice::Range(Range {
        distribution,
        min,
        max,
        step,
    })
}

/// W&B's `q`; an error where it is no step, which is reported.
fn read_step(node: &Node, key: &str, findings: &mut Findings) -> Result<Option<f64>, ()> {
    let Some(given) = node.get("q") else {
        return Ok(None);
    };
    let step = given
        .text()
        .and_then(crate::spec::kind::number)
        .filter(|&step| step > 0.0);
    if step.is_none() {
        findings.mistake(given.place, &join(key, "q"), Wrong::new("expected a number above 0"));
        return Err(());
    }
    Ok(step)
}

/// The distribution within a range; uniform if none is named.
fn read_distribution(node: &Node, key: &str, (min, max): (f64, f64), findings: &mut Findings) -> Choice {
    let given = node.get("distribution");
    let name = given.and_then(Node::text);
    let Ok(step) = read_step(node, key, findings) else {
        return Choice::Broken;
    };
    let distribution = match name {
        None if given.is_none() => Distribution::Uniform,
        Some("uniform" | "int_uniform" | "q_uniform") => Distribution::Uniform,
        Some("log_uniform_values" | "q_log_uniform_values") if min > 0.0 => Distribution::LogUniform,
        Some(_) | None => {
            let node = given.unwrap_or(node);
            let near = name.and_then(|name| match name {
                // W&B's `log_uniform` takes exponents, which nobody can tell from values.
                "log_uniform" | "inv_log_uniform" | "inv_log_uniform_values" => Some("log_uniform_values"),
                "beta" => Some("uniform"),
                _ => closest(name, DISTRIBUTIONS.iter().copied()),
            });
            let message = format!(
                "{} is no distribution of a range here: uniform, log_uniform_values, int_uniform, q_uniform, \
                 q_log_uniform_values; normal, log_normal, q_normal, q_log_normal (with mu and sigma)",
                node.found()
            );
            findings.mistake(node.place, &join(key, "distribution"), Wrong::new(message).maybe(near));
            return Choice::Broken;
        }
    };
    Choice::Range(Range {
        distribution,
        min,
        max,
        step,
    })
}

/// Reads a condition, or a list of conditions that must all hold.
pub(crate) fn conditions(node: &Node, key: &str, findings: &mut Findings) -> Vec<Condition> {
    let items = match &node.data {
        Data::List(items) => items.as_slice(),
        Data::Scalar { .. } | Data::Map(_) => std::slice::from_ref(node),
    };
    let names = names();
    let mut conditions = Vec::new();
    for item in items {
        let Some(text) = item.text() else {
            let message = format!("expected a condition, found {}", item.found());
            let wrong = Wrong::new(message).with("\"lr >= 1e-2 and model == 9M\"");
            findings.mistake(item.place, key, wrong);
            continue;
        };
        match Expr::parse(text, &names) {
            Ok(expr) => conditions.push(Condition {
                expr,
                text: text.to_owned(),
                place: item.place,
            }),
            Err(error) => {
                let place = item.text_place().right(error.column - 1);
                findings.mistake(place, key, Wrong::new(error.message).maybe(error.suggestion));
            }
        }
    }
    conditions
}
