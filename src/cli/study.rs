//! `sandbox study`: from data, target and budget to a recipe that was tested.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::campaign::foresee::{Foreseen, Outlook};
use crate::campaign::frame::Frame;
use crate::campaign::state::{Design, End, Made};
use crate::cli::cluster::ClusterArgs;
use crate::cli::data::cargo_home;
use crate::cli::next;
use crate::cli::output::{Output, table};
use crate::cli::progress::Display;
use crate::cli::recipe_text::recipe_text;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::study::drive::{self, Event, How};
use crate::run::study::open;
use crate::run::study::view::{DecisionView, StudyView, line};
use crate::run::train::cluster::Cluster;
use crate::store::Store;
use crate::units::{human_count, human_seconds};

#[derive(Debug, Args)]
pub(super) struct StudyArgs {
    /// The study file (`sandbox init --study` writes one)
    file: PathBuf,
    /// Show the sizes, the questions with their runs and costs, and what the budget cannot decide; train nothing
    #[arg(long, conflicts_with_all = ["follow", "status"])]
    dry_run: bool,
    /// With `--json`, print each decision as a line of its own before the last word
    #[arg(long)]
    follow: bool,
    /// Show how far it is; train nothing
    #[arg(long, conflicts_with = "follow")]
    status: bool,
    /// How the next runs of the law are chosen: chosen (those that say most of the target for their cost), random,
    /// cheapest, grid
    #[arg(long, value_name = "DESIGN", default_value = Design::Chosen.name(), value_parser = design)]
    design: Design,
    /// Workers at once (default: as many as the cores carry)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1024))]
    workers: Option<u64>,
    #[command(flatten)]
    cluster: ClusterArgs,
}

fn design(text: &str) -> Result<Design, String> {
    Design::parse(text).ok_or_else(|| format!("`{text}` is no design; there is {}", Design::WORDS.join(", ")))
}

pub(super) async fn study(context: &Context, args: &StudyArgs, output: &Output) -> Result<u8, Failure> {
    if args.status {
        return status(context, &args.file, output).await;
    }
    let (cluster, context) = args.cluster.cluster(context)?;
    let opened = open::open(&context, &args.file, cargo_home(), &mut |word| output.note(word))?;
    if args.dry_run {
        let mut store = if context.workdir.database().exists() {
            Some(context.store().await?)
        } else {
            None
        };
        let workers = cluster.as_ref().map(Cluster::workers);
        let outlook = open::outlook(&context, store.as_mut(), &opened, workers).await?;
        return dry_run(&context, &args.file, &outlook, output);
    }
    let how = How {
        design: args.design,
        workers: args.workers,
        cluster,
    };
    let mut display = Display::new(*output);
    let follows = args.follow && output.is_json();
    let ended = drive::run(&context, &opened, &how, &mut |event| {
        show(event, &mut display, *output, follows);
    })
    .await;
    display.close();
    let (view, code) = ended?;
    output.result(&view, std::slice::from_ref(&view.study), || human(&view))?;
    next::say(&context, output, &format!("report {}", view.study));
    Ok(code)
}

/// Shows what happens; a decision is a line, in JSON where somebody follows.
fn show(event: Event<'_>, display: &mut Display, output: Output, follows: bool) {
    match event {
        Event::Training(progress) => display.show(&progress),
        Event::Word(word) => output.note(word),
        Event::Decided(made) => {
            display.close();
            if follows {
                follow(made);
            } else {
                output.note(&line(made));
            }
        }
        Event::Concluded(made) if follows => follow(made),
        Event::Concluded(made) => {
            display.close();
            let outcome = made.outcome.as_deref().unwrap_or_default();
            output.note(&format!("{}. {} → {outcome}", made.n, made.question));
        }
    }
}

/// A decision as a line of JSON; when it is done, once more with what it changed.
fn follow(made: &Made) {
    if let Ok(text) = serde_json::to_string(&DecisionView::from(made))
        && writeln!(std::io::stdout().lock(), "{text}").is_err()
    {
        // Nobody listens any more; the log has it.
    }
}

async fn status(context: &Context, file: &Path, output: &Output) -> Result<u8, Failure> {
    let (study, _) = open::read(file)?;
    let mut store = context.store().await?;
    let view = drive::status(context, &mut store, &study).await?;
    output.result(&view, std::slice::from_ref(&view.study), || human(&view))?;
    Ok(0)
}

/// The story of a study that is named; none: there is no such study.
pub(super) async fn told(context: &Context, store: &mut Store, name: &str) -> Result<Option<StudyView>, Failure> {
    drive::named(context, store, name).await
}

#[derive(Debug, Serialize)]
struct OutlookView<'a> {
    rungs: Vec<Rung<'a>>,
    tokens: &'a [u64],
    steps: &'a [Foreseen],
    cannot: &'a [String],
    /// FLOPs per second of the whole machine.
    flops_per_second: f64,
}

/// A size of a study.
#[derive(Debug, Serialize)]
struct Rung<'a> {
    model: &'a str,
    params: u64,
    /// `law`, or `forecast`.
    role: &'static str,
}

fn rungs(frame: &Frame) -> Vec<Rung<'_>> {
    let law = frame.models.iter().map(|model| Rung {
        model,
        params: Frame::params(model),
        role: "law",
    });
    let ahead = frame.ahead.iter().map(|model| Rung {
        model,
        params: Frame::params(model),
        role: "forecast",
    });
    law.chain(ahead).collect()
}

fn dry_run(context: &Context, file: &Path, outlook: &Outlook, output: &Output) -> Result<u8, Failure> {
    let view = OutlookView {
        rungs: rungs(&outlook.frame),
        tokens: &outlook.frame.tokens,
        steps: &outlook.steps,
        cannot: &outlook.cannot,
        flops_per_second: outlook.frame.flops_per_second,
    };
    let names: Vec<String> = outlook.steps.iter().map(|step| step.question.to_owned()).collect();
    output.result(&view, &names, || outlook_text(outlook))?;
    next::say(
        context,
        output,
        &format!("study {}", next::quoted(&file.display().to_string())),
    );
    Ok(0)
}

fn outlook_text(outlook: &Outlook) -> String {
    let frame = &outlook.frame;
    let tokens: Vec<String> = frame.tokens.iter().map(|count| human_count(*count as f64)).collect();
    let ahead = frame
        .ahead
        .as_ref()
        .map_or_else(String::new, |model| format!("; foretold: {model}"));
    let mut text = format!(
        "sizes of the law: {}{ahead}\ntokens of each: {}; batches of {}, context {}; {:.2e} FLOP/s here\n\n",
        frame.models.join(", "),
        tokens.join(", "),
        frame.batch_tokens,
        frame.context,
        frame.flops_per_second
    );
    let rows: Vec<Vec<String>> = outlook
        .steps
        .iter()
        .map(|step| {
            vec![
                step.question.to_owned(),
                step.cost.trials.to_string(),
                human_count(step.cost.tokens as f64),
                format!("{:.1e}", step.cost.flops),
                human_seconds(step.cost.seconds),
                if step.affordable {
                    String::new()
                } else {
                    "beyond the budget".to_owned()
                },
                step.why.clone(),
            ]
        })
        .collect();
    text.push_str(&table(
        &["question", "trials", "tokens", "FLOP", "time", "", "what it decides"],
        &rows,
    ));
    text.push_str(
        "\n\nfirst grids; they are widened where a best value lies at an edge, and what is trained already is free",
    );
    for cannot in &outlook.cannot {
        text.push_str(&format!("\ncannot decide {cannot}"));
    }
    text
}

/// A study for people: its story, then its recipe.
pub(super) fn human(view: &StudyView) -> String {
    let budget = view.budget;
    let mut text = format!(
        "{}: {}; {} of {} {} spent\n",
        view.study,
        view.state
            .map_or("not ended", |state| End::parse(state).map_or(state, words)),
        human_count(budget.spent),
        human_count(budget.limit),
        budget.kind.name()
    );
    for it in &view.decisions {
        let outcome = it.outcome.as_deref().unwrap_or("not done yet");
        let cost = if it.tokens > 0 {
            format!(" ({} tokens)", human_count(it.tokens as f64))
        } else {
            String::new()
        };
        text.push_str(&format!(
            "\n{:>2}. {}: {}{cost}\n    why: {}\n    → {outcome}",
            it.n, it.question, it.what, it.why
        ));
    }
    if let Some(recipe) = &view.recipe {
        text.push_str("\n\n");
        text.push_str(&recipe_text(&view.study, recipe));
    }
    text
}

fn words(end: End) -> &'static str {
    match end {
        End::Verified => "verified: every gate passes",
        End::Partly => "ended; partly verified",
        End::Budget => "ended by its budget",
        End::NothingToGain => "ended: nothing it could buy would change the recipe",
    }
}
