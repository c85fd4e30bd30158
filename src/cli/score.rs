//! `sandbox score`: how a registered forecast did.

use clap::Args;

use crate::cli::output::Output;
use crate::cli::predict::count;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::recipe::forecast::{self, Score};

#[derive(Debug, Args)]
pub(super) struct ScoreArgs {
    /// The forecast: its name, the beginning of it, or `last`
    #[arg(default_value = "last")]
    forecast: String,
    /// The loss that came out, in nats per token of the proxies' data
    #[arg(long, value_name = "LOSS", value_parser = count)]
    actual: f64,
}

pub(super) async fn score(context: &Context, args: &ScoreArgs, output: &Output) -> Result<u8, Failure> {
    let mut store = context.store().await?;
    let score = forecast::score(context, &mut store, &args.forecast, args.actual).await?;
    output.result(&score, std::slice::from_ref(&score.forecast), || text(&score))?;
    Ok(0)
}

fn text(score: &Score) -> String {
    let inside = match (score.inside, score.ci95_new_run) {
        (Some(true), Some([low, high])) => format!("inside the 95 % interval {low:.4} to {high:.4}"),
        (Some(false), Some([low, high])) => format!("OUTSIDE the 95 % interval {low:.4} to {high:.4}"),
        (_, _) => "there was no interval".to_owned(),
    };
    format!(
        "forecast {} of {}, registered {}\npredicted {:.4}, came out {:.4}: off by {:+.4} nats ({:+.2} % of what came out), {inside}",
        score.forecast,
        score.recipe,
        score.registered_at,
        score.predicted,
        score.actual,
        score.error,
        100.0 * score.relative_error
    )
}
