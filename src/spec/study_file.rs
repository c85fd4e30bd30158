//! A study file: data, the big run that it is for, what it may cost, and the ranges within which it may ask.
//!
//! Read with every mistake at its line, as sweeps are. Refuses to know which sweeps come out of it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::spec::axes::AXES;
use crate::spec::kind::read_name;
use crate::spec::read::parameters::{self, Choice, Parameters};
use crate::spec::read::sections::{known, positive, read_count, read_resources};
use crate::spec::sweep::Resources;
use crate::spec::syntax::mistakes::{Findings, Mistake, Note, Place, Wrong, closest};
use crate::spec::syntax::tree::{self, Data, Node, quoted};
use crate::units::{Params, TokenBudget};
use crate::words::words;

/// The commented study that `sandbox init --study` writes.
pub const TEMPLATE: &str = include_str!("study_template.yaml");

words! {
    /// A question of a study, in the order in which they are asked.
    pub enum Question {
        /// How much do seeds scatter?
        Noise = "noise",
        /// Which constants of initialisation and optimizer?
        Constants = "constants",
        /// Which learning rate, and does it carry over the width?
        Rates = "rates",
        /// Which batch?
        Batch = "batch",
        /// How long a decay?
        Decay = "decay",
        /// How does the loss fall with size and tokens?
        Law = "law",
        /// Does the law foretell a run that is larger than all others?
        Forecast = "forecast",
    }
}

words! {
    /// What a budget counts.
    pub enum Unit {
        /// Hours of this machine.
        Hours = "hours",
        Flops = "flops",
        /// Tokens that are trained; what trials share counts once.
        Tokens = "tokens",
    }
}

/// What a study may cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cap {
    pub kind: Unit,
    pub limit: f64,
}

/// The big run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Parameters without the embedding.
    pub params: u64,
    pub tokens: u64,
}

/// Text that is to be prepared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Files, folders, or a corpus by its name.
    pub paths: Vec<String>,
    /// `byte`, `bpe:VOCAB` or a file.
    pub tokenizer: String,
}

/// A study, read and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct StudyFile {
    pub name: String,
    pub description: Option<String>,
    /// The prepared data that it trains on.
    pub data: String,
    /// What it is prepared from, where it is not there yet.
    pub text: Option<Text>,
    pub target: Target,
    pub budget: Cap,
    /// What is asked, in order.
    pub questions: Vec<Question>,
    /// Values that it may try, by path of the axis; axes that are not named have ranges of their own.
    pub ranges: BTreeMap<String, Vec<serde_json::Value>>,
    /// Values that all trials have, by path of the axis.
    pub fixed: BTreeMap<String, serde_json::Value>,
    /// Runs that differ in the seed alone, by which noise is told.
    pub seeds: u64,
    /// What a worker gets.
    pub resources: Resources,
}

/// Keys of a study.
const KEYS: &[&str] = &[
    "name",
    "description",
    "data",
    "text",
    "target",
    "budget",
    "questions",
    "ranges",
    "parameters",
    "seeds",
    "resources",
];

/// Axes whose values the study chooses itself.
pub const OWN: [&str; 4] = ["model", "lr", "tokens", "batch_tokens"];

/// Tokens for each parameter of the target where it names none (Hoffmann et al., 2203.15556).
const TOKENS_PER_PARAM: f64 = 20.0;

/// Runs by which noise is told where nothing is said.
const SEEDS: u64 = 3;

/// Reads a study; `file` is how the caller names it, and its stem names the study if the file does not.
///
/// # Errors
/// All mistakes at once, in the order of the file.
pub fn read(text: &str, file: &str) -> Result<(StudyFile, Vec<Note>), Vec<Mistake>> {
    let mut findings = Findings::new(file, &[]);
    let root = tree::parse(text, None, &mut findings);
    let study = if let Some(root) = root.filter(|root| !root.is_null()) {
        study(&root, file, &mut findings)
    } else {
        let wrong = Wrong::new("the file is empty; `sandbox init --study` writes a study to start from");
        findings.mistake(Place::START, "", wrong);
        None
    };
    findings.conclude(study)
}

fn study(root: &Node, file: &str, findings: &mut Findings) -> Option<StudyFile> {
    let Data::Map(entries) = &root.data else {
        let wrong = Wrong::new(format!("expected a mapping of keys, found {}", root.found()));
        findings.mistake(root.place, "", wrong.with("target: {params: 2.4B}"));
        return None;
    };
    for entry in entries.iter().filter(|entry| !KEYS.contains(&entry.key.as_str())) {
        let near = closest(&entry.key, KEYS.iter().copied());
        let message = format!(
            "there is no {} in a study; there is {}",
            quoted(&entry.key),
            KEYS.join(", ")
        );
        findings.mistake(entry.place, &entry.key, Wrong::new(message).maybe(near));
    }
    let get = |key: &str| root.get(key).filter(|node| !node.is_null());
    let name = read_study_name(get("name"), file, findings);
    let text = get("text").and_then(|node| read_text(node, findings));
    let data = read_data(root, &name, text.is_some(), findings);
    let target = match get("target") {
        Some(node) => read_target(node, findings),
        None => missing(root, "target", "target: {params: 2.4B, tokens: 48B}", findings),
    };
    let budget = match get("budget") {
        Some(node) => read_budget(node, findings),
        None => missing(root, "budget", "budget: {hours: 1}", findings),
    };
    let questions = get("questions").map_or_else(|| Question::ALL.to_vec(), |node| read_questions(node, findings));
    let fixed = get("parameters").map_or_else(BTreeMap::new, |node| read_fixed(node, findings));
    let ranges = get("ranges").map_or_else(BTreeMap::new, |node| read_ranges(node, &fixed, findings));
    let seeds = get("seeds").and_then(|node| read_count(node, "seeds", findings));
    let resources = get("resources").map_or_else(Resources::default, |node| read_resources(node, findings));
    Some(StudyFile {
        name,
        description: get("description").and_then(Node::text).map(str::to_owned),
        data: data?,
        text,
        target: target?,
        budget: budget?,
        questions,
        ranges,
        fixed,
        seeds: seeds.unwrap_or(SEEDS).max(2),
        resources,
    })
}

fn missing<T>(root: &Node, key: &str, example: &str, findings: &mut Findings) -> Option<T> {
    findings.mistake(
        root.place,
        key,
        Wrong::new(format!("a study needs `{key}`")).with(example),
    );
    None
}

fn read_study_name(node: Option<&Node>, file: &str, findings: &mut Findings) -> String {
    let stem = Path::new(file)
        .file_stem()
        .map_or_else(|| "study".into(), |stem| stem.to_string_lossy());
    let (read, place) = match node {
        None => (read_name(&stem), Place::START),
        Some(node) => (read_name(node.text().unwrap_or_default()), node.place),
    };
    read.unwrap_or_else(|wrong| {
        findings.mistake(place, "name", wrong);
        String::new()
    })
}

/// The name of prepared data; text to prepare is called as the study is.
fn read_data(root: &Node, name: &str, has_text: bool, findings: &mut Findings) -> Option<String> {
    match root.get("data").filter(|node| !node.is_null()) {
        None if has_text => Some(name.to_owned()),
        None => missing(root, "data", "data: rust-sources, or text: [PATH]", findings),
        Some(node) => match node.text().map(read_name) {
            Some(Ok(data)) => Some(data),
            Some(Err(wrong)) => {
                findings.mistake(node.place, "data", wrong);
                None
            }
            None => {
                let wrong = Wrong::new(format!("expected the name of prepared data, found {}", node.found()));
                findings.mistake(node.place, "data", wrong.with("rust-sources"));
                None
            }
        },
    }
}

/// `text: PATH`, `text: [PATH…]` or `text: {paths: …, tokenizer: …}`.
fn read_text(node: &Node, findings: &mut Findings) -> Option<Text> {
    let (paths, tokenizer) = match &node.data {
        Data::Map(_) => {
            let entries = known(
                node,
                "text",
                &["paths", "tokenizer"],
                "text: {paths: [corpus], tokenizer: byte}",
                findings,
            );
            let of = |key: &str| entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value);
            (of("paths").unwrap_or(node), of("tokenizer").and_then(Node::text))
        }
        Data::Scalar { .. } | Data::List(_) => (node, None),
    };
    let items = match &paths.data {
        Data::List(items) => items.as_slice(),
        Data::Scalar { .. } | Data::Map(_) => std::slice::from_ref(paths),
    };
    let found: Option<Vec<String>> = items.iter().map(|item| item.text().map(str::to_owned)).collect();
    let found = found.filter(|found| !found.is_empty());
    if found.is_none() {
        let wrong = Wrong::new(format!("expected paths of text, found {}", paths.found()));
        findings.mistake(paths.place, "text", wrong.with("text: [corpus]"));
    }
    Some(Text {
        paths: found?,
        tokenizer: tokenizer.unwrap_or("byte").to_owned(),
    })
}

fn read_target(node: &Node, findings: &mut Findings) -> Option<Target> {
    let Data::Map(_) = &node.data else {
        let params = read_count(node, "target", findings)?;
        return Some(Target {
            params,
            tokens: (TOKENS_PER_PARAM * params as f64) as u64,
        });
    };
    let example = "target: {params: 2.4B, tokens: 48B}";
    let entries = known(node, "target", &["params", "tokens"], example, findings);
    let of = |key: &str| entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value);
    let params = match of("params") {
        Some(value) => read_count(value, "target.params", findings)?,
        None => return missing(node, "target.params", "params: 2.4B", findings),
    };
    let budget = of("tokens").map_or(Some(TokenBudget::PerParam(TOKENS_PER_PARAM)), |value| {
        let read = value.text().and_then(|text| text.parse().ok());
        if read.is_none() {
            let wrong = Wrong::new(format!("expected a number of tokens, found {}", value.found()));
            findings.mistake(value.place, "target.tokens", wrong.with("48B, or 20N"));
        }
        read
    })?;
    Some(Target {
        params,
        tokens: budget.resolve(Params(params)).0,
    })
}

/// One of hours, flops and tokens.
fn read_budget(node: &Node, findings: &mut Findings) -> Option<Cap> {
    let entries = known(node, "budget", Unit::WORDS, "budget: {hours: 1}", findings);
    let [entry] = entries.as_slice() else {
        if !entries.is_empty() {
            let wrong = Wrong::new("a study has one budget: hours, flops or tokens");
            findings.mistake(node.place, "budget", wrong.with("keep one of them"));
        } else if matches!(&node.data, Data::Map(all) if all.is_empty()) {
            findings.mistake(
                node.place,
                "budget",
                Wrong::new("an empty budget").with("budget: {hours: 1}"),
            );
        }
        return None;
    };
    let kind = Unit::parse(&entry.key)?;
    // Tokens and FLOPs are written as counts are (`50M`), hours as numbers.
    let limit = match kind {
        Unit::Tokens => read_count(&entry.value, "budget.tokens", findings).map(|tokens| tokens as f64),
        Unit::Hours | Unit::Flops => positive(entry, "budget", findings),
    };
    limit.map(|limit| Cap { kind, limit })
}

fn read_questions(node: &Node, findings: &mut Findings) -> Vec<Question> {
    let Data::List(items) = &node.data else {
        let wrong = Wrong::new(format!("expected a list of questions, found {}", node.found()));
        findings.mistake(
            node.place,
            "questions",
            wrong.with(format!("[{}]", Question::WORDS.join(", "))),
        );
        return Vec::new();
    };
    let mut asked: Vec<Question> = Vec::new();
    for item in items {
        let word = item.text().unwrap_or_default();
        if let Some(question) = Question::parse(word) {
            asked.push(question);
        } else {
            let message = format!(
                "there is no question {}; there is {}",
                item.found(),
                Question::WORDS.join(", ")
            );
            let near = closest(word, Question::WORDS.iter().copied());
            findings.mistake(item.place, "questions", Wrong::new(message).maybe(near));
        }
    }
    // They build on each other: the order is not the file's to choose.
    asked.sort();
    asked.dedup();
    asked
}

/// The one value of each axis that all trials share.
fn read_fixed(node: &Node, findings: &mut Findings) -> BTreeMap<String, serde_json::Value> {
    let read = parameters::read(node, "parameters", findings);
    let mut fixed = BTreeMap::new();
    for (path, place, values) in values(&read) {
        let own = OWN.contains(&path) || path == "data";
        if own || values.len() > 1 {
            let message = format!("`parameters` of a study hold what all trials share, and `{path}` is varied");
            findings.mistake(
                place,
                &format!("parameters.{path}"),
                Wrong::new(message).with(format!("ranges.{path}")),
            );
        } else if let Some(value) = values.into_iter().next() {
            fixed.insert(path.to_owned(), value);
        }
    }
    fixed
}

fn read_ranges(
    node: &Node,
    fixed: &BTreeMap<String, serde_json::Value>,
    findings: &mut Findings,
) -> BTreeMap<String, Vec<serde_json::Value>> {
    let read = parameters::read(node, "ranges", findings);
    let mut ranges = BTreeMap::new();
    for (path, place, values) in values(&read) {
        let key = format!("ranges.{path}");
        let wrong = if fixed.contains_key(path) {
            Some(Wrong::new(format!("`{path}` is among the `parameters`, which are fixed")).with("keep one of the two"))
        } else if path == "data" || path.starts_with("shape.") {
            Some(Wrong::new(format!("a study does not vary `{path}`")).with("ranges.model"))
        } else if path == "tokens" && values.iter().any(serde_json::Value::is_string) {
            let message = "budgets of a study are counts, which all sizes share, so that they share trunks";
            Some(Wrong::new(message).with("tokens: [250k, 500k, 1M]"))
        } else {
            None
        };
        match wrong {
            Some(wrong) => findings.mistake(place, &key, wrong),
            None => drop(ranges.insert(path.to_owned(), values)),
        }
    }
    ranges
}

/// The axes that were given, with their values as trials show them.
fn values(read: &Parameters) -> Vec<(&'static str, Place, Vec<serde_json::Value>)> {
    let of = |choice: &Choice| match choice {
        Choice::Values { values, .. } => values.iter().map(|given| given.setting.json()).collect(),
        // What is wrong with them has been said.
        Choice::Range(_) | Choice::Broken => Vec::new(),
    };
    let each = read
        .asked
        .iter()
        .map(|asked| (AXES[asked.axis].path, asked.place, of(&asked.choice)));
    each.filter(|(_, _, values)| !values.is_empty()).collect()
}

impl StudyFile {
    /// The numbers of a range, rising; none where the file names none.
    pub fn numbers(&self, axis: &str) -> Option<Vec<f64>> {
        let values = self.ranges.get(axis)?;
        let mut numbers: Vec<f64> = values.iter().filter_map(serde_json::Value::as_f64).collect();
        numbers.sort_by(f64::total_cmp);
        numbers.dedup();
        (!numbers.is_empty()).then_some(numbers)
    }

    /// Whether a question is asked.
    pub fn asks(&self, question: Question) -> bool {
        self.questions.contains(&question)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<(usize, String)> {
        let found = read(text, "s.yaml").expect_err(text);
        found.into_iter().map(|it| (it.line, it.key)).collect()
    }

    #[test]
    fn the_template_is_a_study() {
        let (study, notes) = read(TEMPLATE, "study.yaml").expect("it reads");
        assert!(notes.is_empty(), "{notes:?}");
        assert_eq!(study.questions, Question::ALL);
        assert_eq!(study.data, "rust-sources");
    }

    #[test]
    fn every_mistake_has_its_line() {
        let text = "data: text\ntarget: {params: none}\nbudget: {hours: 1, tokens: 5M}\nquestion: [law]\n\
                    questions: [laws]\nranges: {lrs: [1e-2]}\nparameters: {lr: 1e-2}\n";
        let found = mistakes(text);
        let keys: Vec<&str> = found.iter().map(|it| it.1.as_str()).collect();
        assert_eq!(
            keys,
            [
                "target.params",
                "budget",
                "question",
                "questions",
                "ranges.lrs",
                "parameters.lr"
            ]
        );
        assert_eq!(found.iter().map(|it| it.0).collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let keys: Vec<String> = mistakes("name: x\n").into_iter().map(|it| it.1).collect();
        assert_eq!(keys, ["data", "target", "budget"]);
    }

    #[test]
    fn tokens_of_the_target_follow_from_its_size_and_text_names_the_data() {
        let text = "text: [corpus]\ntarget: 1M\nbudget: {tokens: 50M}\nquestions: [law, rates]\n";
        let (study, _) = read(text, "mine.yaml").expect("it reads");
        assert_eq!((study.target.params, study.target.tokens), (1_000_000, 20_000_000));
        assert_eq!((study.name.as_str(), study.data.as_str()), ("mine", "mine"));
        assert_eq!(study.questions, [Question::Rates, Question::Law], "in their own order");
        assert_eq!(study.budget.limit.to_bits(), 5e7_f64.to_bits());
    }
}
