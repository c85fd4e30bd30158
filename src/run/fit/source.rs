//! The runs that a law is fitted on: of a sweep, of an import, of a table, or a folder of loss curves.
//!
//! Refuses to know laws but by what they need.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::fit::Warning;
use crate::fit::curve::Curve;
use crate::fit::law::{Data, LeftOut, Needs};
use crate::fit::observation::{OTHER_SCHEDULE, Observation, best_per_cell};
use crate::fit::rate::learning_rate::LrRun;
use crate::fit::refusal::Refusal;
use crate::fit::sanity;
use crate::protocol::Trainer;
use crate::record::{TrialRow, TrialState};
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::fit::request::{CONDITION, Counts, Request, nothing_matches, refused};
use crate::run::fit::table::{self, Mapping};
use crate::run::fit::{batch_curves, curve_files, loss_curves};
use crate::run::sweep_set::SweepSet;
use crate::setup::{Factor, Setup};
use crate::store::Store;
use crate::study::filter::Filter;
use crate::study::select;

/// Where runs are taken from.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// A table, and what its columns mean.
    Table(&'a Path, &'a Mapping),
    /// A folder of tables with the columns step, lr and loss.
    Folder(&'a Path),
    /// A sweep, several, or an import; none: the sweep that was run last.
    Named(Option<&'a str>),
}

/// The runs of a source.
#[derive(Debug, Default)]
pub struct Runs {
    /// What the source is called.
    pub name: String,
    /// The trials of a sweep, finished or not; none: the runs are of somebody else.
    pub trials: Option<Vec<TrialRow>>,
    /// What N counts in them, where they are trials.
    counts: Counts,
    pub(super) observations: Vec<Observation>,
    /// What does not, with the reason.
    left_out: Vec<(String, String)>,
    /// What was set aside of the trials before any law was asked for.
    set_aside: Vec<LeftOut>,
    /// What is odd about somebody's table.
    warnings: Vec<Warning>,
    /// Loss curves to fit and to predict.
    curves: [Vec<Curve>; 2],
    /// Steps of warm-up that the curves do not show.
    warmup: f64,
}

/// Reads the runs of a source.
pub(super) async fn runs(
    context: &Context,
    store: &mut Store,
    needs: Needs,
    source: Source<'_>,
    request: &Request,
) -> Result<Runs, Failure> {
    if needs == Needs::LossCurves {
        let curves = curves_of(context, store, source, request).await?;
        let warmup = request.warmup;
        return Ok(Runs {
            curves,
            warmup,
            ..Runs::default()
        });
    }
    let somebodys = match source {
        Source::Table(path, mapping) => {
            let table = Runs::of_table(path, mapping)?;
            (table.name, table.observations, table.left_out, table.warnings)
        }
        Source::Named(Some(name)) if store.imports().await?.iter().any(|it| it == name) => {
            let (runs, mut left_out) = imported(store, name, request).await?;
            let looked = sanity::look(runs);
            left_out.extend(looked.left_out);
            (name.to_owned(), looked.runs, left_out, looked.warnings)
        }
        Source::Named(name) => {
            let sweeps = SweepSet::find(store, name).await?;
            return Runs::of_sweeps(context, store, &sweeps, request).await;
        }
        Source::Folder(path) => {
            let message = format!("`{}` is a folder, which only laws of loss curves read", path.display());
            return Err(Failure::invalid("usage", message, "name a table or a sweep"));
        }
    };
    // Somebody's runs do not say what else was equal among their learning rates.
    if needs == Needs::LearningRates {
        return Err(Failure::invalid(
            "usage",
            "the law of the learning rate alone is that of a sweep",
            "fit a table or an import with `--law lr-batch`",
        ));
    }
    let (name, observations, left_out, warnings) = somebodys;
    Ok(Runs {
        name,
        observations,
        left_out,
        warnings,
        ..Runs::default()
    })
}

impl Runs {
    /// The runs of somebody's table.
    pub(super) fn of_table(path: &Path, mapping: &Mapping) -> Result<Self, Failure> {
        let table = table::read(path, mapping)?;
        Ok(Self {
            name: path.display().to_string(),
            observations: table.runs,
            left_out: table.left_out,
            warnings: table.warnings,
            ..Self::default()
        })
    }

    /// The runs of a sweep, or of several as one.
    pub(in crate::run) async fn of_sweeps(
        context: &Context,
        store: &mut Store,
        sweeps: &SweepSet,
        request: &Request,
    ) -> Result<Self, Failure> {
        let trials = counting(store, sweeps, request).await?;
        check(&trials, context.trainer).map_err(|refusal| {
            let mut failure = refused(&refusal);
            if !trials.is_empty() && trials.iter().all(|row| row.state == TrialState::Diverged) {
                failure.message = format!("all {} trials diverged, so there is no loss", trials.len());
                let next = "try lower learning rates: `sandbox recipe` writes the sweep to run next";
                failure.hints = vec![next.to_owned()];
            }
            failure
        })?;
        let why = |row: &TrialRow| Some((row.trial.clone(), row.why_no_loss()?.to_owned()));
        Ok(Self {
            name: sweeps.name().to_owned(),
            observations: trials
                .iter()
                .filter_map(|row| observation(row, request.counts))
                .collect(),
            counts: request.counts,
            left_out: trials.iter().filter_map(why).collect(),
            trials: Some(trials),
            ..Self::default()
        })
    }

    /// The runs of some trials; of the others, those that have ended are set aside.
    pub(super) fn only(&self, keeps: impl Fn(&TrialRow) -> bool, why: &str) -> Self {
        let (trials, others): (Vec<TrialRow>, Vec<TrialRow>) = self.trials.iter().flatten().cloned().partition(keeps);
        let names: BTreeSet<&str> = trials.iter().map(|row| row.trial.as_str()).collect();
        let is_here = |name: &str| names.contains(name);
        let ended = others.iter().filter(|row| row.final_loss.is_some());
        let observations = self.observations.iter().filter(|run| is_here(&run.label));
        Self {
            name: self.name.clone(),
            counts: self.counts,
            observations: observations.cloned().collect(),
            left_out: self.left_out.clone(),
            set_aside: ended.map(|row| LeftOut::new(&row.trial, why)).collect(),
            warnings: self.warnings.clone(),
            trials: Some(trials),
            ..Self::default()
        }
    }

    /// What was set aside of the trials before any law was asked for.
    pub fn set_aside(&self) -> &[LeftOut] {
        &self.set_aside
    }

    /// The sweep, where the runs are its trials.
    pub(super) fn sweep(&self) -> Option<&str> {
        self.trials.as_ref().map(|_| self.name.as_str())
    }

    /// Where a sweep has varied the batch it may answer another question.
    pub(super) fn batch_hint(&self) -> Option<String> {
        let batches: BTreeSet<u64> = self.trials.iter().flatten().map(|row| row.batch_tokens).collect();
        (batches.len() > 1)
            .then(|| "the batch was varied: `--law batch` or `--law lr-batch` ask for the best one".to_owned())
    }

    /// Where many runs do not count for their schedule, those that do may be too few.
    pub(super) fn schedule_hint(&self) -> Option<String> {
        let (_, left_out) = best_per_cell(&self.observations);
        let count = left_out.iter().filter(|(_, why)| why == OTHER_SCHEDULE).count();
        let all = self.observations.len();
        (count > 0).then(|| format!("{count} of {all} runs have {OTHER_SCHEDULE}, and do not count"))
    }

    /// What a law needs of them.
    pub(super) async fn data(&self, store: &mut Store, needs: Needs) -> Result<Data, Failure> {
        let left_out = self.left_out.iter().cloned().map(LeftOut::from);
        let left_out = left_out.chain(self.set_aside.iter().cloned()).collect();
        let mut data = Data {
            source: (needs != Needs::LossCurves).then(|| self.name.clone()),
            convention: if self.trials.is_some() {
                self.counts.name()
            } else {
                "as-given"
            },
            left_out,
            warnings: self.warnings.clone(),
            ..Data::default()
        };
        match needs {
            Needs::Runs => data.runs.clone_from(&self.observations),
            Needs::Grids => {
                let (runs, others) = select::lr_and_batch(self.observations.clone());
                data.runs = runs;
                data.left_out.extend(others);
            }
            Needs::LearningRates => {
                let (chosen, left_out) = select::lr_grids(self.trials.as_deref().unwrap_or_default());
                data.rates = chosen.into_iter().map(lr_run).collect();
                data.warnings
                    .extend(selected(LAW_OF_RATE, self.trials.as_deref(), &left_out));
                data.left_out = left_out;
                data.left_out.extend(self.set_aside.iter().cloned());
            }
            Needs::BatchCurves => {
                data.batches = match &self.trials {
                    Some(trials) => batch_curves::of_trials(store, trials, &self.observations).await?,
                    None => batch_curves::of_budgets(&self.observations),
                };
            }
            Needs::LossCurves => {
                let [train, unseen] = self.curves.clone();
                (data.curves, data.unseen, data.warmup) = (train, unseen, self.warmup);
            }
        }
        Ok(data)
    }
}

/// What the law of the learning rate is called in words.
pub(super) const LAW_OF_RATE: &str = "the law of the learning rate";

/// Which trials a law rests on and which not, where they differ in more than it varies.
pub(in crate::run) fn selected(law: &str, trials: Option<&[TrialRow]>, left_out: &[LeftOut]) -> Option<Warning> {
    let out: BTreeSet<&str> = left_out.iter().map(|it| it.trial.as_str()).collect();
    select::words(law, trials?, &out).map(|text| Warning::new("runs_selected", text))
}

/// Loss curves `[to fit, to predict]`.
async fn curves_of(
    context: &Context,
    store: &mut Store,
    source: Source<'_>,
    request: &Request,
) -> Result<[Vec<Curve>; 2], Failure> {
    let names = [&request.train[..], &request.predict[..]];
    let name = match source {
        Source::Folder(folder) => {
            let [train, unseen] = names.map(|names| curve_files::curves(folder, names));
            return Ok([train?, unseen?]);
        }
        Source::Named(name) => name,
        Source::Table(path, _) => path.to_str(),
    };
    let sweeps = SweepSet::find(store, name).await?;
    let trials = counting(store, &sweeps, request).await?;
    no_toys(&trials, context.trainer).map_err(|refusal| refused(&refusal))?;
    loss_curves::of_trials(store, sweeps.name(), trials, names).await
}

/// The runs of an import for which the condition holds, and the others with the reason.
async fn imported(
    store: &mut Store,
    import: &str,
    request: &Request,
) -> Result<(Vec<Observation>, Vec<(String, String)>), Failure> {
    let filter = Filter::new(request.condition.as_deref(), &[])?;
    let runs = store.imported(import).await?;
    // Both in the order of the file.
    let rows = store.imported_trials(Some(import)).await?;
    let (mut kept, mut left_out) = (Vec::new(), Vec::new());
    for (run, row) in runs.into_iter().zip(rows) {
        let columns = serde_json::to_value(row).map_err(std::io::Error::other)?;
        if filter.holds_for(&columns, &BTreeMap::new()) {
            kept.push(run);
        } else {
            left_out.push((run.label, CONDITION.to_owned()));
        }
    }
    if kept.is_empty() {
        return Err(nothing_matches(
            left_out.len(),
            "runs",
            "compare it with `sandbox export`",
        ));
    }
    Ok((kept, left_out))
}

/// The trials that count.
async fn counting(store: &mut Store, sweeps: &SweepSet, request: &Request) -> Result<Vec<TrialRow>, Failure> {
    let mut trials = sweeps.trials(store).await?;
    let filter = Filter::new(request.condition.as_deref(), &trials)?;
    let all = trials.len();
    trials.retain(|trial| filter.holds(trial));
    if trials.is_empty() && all > 0 {
        return Err(nothing_matches(all, "trials", "`sandbox status --trials` lists them"));
    }
    Ok(trials)
}

/// What the toy has answered is no measurement, unless it is asked for.
fn no_toys(trials: &[TrialRow], trainer: Trainer) -> Result<(), Refusal> {
    let toys = trials.iter().filter(|row| row.trainer == Trainer::Toy).count();
    if toys > 0 && trainer != Trainer::Toy {
        return Err(Refusal::ToyData { rows: toys });
    }
    Ok(())
}

/// What no law may rest on.
fn check(trials: &[TrialRow], trainer: Trainer) -> Result<(), Refusal> {
    no_toys(trials, trainer)?;
    let finished: Vec<&TrialRow> = trials.iter().filter(|row| row.final_loss.is_some()).collect();
    if finished.is_empty() {
        return Err(Refusal::NotFinished { left_out: trials.len() });
    }
    let data: BTreeSet<&str> = finished.iter().map(|row| row.data_hash.as_str()).collect();
    if data.len() > 1 {
        let why = format!(
            "the trials are trained on {} different data, whose losses do not compare",
            data.len()
        );
        return Err(Refusal::NotIdentified { why });
    }
    Ok(())
}

/// A trial as a law sees it; none without a final loss.
fn observation(row: &TrialRow, counts: Counts) -> Option<Observation> {
    let params = match counts {
        Counts::NonEmbedding => row.params_non_embedding,
        Counts::Total => row.params_total,
    };
    Some(Observation {
        label: row.trial.clone(),
        params: params as f64,
        tokens: row.tokens as f64,
        loss: row.final_loss?,
        lr: Some(row.lr),
        batch_tokens: Some(row.batch_tokens as f64),
        schedule: Some(row.schedule.name().to_owned()),
        seed: Some(row.seed),
        // Laws count 6ND; what a trial cost in full is another number.
        flops: None,
        setup: Some(Setup::from(row).without([Factor::Seed])),
    })
}

fn lr_run(row: &TrialRow) -> LrRun {
    LrRun {
        model: row.model.clone(),
        params: row.params_non_embedding as f64,
        width: row.width as f64,
        tokens: row.tokens as f64,
        lr: row.lr,
        loss: row.final_loss,
    }
}
