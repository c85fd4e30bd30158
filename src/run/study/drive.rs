//! The loop of a study: what is open is carried out, then the next decision is made and recorded, until it stops.
//!
//! Killed at any moment, it goes on from the log: decisions that are recorded are not made again, and the next ones rest on
//! the same data. Refuses to print.

use std::path::{Path, PathBuf};

use crate::campaign::cost::Cost;
use crate::campaign::decide;
use crate::campaign::frame::Frame;
use crate::campaign::state::{Decision, Design, End, Made, STOP, State};
use crate::recipe::Recipe;
use crate::recipe::forecast::Score;
use crate::record::TrialRow;
use crate::run::context::Context;
use crate::run::failure::{Failure, exit};
use crate::run::study::costs::Planner;
use crate::run::study::open::{self, Opened};
use crate::run::study::view::{self, DecisionView, Spent, StudyView};
use crate::run::study::{foretold, target};
use crate::run::train::cluster::Cluster;
use crate::run::train::orchestrate;
use crate::run::train::progress::{Progress, StoppedBy};
use crate::run::train::request::Request;
use crate::spec::study_file::{self, Question, StudyFile, Unit};
use crate::store::{Entry, Store};
use crate::workdir::write_atomic;

/// How a study is to be run.
#[derive(Debug, Clone)]
pub struct How {
    pub design: Design,
    /// Workers at once on this machine.
    pub workers: Option<u64>,
    /// The cluster whose nodes train; none: this machine does.
    pub cluster: Option<Cluster>,
}

/// Something that a display may want to show.
#[derive(Debug)]
pub enum Event<'a> {
    /// A decision was recorded.
    Decided(&'a Made),
    /// A decision was carried out.
    Concluded(&'a Made),
    Training(Progress<'a>),
    Word(&'a str),
}

/// A study that runs.
struct Driver<'a> {
    context: &'a Context,
    opened: &'a Opened,
    how: &'a How,
    frame: Frame,
}

/// Runs a study to its end, or goes on with one.
pub async fn run(
    context: &Context,
    opened: &Opened,
    how: &How,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<(StudyView, u8), Failure> {
    let mut store = context.store_or_new().await?;
    if let Some(holder) = context.workdir.holder()? {
        let message = format!(
            "another orchestrator holds the home: pid {} on {}",
            holder.pid, holder.host
        );
        return Err(Failure::new(
            exit::HELD,
            "home_held",
            message,
            "`sandbox study FILE --status` shows how far it is",
        ));
    }
    let workers = how.cluster.as_ref().map(Cluster::workers);
    let outlook = open::outlook(context, Some(&mut store), opened, workers).await?;
    for cannot in &outlook.cannot {
        observe(Event::Word(&format!("this budget does not decide {cannot}")));
    }
    let driver = Driver {
        context,
        opened,
        how,
        frame: outlook.frame,
    };
    driver.begin(&mut store).await?;
    let recipe = driver.play(&mut store, observe).await?;
    let view = driver.view(&mut store, recipe).await?;
    let code = if view.state == Some(End::Budget.name()) {
        exit::LIMIT
    } else {
        0
    };
    Ok((view, code))
}

/// A study as the home knows it, without running anything.
pub async fn status(context: &Context, store: &mut Store, study: &StudyFile) -> Result<StudyView, Failure> {
    let made = store.decisions(&study.name).await?;
    let seconds = store.study_seconds(&study.name).await? / context.slots().max(1) as f64;
    Ok(StudyView {
        study: study.name.clone(),
        state: view::end(&made).map(End::name),
        budget: view::spent(study.budget, &made, seconds),
        forecast: forecast_of(store, &made).await?,
        recipe: None,
        decisions: made.iter().map(DecisionView::from).collect(),
    })
}

/// The same by its name, for a study whose file is not at hand; none: there is no such study.
pub async fn named(context: &Context, store: &mut Store, name: &str) -> Result<Option<StudyView>, Failure> {
    let Some(row) = store.study(name).await? else {
        return Ok(None);
    };
    let study = study_file::read(&row.spec, name).map_err(|_| {
        let message = format!("the recorded file of the study `{name}` cannot be read by this version");
        Failure::environment(
            "other_study",
            message,
            "`sandbox db check` says whether the database is sound",
        )
    })?;
    Ok(Some(status(context, store, &study.0).await?))
}

/// The newest score of the study's forecast.
async fn forecast_of(store: &mut Store, made: &[Made]) -> Result<Option<Score>, Failure> {
    let sweeps = made
        .iter()
        .rev()
        .filter(|made| made.question == Question::Forecast.name());
    for sweep in sweeps.filter_map(|made| made.sweep.as_deref()) {
        let recipe = sweep.strip_prefix("recipe-").unwrap_or(sweep);
        if let Some(body) = store.score_of(recipe).await? {
            return Ok(serde_json::from_value(body).ok());
        }
    }
    Ok(None)
}

impl Driver<'_> {
    fn name(&self) -> &str {
        &self.opened.study.name
    }

    /// Records the study, unless it was recorded with this very file.
    async fn begin(&self, store: &mut Store) -> Result<(), Failure> {
        if open::frame_of(store, self.opened).await?.is_some() {
            return Ok(());
        }
        let entry = Entry::StudyPlanned {
            study: self.name().to_owned(),
            spec: self.opened.text.clone(),
            frame: serde_json::to_value(&self.frame).map_err(std::io::Error::other)?,
        };
        Ok(store.append(&self.context.now(), &[entry]).await?)
    }

    async fn play(&self, store: &mut Store, observe: &mut dyn FnMut(Event<'_>)) -> Result<Option<Recipe>, Failure> {
        loop {
            let made = store.decisions(self.name()).await?;
            if let Some(open) = made.iter().find(|made| made.outcome.is_none()) {
                self.carry_out(store, open, &made, observe).await?;
                continue;
            }
            if store.study_has_ended(self.name()).await? {
                let found = target::of_target(self.context, store, &self.opened.study, &made).await?;
                return Ok(found.map(|it| it.0));
            }
            let (next, recipe) = self.next(store, &made).await?;
            let is_stop = next.question == STOP;
            let entry = Entry::Decided {
                study: self.name().to_owned(),
                decision: next.clone(),
            };
            store.append(&self.context.now(), &[entry]).await?;
            observe(Event::Decided(&next));
            if is_stop {
                return Ok(recipe);
            }
        }
    }

    /// The next decision; with the recipe, where it is the last.
    async fn next(&self, store: &mut Store, made: &[Made]) -> Result<(Made, Option<Recipe>), Failure> {
        let rows = self.rows(store, made).await?;
        let left = self.left(store, made).await?;
        let planner = self.planner(store).await?;
        let study = &self.opened.study;
        let state = self.state(made, &rows, left);
        let mut decision = decide::decide(&state, &planner);
        let mut recipe = None;
        if matches!(decision, Decision::Stop { .. })
            && let Some((found, gates)) = target::of_target(self.context, store, study, made).await?
        {
            let with = State {
                recipe: Some(&gates),
                ..state
            };
            decision = decide::decide(&with, &planner);
            recipe = Some(found);
        }
        let n = made.len() as u64 + 1;
        let nothing = |question: &str, what: String, why: String, outcome: String| Made {
            n,
            question: question.to_owned(),
            what,
            why,
            sweep: None,
            text: None,
            cost: Cost::default(),
            outcome: Some(outcome),
        };
        let next = match decision {
            Decision::Run { proposal, cost } => Made {
                n,
                question: proposal.question.name().to_owned(),
                what: proposal.what,
                why: proposal.why,
                sweep: Some(proposal.sweep),
                text: Some(proposal.text),
                cost,
                outcome: None,
            },
            Decision::Forecast(run) => {
                foretold::decision(self.context, store, (study, made), &run, &planner, left).await?
            }
            Decision::Drop { question, what, why } => {
                let outcome = format!("not run: {why}");
                nothing(question.name(), what, why, outcome)
            }
            Decision::Stop { end, why } => nothing(STOP, end.name().to_owned(), why, "the study has ended".to_owned()),
        };
        Ok((next, recipe))
    }

    fn state<'s>(&'s self, made: &'s [Made], rows: &'s [TrialRow], left: f64) -> State<'s> {
        State {
            study: &self.opened.study,
            frame: &self.frame,
            made,
            rows,
            left,
            design: self.how.design,
            workers: self.how.cluster.as_ref().map_or(self.context.slots(), Cluster::workers),
            recipe: None,
        }
    }

    async fn planner(&self, store: &mut Store) -> Result<Planner<'_>, Failure> {
        Planner::new(
            self.context,
            Some(store),
            self.opened.data.clone(),
            self.frame.flops_per_second,
        )
        .await
    }

    async fn rows(&self, store: &mut Store, made: &[Made]) -> Result<Vec<TrialRow>, Failure> {
        let mut seen = std::collections::BTreeSet::new();
        let mut rows = Vec::new();
        for sweep in made.iter().filter_map(|made| made.sweep.as_deref()) {
            let of_sweep = store.trials(Some(sweep)).await?;
            rows.extend(of_sweep.into_iter().filter(|row| seen.insert(row.trial.clone())));
        }
        Ok(rows)
    }

    async fn spent(&self, store: &mut Store, made: &[Made]) -> Result<Spent, Failure> {
        let slots = self
            .how
            .cluster
            .as_ref()
            .map_or(self.context.slots(), Cluster::workers)
            .max(1);
        let seconds = store.study_seconds(self.name()).await? / slots as f64;
        Ok(view::spent(self.opened.study.budget, made, seconds))
    }

    async fn left(&self, store: &mut Store, made: &[Made]) -> Result<f64, Failure> {
        let spent = self.spent(store, made).await?;
        Ok(spent.limit - spent.spent)
    }

    /// The file of a decision's sweep, in the study's folder.
    fn file(&self, sweep: &str) -> PathBuf {
        self.context.workdir.study(self.name()).join(format!("{sweep}.yaml"))
    }

    /// Runs the sweep of a decision to its end and records what it changed.
    async fn carry_out(
        &self,
        store: &mut Store,
        open: &Made,
        made: &[Made],
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Failure> {
        let (Some(sweep), Some(text)) = (&open.sweep, &open.text) else {
            return self.conclude(store, open, "nothing to run".to_owned(), observe).await;
        };
        let file = self.file(sweep);
        write_atomic(&file, text.as_bytes())?;
        let hours = self.hours_left(store, open, made).await?;
        let stopped = self.train(&file, hours, observe).await?;
        let outcome = if stopped == Some(StoppedBy::Budget) {
            "the hours were used up before it ended".to_owned()
        } else {
            self.outcome(store, open, made).await?
        };
        self.conclude(store, open, outcome, observe).await
    }

    /// The hours that a sweep may take, where hours are what is limited: those that nothing before it has used.
    async fn hours_left(&self, store: &mut Store, open: &Made, made: &[Made]) -> Result<Option<f64>, Failure> {
        if self.opened.study.budget.kind != Unit::Hours {
            return Ok(None);
        }
        let others: Vec<Made> = made.iter().filter(|made| made.n != open.n).cloned().collect();
        Ok(Some(self.left(store, &others).await?.max(0.0)))
    }

    async fn train(
        &self,
        file: &Path,
        hours: Option<f64>,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<StoppedBy>, Failure> {
        let request = Request {
            workers: self.how.workers,
            cluster: self.how.cluster.clone(),
            hours,
            ..Request::of_file(file.to_owned())
        };
        let summary = orchestrate::run(self.context, &request, &mut |progress| {
            observe(Event::Training(progress));
        })
        .await?;
        if summary.exit == 0 || (summary.stopped_by == Some(StoppedBy::Budget) && hours.is_some()) {
            return Ok(summary.stopped_by);
        }
        let message = format!("`{}` was not trained to its end", file.display());
        let mut failure = Failure::new(
            summary.exit,
            "not_finished",
            message,
            "the same command goes on from here",
        );
        failure.hints.extend(
            summary
                .failed
                .first()
                .map(|failed| format!("see {} ({})", failed.log, failed.cause)),
        );
        Err(failure)
    }

    /// What a decision that was carried out has changed, in a sentence.
    async fn outcome(&self, store: &mut Store, open: &Made, made: &[Made]) -> Result<String, Failure> {
        if open.question == Question::Forecast.name() {
            let score = foretold::score(self.context, store, open).await?;
            return Ok(score.map_or_else(|| "it was not scored".to_owned(), |score| foretold::sentence(&score)));
        }
        let rows = self.rows(store, made).await?;
        let planner = self.planner(store).await?;
        let state = self.state(made, &rows, 0.0);
        let question = Question::parse(&open.question);
        let answer = question.and_then(|question| decide::answer(question, &state, &planner));
        Ok(answer.unwrap_or_else(|| "it does not settle the question yet".to_owned()))
    }

    async fn conclude(
        &self,
        store: &mut Store,
        open: &Made,
        outcome: String,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Failure> {
        let entry = Entry::Concluded {
            study: self.name().to_owned(),
            n: open.n,
            outcome: outcome.clone(),
        };
        store.append(&self.context.now(), &[entry]).await?;
        let done = Made {
            outcome: Some(outcome),
            ..open.clone()
        };
        observe(Event::Concluded(&done));
        Ok(())
    }

    async fn view(&self, store: &mut Store, recipe: Option<Recipe>) -> Result<StudyView, Failure> {
        let made = store.decisions(self.name()).await?;
        Ok(StudyView {
            study: self.name().to_owned(),
            state: view::end(&made).map(End::name),
            budget: self.spent(store, &made).await?,
            forecast: forecast_of(store, &made).await?,
            recipe,
            decisions: made.iter().map(DecisionView::from).collect(),
        })
    }
}
