//! One orchestrator, its scheduler, its workers, and the one writer of the database, while a sweep is trained.
//!
//! Refuses to know which stages are worth training: it is handed them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fs_err as fs;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exec::{self, Pool, Program};
use crate::plan::StagePlan;
use crate::run::context::{Context, VERSION};
use crate::run::failure::{Failure, exit};
use crate::run::orchestrate::{Progress, Request, Trained};
use crate::run::planning::Planned;
use crate::sched::{Effect, Limits, News, Outcome, Scheduler, Task};
use crate::spec::DEFAULT_RETRIES;
use crate::stage::{StageEvent, StageState};
use crate::store::{Entry, StageDetail, Store};
use crate::units::StageId;
use crate::wire::{self, Cause, Job, Line};
use crate::workdir::write_atomic;

/// How often the workers' lines are read.
const POLL: Duration = Duration::from_millis(25);

/// Windows of each held-out set that are evaluated at the end of a stage.
const EVAL_WINDOWS: u64 = 256;

/// What runs and what is written while it runs.
pub(super) struct Orchestra<'a> {
    context: &'a Context,
    planned: &'a Planned,
    /// The database; the one writer is here.
    store: Store,
    pool: Pool,
    scheduler: Scheduler,
    stages: BTreeMap<StageId, StagePlan>,
    /// What the last line of each attempt said, until it is written.
    details: BTreeMap<StageId, StageDetail>,
    /// Steps that each running stage has made.
    steps: BTreeMap<StageId, u64>,
    /// What was trained so far.
    trained: Trained,
    deadline: Option<Instant>,
    stopped_by: Option<&'static str>,
    done: bool,
}

impl<'a> Orchestra<'a> {
    pub(super) async fn new(
        context: &'a Context,
        planned: &'a Planned,
        mut store: Store,
        stages: &[StagePlan],
        request: &Request,
    ) -> Result<Self, Failure> {
        let attempts = store.attempts().await?;
        let reopened: Vec<Entry> = stages
            .iter()
            .filter(|stage| {
                planned
                    .known
                    .stages
                    .get(&stage.id)
                    .is_some_and(|it| it.state == StageState::Failed)
            })
            .map(|stage| Entry::Stage {
                stage: stage.id.clone(),
                event: StageEvent::Reopened,
                detail: StageDetail::default(),
            })
            .collect();
        if !reopened.is_empty() {
            store.append(&context.now(), &reopened).await?;
        }
        let workers = request.workers.or(planned.sweep.resources.workers);
        let limits = Limits {
            slots: workers.unwrap_or(context.slots()),
            retries: retries(planned),
            default_retries: DEFAULT_RETRIES,
            fail_fast: request.fail_fast,
        };
        let tasks = tasks(stages, &attempts, workers.is_some());
        let program = Program {
            path: context.worker.clone(),
            args: worker_args(context),
        };
        let hours = planned.sweep.budget.hours;
        Ok(Self {
            context,
            planned,
            store,
            pool: Pool::new(program, context.workdir.clone()),
            scheduler: Scheduler::new(tasks, limits),
            stages: stages.iter().map(|stage| (stage.id.clone(), stage.clone())).collect(),
            details: BTreeMap::new(),
            steps: BTreeMap::new(),
            trained: Trained::default(),
            deadline: hours.map(|hours| Instant::now() + Duration::from_secs_f64(hours * 3600.0)),
            stopped_by: None,
            done: false,
        })
    }

    /// Trains until nothing is left, or something stops it; says what.
    pub(super) async fn play(
        &mut self,
        observe: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Option<&'static str>, Failure> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        self.take(News::Start, observe).await?;
        while !self.done {
            if let Some(signal) = pause(&mut interrupt, &mut terminate).await {
                if self.stopped_by.is_some() {
                    // Asked twice: what runs is given up; the next run finds it and tries again.
                    return Ok(self.stopped_by);
                }
                observe(Progress::Stopping(
                    "stopping after the current step; once more to give up at once",
                ));
                self.stop(signal, observe).await?;
            }
            if self.deadline.is_some_and(|deadline| Instant::now() > deadline) && self.stopped_by.is_none() {
                observe(Progress::Stopping("the budget of hours is used up"));
                self.stop("budget", observe).await?;
            }
            for news in self.pool.poll()? {
                self.hear(news, observe).await?;
            }
        }
        Ok(self.stopped_by)
    }

    /// Ends the workers; what they have not finished is found by the next run.
    pub(super) async fn close(self) -> (Store, Trained) {
        self.pool.close().await;
        (self.store, self.trained)
    }

    async fn stop(&mut self, why: &'static str, observe: &mut dyn FnMut(Progress<'_>)) -> Result<(), Failure> {
        self.stopped_by = Some(why);
        self.pool.stop().await;
        self.take(News::Drain, observe).await
    }

    /// Takes what a worker said into the database, and its last word to the scheduler.
    async fn hear(&mut self, news: exec::News, observe: &mut dyn FnMut(Progress<'_>)) -> Result<(), Failure> {
        let stage = news.stage;
        let mut points = Vec::new();
        let mut last = None;
        for line in news.lines {
            match line {
                Line::Started {
                    attempt,
                    pid,
                    host,
                    device,
                    libtorch,
                } => {
                    let entry = Entry::Started {
                        stage: stage.clone(),
                        attempt,
                        pid,
                        host,
                        device,
                        libtorch,
                    };
                    self.store.append(&self.context.now(), &[entry]).await?;
                }
                Line::Point(point) => points.push(point),
                Line::Diverged { .. } | Line::Finished { .. } | Line::Failed { .. } | Line::Stopped => {
                    last = Some(line);
                }
            }
        }
        if !points.is_empty() {
            self.store.add_points(&stage, news.attempt, &points).await?;
            for point in &points {
                self.steps.insert(stage.clone(), point.step);
                observe(Progress::Point(&self.stages[&stage], point));
            }
        }
        let Some((outcome, detail)) = ending(last, news.lost, self.steps.get(&stage).copied()) else {
            return Ok(());
        };
        self.account(&stage, outcome, &detail);
        observe(Progress::Ended(
            &self.stages[&stage],
            outcome,
            detail.message.as_deref(),
        ));
        if outcome == Outcome::Faulted(Cause::DiskFull) && self.stopped_by.is_none() {
            self.stop("disk", observe).await?;
        }
        self.details.insert(stage.clone(), detail);
        self.take(News::Ended { stage, outcome }, observe).await
    }

    fn account(&mut self, stage: &StageId, outcome: Outcome, detail: &StageDetail) {
        let plan = &self.stages[stage];
        let tokens = match outcome {
            Outcome::Completed => plan.tokens().0,
            Outcome::Diverged => detail.step.unwrap_or(0).saturating_sub(plan.from.0) * plan.config.batch_tokens.0,
            Outcome::Faulted(_) => return,
        };
        self.trained.stages += 1;
        self.trained.tokens += tokens;
        self.trained.flops += crate::plan::flops_per_token(&plan.config) * tokens as f64;
    }

    /// Tells the scheduler, and does what it answers: records first, then acts.
    async fn take(&mut self, news: News, observe: &mut dyn FnMut(Progress<'_>)) -> Result<(), Failure> {
        let effects = self
            .scheduler
            .handle(news)
            .map_err(|error| Failure::new(exit::INTERNAL, "scheduler", error.to_string(), "please report this"))?;
        for effect in effects {
            match effect {
                Effect::Record(stage, event) => self.record(stage, event).await?,
                Effect::Launch { stage, attempt } => {
                    self.launch(&stage, attempt).await?;
                    observe(Progress::Launched(&self.stages[&stage]));
                }
                Effect::Done => self.done = true,
            }
        }
        if self.stopped_by.is_none() && self.scheduler.is_draining() {
            self.stopped_by = Some("fail_fast");
            self.pool.stop().await;
        }
        Ok(())
    }

    async fn record(&mut self, stage: StageId, event: StageEvent) -> Result<(), Failure> {
        let detail = match event {
            StageEvent::Launched { attempt } => StageDetail {
                folder: Some(self.context.workdir.attempt(&stage, attempt).display().to_string()),
                worker: Some(self.pool.next_worker() as u64),
                code_version: Some(VERSION.to_owned()),
                ..StageDetail::default()
            },
            StageEvent::Completed { .. } | StageEvent::Diverged { .. } | StageEvent::Faulted { .. } => {
                self.details.remove(&stage).unwrap_or_default()
            }
            StageEvent::GaveUp | StageEvent::Reopened => StageDetail::default(),
        };
        Ok(self
            .store
            .append(&self.context.now(), &[Entry::Stage { stage, event, detail }])
            .await?)
    }

    async fn launch(&mut self, stage: &StageId, attempt: u32) -> Result<(), Failure> {
        let plan = &self.stages[stage];
        let parent = match &plan.parent {
            Some(parent) => self.store.checkpoint(parent).await?,
            None => None,
        };
        let folder = self.context.workdir.attempt(stage, attempt);
        // Left over from a database that is gone; its lines are not this attempt's.
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        let job = Job {
            protocol: wire::PROTOCOL,
            version: VERSION.to_owned(),
            stage: stage.clone(),
            attempt,
            config: plan.config.clone(),
            from: plan.from,
            to: plan.to,
            parent,
            keep_state: plan.kind == crate::plan::StageKind::Trunk,
            data: fs::canonicalize(self.data_folder(plan))?,
            eval_windows: EVAL_WINDOWS,
            device: self.context.device_of(self.pool.next_worker()),
        };
        let path = folder.join(wire::JOB_FILE);
        let text = serde_json::to_string_pretty(&job).map_err(std::io::Error::other)?;
        write_atomic(&path, text.as_bytes())?;
        self.pool
            .launch(stage.clone(), attempt, &fs::canonicalize(&path)?)
            .await
            .map_err(|error| {
                Failure::environment(
                    "no_worker",
                    format!(
                        "the worker `{}` cannot be started: {error}",
                        self.context.worker.display()
                    ),
                    "build it with `make build`; `sandbox doctor` tells more",
                )
            })?;
        Ok(())
    }

    fn data_folder(&self, stage: &StagePlan) -> PathBuf {
        let name = self
            .planned
            .data
            .iter()
            .find(|(_, info)| info.hash == stage.config.data_hash)
            .map_or("", |(name, _)| name.as_str());
        self.context.workdir.data().join(name)
    }
}

/// Waits a moment, or for a signal.
async fn pause(interrupt: &mut Signal, terminate: &mut Signal) -> Option<&'static str> {
    tokio::select! {
        _ = interrupt.recv() => Some("signal"),
        _ = terminate.recv() => Some("sigterm"),
        () = tokio::time::sleep(POLL) => None,
    }
}

/// How an attempt ended, if it did.
fn ending(last: Option<Line>, lost: Option<String>, step: Option<u64>) -> Option<(Outcome, StageDetail)> {
    let empty = StageDetail {
        step,
        ..StageDetail::default()
    };
    let fault = |cause, message| {
        (
            Outcome::Faulted(cause),
            StageDetail {
                cause: Some(cause),
                message: Some(message),
                ..empty.clone()
            },
        )
    };
    match (last, lost) {
        (
            Some(Line::Finished {
                checkpoint,
                seconds,
                peak_bytes,
            }),
            _,
        ) => {
            let detail = StageDetail {
                checkpoint,
                seconds: Some(seconds),
                peak_bytes,
                ..empty
            };
            Some((Outcome::Completed, detail))
        }
        (Some(Line::Diverged { step }), _) => Some((
            Outcome::Diverged,
            StageDetail {
                step: Some(step),
                ..empty
            },
        )),
        (Some(Line::Failed { cause, message }), _) => Some(fault(cause, message)),
        (Some(Line::Stopped), _) => Some(fault(Cause::Interrupted, "stopped when asked to".to_owned())),
        (Some(Line::Started { .. } | Line::Point(_)) | None, Some(message)) => Some(fault(Cause::WorkerLost, message)),
        (Some(Line::Started { .. } | Line::Point(_)) | None, None) => None,
    }
}

/// The stages as the scheduler sees them: with what each holds up.
fn tasks(stages: &[StagePlan], attempts: &BTreeMap<StageId, u32>, count_workers: bool) -> Vec<Task> {
    let ours: BTreeMap<&StageId, &StagePlan> = stages.iter().map(|stage| (&stage.id, stage)).collect();
    let mut longest: BTreeMap<&StageId, f64> = BTreeMap::new();
    // Parents stand before children, so the way back sees every child first.
    for stage in stages.iter().rev() {
        let path = stage.flops() + longest.get(&stage.id).copied().unwrap_or(0.0);
        longest.insert(&stage.id, path);
        if let Some(parent) = stage.parent.as_ref().and_then(|parent| ours.get(parent)) {
            let behind = longest.entry(&parent.id).or_default();
            *behind = behind.max(path);
        }
    }
    stages
        .iter()
        .map(|stage| Task {
            stage: stage.id.clone(),
            parent: stage.parent.clone().filter(|parent| ours.contains_key(parent)),
            slots: if count_workers {
                1
            } else {
                stage.config.numerics.threads
            },
            path_flops: longest[&stage.id],
            attempts: attempts.get(&stage.id).copied().unwrap_or(0),
        })
        .collect()
}

/// Attempts after a fault: the sweep's word, else what makes sense for the cause.
fn retries(planned: &Planned) -> BTreeMap<Cause, u32> {
    let hopeless = [
        Cause::OutOfMemory,
        Cause::DiskFull,
        Cause::DamagedCheckpoint,
        Cause::Data,
        Cause::Refused,
    ];
    let mut retries: BTreeMap<Cause, u32> = hopeless.into_iter().map(|cause| (cause, 0)).collect();
    for cause in Cause::ALL {
        if let Some(asked) = planned.sweep.retry.get(cause.name()) {
            retries.insert(cause, *asked);
        }
    }
    retries
}

fn worker_args(context: &Context) -> Vec<std::ffi::OsString> {
    match context.trainer {
        wire::Trainer::Toy => vec!["toy-worker".into()],
        wire::Trainer::Proxy | wire::Trainer::Imported => Vec::new(),
    }
}
