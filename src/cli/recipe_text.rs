//! How a recipe is shown to a person.
//!
//! Refuses to write one.

use crate::cli::output::table;
use crate::model::mup::Parametrization;
use crate::recipe::{Gate, Recipe};
use crate::report::recipe_view::RecipeView;
use crate::report::view::{Cell, Table};
use crate::units::human_count;

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
    let view = RecipeView::new(recipe);
    // A terminal is narrower than a page: units stand with the page's numbers, reach in the JSON.
    text.push_str(&columns(&view.items, &[0, 1, 3, 4, 5, 6]));
    if !view.imported.rows.is_empty() {
        text.push_str(&columns(&view.imported, &[0, 1, 2, 3, 4, 5]));
    }
    if !view.alternatives.rows.is_empty() {
        text.push_str(&columns(&view.alternatives, &[0, 1, 2, 3, 4, 5, 6]));
    }
    let gates: Vec<Vec<String>> = view.gates.iter().map(gate).collect();
    text.push_str(&table(&["gate", "", ""], &gates));
    for warning in &view.warnings {
        text.push_str(&format!("\nwarning {warning}"));
    }
    text
}

/// Some columns of a table of the page, and an empty line.
fn columns(of_page: &Table, shown: &[usize]) -> String {
    let head: Vec<&str> = shown.iter().map(|&at| of_page.columns[at].title).collect();
    let row = |row: &Vec<Cell>| shown.iter().map(|&at| row[at].text.clone()).collect();
    let rows: Vec<Vec<String>> = of_page.rows.iter().map(row).collect();
    table(&head, &rows) + "\n\n"
}

fn gate(gate: &Gate) -> Vec<String> {
    let next = gate
        .next
        .as_ref()
        .map_or_else(String::new, |next| format!(" — run next: {next}"));
    let passed = if gate.passed { "pass" } else { "FAIL" };
    vec![passed.to_owned(), gate.name.clone(), format!("{}{next}", gate.why)]
}
