//! `sandbox recipe`: what to use at scale.

use clap::Args;

use crate::cli::output::{Output, table};
use crate::cli::predict::count;
use crate::recipe::build::Ask;
use crate::recipe::{ITEMS, Item, Recipe};
use crate::run::advising;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::fitting::{self, Request};
use crate::units::{human_count, significant};

#[derive(Debug, Args)]
pub(super) struct RecipeArgs {
    /// Parameters of the big run, without the embedding: 2.4B
    #[arg(long, value_parser = count)]
    params: f64,
    /// Its tokens (default: as many as are compute-optimal)
    #[arg(long, value_parser = count, conflicts_with = "flops")]
    tokens: Option<f64>,
    /// Its training FLOPs, instead of its tokens
    #[arg(long, value_parser = count)]
    flops: Option<f64>,
    /// The sweep that it rests on (default: the one that was planned last)
    #[arg(long)]
    sweep: Option<String>,
}

pub(super) async fn recipe(context: &Context, args: &RecipeArgs, output: &Output) -> Result<u8, Failure> {
    if !(1e3..=1e15).contains(&args.params) {
        return Err(Failure::invalid("usage", "--params must lie between 1e3 and 1e15", ""));
    }
    let mut store = context.store().await?;
    let sweep = fitting::sweep_name(&mut store, args.sweep.as_deref()).await?;
    let laws = fitting::fit_sweep(context, &mut store, &sweep, &Request::default()).await?;
    let ask = Ask {
        params: args.params,
        tokens: args.tokens,
        flops: args.flops,
    };
    let recipe = advising::advise(context, &mut store, &sweep, &laws, &ask).await?;
    output.result(&recipe, std::slice::from_ref(&recipe.recipe), || human(&sweep, &recipe))?;
    Ok(0)
}

fn human(sweep: &str, recipe: &Recipe) -> String {
    let shape = &recipe.shape;
    let mut text = format!(
        "recipe {} for {} parameters, from {sweep}: {}\n\n\
         shape {}: width {}, layers {}, heads {} ({} kv), d_ff {}, vocabulary {}, context {}\n\
         muP: base width {}, scale_emb {}, scale_depth {}, init_std {}\n\n",
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
        recipe.mup.base_width,
        recipe.mup.scale_emb,
        recipe.mup.scale_depth,
        recipe.mup.init_std
    );
    let rows: Vec<Vec<String>> = ITEMS
        .iter()
        .filter_map(|name| Some(row(name, recipe.items.get(*name)?)))
        .collect();
    text.push_str(&table(&["", "value", "95 % interval", "source", "from"], &rows));
    text.push_str("\n\n");
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

fn row(name: &str, item: &Item) -> Vec<String> {
    let number = |value: f64| {
        if value >= 1e4 {
            human_count(value)
        } else {
            significant(value, 4).to_string()
        }
    };
    let number = |value: f64| {
        if value >= 1e15 {
            format!("{value:.2e}")
        } else {
            number(value)
        }
    };
    let value = item
        .value
        .as_f64()
        .map_or_else(|| item.value.as_str().unwrap_or("–").to_owned(), number);
    let interval = item
        .ci95
        .map_or_else(|| "–".to_owned(), |[a, b]| format!("{} to {}", number(a), number(b)));
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
