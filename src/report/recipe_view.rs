//! A recipe as a page shows it: its numbers with their sources, what else the compute could buy, and what was checked.
//!
//! Refuses to know how a recipe is found.

use serde::Serialize;

use crate::report::text::{self, number};
use crate::report::view::{Cell, Column, Table};

/// The recipe of the big run, as `sandbox recipe` prints it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecipeInput {
    /// Parameters of the big run without the embedding.
    pub params: u64,
    /// Its tokens, if the recipe names them.
    pub tokens: Option<f64>,
    /// `verified`, `partly` or `unverified`.
    pub verdict: String,
    /// Its numbers.
    pub items: Vec<RecipeItem>,
    /// What else the compute, or the loss, could buy; the run as it is asked comes first.
    pub alternatives: Vec<AlternativeRun>,
    /// What was checked.
    pub gates: Vec<Gate>,
    /// What to be careful about.
    pub warnings: Vec<String>,
}

/// A run beside the one of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlternativeRun {
    /// What is held equal, in words.
    pub name: String,
    /// Parameters.
    pub params: f64,
    /// Tokens.
    pub tokens: f64,
    /// FLOPs of training.
    pub flops: f64,
    /// Predicted loss, nats per token.
    pub loss: f64,
    /// FLOPs of inference for each token.
    pub inference: f64,
}

/// One number of a recipe with its origin.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecipeItem {
    /// Its key in JSON: `batch_tokens`.
    pub name: String,
    /// Its value.
    pub value: ItemValue,
    /// Its 95 % interval.
    pub ci95: Option<[f64; 2]>,
    /// The interval of the loss of one new run, where it differs.
    pub ci95_new_run: Option<[f64; 2]>,
    /// Its unit; empty if it has none.
    pub unit: String,
    /// `fitted`, `measured`, `published` or `default`.
    pub source: String,
    /// The law it is read off.
    pub law: Option<String>,
    /// Id of the stored fit.
    pub fit: Option<String>,
    /// How many trials it rests on.
    pub trials: Option<u64>,
    /// How many times beyond the data in parameters and in tokens.
    pub extrapolation: Option<[f64; 2]>,
    /// What `MiniCPM-2.4B` was trained with, to compare.
    pub published: Option<ItemValue>,
}

/// A value of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemValue {
    /// A number.
    Number(f64),
    /// A word, such as the name of a schedule.
    Word(String),
}

/// One check of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gate {
    /// Its name.
    pub name: String,
    /// Whether it holds.
    pub passed: bool,
    /// Why.
    pub why: String,
    /// The sweep file to run next.
    pub next: Option<String>,
}

/// A recipe as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecipeView {
    /// `Recipe for 2.44B parameters`.
    pub title: String,
    /// `verified`, `partly` or `unverified`.
    pub verdict: String,
    /// Its numbers.
    pub items: Table,
    /// What else the compute, or the loss, could buy.
    pub alternatives: Table,
    /// What was checked.
    pub gates: Vec<Gate>,
    /// What to be careful about.
    pub warnings: Vec<String>,
}

/// The number of a recipe's item with its interval.
pub(crate) fn item(recipe: &RecipeInput, name: &str) -> Option<(f64, Option<[f64; 2]>)> {
    let item = recipe.items.iter().find(|item| item.name == name)?;
    match item.value {
        ItemValue::Number(value) => Some((value, item.ci95_new_run.or(item.ci95))),
        ItemValue::Word(_) => None,
    }
}

/// The tokens of a recipe.
pub(crate) fn recipe_tokens(recipe: &RecipeInput) -> Option<f64> {
    recipe
        .tokens
        .or_else(|| item(recipe, "tokens").map(|(tokens, _)| tokens))
}

/// A recipe as a table.
pub(crate) fn recipe(recipe: &RecipeInput) -> RecipeView {
    let rows = recipe.items.iter().flat_map(item_rows).collect();
    RecipeView {
        title: format!("Recipe for {} parameters", text::count(recipe.params as f64)),
        verdict: recipe.verdict.clone(),
        items: Table {
            columns: vec![
                Column::words("item"),
                Column::numbers("value"),
                Column::words("unit"),
                Column::numbers("95 % interval"),
                Column::numbers("MiniCPM-2.4B"),
                Column::words("source"),
                Column::words("law, fit"),
                Column::numbers("trials"),
                Column::words("beyond the data"),
            ],
            rows,
        },
        alternatives: alternatives(&recipe.alternatives),
        gates: recipe.gates.clone(),
        warnings: recipe.warnings.clone(),
    }
}

/// The runs beside the one that is asked for, with what they cost against it.
fn alternatives(runs: &[AlternativeRun]) -> Table {
    let Some(asked) = runs.first() else {
        return Table::default();
    };
    let times = |value: f64, of: f64| format!("\u{d7}{}", number(value / of, 2));
    let row = |run: &AlternativeRun| {
        vec![
            run.name.clone().into(),
            text::count(run.params).into(),
            text::count(run.tokens).into(),
            format!("{:.2e}", run.flops).into(),
            text::loss(run.loss).into(),
            times(run.flops, asked.flops).into(),
            times(run.inference, asked.inference).into(),
        ]
    };
    Table {
        columns: vec![
            Column::words("beside it, by the law of loss"),
            Column::numbers("parameters"),
            Column::numbers("tokens"),
            Column::numbers("6ND (FLOP)"),
            Column::numbers("loss"),
            Column::numbers("training"),
            Column::numbers("inference"),
        ],
        rows: runs.iter().map(row).collect(),
    }
}

/// The row of an item; the interval of one new run, where it differs, is a row of its own.
fn item_rows(item: &RecipeItem) -> Vec<Vec<Cell>> {
    let show = |value: f64| match item.unit.as_str() {
        "tokens" | "parameters" if value >= 1e4 => text::count(value),
        "nats" | "nats per token" | "nats/token" => text::loss(value),
        _ => number(value, 3),
    };
    let shown = |value: &ItemValue| match value {
        ItemValue::Number(value) => show(*value),
        ItemValue::Word(word) => word.clone(),
    };
    let value = shown(&item.value);
    let interval = |ci95: [f64; 2]| format!("{} to {}", show(ci95[0]), show(ci95[1]));
    let law = [&item.law, &item.fit].into_iter().flatten();
    let beyond = item.extrapolation.map_or_else(String::new, |[params, tokens]| {
        format!(
            "{}\u{d7} parameters, {}\u{d7} tokens",
            number(params, 2),
            number(tokens, 2)
        )
    });
    let name = item_name(&item.name);
    let mut rows = vec![vec![
        name.clone().into(),
        value.into(),
        item.unit.clone().into(),
        item.ci95.map_or_else(String::new, interval).into(),
        item.published.as_ref().map_or_else(String::new, shown).into(),
        item.source.clone().into(),
        law.cloned().collect::<Vec<_>>().join(" ").into(),
        item.trials.map_or_else(String::new, |n| n.to_string()).into(),
        beyond.into(),
    ]];
    if let Some(ci95) = item.ci95_new_run {
        let mut row: Vec<Cell> = vec!["".into(); 9];
        row[0] = format!("{name} of one new run").into();
        row[3] = interval(ci95).into();
        rows.push(row);
    }
    rows
}

/// The key of an item in words.
fn item_name(key: &str) -> String {
    match key {
        "lr" => "peak learning rate".to_owned(),
        "lr_hidden" => "peak learning rate, hidden weights".to_owned(),
        "batch_tokens" => "batch".to_owned(),
        "warmup_tokens" => "warm-up".to_owned(),
        "batch_warmup_tokens" => "half the batch until".to_owned(),
        "decay_fraction" => "decay, share of the run".to_owned(),
        "decay" => "decay, form".to_owned(),
        "final_fraction" => "last rate, share of the peak".to_owned(),
        "tokens_compute_optimal" => "tokens, compute-optimal".to_owned(),
        "flops" => "compute".to_owned(),
        other => other.replace('_', " "),
    }
}
