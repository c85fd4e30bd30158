//! The keys of a sweep file that are not axes: counts, seeds, budget, retries, resources, target.
//!
//! Refuses to know the axes and how trials are made.

use std::collections::BTreeMap;

use crate::spec::kind::number;
use crate::spec::sweep::{Budget, Resources};
use crate::spec::syntax::mistakes::{Findings, Wrong, closest};
use crate::spec::syntax::tree::{Data, Entry, Node, join};
use crate::units::{Params, parse_count};

/// Causes of faults, as workers name them.
pub(crate) const RETRY_CAUSES: &[&str] = &[
    "worker_lost",
    "out_of_memory",
    "disk_full",
    "damaged_checkpoint",
    "timed_out",
    "data",
    "refused",
    "other",
];

/// A whole number from 1.
pub(crate) fn read_count(node: &Node, key: &str, findings: &mut Findings) -> Option<u64> {
    let count = node.text().and_then(|text| parse_count(text).ok());
    if count.is_none() {
        let wrong = Wrong::new(format!("expected a whole number from 1, found {}", node.found()));
        findings.mistake(node.place, key, wrong.with("1"));
    }
    count
}

pub(crate) fn read_seed(node: &Node, key: &str, findings: &mut Findings) -> Option<u64> {
    const SEED_MAX: u64 = 1 << 53;
    let seed = node.text().and_then(|text| text.replace('_', "").parse().ok());
    let seed = seed.filter(|&seed: &u64| seed <= SEED_MAX);
    if seed.is_none() {
        let message = format!("expected a whole number from 0 to 2^53, found {}", node.found());
        findings.mistake(node.place, key, Wrong::new(message).with("0"));
    }
    seed
}

/// A list of seeds, or how many: `3` is `[0, 1, 2]`.
pub(crate) fn read_seeds(node: &Node, findings: &mut Findings) -> Vec<u64> {
    const SEEDS_MAX: u64 = 10_000;
    match &node.data {
        Data::List(items) if items.is_empty() => {
            let wrong = Wrong::new("an empty list: no trial has a seed").with("[0]");
            findings.mistake(node.place, "seeds", wrong);
            vec![0]
        }
        Data::List(items) => {
            let seeds: Vec<u64> = items
                .iter()
                .filter_map(|item| read_seed(item, "seeds", findings))
                .collect();
            if seeds.is_empty() { vec![0] } else { seeds }
        }
        Data::Scalar { .. } | Data::Map(_) => match node.text().and_then(|t| parse_count(t).ok()) {
            Some(count) if count <= SEEDS_MAX => (0..count).collect(),
            Some(_) | None => {
                let message = format!(
                    "expected a list of seeds, or how many (1 to {SEEDS_MAX}), found {}",
                    node.found()
                );
                findings.mistake(node.place, "seeds", Wrong::new(message).with("[0, 1, 2]"));
                vec![0]
            }
        },
    }
}

/// The entries of a mapping whose keys are all known.
pub(crate) fn known<'n>(
    node: &'n Node,
    key: &str,
    keys: &[&str],
    example: &str,
    findings: &mut Findings,
) -> Vec<&'n Entry> {
    let Data::Map(entries) = &node.data else {
        let wrong = Wrong::new(format!("expected a mapping, found {}", node.found()));
        findings.mistake(node.place, key, wrong.with(example));
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries {
        if keys.contains(&entry.key.as_str()) {
            found.push(entry);
        } else {
            let message = format!("there is no `{}`; there is {}", entry.key, keys.join(", "));
            let near = closest(&entry.key, keys.iter().copied())
                .or_else(|| keys.iter().copied().find(|key| entry.key.contains(key)));
            let wrong = Wrong::new(message).maybe(near);
            findings.mistake(entry.place, &join(key, &entry.key), wrong);
        }
    }
    found
}

/// A number above 0.
pub(crate) fn positive(entry: &Entry, parent: &str, findings: &mut Findings) -> Option<f64> {
    let read = entry.value.text().and_then(number).filter(|&n| n > 0.0);
    if read.is_none() {
        let wrong = Wrong::new(format!("expected a number above 0, found {}", entry.value.found()));
        findings.mistake(entry.value.place, &join(parent, &entry.key), wrong);
    }
    read
}

/// `true` or `false`.
fn read_flag(node: &Node, key: &str, findings: &mut Findings) -> bool {
    match node.text() {
        Some("true") => true,
        Some("false") => false,
        Some(_) | None => {
            let wrong = Wrong::new(format!("expected true or false, found {}", node.found()));
            findings.mistake(node.place, key, wrong.with("true"));
            false
        }
    }
}

/// What the sweep may cost.
pub(crate) fn read_budget(node: &Node, findings: &mut Findings) -> Budget {
    let mut budget = Budget::default();
    let example = "budget: {flops: 1e17, hours: 2}";
    for entry in known(node, "budget", &["flops", "hours"], example, findings) {
        let value = positive(entry, "budget", findings);
        if entry.key == "flops" {
            budget.flops = value;
        } else {
            budget.hours = value;
        }
    }
    budget
}

/// Attempts after a fault, by cause.
pub(crate) fn read_retry(node: &Node, findings: &mut Findings) -> BTreeMap<String, u32> {
    let mut retry = BTreeMap::new();
    let example = "retry: {worker_lost: 3}";
    for entry in known(node, "retry", RETRY_CAUSES, example, findings) {
        let count = entry.value.text().and_then(|text| text.parse::<u32>().ok());
        if let Some(count) = count {
            retry.insert(entry.key.clone(), count);
        } else {
            let found = entry.value.found();
            let wrong = Wrong::new(format!("expected a whole number from 0, found {found}"));
            let key = join("retry", &entry.key);
            findings.mistake(entry.value.place, &key, wrong.with("2"));
        }
    }
    retry
}

/// What a worker gets.
pub(crate) fn read_resources(node: &Node, findings: &mut Findings) -> Resources {
    let mut resources = Resources::default();
    let keys = [
        "workers",
        "threads",
        "gpus",
        "checkpoint_seconds",
        "checkpoint_tokens",
        "timeout_seconds",
        "keep_weights",
    ];
    for entry in known(node, "resources", &keys, "resources: {workers: 2}", findings) {
        let key = join("resources", &entry.key);
        match entry.key.as_str() {
            "workers" => resources.workers = read_count(&entry.value, &key, findings),
            "threads" => resources.threads = read_count(&entry.value, &key, findings),
            "checkpoint_tokens" => resources.checkpoint_tokens = read_count(&entry.value, &key, findings),
            "checkpoint_seconds" => resources.checkpoint_seconds = positive(entry, "resources", findings),
            "keep_weights" => resources.keep_weights = read_flag(&entry.value, &key, findings),
            "timeout_seconds" => resources.timeout_seconds = positive(entry, "resources", findings),
            _ => resources.gpus = positive(entry, "resources", findings),
        }
    }
    resources
}

/// `2.4B`, or `{params: 2.4B}`.
pub(crate) fn read_target(node: &Node, findings: &mut Findings) -> Option<Params> {
    let (value, key) = match &node.data {
        Data::Map(_) => {
            let example = "target: {params: 2.4B}";
            let entries = known(node, "target", &["params"], example, findings);
            (&entries.first()?.value, "target.params")
        }
        Data::Scalar { .. } | Data::List(_) => (node, "target"),
    };
    let params = value.text().and_then(|text| parse_count(text).ok());
    if params.is_none() {
        let wrong = Wrong::new(format!("expected a number of parameters, found {}", value.found()));
        findings.mistake(value.place, key, wrong.with("2.4B"));
    }
    params.map(Params)
}
