//! `sandbox bench`: how fast proxies train here; the worker measures.

use clap::Args;

use crate::cli::output::{Output, table};
use crate::recipe::Coordinates;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::recipe::coordinates;
use crate::run::worker::ask_worker;
use crate::units::{human_bytes, human_count};

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// A rung by its name
    #[arg(long, conflicts_with = "shape")]
    model: Option<String>,
    /// A shape: width=64,layers=4,heads=4[,kv_heads=2][,d_ff=160]
    #[arg(long)]
    shape: Option<String>,
    /// Tokens in a sequence
    #[arg(long, default_value_t = 256)]
    context: u64,
    /// Size of the vocabulary
    #[arg(long, default_value_t = 256)]
    vocab: u64,
    /// Tokens in a batch
    #[arg(long, default_value_t = 8192)]
    batch_tokens: u64,
    /// Threads (default: all cores)
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=4096))]
    threads: Option<u64>,
    /// Seconds to measure
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,
    /// Instead: muP's coordinate check, which is kept for the recipe's gate
    #[arg(long)]
    coordinates: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "it must be a number".to_owned())?;
    if (0.01..=3600.0).contains(&number) {
        Ok(number)
    } else {
        Err("it must lie between 0.01 and 3600".to_owned())
    }
}

/// Measures the coordinate check and keeps it.
pub(super) async fn coordinates(context: &Context, output: &Output) -> Result<u8, Failure> {
    let value = ask_worker(context, &["coordinates".to_owned()])?;
    let found: Coordinates = serde_json::from_value(value).map_err(std::io::Error::other)?;
    let mut store = context.store_or_new().await?;
    coordinates::keep(context, &mut store, &found).await?;
    output.result(&found, &[], || {
        format!(
            "over widths {} to {}, the change of the residual stream differs by ×{:.2}, that of the logits by ×{:.2}",
            found.widths[0], found.widths[1], found.stream, found.logits
        )
    })?;
    Ok(0)
}

pub(super) async fn bench(context: &Context, args: &BenchArgs, output: &Output) -> Result<u8, Failure> {
    if args.coordinates {
        return coordinates(context, output).await;
    }
    let mut flags: Vec<String> = vec!["bench".to_owned(), "--json".to_owned()];
    match (&args.model, &args.shape) {
        (_, Some(shape)) => flags.extend(["--shape".to_owned(), shape.clone()]),
        (model, None) => flags.extend(["--model".to_owned(), model.clone().unwrap_or_else(|| "9M".to_owned())]),
    }
    for (name, value) in [
        ("--context", args.context.to_string()),
        ("--vocab", args.vocab.to_string()),
        ("--batch-tokens", args.batch_tokens.to_string()),
        ("--threads", args.threads.unwrap_or(context.cores).to_string()),
        ("--seconds", args.seconds.to_string()),
    ] {
        flags.extend([name.to_owned(), value]);
    }
    let value = ask_worker(context, &flags)?;
    output.result(&value, &[], || human(&value))?;
    Ok(0)
}

fn human(value: &serde_json::Value) -> String {
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let count = |value: &serde_json::Value| value.as_f64().map_or_else(|| "–".to_owned(), human_count);
    let rows: Vec<Vec<String>> = value["rows"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| {
            vec![
                text(&row["model"]),
                text(&row["context"]),
                count(&row["batch_tokens"]),
                text(&row["precision"]),
                count(&row["tokens_per_second"]),
                count(&row["flops_per_token"]),
                row["peak_fraction"]
                    .as_f64()
                    .map_or_else(|| "–".to_owned(), |share| format!("{:.0} %", share * 100.0)),
                row["peak_bytes"].as_f64().map_or_else(|| "–".to_owned(), human_bytes),
            ]
        })
        .collect();
    format!(
        "{}, {} threads, libtorch {}, matrix peak {}FLOP/s\n\n{}",
        text(&value["device"]),
        text(&value["threads"]),
        text(&value["libtorch"]),
        count(&value["peak_flops"]),
        table(
            &[
                "model",
                "context",
                "batch",
                "precision",
                "tok/s",
                "FLOP/token",
                "of peak",
                "memory"
            ],
            &rows
        )
    )
}
