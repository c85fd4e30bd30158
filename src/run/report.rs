//! From a sweep and its laws to a page: maps what was fitted to what is shown, and writes the files.

use std::path::Path;

use serde::Serialize;

use crate::draw;
use crate::fit::law::{Kept, Place};
use crate::fit::laws::BatchFit;
use crate::recipe::Recipe;
use crate::recipe::evidence::{Ask, Size};
use crate::recipe::forecast::Score;
use crate::record::TrialRow;
use crate::report;
use crate::report::curves::Curves;
use crate::report::figures::lr_sweeps::bowls_of;
use crate::report::figures::rate_batch::of_law;
use crate::report::law_view::LawInput;
use crate::report::sections::LeftOut;
use crate::report::study::{Other, RateLaw, Study};
use crate::run::context::Context;
use crate::run::failure::{Failure, exit, unless_refused};
use crate::run::figure_files::{FigureFiles, write_page};
use crate::run::fit::kept;
use crate::run::fit::sweep::{self, Laws};
use crate::run::page_laws::{LossParts, NO_LAW, batch_rule, rate_law, sentence};
use crate::run::recipe::advise::{self, Batch};
use crate::run::study::told;
use crate::run::sweep_set::SweepSet;
use crate::store::Store;
use crate::study::beside::beside;
use crate::study::{self, select};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Written {
    pub html: String,
    /// The figures beside it.
    pub figures: Vec<FigureFiles>,
    /// Trials without a final loss, and why.
    pub left_out: Vec<study::LeftOut>,
    /// Points that are drawn.
    pub points_shown: u64,
    /// Points that are recorded.
    pub points_total: u64,
}

/// Writes the report of a sweep, or of several as one study, into a folder.
pub async fn report(
    context: &Context,
    store: &mut Store,
    sweeps: &SweepSet,
    beside: Option<&SweepSet>,
    folder: &Path,
) -> Result<Written, Failure> {
    let sweep = sweeps.name();
    let trials = sweeps.trials(store).await?;
    let other = match beside {
        Some(other) => Some((other.name(), other.trials(store).await?)),
        None => None,
    };
    let other = other.as_ref().map(|(name, trials)| Other { name, trials });
    if let Some(other) = other {
        shares_cells(&trials, sweep, other)?;
    }
    let mut curves = Curves::new(&trials);
    let wanted = curves.wanted();
    sweeps
        .each_point_of(store, &trials, &wanted, &mut |point| curves.add(&point))
        .await?;
    curves.set_total(sweeps.count_points(store).await?);
    let fitted = fit(context, store, sweeps).await?;
    let score = store.newest_score(sweep).await?.map(serde_json::from_value::<Score>);
    let score = score.and_then(Result::ok);
    let questions: Vec<&str> = sweeps
        .sweeps()
        .iter()
        .filter_map(|row| row.description.as_deref())
        .collect();
    let question = (!questions.is_empty()).then(|| questions.join(" "));
    let told = told::story(store, sweep).await?;
    let question = told.as_ref().map_or(question, |told| told.question.clone());
    let shown = Shown {
        sweep,
        question: question.as_deref(),
        trials: &trials,
        curves: &curves,
        forecast: score.as_ref(),
        beside: other,
    };
    let mut view = view(&shown, &fitted);
    view.story = told.map(|told| told.table);
    let left_out = view
        .left_out
        .iter()
        .map(|it| study::LeftOut::from((it.trial.clone(), it.reason.clone())));
    write(folder, &view, left_out.collect())
}

/// Refuses two studies of which no cell compares.
fn shares_cells(trials: &[TrialRow], name: &str, other: Other<'_>) -> Result<(), Failure> {
    let Other {
        name: other,
        trials: others,
    } = other;
    if !beside(trials, others).cells.is_empty() {
        return Ok(());
    }
    let message =
        format!("no finished run of `{name}` has one of `{other}` with equal size, budget and rate beside it");
    let hint =
        "studies stand side by side where they differ in settings that are one in each, such as the batch or the data";
    Err(Failure::invalid("nothing_compares", message, hint))
}

/// What is fitted to a sweep or study for its page.
struct OfSweep {
    laws: Result<Laws, Failure>,
    batch: Option<Kept<BatchFit>>,
    recipe: Option<Recipe>,
}

/// A law that is refused is shown as such; a sweep that has not finished has a page too.
async fn fit(context: &Context, store: &mut Store, sweeps: &SweepSet) -> Result<OfSweep, Failure> {
    let laws = match sweep::laws(context, store, sweeps).await {
        Ok(laws) => laws,
        Err(failure) if failure.exit == exit::REFUSED => {
            return Ok(OfSweep {
                laws: Err(failure),
                batch: None,
                recipe: None,
            });
        }
        Err(failure) => return Err(failure),
    };
    let ask = Ask {
        params: sweeps.target_params(),
        size: Size::Optimal,
        beyond: false,
    };
    let batch = Batch::of(context, store, &laws).await?;
    let advice = unless_refused(advise::advise(context, store, sweeps, &laws, &batch, &ask).await)?;
    let recipe = advice.ok().map(|advice| advice.recipe);
    Ok(OfSweep {
        laws: Ok(laws),
        batch: batch.equal_loss,
        recipe,
    })
}

/// Writes the page of one kept law into a folder: of loss, or of learning rate and batch; of a sweep or of somebody's table.
pub async fn report_law(store: &mut Store, fit: &str, folder: &Path) -> Result<Written, Failure> {
    let any = kept::drawn_law(store, fit).await?;
    let kept = &any.kept;
    let parts = LossParts::new(&any, &[]);
    let spread = |params: f64, tokens: f64| {
        let place = Place {
            params,
            tokens,
            batch_tokens: None,
        };
        kept.law.at(place)?.loss
    };
    let predict = |params: f64, tokens: f64| spread(params, tokens).map(|loss| loss.mean);
    let source = kept.source.clone().unwrap_or_default();
    let mut view = report::build(&Study {
        sweep: &Path::new(&source).file_name().unwrap_or_default().to_string_lossy(),
        question: None,
        trials: &[],
        curves: &Curves::new(&[]),
        bowls: &[],
        rates: None,
        batch: None,
        laws: &[parts.input(&predict, &spread)],
        recipe: None,
        forecast: None,
        beside: None,
    });
    if let Some(fit) = kept::lr_batch(&any)? {
        view.figures = of_law::figures(&fit.law);
        // Its questions are those of a law of loss.
        view.checklist = Vec::new();
    }
    view.left_out = kept
        .left_out
        .iter()
        .map(|it| LeftOut {
            trial: String::new(),
            slug: it.trial.clone(),
            reason: it.reason.clone(),
        })
        .collect();
    let hash = kept.data_hash.clone().unwrap_or_default();
    view.provenance = [("runs", source), ("hash of the runs", hash), ("fit", kept.fit.clone())]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
    write(folder, &view, kept.left_out.clone())
}

/// Draws a view and writes its files.
fn write(folder: &Path, view: &report::ReportView, left_out: Vec<study::LeftOut>) -> Result<Written, Failure> {
    let figures = draw::figures(view)
        .map_err(|error| Failure::new(exit::INTERNAL, "draw", error.to_string(), "please report this"))?;
    let (html, figures) = write_page(folder, &draw::page(view, &figures), &figures)?;
    Ok(Written {
        html,
        figures,
        left_out,
        points_shown: view.points_shown,
        points_total: view.points_total,
    })
}

/// What a page shows beside laws and recipe.
struct Shown<'a> {
    sweep: &'a str,
    question: Option<&'a str>,
    trials: &'a [TrialRow],
    curves: &'a Curves,
    forecast: Option<&'a Score>,
    /// Another study and its trials.
    beside: Option<Other<'a>>,
}

fn view(shown: &Shown<'_>, fitted: &OfSweep) -> report::ReportView {
    let Shown { trials, .. } = *shown;
    let laws = &fitted.laws;
    let groups = laws.as_ref().ok().and_then(|laws| laws.lr.as_ref().ok());
    let of_rate = laws.as_ref().ok().and_then(|laws| laws.of_rate.trials.as_deref());
    let of_rate = select::lr_grids(of_rate.unwrap_or_default()).0;
    let bowls = groups.map(|kept| bowls_of(&of_rate, &kept.law.groups));
    let bowls = bowls.unwrap_or_default();
    let parts = match laws {
        Ok(Laws { loss: Ok(any), .. }) => Ok(LossParts::new(any, trials)),
        Ok(Laws { loss: Err(refusal), .. }) => Err(sentence(&refusal.to_string(), refusal.code())),
        Err(failure) => Err(sentence(&failure.message, failure.code)),
    };
    let of_loss = laws.as_ref().ok().and_then(Laws::of_loss);
    let predict = |params: f64, tokens: f64| of_loss.map(|(_, law)| law.loss(params, tokens));
    let spread = |params: f64, tokens: f64| of_loss.map(|(_, law)| law.predict(params, tokens));
    let law = match &parts {
        Ok(parts) => parts.input(&predict, &spread),
        Err(why) => LawInput {
            refused: Some(why),
            ..NO_LAW
        },
    };
    let lr = laws.as_ref().ok().and_then(|laws| laws.lr.as_ref().ok());
    let best_rate = |params: f64, tokens: f64| lr.map_or(f64::NAN, |kept| kept.law.predict(params, tokens).lr.value);
    let rate_interval = |params: f64, tokens: f64| lr.and_then(|kept| kept.law.predict(params, tokens).lr.ci95);
    let rates = lr.map(|kept| RateLaw {
        interval: Some(&rate_interval),
        ..rate_law(&kept.law, &best_rate)
    });
    let batch = fitted.batch.as_ref();
    let best_batch = |tokens: f64| batch.map_or(f64::NAN, |kept| kept.law.law.by_tokens.at(tokens).value);
    let batch = batch.map(|kept| batch_rule(&kept.law, &best_batch));
    report::build(&Study {
        sweep: shown.sweep,
        question: shown.question,
        trials,
        curves: shown.curves,
        bowls: &bowls,
        rates: rates.as_ref(),
        batch: batch.as_ref(),
        laws: &[law],
        recipe: fitted.recipe.as_ref(),
        forecast: shown.forecast,
        beside: shown.beside.as_ref(),
    })
}
