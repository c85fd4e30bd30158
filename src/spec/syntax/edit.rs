//! `--set parameters.lr.values=[1e-3,2e-3]`: keys that the command line puts in place of the file's.
//!
//! Refuses to know what the keys mean; it knows only which keys of an axis exclude each other.

use crate::model::ladder;
use crate::spec::syntax::mistakes::{Findings, Place, Wrong};
use crate::spec::syntax::tree::{Data, Entry, Node, parse};

/// Keys of an axis that give its values: setting one removes the others.
const VALUES: &[&str] = &["values", "value", "min", "max", "distribution", "q", "probabilities"];

/// Puts every argument `path=value` into the tree, in order.
pub(crate) fn apply(root: &mut Node, sets: &[String], findings: &mut Findings) {
    for (index, argument) in sets.iter().enumerate() {
        let place = Place {
            line: 0,
            column: 0,
            set: Some(index),
        };
        let Some((path, value)) = argument.split_once('=') else {
            let wrong = Wrong::new("expected a key and a value").with("--set run_cap=3");
            findings.mistake(place, argument, wrong);
            continue;
        };
        let path = path.trim();
        let parts: Vec<&str> = path.split('.').collect();
        if parts.iter().any(|part| part.trim().is_empty()) || parts.len() > 16 {
            let wrong = Wrong::new("expected a dotted path of keys before the `=`");
            findings.mistake(place, path, wrong.with("--set parameters.lr.values=[1e-3,2e-3]"));
            continue;
        }
        let before = findings.count();
        let node = match parse(value, Some(index), findings) {
            Some(node) => node,
            // Nothing after the `=`: the key is unset.
            None if findings.count() == before => Node {
                place,
                data: Data::Scalar {
                    text: String::new(),
                    quoted: false,
                },
            },
            None => continue,
        };
        put(root, &parts, node, place);
    }
}

/// Puts a value at a path, making the mappings on the way.
fn put(node: &mut Node, parts: &[&str], value: Node, place: Place) {
    if parts.is_empty() {
        *node = value;
        return;
    }
    if !matches!(node.data, Data::Map(_)) {
        *node = Node {
            place,
            data: Data::Map(Vec::new()),
        };
    }
    let Data::Map(entries) = &mut node.data else {
        return;
    };
    // Keys may hold dots (`schedule.name`, `0.5B`): the longest that is there is meant.
    let taken = (1..=parts.len())
        .rev()
        .find(|&taken| entries.iter().any(|entry| entry.key == parts[..taken].join(".")));
    if let Some(taken) = taken {
        let key = parts[..taken].join(".");
        let rest = &parts[taken..];
        if rest.is_empty() && VALUES.contains(&key.as_str()) {
            entries.retain(|entry| entry.key == key || !VALUES.contains(&entry.key.as_str()));
        }
        if let Some(entry) = entries.iter_mut().find(|entry| entry.key == key) {
            entry.place = place;
            put(&mut entry.value, rest, value, place);
        }
        return;
    }
    // `parameters.schedule.name` also where the file nests as W&B does, and `data` where it is a parameter.
    let nested = entries.iter_mut().find(|entry| entry.key == "parameters");
    if let Some(entry) = nested
        && parts[0] != "parameters"
        && entry.value.get(parts[0]).is_some()
    {
        put(&mut entry.value, parts, value, place);
        return;
    }
    let length = (1..=parts.len())
        .rev()
        .find(|&taken| ladder::find(&parts[..taken].join(".")).is_some())
        .unwrap_or(1);
    let key = parts[..length].join(".");
    // A range is set key by key; one value or a list of them takes its place, and the other way round.
    if VALUES.contains(&key.as_str()) {
        let single = |key: &str| matches!(key, "values" | "value");
        entries.retain(|entry| !VALUES.contains(&entry.key.as_str()) || (!single(&key) && !single(&entry.key)));
    }
    let mut child = Node {
        place,
        data: Data::Map(Vec::new()),
    };
    put(&mut child, &parts[length..], value, place);
    entries.push(Entry {
        key,
        place,
        value: child,
    });
}
