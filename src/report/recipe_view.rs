//! A recipe as a page shows it: its numbers with their sources, what published laws say of the same run, what else the
//! compute could buy, and what was checked.
//!
//! Refuses to know how a recipe is found.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::recipe::reach::RunSize;
use crate::recipe::{Alternative, Gate, ITEMS, ImportedLaw, Item, Recipe};
use crate::report::text::{self, number};
use crate::report::view::{Cell, Column, Table};
use crate::units::significant;

/// A recipe as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecipeView {
    /// `Recipe for 2.44B parameters`.
    pub title: String,
    /// `verified`, `partly` or `unverified`.
    pub verdict: String,
    pub items: Table,
    /// What rows are too narrow for: how far the study vouches, what is withheld, and how numbers were found.
    pub notes: Vec<String>,
    /// What published laws say of the same run.
    pub imported: Table,
    /// What else the compute, or the loss, could buy.
    pub alternatives: Table,
    pub gates: Vec<Gate>,
    /// What to be careful about.
    pub warnings: Vec<String>,
}

impl RecipeView {
    /// The recipe in tables: its numbers, what else the compute, or the loss, could buy, and what was checked.
    pub fn new(recipe: &Recipe) -> Self {
        let items = ITEMS.iter().filter_map(|name| Some((*name, recipe.items.get(*name)?)));
        let published = |name: &str| recipe.published.iter().find(|it| it.item == name).map(|it| &it.value);
        Self {
            title: format!("Recipe for {} parameters", text::count(recipe.params as f64)),
            verdict: recipe.verdict.name().to_owned(),
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
                rows: items
                    .flat_map(|(name, item)| item_rows(name, item, published(name)))
                    .collect(),
            },
            notes: notes(recipe),
            imported: imported(&recipe.imported),
            alternatives: alternatives(&recipe.alternatives),
            gates: recipe.gates.clone(),
            warnings: recipe
                .warnings
                .iter()
                .map(|it| format!("{}: {}", it.code, it.text))
                .collect(),
        }
    }
}

/// The number of a recipe's item with its interval: that of a new run, where there is one.
pub(crate) fn item(recipe: &Recipe, name: &str) -> Option<(f64, Option<[f64; 2]>)> {
    let item = recipe.items.get(name)?;
    Some((item.value.as_f64()?, item.ci95_new_run.or(item.ci95)))
}

/// The tokens of a recipe.
pub(crate) fn recipe_tokens(recipe: &Recipe) -> Option<f64> {
    item(recipe, "tokens").map(|(tokens, _)| tokens)
}

/// What of an item's law stands in its row, and what below the table.
fn in_row(law: &str) -> (&str, Option<&str>) {
    law.split_once("; ")
        .map_or((law, None), |(row, note)| (row, Some(note)))
}

/// What stands below the table of items.
fn notes(recipe: &Recipe) -> Vec<String> {
    let mut notes: Vec<String> = reach(recipe).into_iter().collect();
    let items = || ITEMS.iter().filter_map(|name| Some((*name, recipe.items.get(*name)?)));
    let mut withheld: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, item) in items() {
        if let Some(why) = &item.withheld {
            withheld.entry(why).or_default().push(item_name(name));
        }
    }
    let is_any = !withheld.is_empty();
    notes.extend(
        withheld
            .into_iter()
            .map(|(why, names)| format!("withheld: {} ({why})", names.join("; "))),
    );
    if is_any {
        notes.push("`sandbox recipe --beyond` prints what is withheld, each number marked".to_owned());
    }
    for (name, item) in items().filter(|(_, item)| item.withheld.is_none()) {
        notes.extend(in_row(&item.law).1.map(|note| format!("{}: {note}", item_name(name))));
    }
    notes
}

/// The largest run for which the study vouches, and what a target beyond it would take.
fn reach(recipe: &Recipe) -> Option<String> {
    let run = |it: &RunSize| {
        let [params, tokens] = [it.params, it.tokens].map(|count| text::count(significant(count, 2)));
        format!("{params} parameters, {tokens} tokens, {:.1e} FLOP (6ND)", it.flops)
    };
    let vouched = format!("this study vouches for runs up to {}", run(recipe.reach.as_ref()?));
    let Some(needed) = &recipe.to_reach else {
        return Some(vouched);
    };
    let next = recipe
        .gates
        .iter()
        .find_map(|gate| gate.next.as_ref().filter(|_| gate.name.ends_with("_spanned")));
    let step = next.map_or_else(String::new, |next| format!("; the next step there: `{next}`"));
    Some(format!(
        "{vouched}; the target lies beyond, and would need a proxy of {}{step}",
        run(needed)
    ))
}

/// What published laws say, each with what its letters count.
fn imported(laws: &[ImportedLaw]) -> Table {
    if laws.is_empty() {
        return Table::default();
    }
    let shown = |law: &ImportedLaw| match law.item.as_str() {
        "batch_tokens" => text::count(law.value),
        _ => number(law.value, 3),
    };
    let row = |law: &ImportedLaw| {
        vec![
            law.law.clone().into(),
            item_name(&law.item).into(),
            shown(law).into(),
            law.formula.clone().into(),
            law.source.clone().into(),
            law.convention.clone().into(),
        ]
    };
    Table {
        columns: vec![
            Column::words("published law"),
            Column::words("of"),
            Column::numbers("value"),
            Column::words("formula"),
            Column::words("source"),
            Column::words("convention"),
        ],
        rows: laws.iter().map(row).collect(),
    }
}

/// The runs beside the one that is asked for, with what they cost against it.
fn alternatives(runs: &[Alternative]) -> Table {
    let Some(asked) = runs.first() else {
        return Table::default();
    };
    let times = |value: f64, of: f64| format!("\u{d7}{}", number(value / of, 2));
    let row = |run: &Alternative| {
        vec![
            run.name.replace('_', " ").into(),
            text::count(run.params).into(),
            text::count(run.tokens).into(),
            format!("{:.2e}", run.flops).into(),
            text::loss(run.loss).into(),
            times(run.flops, asked.flops).into(),
            times(run.inference_flops_per_token, asked.inference_flops_per_token).into(),
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
fn item_rows(name: &str, item: &Item, published: Option<&Value>) -> Vec<Vec<Cell>> {
    let show = |value: f64| match item.unit.as_str() {
        "tokens" | "parameters" if value >= 1e4 => text::count(value),
        "nats" | "nats per token" | "nats/token" => text::loss(value),
        _ => number(value, 3),
    };
    let shown = |value: &Value| {
        let word = || value.as_str().unwrap_or_default().to_owned();
        value.as_f64().map_or_else(word, show)
    };
    let interval = |ci95: [f64; 2]| format!("{} to {}", show(ci95[0]), show(ci95[1]));
    let beyond = item.extrapolation.map_or_else(String::new, |reach| {
        let (params, tokens) = (number(reach.params, 2), number(reach.tokens, 2));
        format!("{params}\u{d7} parameters, {tokens}\u{d7} tokens")
    });
    let law = [in_row(&item.law).0, item.fit.as_deref().unwrap_or_default()];
    let value = match (&item.withheld, item.beyond) {
        (Some(_), _) => "withheld".to_owned(),
        (None, true) => format!("{} (beyond)", shown(&item.value)),
        (None, false) => shown(&item.value),
    };
    let trials = (item.trials > 0).then(|| item.trials.to_string());
    let name = item_name(name);
    let mut rows = vec![vec![
        name.clone().into(),
        value.into(),
        item.unit.clone().into(),
        item.ci95.map_or_else(String::new, interval).into(),
        published.map_or_else(String::new, shown).into(),
        item.source.name().into(),
        law.join(" ").trim().into(),
        trials.unwrap_or_default().into(),
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
