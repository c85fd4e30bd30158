//! The form in which a fit of any law is kept: its name, the law, its source, and the runs that did not enter.
//!
//! Refuses to know laws.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::fit::Warning;
use crate::fit::observation::OTHER_SCHEDULE;

/// How a kept fit writes the runs that were left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOutForm {
    /// `{"trial": …, "reason": …}`.
    Objects,
    /// `[trial, reason]`, as some laws have been kept from the beginning.
    Pairs,
}

/// A run that did not enter a law.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "AnyLeftOut")]
pub struct LeftOut {
    /// The trial, or the place of the row in a table.
    pub trial: String,
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum AnyLeftOut {
    Object { trial: String, reason: String },
    Pair(String, String),
}

impl From<AnyLeftOut> for LeftOut {
    fn from(any: AnyLeftOut) -> Self {
        let (AnyLeftOut::Object { trial, reason } | AnyLeftOut::Pair(trial, reason)) = any;
        Self { trial, reason }
    }
}

impl LeftOut {
    /// A run with the reason.
    pub fn new(trial: &str, reason: &str) -> Self {
        Self::from((trial.to_owned(), reason.to_owned()))
    }
}

impl From<(String, String)> for LeftOut {
    fn from((trial, reason): (String, String)) -> Self {
        Self { trial, reason }
    }
}

/// A law that has just been fitted.
#[derive(Debug)]
pub struct Found<F> {
    pub law: F,
    /// Its name: the same law gets the same.
    pub name: String,
    /// Hash of the runs that it rests on.
    pub data_hash: Option<String>,
    /// Runs that did not enter.
    pub left_out: Vec<LeftOut>,
    /// What is told once, beside what is kept.
    pub beside: Map<String, Value>,
    /// The same for people: a name, a sentence.
    pub facts: Vec<(String, String)>,
}

impl<F> Found<F> {
    /// A law with nothing beside it; `identity` is what its name is the hash of.
    pub fn new(law: F, identity: &impl Serialize, left_out: Vec<LeftOut>) -> Self {
        Self {
            law,
            name: name_of(identity),
            data_hash: None,
            left_out,
            beside: Map::new(),
            facts: Vec::new(),
        }
    }

    /// The same under its name.
    pub fn kept(self, source: Option<String>) -> Kept<F> {
        Kept {
            fit: self.name,
            law: self.law,
            source,
            data_hash: self.data_hash,
            left_out: self.left_out,
        }
    }
}

/// A law that is kept under a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept<F> {
    /// Its name: the beginning of a hash of the law.
    pub fit: String,
    pub law: F,
    /// The sweep, import or file that it rests on; none: a folder of curves.
    pub source: Option<String>,
    /// Hash of the runs that it rests on, where the law keeps it.
    pub data_hash: Option<String>,
    /// Runs that did not enter, with the reason.
    pub left_out: Vec<LeftOut>,
}

impl<F: Serialize> Kept<F> {
    /// All of it as it is kept: the fields of the law, and those of this envelope.
    pub fn body(&self, law: &str, form: LeftOutForm) -> Value {
        let mut body = match serde_json::to_value(&self.law) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) | Err(_) => Map::new(),
        };
        body.insert("fit".to_owned(), self.fit.clone().into());
        body.insert("law".to_owned(), law.into());
        if let Some(source) = &self.source {
            body.insert("source".to_owned(), source.clone().into());
            let each = self.left_out.iter().map(|out| match form {
                LeftOutForm::Objects => serde_json::json!({ "trial": out.trial, "reason": out.reason }),
                LeftOutForm::Pairs => serde_json::json!([out.trial, out.reason]),
            });
            body.insert("left_out".to_owned(), each.collect());
        }
        if let Some(hash) = &self.data_hash {
            body.insert("data_hash".to_owned(), hash.clone().into());
        }
        Value::Object(body)
    }
}

impl<F: DeserializeOwned> Kept<F> {
    /// Reads what is kept, also by older programs.
    ///
    /// # Errors
    /// What is missing.
    pub fn read(body: &Value) -> Result<Self, serde_json::Error> {
        let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            fit: text("fit").ok_or_else(|| serde_json::Error::custom("it has no name"))?,
            law: serde_json::from_value(body.clone())?,
            source: text("source"),
            data_hash: text("data_hash"),
            left_out: match body.get("left_out") {
                Some(each) => serde_json::from_value(each.clone())?,
                None => Vec::new(),
            },
        })
    }
}

impl<F: Serialize + DeserializeOwned> Kept<F> {
    /// The same and its body, with what is odd about the runs, and how many did not count, among the warnings.
    pub fn warned(self, law: &str, form: LeftOutForm, odd: &[Warning]) -> (Self, Value) {
        let mut body = self.body(law, form);
        let more: Vec<Warning> = odd.iter().cloned().chain(other_schedules(&self.left_out)).collect();
        let Some(Value::Array(warnings)) = body.get_mut("warnings").filter(|_| !more.is_empty()) else {
            return (self, body);
        };
        warnings.extend(more.iter().map(|warning| serde_json::json!(warning)));
        // What is read back from the body is what everybody sees later.
        let kept = Self::read(&body).unwrap_or(self);
        (kept, body)
    }
}

/// Runs that do not count for their schedule are many at once, and easily overlooked.
fn other_schedules(left_out: &[LeftOut]) -> Option<Warning> {
    let count = left_out.iter().filter(|run| run.reason == OTHER_SCHEDULE).count();
    let text = format!("{count} run(s) do not count: they have {OTHER_SCHEDULE}; `--where` chooses another");
    (count > 0).then(|| Warning::new("other_schedules", text))
}

/// The name of what is kept: the beginning of the hash of its text.
pub fn name_of(kept: &impl Serialize) -> String {
    let text = serde_json::to_string(kept).unwrap_or_default();
    blake3::hash(text.as_bytes()).to_hex().chars().take(12).collect()
}

/// Hash of runs, whatever their order.
pub(crate) fn hash_of(runs: &[impl Serialize]) -> String {
    let mut lines: Vec<String> = runs
        .iter()
        .map(|run| serde_json::to_string(run).unwrap_or_default())
        .collect();
    lines.sort_unstable();
    blake3::hash(lines.join("\n").as_bytes()).to_hex().to_string()
}

/// How many runs were left out for which reason, the most frequent first.
pub fn reasons(left_out: &[LeftOut]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for run in left_out {
        *counts.entry(run.reason.as_str()).or_default() += 1;
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|&(_, count)| Reverse(count));
    let counts: Vec<String> = counts
        .iter()
        .map(|(reason, count)| format!("{count}: {reason}"))
        .collect();
    if counts.is_empty() {
        "none".to_owned()
    } else {
        counts.join("; ")
    }
}
