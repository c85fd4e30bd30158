//! How a recipe is shown to a person.
//!
//! Refuses to write one.

use std::collections::BTreeMap;

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
    for note in &view.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text.push('\n');
    if !view.imported.rows.is_empty() {
        text.push_str(&columns(&view.imported, &[0, 1, 2, 3, 4, 5]));
    }
    if !view.alternatives.rows.is_empty() {
        text.push_str(&columns(&view.alternatives, &[0, 1, 2, 3, 4, 5, 6]));
    }
    let gates: Vec<Vec<String>> = view.gates.iter().map(gate).collect();
    text.push_str(&table(&["gate", "", ""], &gates));
    text.push_str(&run_next(&view.gates));
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
    let passed = if gate.passed { "pass" } else { "FAIL" };
    vec![passed.to_owned(), gate.name.clone(), gate.why.clone()]
}

/// The sweeps that the failing gates name, each once.
fn run_next(gates: &[Gate]) -> String {
    let mut files: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for gate in gates {
        if let Some(next) = &gate.next {
            files.entry(next).or_default().push(&gate.name);
        }
    }
    let line = |(file, gates): (&str, Vec<&str>)| format!("\nrun next: {file} (for {})", gates.join(", "));
    files.into_iter().map(line).collect()
}
