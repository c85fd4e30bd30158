//! `sandbox score`: how a registered forecast did.

use clap::Args;

use crate::cli::output::Output;
use crate::cli::predict::count;
use crate::recipe::forecast::Score;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::recipe::forecast;

#[derive(Debug, Args)]
pub(super) struct ScoreArgs {
    /// The forecast: its name, the beginning of it, or `last`
    #[arg(default_value = "last")]
    forecast: String,
    /// The loss that came out, in nats per token of the proxies' data (default: the mean of the runs of the recipe's own
    /// sweep in this home, which `recipe --out` writes)
    #[arg(long, value_name = "LOSS", value_parser = count)]
    actual: Option<f64>,
}

pub(super) async fn score(context: &Context, args: &ScoreArgs, output: &Output) -> Result<u8, Failure> {
    let mut store = context.store().await?;
    let score = forecast::score(context, &mut store, &args.forecast, args.actual).await?;
    output.result(&score, std::slice::from_ref(&score.forecast), || text(&score))?;
    Ok(0)
}

fn text(score: &Score) -> String {
    let interval = match (score.covered, score.ci95) {
        (Some(true), Some([low, high])) => format!("inside the 95 % interval {low:.4} to {high:.4}"),
        (Some(false), Some([low, high])) => format!("OUTSIDE the 95 % interval {low:.4} to {high:.4}"),
        (_, _) => "there was no interval".to_owned(),
    };
    let runs = match score.runs {
        1 => "came out".to_owned(),
        many => format!("came out as the mean of {many} runs"),
    };
    let beyond = score
        .params_ratio
        .zip(score.compute_ratio)
        .map_or_else(String::new, |(params, compute)| {
            format!(
                ", {params:.2} times the parameters and {compute:.2} times the compute of the largest run in the fit"
            )
        });
    let late = match score.registered_first {
        Some(false) => "\nWARNING: the run had begun before the forecast was registered",
        Some(true) | None => "",
    };
    let meaning = match score.covered {
        Some(true) => "so far the laws of this study hold; of larger or longer runs than this it shows nothing yet",
        Some(false) => "so the laws of this study do not reach that far: do not plan a large run by them",
        None => "",
    };
    format!(
        "forecast {} of recipe {}, registered {}{beyond}\n\
         predicted {:.4}, {runs} {:.4}: off by {:+.4} nats ({:+.2} % of what came out), {interval}\n{meaning}{late}",
        score.forecast,
        score.recipe,
        score.registered_at,
        score.predicted,
        score.actual,
        score.error,
        100.0 * score.relative_error
    )
}
