//! From a sweep and its laws to a page: maps what was fitted to what is shown, and writes the files.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use crate::draw;
use crate::fit::loss::loss_fit::LossFit;
use crate::recipe::Recipe;
use crate::recipe::build::{Ask, Size};
use crate::record::TrialRow;
use crate::report;
use crate::report::curves::Curves;
use crate::report::law_view::{Constant, HeldOut, LawInput, LawPoint, Predict};
use crate::report::sections::LeftOut;
use crate::report::study::{BestLr, LrBowl, LrPoint, Study};
use crate::run::context::Context;
use crate::run::failure::{Failure, exit, unless_refused};
use crate::run::fit::batch::KeptBatch;
use crate::run::fit::loss::{self, Kept, Laws, Request};
use crate::run::fit::page;
use crate::run::fit::predict;
use crate::run::recipe::advise::{self, Batch};
use crate::run::recipe::page::recipe_input;
use crate::run::sweep_set::SweepSet;
use crate::store::Store;
use crate::study;
use crate::units::{human_count, significant};
use crate::workdir::write_atomic;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Written {
    /// The page.
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

/// The files of one figure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FigureFiles {
    /// Its name.
    pub name: String,
    /// The SVG file.
    pub svg: String,
    /// The PNG file.
    pub png: String,
}

/// The size that a recipe on a page is for, where the sweep names none: `MiniCPM-2.4B`.
const TARGET_PARAMS: f64 = 2.4e9;

/// Writes the report of a sweep, or of several as one study, into a folder.
pub async fn report(
    context: &Context,
    store: &mut Store,
    sweeps: &SweepSet,
    folder: &Path,
) -> Result<Written, Failure> {
    let sweep = sweeps.name();
    let trials = sweeps.trials(store).await?;
    let mut curves = Curves::new(&trials);
    let wanted = curves.wanted();
    sweeps
        .each_point_of(store, &trials, &wanted, &mut |point| curves.add(&point))
        .await?;
    curves.set_total(sweeps.count_points(store).await?);
    let fitted = fit(context, store, sweeps).await?;
    let questions: Vec<&str> = sweeps
        .sweeps()
        .iter()
        .filter_map(|row| row.description.as_deref())
        .collect();
    let question = (!questions.is_empty()).then(|| questions.join(" "));
    let view = view(sweep, question.as_deref(), &trials, &curves, &fitted);
    let left_out = view.left_out.iter().map(|it| (it.trial.clone(), it.reason.clone()));
    write(folder, &view, left_out.collect())
}

/// What is fitted to a sweep or study for its page.
struct Fitted {
    laws: Result<Laws, Failure>,
    batch: Option<KeptBatch>,
    recipe: Option<Recipe>,
}

/// A law that is refused is shown as such; a sweep that has not finished has a page too.
async fn fit(context: &Context, store: &mut Store, sweeps: &SweepSet) -> Result<Fitted, Failure> {
    let laws = match loss::fit_sweeps(context, store, sweeps, &Request::default()).await {
        Ok(laws) => laws,
        Err(failure) if failure.exit == exit::REFUSED => {
            return Ok(Fitted {
                laws: Err(failure),
                batch: None,
                recipe: None,
            });
        }
        Err(failure) => return Err(failure),
    };
    let targets = sweeps.sweeps().iter().filter_map(|row| row.target_params);
    let ask = Ask {
        params: targets.max().map_or(TARGET_PARAMS, |params| params as f64),
        size: Size::Optimal,
    };
    let batch = Batch::of(context, store, sweeps.name(), &laws).await?;
    let recipe = unless_refused(advise::advise(context, store, sweeps, &laws, &batch, &ask).await)?.ok();
    Ok(Fitted {
        laws: Ok(laws),
        batch: batch.equal_loss,
        recipe,
    })
}

/// Writes the page of one kept law of loss into a folder: of a sweep or of somebody's table.
pub async fn report_law(store: &mut Store, fit: &str, folder: &Path) -> Result<Written, Failure> {
    let kept = predict::kept_loss_law(store, fit).await?;
    let left_out = kept
        .left_out
        .iter()
        .map(|it| (it.trial.clone(), it.reason.clone()))
        .collect();
    let parts = LossParts::new(&kept, &[]);
    let point = kept.law.point();
    let predict = |params: f64, tokens: f64| Some(point.loss(params, tokens));
    let source = Path::new(&kept.source);
    let mut view = report::build(&Study {
        sweep: &source.file_name().unwrap_or_default().to_string_lossy(),
        question: None,
        trials: &[],
        curves: &Curves::new(&[]),
        bowls: &[],
        rates: None,
        batch: None,
        laws: &[parts.input(&predict)],
        recipe: None,
    });
    view.left_out = kept
        .left_out
        .iter()
        .map(|it| LeftOut {
            trial: String::new(),
            slug: it.trial.clone(),
            reason: it.reason.clone(),
        })
        .collect();
    view.provenance = [
        ("runs", &kept.source),
        ("hash of the runs", &kept.data_hash),
        ("fit", &kept.fit),
    ]
    .map(|(name, value)| (name.to_owned(), value.clone()))
    .into();
    write(folder, &view, left_out)
}

/// Draws a view and writes its files.
fn write(folder: &Path, view: &report::ReportView, left_out: Vec<(String, String)>) -> Result<Written, Failure> {
    let figures = draw::figures(view)
        .map_err(|error| Failure::new(exit::INTERNAL, "draw", error.to_string(), "please report this"))?;
    let page = draw::page(view, &figures);
    let mut files = Vec::new();
    for figure in &figures {
        let svg = folder.join(format!("{}.svg", figure.name));
        let png = folder.join(format!("{}.png", figure.name));
        write_atomic(&svg, figure.svg.as_bytes())?;
        write_atomic(&png, &figure.png)?;
        files.push(FigureFiles {
            name: figure.name.clone(),
            svg: svg.display().to_string(),
            png: png.display().to_string(),
        });
    }
    let html = folder.join("index.html");
    write_atomic(&html, page.as_bytes())?;
    Ok(Written {
        html: html.display().to_string(),
        figures: files,
        left_out: left_out
            .into_iter()
            .map(|(trial, reason)| study::LeftOut { trial, reason })
            .collect(),
        points_shown: view.points_shown,
        points_total: view.points_total,
    })
}

fn view(
    sweep: &str,
    question: Option<&str>,
    trials: &[TrialRow],
    curves: &Curves,
    fitted: &Fitted,
) -> report::ReportView {
    let laws = &fitted.laws;
    let bowls = laws.as_ref().map(|laws| bowls(laws, trials)).unwrap_or_default();
    let recipe = fitted.recipe.as_ref().map(recipe_input);
    let parts = match laws {
        Ok(Laws { loss: Ok(kept), .. }) => Ok(LossParts::new(kept, trials)),
        Ok(Laws { loss: Err(refusal), .. }) => Err(format!("{}: {refusal}", refusal.code())),
        Err(failure) => Err(format!("{}: {}", failure.code, failure.message)),
    };
    let point = match laws {
        Ok(Laws { loss: Ok(kept), .. }) => Some(kept.law.point()),
        Ok(Laws { loss: Err(_), .. }) | Err(_) => None,
    };
    let predict = |params: f64, tokens: f64| point.map(|law| law.loss(params, tokens));
    let law = match &parts {
        Ok(parts) => parts.input(&predict),
        Err(why) => LawInput {
            refused: Some(why),
            ..NO_LAW
        },
    };
    let lr = laws.as_ref().ok().and_then(|laws| laws.lr.as_ref().ok());
    let best_rate = |params: f64, tokens: f64| lr.map_or(f64::NAN, |kept| kept.law.predict(params, tokens).lr.value);
    let rates = lr.map(|kept| page::rate_law(&kept.law, &best_rate));
    let batch = fitted.batch.as_ref();
    let best_batch = |tokens: f64| batch.map_or(f64::NAN, |kept| kept.law.by_tokens.at(tokens).value);
    let batch = batch.map(|kept| page::batch_rule(kept, &best_batch));
    report::build(&Study {
        sweep,
        question,
        trials,
        curves,
        bowls: &bowls,
        rates: rates.as_ref(),
        batch: batch.as_ref(),
        laws: &[law],
        recipe: recipe.as_ref(),
    })
}

/// The law of loss before anything is known of it.
const NO_LAW: LawInput<'static> = LawInput {
    law: "chinchilla",
    fit: None,
    formula: "L(N, D) = E + A / N^α + B / D^β",
    params_are: "params_non_embedding",
    refused: None,
    constants: &[],
    facts: &[],
    warnings: &[],
    points: &[],
    held: &[],
    predict: None,
};

/// What a page says of a law of loss.
struct LossParts {
    fit: String,
    params_are: String,
    held: Vec<HeldOut>,
    constants: Vec<Constant>,
    facts: Vec<(String, String)>,
    warnings: Vec<String>,
    points: Vec<LawPoint>,
}

impl LossParts {
    fn new(kept: &Kept<LossFit>, trials: &[TrialRow]) -> Self {
        let law = &kept.law;
        let constants = [("E", "nats/token"), ("A", ""), ("alpha", ""), ("B", ""), ("beta", "")]
            .into_iter()
            .map(|(name, unit)| Constant {
                name: name.to_owned(),
                value: law.parameters[name].value,
                ci95: law.parameters[name].ci95,
                unit: unit.to_owned(),
            })
            .collect();
        let models: BTreeMap<&str, &str> = trials
            .iter()
            .map(|row| (row.trial.as_str(), row.model.as_str()))
            .collect();
        // A run of a table is called by its size, to two digits.
        let model = |trial: &str, params: f64| {
            let known = models.get(trial).copied();
            known.map_or_else(|| human_count(significant(params, 2)), str::to_owned)
        };
        let set_aside: BTreeSet<&str> = law
            .hold_out
            .iter()
            .flat_map(|report| report.points.iter().map(|run| run.label.as_str()))
            .collect();
        let points = law
            .residuals
            .iter()
            .map(|run| LawPoint {
                trial: run.label.clone(),
                model: model(&run.label, run.params),
                params: run.params,
                tokens: run.tokens,
                loss: run.measured,
                held_out: set_aside.contains(run.label.as_str()),
            })
            .collect();
        let held = law
            .hold_out
            .iter()
            .flat_map(|report| &report.points)
            .map(|run| HeldOut {
                trial: run.label.clone(),
                model: model(&run.label, run.params),
                params: run.params,
                tokens: run.tokens,
                loss: run.loss,
                predicted: run.predicted,
                ci95: run.ci95_new_run,
            });
        Self {
            held: held.collect(),
            params_are: law.convention.clone(),
            fit: kept.fit.clone(),
            constants,
            facts: facts(kept),
            warnings: law
                .warnings
                .iter()
                .map(|warning| format!("{}: {}", warning.code, warning.text))
                .collect(),
            points,
        }
    }
}

impl LossParts {
    fn input<'a>(&'a self, predict: Predict<'a>) -> LawInput<'a> {
        LawInput {
            fit: Some(&self.fit),
            params_are: &self.params_are,
            constants: &self.constants,
            facts: &self.facts,
            warnings: &self.warnings,
            points: &self.points,
            held: &self.held,
            predict: Some(predict),
            ..NO_LAW
        }
    }
}

fn facts(kept: &Kept<LossFit>) -> Vec<(String, String)> {
    let law = &kept.law;
    let fact = |name: &str, text: String| (name.to_owned(), text);
    let mut facts = vec![
        fact("runs", format!("{} entered", law.n)),
        fact("left out", reasons(&kept.left_out)),
        fact(
            "objective",
            match law.objective.delta {
                Some(delta) => format!("Huber on log loss, δ = {delta}: {:.4e}", law.objective.value),
                None => format!("least squares: {:.4e}", law.objective.value),
            },
        ),
        fact(
            "solver",
            format!(
                "{:?}; a grid of exponents, then Newton's method on all five",
                law.status
            )
            .to_lowercase(),
        ),
        fact("intervals", format!("{} resamples of configurations", law.draws.len())),
        fact("noise", format!("{:.2} % of the loss", law.noise * 100.0)),
    ];
    if let Some(held) = &law.hold_out {
        facts.push(fact(
            "hold-out",
            format!(
                "{} runs above {} {} predicted to {:.2} % from the others",
                held.n,
                human_count(held.above),
                held.by,
                held.mean_abs_rel_error * 100.0
            ),
        ));
    }
    facts.extend(law.allocation.iter().map(|(name, it)| {
        let range = it
            .ci95
            .map_or_else(String::new, |[a, b]| format!(" ({a:.2} to {b:.2})"));
        fact(
            if name == "a" {
                "optimal N grows as"
            } else {
                "optimal D grows as"
            },
            format!("C^{:.2}{range}", it.value),
        )
    }));
    facts
}

/// How many runs were left out for which reason, the most frequent first.
fn reasons(left_out: &[study::LeftOut]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for run in left_out {
        *counts.entry(run.reason.as_str()).or_default() += 1;
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|&(_, count)| Reverse(count));
    let counts: Vec<String> = counts
        .iter()
        .map(|(reason, count)| format!("{count}: {reason}"))
        .collect();
    if counts.is_empty() {
        "none".to_owned()
    } else {
        counts.join("; ")
    }
}

fn bowls(laws: &Laws, trials: &[TrialRow]) -> Vec<LrBowl> {
    let Ok(kept) = &laws.lr else { return Vec::new() };
    let out: Vec<&str> = kept.left_out.iter().map(|it| it.trial.as_str()).collect();
    kept.law
        .groups
        .iter()
        .map(|group| {
            let is_here = |row: &&TrialRow| {
                row.params_non_embedding == group.params as u64
                    && row.tokens == group.tokens as u64
                    && !out.contains(&row.trial.as_str())
                    && (row.final_loss.is_some() || row.diverged_at_tokens.is_some())
            };
            LrBowl {
                model: group.model.clone(),
                params: group.params as u64,
                tokens: group.tokens as u64,
                points: trials
                    .iter()
                    .filter(is_here)
                    .map(|row| LrPoint {
                        trial: row.trial.clone(),
                        lr: row.lr,
                        loss: row.final_loss,
                    })
                    .collect(),
                best: group.best.zip(group.loss).map(|(lr, loss)| BestLr {
                    lr,
                    ci95: group.ci95,
                    loss,
                }),
            }
        })
        .collect()
}
