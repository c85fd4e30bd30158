//! `sandbox predict`: what a kept fit says elsewhere.

use std::path::PathBuf;

use clap::Args;

use crate::cli::fit_text::warnings_text;
use crate::cli::output::{Output, table};
use crate::fit::curve::decay::{Candidate, Run};
use crate::fit::law::Place;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::fit::curve_files;
use crate::run::fit::kept::{self, CurveView, DecayView, PlaceView};
use crate::run::fit::table;
use crate::units::{human_count, parse_count, printed};

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("question").required(true))]
pub(super) struct PredictArgs {
    /// The fit: its name, the beginning of it, or `last`
    #[arg(default_value = "last")]
    fit: String,
    /// Parameters, by the convention of the fit (without the embedding, for sweeps)
    #[arg(long, value_parser = count, group = "question", requires = "tokens")]
    params: Option<f64>,
    /// Tokens
    #[arg(long, value_parser = count, requires = "params")]
    tokens: Option<f64>,
    /// Tokens of a batch (three-term law; default: the best batch)
    #[arg(long, value_parser = count, requires = "params")]
    batch: Option<f64>,
    /// A table with columns params,tokens: one prediction a row, in order
    #[arg(long, value_name = "FILE", group = "question")]
    at: Option<PathBuf>,
    /// A table with columns step,lr: the loss curve under that schedule (laws of curves)
    #[arg(long, value_name = "FILE", group = "question")]
    schedule: Option<PathBuf>,
    /// Steps of a run whose best decay is wanted (laws of curves)
    #[arg(long, group = "question", requires = "peak")]
    steps: Option<u32>,
    /// Peak learning rate of that run
    #[arg(long, value_parser = count, requires = "steps")]
    peak: Option<f64>,
    /// Steps of warm-up: of that run, or before the first row of the schedule
    #[arg(long, default_value_t = 0)]
    warmup: u32,
    /// Last learning rate of that run, as a share of the peak
    #[arg(long, default_value_t = 0.1, requires = "steps")]
    floor: f64,
}

/// A positive number with an optional suffix, for the command line.
pub(super) fn count(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        Ok(_) => Err("it must be positive".to_owned()),
        Err(_) => parse_count(text)
            .map(|count| count as f64)
            .map_err(|error| error.to_string()),
    }
}

/// Sizes and budgets beyond this are no question: a law of powers would answer it with infinity.
const BEYOND: f64 = 1e30;

fn check_place([params, tokens]: [f64; 2]) -> Result<(), Failure> {
    if params <= BEYOND && tokens <= BEYOND {
        return Ok(());
    }
    let message = format!("{params:e} parameters and {tokens:e} tokens are beyond {BEYOND:e}");
    Err(Failure::invalid("usage", message, "ask for a run that could be"))
}

pub(super) async fn predict(context: &Context, args: &PredictArgs, output: &Output) -> Result<u8, Failure> {
    let mut store = context.store().await?;
    if let Some(steps) = args.steps {
        let law = kept::curve_law(&mut store, &args.fit).await?;
        let run = Run {
            peak: args.peak.unwrap_or_default(),
            steps,
            warmup: args.warmup,
            floor: args.floor,
        };
        let view = kept::best_decay(&law, run)?;
        output.result(&view, &[], || decay_text(&view))?;
    } else if let Some(path) = &args.schedule {
        let law = kept::curve_law(&mut store, &args.fit).await?;
        let schedule = curve_files::schedule(path, f64::from(args.warmup))?;
        let view = kept::curve(&law, &schedule)?;
        output.result(&view, &[], || curve_text(&view))?;
    } else {
        let law = kept::place_law(&mut store, &args.fit).await?;
        if args.batch.is_some() && !law.kept.law.has_batch() {
            let message = format!("fit {} says nothing of a batch", law.kept.fit);
            return Err(Failure::invalid(
                "usage",
                message,
                "leave `--batch` out, or ask a fit of `sandbox fit --law three-term`",
            ));
        }
        let view = |[params, tokens]: [f64; 2]| {
            let place = Place {
                params,
                tokens,
                batch_tokens: args.batch,
            };
            kept::at(&law, place)
        };
        if let Some(path) = &args.at {
            let places = table::places(path)?;
            places.iter().try_for_each(|place| check_place(*place))?;
            let views: Vec<PlaceView> = places.into_iter().map(view).collect();
            let text = || views.iter().map(|view| place_text(view) + "\n").collect();
            output.result(&views, &[], text)?;
        } else {
            let place = [args.params.unwrap_or_default(), args.tokens.unwrap_or_default()];
            check_place(place)?;
            let view = view(place);
            output.result(&view, &[], || place_text(&view))?;
        }
    }
    Ok(0)
}

fn interval(ends: Option<[f64; 2]>, digits: i32) -> String {
    ends.map_or_else(
        || "–".to_owned(),
        |[low, high]| format!("{} to {}", printed(low, digits), printed(high, digits)),
    )
}

fn place_text(PlaceView { said, .. }: &PlaceView) -> String {
    let mut parts = Vec::new();
    if let Some(loss) = &said.loss {
        parts.push(format!(
            "{:.4} nats/token (95 % of the mean {}, of a new run {}; 80 % {}, 50 % {})",
            loss.mean,
            interval(loss.ci95_mean, 5),
            interval(loss.ci95_new_run, 5),
            interval(loss.ci80, 5),
            interval(loss.ci50, 5)
        ));
    }
    if let Some(hangs) = &said.sensitivity_to_e {
        parts.push(format!("{:.0} % of its variance is that of E", 100.0 * hangs.share));
    }
    if let Some(lr) = &said.lr {
        parts.push(format!(
            "peak lr {} (95 %: {})",
            printed(lr.value, 3),
            interval(lr.ci95, 3)
        ));
    }
    if let Some(batch) = &said.batch_tokens {
        let ends = batch
            .ci95
            .map_or_else(String::new, |ends| format!(" (95 %: {})", interval(Some(ends), 3)));
        parts.push(format!("batch {} tokens{ends}", human_count(batch.value)));
    }
    if let Some(reach) = &said.extrapolation {
        parts.push(format!(
            "{}× the parameters, {}× the tokens seen",
            printed(reach.params, 3),
            printed(reach.tokens, 3)
        ));
    }
    parts.join("; ")
}

fn decay_text(view: &DecayView) -> String {
    let decays = &view.decays;
    let row = |what: &str, it: &Candidate| {
        vec![
            what.to_owned(),
            it.form.name().to_owned(),
            format!("{:.0} %", 100.0 * it.fraction),
            format!("{:.4}", it.loss),
        ]
    };
    let rows = [row("best", &decays.best), row("cosine over all", &decays.cosine)];
    table(&["", "form", "decay", "loss"], &rows) + &warnings_text(&decays.warnings)
}

fn curve_text(view: &CurveView) -> String {
    let (Some(step), Some(loss)) = (view.steps.last(), view.losses.last()) else {
        return "the schedule has no row".to_owned();
    };
    format!("{loss:.4} nats/token at step {step}; `--json` has every row") + &warnings_text(&view.warnings)
}
