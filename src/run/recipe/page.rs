//! What a page says of a recipe.
//!
//! Refuses to know how it was found, and to draw.

use crate::recipe::{ITEMS, Item, Recipe};
use crate::report::recipe_view::{AlternativeRun, Gate, ItemValue, RecipeInput, RecipeItem};

/// The recipe as a page shows it.
pub(in crate::run) fn recipe_input(recipe: &Recipe) -> RecipeInput {
    RecipeInput {
        params: recipe.params,
        tokens: recipe.items.get("tokens").and_then(|item| item.value.as_f64()),
        verdict: recipe.verdict.name().to_owned(),
        items: ITEMS
            .iter()
            .filter_map(|name| {
                let published = recipe.published.iter().find(|it| it.item == *name);
                let published = published.map(|it| item_value(&it.value));
                Some(recipe_item(name, recipe.items.get(*name)?, published))
            })
            .collect(),
        alternatives: recipe
            .alternatives
            .iter()
            .map(|run| AlternativeRun {
                name: run.name.replace('_', " "),
                params: run.params,
                tokens: run.tokens,
                flops: run.flops,
                loss: run.loss,
                inference: run.inference_flops_per_token,
            })
            .collect(),
        gates: recipe
            .gates
            .iter()
            .map(|gate| Gate {
                name: gate.name.clone(),
                passed: gate.passed,
                why: gate.why.clone(),
                next: gate.next.clone(),
            })
            .collect(),
        warnings: recipe
            .warnings
            .iter()
            .map(|warning| format!("{}: {}", warning.code, warning.text))
            .collect(),
    }
}

fn item_value(value: &serde_json::Value) -> ItemValue {
    value.as_f64().map_or_else(
        || ItemValue::Word(value.as_str().unwrap_or_default().to_owned()),
        ItemValue::Number,
    )
}

fn recipe_item(name: &str, item: &Item, published: Option<ItemValue>) -> RecipeItem {
    let value = item_value(&item.value);
    RecipeItem {
        published,
        name: name.to_owned(),
        value,
        ci95: item.ci95,
        ci95_new_run: item.ci95_new_run,
        unit: item.unit.clone(),
        source: item.source.name().to_owned(),
        law: Some(item.law.clone()),
        fit: item.fit.clone(),
        trials: (item.trials > 0).then_some(item.trials),
        extrapolation: item.extrapolation.map(|reach| [reach.params, reach.tokens]),
    }
}
