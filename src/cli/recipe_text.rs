//! How a recipe is shown to a person.
//!
//! Refuses to write one.

use crate::cli::output::table;
use crate::model::mup::Parametrization;
use crate::recipe::{Alternative, ITEMS, Item, Recipe};
use crate::units::{human_count, significant};

pub(super) fn recipe_text(sweep: &str, recipe: &Recipe) -> String {
    let shape = &recipe.shape;
    let mut text = format!(
        "recipe {} for {} parameters, from {sweep}: {}\n\n\
         shape {}: width {}, layers {}, heads {} ({} kv), d_ff {}, vocabulary {}, context {}\n\
         {}: base width {}, scale_emb {}, scale_depth {}, init_std {}\n\n",
        recipe.recipe,
        human_count(recipe.params as f64),
        recipe.verdict.name().to_uppercase(),
        shape.model,
        shape.width,
        shape.layers,
        shape.heads,
        shape.kv_heads,
        shape.d_ff,
        shape.vocab,
        shape.context,
        match recipe.parametrization {
            Parametrization::Mup => "muP",
            Parametrization::Standard => "standard parametrisation, no muP",
        },
        recipe.mup.base_width,
        recipe.mup.scale_emb,
        recipe.mup.scale_depth,
        recipe.mup.init_std
    );
    let published = |name: &str| {
        let found = recipe.published.iter().find(|it| it.item == name)?;
        Some(
            found
                .value
                .as_f64()
                .map_or_else(|| found.value.as_str().unwrap_or_default().to_owned(), shown),
        )
    };
    let rows: Vec<Vec<String>> = ITEMS
        .iter()
        .filter_map(|name| {
            let mut cells = row(name, recipe.items.get(*name)?);
            cells.insert(3, published(name).unwrap_or_default());
            Some(cells)
        })
        .collect();
    let head = ["", "value", "95 % interval", "MiniCPM-2.4B", "source", "from"];
    text.push_str(&table(&head, &rows));
    text.push_str("\n\n");
    text.push_str(&alternatives(recipe));
    let gates: Vec<Vec<String>> = recipe
        .gates
        .iter()
        .map(|gate| {
            let next = gate
                .next
                .as_ref()
                .map_or_else(String::new, |next| format!(" — run next: {next}"));
            vec![
                if gate.passed { "pass" } else { "FAIL" }.to_owned(),
                gate.name.clone(),
                format!("{}{next}", gate.why),
            ]
        })
        .collect();
    text.push_str(&table(&["gate", "", ""], &gates));
    for warning in &recipe.warnings {
        text.push_str(&format!("\nwarning {}: {}", warning.code, warning.text));
    }
    text
}

/// What else the compute, or the loss, could buy.
fn alternatives(recipe: &Recipe) -> String {
    let Some(asked) = recipe.alternatives.first() else {
        return String::new();
    };
    let row = |it: &Alternative| {
        vec![
            it.name.replace('_', " "),
            human_count(it.params),
            human_count(it.tokens),
            format!("{:.2e}", it.flops),
            format!("{:.4}", it.loss),
            format!("×{:.2}", it.flops / asked.flops),
            format!("×{:.2}", it.inference_flops_per_token / asked.inference_flops_per_token),
        ]
    };
    let rows: Vec<Vec<String>> = recipe.alternatives.iter().map(row).collect();
    let head = [
        "beside it, by the law of loss",
        "N",
        "D",
        "6ND",
        "loss",
        "training",
        "inference",
    ];
    format!("{}\n\n", table(&head, &rows))
}

/// A number as people read it.
fn shown(value: f64) -> String {
    if value >= 1e15 {
        format!("{value:.2e}")
    } else if value >= 1e4 {
        human_count(value)
    } else {
        significant(value, 4).to_string()
    }
}

fn row(name: &str, item: &Item) -> Vec<String> {
    let value = item
        .value
        .as_f64()
        .map_or_else(|| item.value.as_str().unwrap_or("–").to_owned(), shown);
    let interval = item
        .ci95
        .map_or_else(|| "–".to_owned(), |[a, b]| format!("{} to {}", shown(a), shown(b)));
    let reach = item.extrapolation.map_or_else(String::new, |reach| {
        format!(
            " ({:.1e}× the parameters, {:.1e}× the tokens seen)",
            reach.params, reach.tokens
        )
    });
    vec![
        name.to_owned(),
        value,
        interval,
        item.source.name().to_owned(),
        format!("{}{reach}", item.law),
    ]
}
