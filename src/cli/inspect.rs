//! `sandbox show` and `sandbox logs`: one trial from close by.

use clap::Args;

use crate::cli::log_text::logs_text;
use crate::cli::output::{Output, number, table};
use crate::cli::study;
use crate::protocol::Spent;
use crate::record::TrialRow;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::home::status::{TrialStatus, logs_of, trial_status, whole};
use crate::store::Store;
use crate::units::{human_count, whole_count};

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The trial (its name, the beginning of it, or its slug), or a fit or a recipe: what it rests on; or a study: its story
    #[arg(value_name = "TRIAL|FIT|RECIPE|STUDY")]
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// The trial: its name, the beginning of it, or its slug
    trial: String,
}

pub(super) async fn show(context: &Context, args: &ShowArgs, output: &Output) -> Result<u8, Failure> {
    let mut store = context.store().await?;
    if let Some(view) = study::told(context, &mut store, &args.name).await? {
        output.result(&view, std::slice::from_ref(&view.study), || study::human(&view))?;
        return Ok(0);
    }
    let row = match find(&mut store, &args.name).await {
        Err(failure) if failure.code == "unknown_trial" => {
            return show_kept(&mut store, &args.name, failure, output).await;
        }
        found => found?,
    };
    let view = trial_status(&mut store, row).await?;
    output.result(&view, std::slice::from_ref(&view.row.trial), || human(&view))?;
    Ok(0)
}

/// A fit or a recipe, with everything that is kept of it: a fit names the trials that it rests on, a recipe its fits.
async fn show_kept(store: &mut Store, name: &str, unknown: Failure, output: &Output) -> Result<u8, Failure> {
    let fit = store.fits(name).await?.into_iter().next();
    let body = match fit {
        Some(fit) => Some(fit.body),
        None => store.recipe(name).await?,
    };
    let Some(body) = body.filter(|_| name.len() >= 4) else {
        return Err(unknown);
    };
    output.result(&body, &[name.to_owned()], || format!("{body:#}"))?;
    Ok(0)
}

/// The one trial that is meant.
pub(super) async fn find(store: &mut Store, name: &str) -> Result<TrialRow, Failure> {
    let is_meant = |row: &TrialRow| row.slug == name || (name.len() >= 4 && row.trial.starts_with(name));
    let mut found: Vec<TrialRow> = store.trials(None).await?.into_iter().filter(is_meant).collect();
    if found.is_empty() {
        // Each sweep has a name of its own for a trial that several ask for.
        for sweep in store.sweeps().await? {
            let trials = store.trials(Some(&sweep.sweep)).await?;
            found.extend(trials.into_iter().filter(is_meant));
        }
        found.sort_by(|a, b| (&a.trial, &a.sweep).cmp(&(&b.trial, &b.sweep)));
        found.dedup_by(|a, b| a.trial == b.trial);
    }
    match (found.pop(), found.len()) {
        (Some(row), 0) => Ok(row),
        (None, _) => Err(Failure::invalid(
            "unknown_trial",
            format!("there is no trial `{name}`"),
            "`sandbox plan FILE --all` and `sandbox export` list them; four characters of a name are enough",
        )),
        (Some(_), others) => Err(Failure::invalid(
            "ambiguous_trial",
            format!("`{name}` is the beginning of {} trials", others + 1),
            "give more characters of its name",
        )),
    }
}

fn human(view: &TrialStatus) -> String {
    let row = &view.row;
    let mut text = format!(
        "{} {} ({}): {}\n{} parameters ({} with the embedding), {} tokens in {} steps, lr {}, batch {}, {}, seed {}\n\
         final loss {} nats/token, {} bits/byte; config {}, data {}\n",
        row.trial,
        row.slug,
        row.sweep,
        row.state.name(),
        human_count(row.params_non_embedding as f64),
        human_count(row.params_total as f64),
        human_count(row.tokens as f64),
        row.steps,
        row.lr,
        whole_count(row.batch_tokens),
        row.schedule.name(),
        row.seed,
        number(row.final_loss, 4),
        number(row.bits_per_byte, 4),
        row.config_hash,
        row.data_hash
    );
    let rows: Vec<Vec<String>> = view
        .stages
        .iter()
        .flat_map(|stage| {
            let head = vec![
                stage.row.stage.clone(),
                stage.row.kind.name().to_owned(),
                format!(
                    "{}..{}",
                    human_count(stage.row.from_tokens as f64),
                    human_count(stage.row.to_tokens as f64)
                ),
                stage.row.state.name().to_owned(),
                String::new(),
                number(stage.row.seconds, 1),
                format!("{} trials pass through it", stage.row.trials),
            ];
            let attempts = stage.attempts_made.iter().map(|attempt| {
                vec![
                    String::new(),
                    String::new(),
                    attempt.started_at.clone(),
                    attempt.state.clone(),
                    attempt.attempt.to_string(),
                    number(attempt.seconds, 1),
                    attempt
                        .message
                        .clone()
                        .or_else(|| attempt.cause.clone())
                        .or_else(|| attempt.spent.map(spent_text))
                        .unwrap_or_default(),
                ]
            });
            std::iter::once(head).chain(attempts)
        })
        .collect();
    text.push('\n');
    text.push_str(&table(
        &["stage", "kind", "tokens", "state", "attempt", "seconds", ""],
        &rows,
    ));
    text.push_str(&format!(
        "\n\n{}",
        serde_json::to_string_pretty(&view.settings).unwrap_or_default()
    ));
    text
}

/// Where the time of an attempt went, in shares of all that its worker tells.
fn spent_text(spent: Spent) -> String {
    let parts = [
        ("steps", spent.step),
        ("data", spent.data),
        ("lines", spent.lines),
        ("states", spent.checkpoint),
        ("evaluation", spent.evaluation),
        ("opening", spent.load),
    ];
    let all: f64 = parts.iter().map(|(_, seconds)| seconds).sum();
    let share = |(name, seconds): &(&str, f64)| format!("{name} {:.1} %", 100.0 * seconds / all.max(1e-9));
    parts.iter().map(share).collect::<Vec<_>>().join(", ")
}

pub(super) async fn logs(context: &Context, args: &LogsArgs, output: &Output) -> Result<u8, Failure> {
    let mut store = context.store().await?;
    let row = find(&mut store, &args.trial).await?;
    let views = logs_of(context, &mut store, &row, whole).await?;
    output.result(&views, &[], || logs_text(&views))?;
    Ok(0)
}
