//! The top level of a sweep file: every key it may have, read into a draft whose values are not yet combined.
//!
//! Refuses to know how trials come out of it (`expand`).

pub(crate) mod parameters;
pub(crate) mod sections;

use std::collections::BTreeMap;

use crate::model::ladder;
use crate::spec::axes::{self, AXES};
use crate::spec::kind::read_name;
use crate::spec::read::parameters::{Condition, Parameters, conditions};
use crate::spec::read::sections::{
    read_budget, read_count, read_resources, read_retry, read_seed, read_seeds, read_target,
};
use crate::spec::sweep::{Budget, Resources};
use crate::spec::syntax::mistakes::{Findings, Place, Wrong, closest};
use crate::spec::syntax::tree::{Data, Entry, Node, join, quoted};
use crate::units::Params;

/// Keys of the top level.
const KEYS: &[&str] = &[
    "name",
    "description",
    "data",
    "method",
    "metric",
    "parameters",
    "seeds",
    "zip",
    "when",
    "exclude",
    "overrides",
    "run_cap",
    "budget",
    "retry",
    "resources",
    "target",
    "trials",
    "count",
    "random_seed",
];

/// Keys of a W&B sweep that have no meaning here.
const IGNORED: &[&str] = &["program", "command", "entity", "project", "early_terminate"];

/// How trials are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Grid,
    Random,
    /// Each of `trials`, with every combination of the parameters.
    List,
}

/// A sweep file whose keys are read.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) method: Method,
    pub(crate) parameters: Parameters,
    /// Where `parameters` stand: the place to blame for what is missing.
    pub(crate) place: Place,
    /// Axes that move together, and where the group stands.
    pub(crate) zip: Vec<(Vec<usize>, Place)>,
    pub(crate) when: Vec<(usize, Condition)>,
    pub(crate) exclude: Vec<Condition>,
    /// The axes that one rung replaces.
    pub(crate) overrides: Vec<(&'static str, Place, Parameters)>,
    pub(crate) seeds: Vec<u64>,
    /// The trials of a list.
    pub(crate) trials: Vec<Parameters>,
    pub(crate) count: Option<u64>,
    pub(crate) random_seed: u64,
    pub(crate) run_cap: Option<u64>,
    pub(crate) budget: Budget,
    pub(crate) retry: BTreeMap<String, u32>,
    pub(crate) resources: Resources,
    pub(crate) target: Option<Params>,
}

impl Draft {
    /// The axes that are given anywhere: under `parameters`, in a list of trials, in overrides.
    pub(crate) fn all_parameters(&self) -> impl Iterator<Item = &Parameters> {
        let overrides = self.overrides.iter().map(|(_, _, parameters)| parameters);
        std::iter::once(&self.parameters).chain(&self.trials).chain(overrides)
    }
}

/// Reads the top level; `stem` names the sweep when the file does not.
pub(crate) fn draft(root: &Node, stem: &str, findings: &mut Findings) -> Option<Draft> {
    let Data::Map(entries) = &root.data else {
        let message = format!("expected a mapping of keys, found {}", root.found());
        let wrong = Wrong::new(message).with("parameters: {model: 9M, lr: [5e-3, 1e-2]}");
        findings.mistake(root.place, "", wrong);
        return None;
    };
    for entry in entries {
        check_key(entry, findings);
    }
    let get = |key: &str| root.get(key).filter(|node| !node.is_null());
    let method = get("method").map_or(Method::Grid, |node| read_method(node, findings));
    let mut parameters = match get("parameters") {
        Some(node) => read_parameters(node, findings),
        None => Parameters::default(),
    };
    if let Some(entry) = entry(entries, "data") {
        add_data(entry, &mut parameters, findings);
    }
    let trials = get("trials").map_or_else(Vec::new, |node| read_trials(node, method, findings));
    if method == Method::List && get("trials").is_none() {
        let place = get("method").map_or(root.place, |node| node.place);
        let wrong = Wrong::new("the list method needs `trials`, one mapping each");
        findings.mistake(place, "method", wrong.with("trials: [{model: 9M, lr: 1e-2}]"));
    }
    let mut whole = |key: &str| get(key).and_then(|node| read_count(node, key, findings));
    let (run_cap, count) = (whole("run_cap"), whole("count"));
    let random_seed = get("random_seed")
        .and_then(|node| read_seed(node, "random_seed", findings))
        .unwrap_or(0);
    Some(Draft {
        name: read_sweep_name(get("name"), stem, findings),
        description: get("description").and_then(|node| read_text(node, findings)),
        method,
        place: get("parameters").map_or(root.place, |node| node.place),
        zip: get("zip").map_or_else(Vec::new, |node| read_zip(node, &parameters, findings)),
        when: get("when").map_or_else(Vec::new, |node| read_when(node, findings)),
        exclude: get("exclude").map_or_else(Vec::new, |n| conditions(n, "exclude", findings)),
        overrides: get("overrides").map_or_else(Vec::new, |n| read_overrides(n, findings)),
        seeds: get("seeds").map_or_else(|| vec![0], |node| read_seeds(node, findings)),
        parameters,
        trials,
        count,
        random_seed,
        run_cap,
        budget: get("budget").map_or_else(Budget::default, |n| read_budget(n, findings)),
        retry: get("retry").map_or_else(BTreeMap::new, |n| read_retry(n, findings)),
        resources: get("resources").map_or_else(Resources::default, |n| read_resources(n, findings)),
        target: get("target").and_then(|node| read_target(node, findings)),
    })
}

fn entry<'e>(entries: &'e [Entry], key: &str) -> Option<&'e Entry> {
    entries.iter().find(|entry| entry.key == key)
}

/// Reports keys that do not exist or mean nothing here, and a metric that is not the loss.
fn check_key(entry: &Entry, findings: &mut Findings) {
    let key = entry.key.as_str();
    if key == "metric" {
        check_metric(&entry.value, findings);
    }
    // `x-…` is the author's own: a place for anchors.
    if KEYS.contains(&key) || key.starts_with("x-") {
        return;
    }
    if IGNORED.contains(&key) {
        findings.note(entry.place, format!("`{key}` of W&B means nothing here and is ignored"));
        return;
    }
    let wrong = Wrong::new(format!("there is no key `{key}`"));
    let near = closest(key, KEYS.iter().copied()).map(str::to_owned);
    let axis = axes::find(key).map(|axis| AXES[axis].path).or_else(|| match near {
        Some(_) => None,
        None => axes::suggest(key),
    });
    let wrong = match axis {
        Some(axis) => wrong.with(format!("parameters.{axis}")),
        None if key == "seed" => wrong.with("seeds"),
        None => wrong.maybe(near),
    };
    findings.mistake(entry.place, key, wrong);
}

/// The loss is what proxies are trained for; W&B's key is accepted if it says the same.
fn check_metric(node: &Node, findings: &mut Findings) {
    let goal = node.get("goal");
    if let Some(goal) = goal.filter(|goal| goal.text() != Some("minimize")) {
        let wrong = Wrong::new(format!("the loss is minimised, found {}", goal.found()));
        findings.mistake(goal.place, "metric.goal", wrong.with("minimize"));
    }
    if let Some(name) = node.get("name").and_then(Node::text)
        && !name.contains("loss")
    {
        let text = format!("the metric is always the held-out loss; {} is ignored", quoted(name));
        findings.note(node.place, text);
    }
}

fn read_sweep_name(node: Option<&Node>, stem: &str, findings: &mut Findings) -> String {
    let (read, place) = match node {
        None => (read_name(stem), Place::START),
        Some(node) => {
            let nothing = || Wrong::new(format!("expected a name, found {}", node.found()));
            (node.text().ok_or_else(nothing).and_then(read_name), node.place)
        }
    };
    read.unwrap_or_else(|wrong| {
        findings.mistake(place, "name", wrong);
        String::new()
    })
}

fn read_text(node: &Node, findings: &mut Findings) -> Option<String> {
    let text = node.text().map(str::to_owned);
    if text.is_none() {
        let wrong = Wrong::new(format!("expected a text, found {}", node.found()));
        findings.mistake(node.place, "description", wrong);
    }
    text
}

fn read_method(node: &Node, findings: &mut Findings) -> Method {
    match node.text() {
        Some("grid") => Method::Grid,
        Some("random") => Method::Random,
        Some("list") => Method::List,
        Some(_) | None => {
            let near = match node.text() {
                // A search that follows the results gives laws a biased sample.
                Some("bayes") => Some("random"),
                other => closest(other.unwrap_or_default(), ["grid", "random", "list"]),
            };
            let message = format!("expected grid, random or list, found {}", node.found());
            findings.mistake(node.place, "method", Wrong::new(message).maybe(near));
            Method::Grid
        }
    }
}

fn read_parameters(node: &Node, findings: &mut Findings) -> Parameters {
    if let Data::List(_) = node.data {
        let wrong = Wrong::new("expected a mapping of axes, found a list");
        findings.mistake(node.place, "parameters", wrong.with("method: list with `trials: […]`"));
        return Parameters::default();
    }
    parameters::read(node, "parameters", findings)
}

/// `data` at the top level is the axis of that name.
fn add_data(entry: &Entry, parameters: &mut Parameters, findings: &mut Findings) {
    let tree = Node {
        place: entry.place,
        data: Data::Map(vec![entry.clone()]),
    };
    for asked in parameters::read(&tree, "", findings).asked {
        if let Some(first) = parameters.get(asked.axis) {
            let line = first.place.line.max(asked.place.line);
            let message = format!("given at the top level and in `parameters` (line {line})");
            findings.mistake(asked.place, "data", Wrong::new(message).with("keep one of the two"));
        } else {
            parameters.asked.push(asked);
        }
    }
}

fn read_trials(node: &Node, method: Method, findings: &mut Findings) -> Vec<Parameters> {
    if method != Method::List {
        let wrong = Wrong::new("`trials` belong to the list method").with("method: list");
        findings.mistake(node.place, "trials", wrong);
    }
    let Data::List(items) = &node.data else {
        let wrong = Wrong::new(format!("expected a list of mappings, found {}", node.found()));
        findings.mistake(node.place, "trials", wrong.with("[{model: 9M, lr: 1e-2}]"));
        return Vec::new();
    };
    if items.is_empty() {
        let wrong = Wrong::new("an empty list: no trials").with("[{model: 9M, lr: 1e-2}]");
        findings.mistake(node.place, "trials", wrong);
    }
    items
        .iter()
        .map(|item| parameters::read(item, "trials", findings))
        .collect()
}

/// The axes of a list of names.
fn read_group(node: &Node, given: &Parameters, findings: &mut Findings) -> Option<Vec<usize>> {
    let Data::List(items) = &node.data else {
        let wrong = Wrong::new(format!("expected a list of axes, found {}", node.found()));
        findings.mistake(node.place, "zip", wrong.with("zip: [[model, lr]]"));
        return None;
    };
    let mut group = Vec::new();
    for item in items {
        let text = item.text().unwrap_or_default();
        match axes::find(text) {
            Some(axis) if given.get(axis).is_some() => group.push(axis),
            Some(_) => {
                let wrong = Wrong::new(format!("`{text}` is not among the parameters"));
                findings.mistake(item.place, "zip", wrong.with(format!("parameters.{text}")));
            }
            None => {
                let wrong = Wrong::new(format!("there is no axis {}", item.found()));
                findings.mistake(item.place, "zip", wrong.maybe(axes::suggest(text)));
            }
        }
    }
    if items.len() < 2 {
        let wrong = Wrong::new("a group needs two axes or more").with("zip: [[model, lr]]");
        findings.mistake(node.place, "zip", wrong);
    }
    (group.len() == items.len() && items.len() >= 2).then_some(group)
}

fn read_zip(node: &Node, given: &Parameters, findings: &mut Findings) -> Vec<(Vec<usize>, Place)> {
    // One group may stand without its own brackets.
    let groups: Vec<&Node> = match &node.data {
        Data::List(items) if items.iter().any(|item| matches!(item.data, Data::List(_))) => items.iter().collect(),
        Data::List(_) | Data::Scalar { .. } | Data::Map(_) => vec![node],
    };
    let mut zip: Vec<(Vec<usize>, Place)> = Vec::new();
    for group in groups {
        let Some(axes) = read_group(group, given, findings) else {
            continue;
        };
        let before = zip.iter().flat_map(|(axes, _)| axes.iter());
        let mut seen: Vec<usize> = before.copied().collect();
        for &axis in &axes {
            if seen.contains(&axis) {
                let wrong = Wrong::new(format!("`{}` moves in two places", AXES[axis].path));
                findings.mistake(group.place, "zip", wrong.with("one group with all of them"));
            }
            seen.push(axis);
        }
        zip.push((axes, group.place));
    }
    zip
}

fn read_when(node: &Node, findings: &mut Findings) -> Vec<(usize, Condition)> {
    let Data::Map(entries) = &node.data else {
        let message = format!("expected axes and their conditions, found {}", node.found());
        let example = "when: {schedule.decay_fraction: \"schedule.name == wsd\"}";
        findings.mistake(node.place, "when", Wrong::new(message).with(example));
        return Vec::new();
    };
    let mut when = Vec::new();
    for entry in entries {
        let key = join("when", &entry.key);
        let Some(axis) = axes::find(&entry.key) else {
            let wrong = Wrong::new(format!("there is no axis `{}`", entry.key));
            findings.mistake(entry.place, &key, wrong.maybe(axes::suggest(&entry.key)));
            continue;
        };
        let read = conditions(&entry.value, &key, findings);
        when.extend(read.into_iter().map(|condition| (axis, condition)));
    }
    when
}

fn read_overrides(node: &Node, findings: &mut Findings) -> Vec<(&'static str, Place, Parameters)> {
    let Data::Map(entries) = &node.data else {
        let wrong = Wrong::new(format!("expected rungs and their axes, found {}", node.found()));
        let example = "overrides: {0.5B: {batch_tokens: 524288}}";
        findings.mistake(node.place, "overrides", wrong.with(example));
        return Vec::new();
    };
    let mut overrides = Vec::new();
    for entry in entries {
        let key = join("overrides", &entry.key);
        let Some(rung) = ladder::find(&entry.key) else {
            let names = ladder::LADDER.iter().map(|rung| rung.name);
            let wrong = Wrong::new(format!("`{}` is not on the ladder", entry.key));
            findings.mistake(entry.place, &key, wrong.maybe(closest(&entry.key, names)));
            continue;
        };
        // `{parameters: {…}}` is accepted, as W&B nests.
        let axes = entry.value.get("parameters").unwrap_or(&entry.value);
        let read = parameters::read(axes, &key, findings);
        for asked in &read.asked {
            let path = AXES[asked.axis].path;
            if path == "model" || path.starts_with("shape.") {
                let wrong = Wrong::new("an override is for one size and cannot change it");
                findings.mistake(asked.place, &asked.key, wrong);
            }
        }
        overrides.push((rung.name, entry.place, read));
    }
    overrides
}
