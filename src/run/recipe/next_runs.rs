//! The sweeps that a recipe asks for, written out with what each costs here and which to run first.
//!
//! Refuses to know why they are wanted.

use serde::Serialize;

use crate::plan::StagePlan;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::planning;
use crate::spec;
use crate::store::Store;
use crate::study::next_sweep::SweepFile;
use crate::units::{human_count, human_seconds};
use crate::workdir::write_atomic;

/// A sweep that is to be run next.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NextRun {
    pub file: String,
    /// Trials that are to be trained, as if it were run alone.
    pub trials: u64,
    pub tokens: u64,
    pub flops: f64,
    /// Seconds of work on this machine.
    pub seconds: f64,
}

impl NextRun {
    /// What it costs, in words.
    pub fn cost(&self) -> String {
        format!(
            "{} trials, {} tokens, {:.2e} FLOP, about {} here",
            self.trials,
            human_count(self.tokens as f64),
            self.flops,
            human_seconds(self.seconds)
        )
    }
}

/// Writes the sweeps into the home, each once, and gives them in the order in which to run them: the cheapest first, for
/// what it says may spare the others.
pub(super) async fn write(
    context: &Context,
    store: &mut Store,
    files: impl IntoIterator<Item = SweepFile>,
) -> Result<Vec<NextRun>, Failure> {
    let mut found: Vec<(NextRun, String)> = Vec::new();
    for SweepFile { name, text } in files {
        let path = context.workdir.next_sweep(&name).display().to_string();
        if found.iter().all(|(next, _)| next.file != path) {
            found.push((cost(context, store, path, &text).await?, text));
        }
    }
    found.sort_by(|(a, _), (b, _)| a.flops.total_cmp(&b.flops).then_with(|| a.file.cmp(&b.file)));
    let count = found.len();
    for (place, (next, text)) in found.iter().enumerate() {
        let order = match count {
            1 => "Run it next".to_owned(),
            _ => format!("Run {} of {count}, the cheapest first", place + 1),
        };
        let whole = format!("# {order}: {}.\n{text}", next.cost());
        write_atomic(next.file.as_ref(), whole.as_bytes())?;
    }
    Ok(found.into_iter().map(|(next, _)| next).collect())
}

async fn cost(context: &Context, store: &mut Store, file: String, text: &str) -> Result<NextRun, Failure> {
    // Who writes the file has read it back.
    let (sweep, _) = spec::read(text, &file, &[]).map_err(|_| {
        Failure::new(
            crate::run::failure::exit::INTERNAL,
            "next_sweep",
            format!("`{file}` cannot be read back"),
            "please report this",
        )
    })?;
    let known = store.known(&sweep.name).await?;
    let rates = store.rates().await?;
    let planned = planning::plan_sweep(context, sweep, text.to_owned(), Vec::new(), known, rates)?;
    let missing = planned.plan.missing(&planned.known);
    let trials = planned.plan.trials.iter();
    let work: f64 = missing
        .iter()
        .map(|stage| planned.seconds(stage) * stage.config.numerics.threads as f64)
        .sum();
    Ok(NextRun {
        file,
        trials: trials.filter(|trial| !trial.missing(&planned.known).is_empty()).count() as u64,
        tokens: missing.iter().map(|stage| stage.tokens().0).sum(),
        // The sum of nothing is -0.0.
        flops: missing.iter().map(|stage| StagePlan::flops(stage)).sum::<f64>() + 0.0,
        seconds: work / context.slots().max(1) as f64,
    })
}
