//! `sandbox recipe`: what to use at scale.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::cli::next;
use crate::cli::output::Output;
use crate::cli::predict::count;
use crate::cli::progress::Display;
use crate::cli::recipe_text::recipe_text;
use crate::recipe::Recipe;
use crate::recipe::evidence::Size;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::recipe::advise::{self, Advice};
use crate::run::recipe::next_runs::NextRun;
use crate::run::recipe::rounds::{self, Asked, Told};
use crate::run::recipe::{files, forecast};
use crate::run::sweep_set::SweepSet;

#[derive(Debug, Args)]
pub(super) struct RecipeArgs {
    /// Parameters of the big run, without the embedding: 2.4B (default: the sweep's target)
    #[arg(long, value_parser = count)]
    params: Option<f64>,
    /// Its tokens (default: as many as are compute-optimal)
    #[arg(long, value_parser = count, conflicts_with = "flops")]
    tokens: Option<f64>,
    /// Its training FLOPs, instead of its tokens
    #[arg(long, value_parser = count)]
    flops: Option<f64>,
    /// The speed of the machine that will train it, with `--hours`, instead of its tokens
    #[arg(long, value_name = "R", value_parser = count, requires = "hours", conflicts_with_all = ["tokens", "flops"])]
    tokens_per_second: Option<f64>,
    /// Hours on that machine
    #[arg(long, value_name = "H", value_parser = count, requires = "tokens_per_second")]
    hours: Option<f64>,
    /// Also print the numbers that lie beyond the largest run for which the study vouches, each marked
    #[arg(long)]
    beyond: bool,
    /// Also write recipe.yaml, config.json (MiniCPM's keys), parameter_groups.json and sweep.yaml into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Runs of the recipe that sweep.yaml trains, each with another seed; a forecast is scored by their mean
    #[arg(long, value_name = "K", default_value_t = 1, requires = "out", value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Freeze the recipe as a forecast, with its hash and date: `sandbox score` compares it with what came out
    #[arg(long)]
    register: bool,
    /// First run the sweeps that failing gates ask for, the cheapest first, and join them to the study
    #[arg(long)]
    run_next: bool,
    /// The sweep that it rests on, or several as one study, `lr-transfer+batch-size` (default: the one that was run last)
    #[arg(long)]
    sweep: Option<String>,
}

impl RecipeArgs {
    fn size(&self) -> Size {
        match (self.tokens, self.flops, self.hours.zip(self.tokens_per_second)) {
            (Some(tokens), _, _) => Size::Tokens(tokens),
            (None, Some(flops), _) => Size::Flops(flops),
            (None, None, Some((hours, tokens_per_second))) => Size::Hours {
                hours,
                tokens_per_second,
            },
            (None, None, None) => Size::Optimal,
        }
    }
}

/// Shows how the sweeps of a round are trained.
fn shown(output: &Output) -> impl FnMut(Told<'_>) {
    let mut display: Option<Display> = None;
    move |told| match told {
        Told::Begins { place, of, file } => {
            output.note(&format!("running {place} of {of}: {file}"));
            display = Some(Display::new(*output));
        }
        Told::Trains(progress) => {
            if let Some(display) = &mut display {
                display.show(&progress);
            }
        }
        Told::Ends => {
            if let Some(display) = display.take() {
                display.close();
            }
        }
    }
}

pub(super) async fn recipe(context: &Context, args: &RecipeArgs, output: &Output) -> Result<u8, Failure> {
    if args.params.is_some_and(|params| !(1e3..=1e15).contains(&params)) {
        return Err(Failure::invalid("usage", "--params must lie between 1e3 and 1e15", ""));
    }
    let mut store = context.store().await?;
    let mut sweeps = SweepSet::find(&mut store, args.sweep.as_deref()).await?;
    let asked = Asked {
        params: args.params,
        size: args.size(),
        beyond: args.beyond,
    };
    if args.run_next {
        sweeps = rounds::run_next(context, &mut store, asked, sweeps, &mut shown(output)).await?;
    }
    let (laws, Advice { recipe, next }) = rounds::advised(context, &mut store, asked, &sweeps).await?;
    if let Some(folder) = &args.out {
        let proxies = advise::settings_of_best(&mut store, &laws).await?;
        for file in files::write(&recipe, &proxies, args.seeds, folder)? {
            output.note(&format!("wrote {}", file.display()));
        }
    }
    let forecast = if args.register {
        let row = forecast::register(context, &mut store, &recipe).await?;
        Some(ForecastView {
            forecast: row.forecast,
            registered_at: row.registered_at,
            hash: row.hash,
        })
    } else {
        None
    };
    let view = RecipeView {
        recipe: &recipe,
        forecast: forecast.as_ref(),
        next_sweeps: &next,
    };
    output.result(&view, std::slice::from_ref(&recipe.recipe), || {
        let registered = forecast.as_ref().map_or_else(String::new, |it| {
            format!(
                "\n\nregistered as forecast {} at {} (hash {})",
                it.forecast, it.registered_at, it.hash
            )
        });
        recipe_text(sweeps.name(), &recipe) + &next_text(&next) + &registered
    })?;
    next::say(context, output, &format!("report {}", sweeps.name()));
    Ok(0)
}

#[derive(Debug, Serialize)]
struct RecipeView<'a> {
    #[serde(flatten)]
    recipe: &'a Recipe,
    #[serde(skip_serializing_if = "Option::is_none")]
    forecast: Option<&'a ForecastView>,
    /// The sweeps that failing gates ask for, in the order in which to run them, with what they cost.
    next_sweeps: &'a [NextRun],
}

/// The sweeps to run next, in order.
fn next_text(next: &[NextRun]) -> String {
    if next.is_empty() {
        return String::new();
    }
    let line = |(place, next): (usize, &NextRun)| format!("\n  {}. {}: {}", place + 1, next.file, next.cost());
    let lines: String = next.iter().enumerate().map(line).collect();
    format!("\n\nto run next, the cheapest first (`--run-next` runs all and joins them):{lines}")
}

#[derive(Debug, Serialize)]
struct ForecastView {
    forecast: String,
    registered_at: String,
    hash: String,
}
