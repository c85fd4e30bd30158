//! How fast this machine trains: as the home has measured it, else as the worker measures it in a second.

use crate::protocol::Trainer;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::worker::ask_worker;
use crate::spec::study_file::StudyFile;
use crate::store::Store;

/// FLOPs per second and slot before anything was measured: a third of one core's matrix peak.
const ASSUMED: f64 = 3e10;
/// What is measured where the home has measured nothing: a rung that is typical for processors.
const PROBE: [&str; 12] = [
    "bench",
    "--json",
    "--model",
    "80K",
    "--context",
    "128",
    "--batch-tokens",
    "2048",
    "--threads",
    "1",
    "--seconds",
    "1",
];

/// FLOPs per second of all workers of a study together; `workers`: those of a cluster.
pub(super) async fn flops_per_second(
    context: &Context,
    store: Option<&mut Store>,
    study: &StudyFile,
    workers: Option<u64>,
) -> Result<f64, Failure> {
    let measured = match store {
        Some(store) => store.rates().await?.1,
        None => None,
    };
    let of_slot = match measured {
        Some(rate) => rate,
        None if context.trainer == Trainer::Proxy => probe(context).unwrap_or(ASSUMED),
        None => ASSUMED,
    };
    let threads = study.resources.threads.unwrap_or(1);
    let slots = workers.unwrap_or_else(|| {
        study
            .resources
            .workers
            .unwrap_or(u64::MAX)
            .min(context.slots() / threads.max(1))
    });
    Ok(of_slot * slots.max(1) as f64 * if measured.is_some() { 1.0 } else { threads as f64 })
}

/// What the worker measures; none where it cannot: the study itself will say why.
fn probe(context: &Context) -> Option<f64> {
    let flags: Vec<String> = PROBE.iter().map(|&flag| flag.to_owned()).collect();
    let value = ask_worker(context, &flags).ok()?;
    let row = value.get("rows")?.get(0)?;
    Some(row.get("tokens_per_second")?.as_f64()? * row.get("flops_per_token")?.as_f64()?)
}
