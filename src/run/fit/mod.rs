//! Fits laws to the trials of a home and to the runs of anybody's table, keeps them, and asks them.
//!
//! Refuses to know any one law, flags, and how a law is printed.

pub mod audit;
mod batch_curves;
pub mod curve_files;
pub mod file;
pub mod import;
pub mod kept;
mod loss_curves;
mod presets;
mod request;
pub mod source;
pub mod sweep;
pub mod table;

use std::time::Instant;

use serde_json::Value;

use crate::fit::law::{AnyKept, Entry, Kept, Law, Needs, Options};
use crate::fit::laws::{self, LAWS};
use crate::fit::loss::chinchilla::Objective;
use crate::fit::loss::loss_law::HoldOut;
use crate::fit::loss::model_selection::{self, Compare, Tried};
use crate::fit::refusal::Refusal;
use crate::run::context::Context;
use crate::run::failure::Failure;
pub use crate::run::fit::request::{Counts, Request, refused};
use crate::run::fit::source::{Runs, Source};
use crate::store::{FitRow, Store};

/// A law that was fitted and kept.
#[derive(Debug)]
pub struct Fit {
    pub law: AnyKept,
    /// The law that stands below it.
    pub beside: Option<Beside>,
    /// The laws that it was chosen from, the best first; empty: it was asked for.
    pub tried: Vec<Tried>,
}

/// A law that stands below the one that was asked for.
#[derive(Debug)]
pub struct Beside {
    pub name: &'static str,
    /// The law; none where the source is not one that carries it.
    pub law: Option<Result<AnyKept, Refusal>>,
}

impl Fit {
    /// All of it: what is kept, and what is told once.
    pub fn body(&self) -> Value {
        let mut body = self.law.body.clone();
        if let Value::Object(fields) = &mut body {
            fields.extend(self.law.beside.clone());
            fields.extend(self.beside.iter().map(|beside| {
                let law = beside.law.as_ref().and_then(|law| law.as_ref().ok());
                (beside.name.to_owned(), law.map_or(Value::Null, |law| law.body.clone()))
            }));
        }
        body
    }
}

/// Which law is asked for.
#[derive(Debug, Clone)]
pub enum Which {
    /// The one of a rolled hold-out for a sweep, else the first of the list.
    Default,
    /// The one that predicts best where a hold-out is rolled forward.
    Auto,
    /// This one, or of several the one that best predicts the runs held out.
    Named(Vec<&'static Entry>),
}

/// Laws to fit, in turn until one is not refused, what each minimises, and how all that were tried did.
struct Plan {
    laws: Vec<(&'static Entry, Objective)>,
    tried: Vec<Tried>,
    is_auto: bool,
}

impl Plan {
    fn of(law: &'static Entry, objective: Objective, tried: Vec<Tried>) -> Self {
        Self {
            laws: vec![(law, objective)],
            tried,
            is_auto: false,
        }
    }
}

/// Fits a law to what its source has, and keeps it, and the law that stands below it where the source carries that.
pub async fn fit(
    context: &Context,
    store: &mut Store,
    which: &Which,
    source: Source<'_>,
    request: &Request,
) -> Result<Fit, Failure> {
    let (plan, read) = plan(context, store, which, source, request).await?;
    let first = plan.laws[0].0;
    let runs = match read {
        Some(runs) => runs,
        None => source::runs(context, store, first.about.needs, source, request).await?,
    };
    match first_carried(context, store, plan, &runs, request, |_| true).await? {
        Ok((law, tried)) => with_beside(context, store, &runs, request, law, tried).await,
        Err(refusal) => {
            let mut failure = refused(&refusal);
            failure.hints.extend(first.about.beside.and_then(|_| runs.batch_hint()));
            let schedules = first.about.compare.and_then(|_| runs.schedule_hint());
            failure.hints.extend(schedules);
            Err(failure)
        }
    }
}

/// Fits the laws of a plan in turn until the runs carry one that will do; else why they do not carry the first.
async fn first_carried(
    context: &Context,
    store: &mut Store,
    plan: Plan,
    runs: &Runs,
    request: &Request,
    will_do: impl Fn(&AnyKept) -> bool,
) -> Result<Result<(AnyKept, Vec<Tried>), Refusal>, Failure> {
    let mut tried = plan.tried;
    let mut refusals = Vec::new();
    for (law, objective) in plan.laws {
        affordable(law, runs, request)?;
        let data = runs.data(store, law.about.needs).await?;
        let clock = clock();
        let options = Options {
            objective,
            ..options(context, request, &clock)
        };
        match (law.fit)(&data, &options) {
            Ok(fitted) if will_do(&fitted) => return Ok(Ok((told(fitted, &tried, plan.is_auto), tried))),
            Ok(_) => {}
            Err(refusal) => {
                let row = tried.iter_mut().find(|it| it.law == law.about.name);
                if let Some(row) = row.filter(|row| row.refused.is_none()) {
                    row.refused = Some(format!("by all runs: {refusal}"));
                }
                refusals.push(refusal);
            }
        }
    }
    let why = || Refusal::NotIdentified {
        why: "no law of loss over size and tokens suits these runs".to_owned(),
    };
    Ok(Err(refusals.into_iter().next().unwrap_or_else(why)))
}

/// The law of loss over size and tokens that predicts larger runs best, kept.
pub(in crate::run) async fn law_of_loss(
    context: &Context,
    store: &mut Store,
    runs: &Runs,
) -> Result<Result<AnyKept, Refusal>, Failure> {
    let request = Request::default();
    let candidates: Vec<&Entry> = LAWS.iter().filter(|law| law.about.compare.is_some()).collect();
    let plan = auto(context, runs, &request, &candidates);
    let of_loss = |law: &AnyKept| law.kept.law.of_loss().is_some();
    let found = first_carried(context, store, plan, runs, &request, of_loss).await?;
    let Ok((law, _)) = found else {
        return Ok(found.map(|it| it.0));
    };
    keep(context, store, runs.sweep(), law.about.name, &law).await?;
    Ok(Ok(law))
}

/// A fit that says from which laws it was chosen.
fn told(mut fitted: AnyKept, tried: &[Tried], is_auto: bool) -> AnyKept {
    let name = fitted.about.name;
    if let Value::Object(fields) = &mut fitted.body {
        if is_auto {
            fields.insert("chosen".to_owned(), name.into());
        }
        if !tried.is_empty() {
            fields.insert("tried".to_owned(), serde_json::json!(tried));
        }
    }
    fitted
}

/// Keeps a fit and the law that stands below it.
async fn with_beside(
    context: &Context,
    store: &mut Store,
    runs: &Runs,
    request: &Request,
    law: AnyKept,
    tried: Vec<Tried>,
) -> Result<Fit, Failure> {
    let beside = match law.about.beside.and_then(laws::named) {
        None => None,
        Some(entry) => Some(Beside {
            name: entry.about.name,
            law: beside(context, store, entry, runs, request).await?,
        }),
    };
    keep(context, store, runs.sweep(), law.about.name, &law).await?;
    // The law that was asked for is the `last` from now on.
    store.touch_fit(&context.now(), &law.kept.fit).await?;
    Ok(Fit { law, beside, tried })
}

/// The law below another, where the runs are trials of a sweep.
async fn beside(
    context: &Context,
    store: &mut Store,
    law: &Entry,
    runs: &Runs,
    request: &Request,
) -> Result<Option<Result<AnyKept, Refusal>>, Failure> {
    let Some(sweep) = runs.sweep() else {
        return Ok(None);
    };
    let data = runs.data(store, law.about.needs).await?;
    let fitted = (law.fit)(&data, &options(context, request, &clock()));
    if let Ok(kept) = &fitted {
        keep(context, store, Some(sweep), law.about.name, kept).await?;
    }
    Ok(Some(fitted))
}

/// Which laws to fit, and by which objective; with the runs, where they had to be read to tell.
async fn plan(
    context: &Context,
    store: &mut Store,
    which: &Which,
    source: Source<'_>,
    request: &Request,
) -> Result<(Plan, Option<Runs>), Failure> {
    let objective = request.objective.unwrap_or_default();
    let one = |law| Plan::of(law, objective, Vec::new());
    let mut candidates: Vec<&'static Entry> = match which {
        Which::Named(laws) if laws.len() > 1 => {
            let (law, tried, runs) = choose(context, store, laws, source, request).await?;
            return Ok((Plan::of(law, objective, tried), Some(runs)));
        }
        Which::Named(laws) => match laws.first() {
            Some(law) if request.objective_by_hold_out && law.about.compare.is_some() => vec![law],
            first => return Ok((one(first.copied().unwrap_or(&LAWS[0])), None)),
        },
        Which::Default | Which::Auto => LAWS.iter().filter(|law| law.about.compare.is_some()).collect(),
    };
    let runs = source::runs(context, store, Needs::Runs, source, request).await?;
    if matches!(which, Which::Default) && runs.sweep().is_none() {
        if !request.objective_by_hold_out {
            return Ok((one(&LAWS[0]), Some(runs)));
        }
        candidates.truncate(1);
    }
    let plan = Plan {
        is_auto: !matches!(which, Which::Named(_)),
        ..auto(context, &runs, request, &candidates)
    };
    Ok((plan, Some(runs)))
}

/// Laws of loss in the order of how well they predict larger runs.
fn auto(context: &Context, runs: &Runs, request: &Request, candidates: &[&'static Entry]) -> Plan {
    let objectives = match request.objective {
        Some(objective) => vec![objective],
        None => vec![Objective::Huber, Objective::LeastSquares],
    };
    let comparing: Vec<(&'static str, Compare)> = candidates
        .iter()
        .filter_map(|law| Some((law.about.name, law.about.compare?)))
        .collect();
    let choice = model_selection::choose(&comparing, &runs.observations, &objectives, context.cores as usize);
    let laws = choice
        .order
        .iter()
        .filter_map(|(law, objective)| Some((laws::named(law)?, *objective)));
    Plan {
        laws: laws.collect(),
        tried: choice.tried,
        is_auto: true,
    }
}

/// Of several laws of loss the one that best predicts what is held out, and how each did.
async fn choose(
    context: &Context,
    store: &mut Store,
    laws: &[&'static Entry],
    source: Source<'_>,
    request: &Request,
) -> Result<(&'static Entry, Vec<Tried>, Runs), Failure> {
    let comparing = laws.iter().filter_map(|law| Some((law.about.name, law.about.compare?)));
    let comparing: Vec<(&'static str, Compare)> = comparing.collect();
    if comparing.len() < laws.len() || request.hold_out == HoldOut::None {
        let those = laws::names(|about| about.compare.is_some()).join(",");
        return Err(Failure::invalid(
            "usage",
            format!("several laws are compared on the runs held out, and only laws of loss compare: {those}"),
            "name one law, or leave `--hold-out` as it is",
        ));
    }
    let runs = source::runs(context, store, Needs::Runs, source, request).await?;
    let objective = request.objective.unwrap_or_default();
    let tried = model_selection::try_all(&comparing, &runs.observations, objective, request.hold_out);
    let tried = tried.map_err(|refusal| refused(&refusal))?;
    let best = tried.first().and_then(|best| laws::named(best.law)).unwrap_or(laws[0]);
    Ok((best, tried, runs))
}

/// Refuses what would take hours: every draw fits every run anew.
fn affordable(law: &Entry, runs: &Runs, request: &Request) -> Result<(), Failure> {
    // Runs held out are predicted by further fits, also without a bootstrap.
    const FITS: usize = 50;
    let (count, bootstrap) = (runs.observations.len(), request.bootstrap);
    let Some(work_max) = law.about.work_max.filter(|max| count * bootstrap.max(FITS) > *max) else {
        return Ok(());
    };
    let most = if count * FITS > work_max {
        "sample the rows: a law of five constants needs no more".to_owned()
    } else {
        format!("`--bootstrap {}` at most, or sample the rows", work_max / count)
    };
    let message = format!(
        "`{}` has {count} runs; {bootstrap} draws of a law on them would take hours",
        runs.name
    );
    Err(Failure::invalid("too_many_rows", message, &most))
}

/// Milliseconds from now on.
fn clock() -> impl Fn() -> f64 {
    let began = Instant::now();
    move || began.elapsed().as_secs_f64() * 1000.0
}

fn options<'a>(context: &Context, request: &Request, clock: &'a dyn Fn() -> f64) -> Options<'a> {
    Options {
        objective: request.objective.unwrap_or_default(),
        hold_out: request.hold_out,
        bootstrap: request.bootstrap,
        threads: context.cores as usize,
        clock,
    }
}

/// Fits one law, whose type is known, and keeps it; the outer error is that of the home.
pub(in crate::run) async fn fit_one<L: Law>(
    context: &Context,
    store: &mut Store,
    runs: &Runs,
) -> Result<Result<Kept<L::Fit>, Refusal>, Failure> {
    let data = runs.data(store, L::ABOUT.needs).await?;
    let found = match L::fit(&data, &options(context, &Request::default(), &clock())) {
        Ok(found) => found,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let kept = found.kept(data.source);
    let row = FitRow {
        fit: kept.fit.clone(),
        sweep: runs.sweep().map(str::to_owned),
        law: L::ABOUT.name.to_owned(),
        body: kept.body(L::ABOUT.name, L::ABOUT.left_out),
    };
    store.add_fit(&context.now(), &row).await?;
    Ok(Ok(kept))
}

async fn keep(
    context: &Context,
    store: &mut Store,
    sweep: Option<&str>,
    law: &str,
    fitted: &AnyKept,
) -> Result<(), Failure> {
    let row = FitRow {
        fit: fitted.kept.fit.clone(),
        sweep: sweep.map(str::to_owned),
        law: law.to_owned(),
        body: fitted.body.clone(),
    };
    Ok(store.add_fit(&context.now(), &row).await?)
}
