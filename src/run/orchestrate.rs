//! `sandbox run`: one orchestrator, its scheduler, its workers and the one writer of the database.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fs_err as fs;
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exec::{self, Pool, Program};
use crate::plan::{Known, StagePlan, TrialPlan, trial_state};
use crate::record::{TrialState, count_states};
use crate::run::context::{Context, VERSION};
use crate::run::failure::{Failure, exit};
use crate::run::planning::{self, Planned};
use crate::sched::{Effect, Limits, News, Outcome, Scheduler, Task};
use crate::spec::DEFAULT_RETRIES;
use crate::stage::{StageEvent, StageState};
use crate::store::{Entry, StageDetail, Store};
use crate::units::StageId;
use crate::wire::{self, Cause, Job, Line, Point};
use crate::workdir::write_atomic;

/// How often the workers' lines are read.
const POLL: Duration = Duration::from_millis(25);

/// Windows of each held-out set that are evaluated at the end of a stage.
const EVAL_WINDOWS: u64 = 256;

/// What `run` was asked to do.
#[derive(Debug, Clone)]
pub struct Request {
    /// The sweep file.
    pub file: PathBuf,
    /// Changes to it.
    pub sets: Vec<String>,
    /// Whether the first failure ends everything.
    pub fail_fast: bool,
    /// Workers at once; none: what the sweep says, else as many as the machine carries.
    pub workers: Option<u64>,
}

/// Something that a display may want to show.
#[derive(Debug)]
pub enum Progress<'a> {
    /// The plan is made: this much is to be trained.
    Planned {
        /// The plan.
        planned: &'a Planned,
        /// The stages that this call trains.
        stages: &'a [StagePlan],
    },
    /// A stage is on a worker.
    Launched(&'a StagePlan),
    /// A training step was made.
    Point(&'a StagePlan, &'a Point),
    /// A stage ended.
    Ended(&'a StagePlan, Outcome, Option<&'a str>),
    /// A signal, or a limit: what runs is being stopped.
    Stopping(&'a str),
}

/// The last word of `run`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The sweep.
    pub sweep: String,
    /// Its trials by state.
    pub counts: BTreeMap<&'static str, u64>,
    /// What this call trained.
    pub trained: Trained,
    /// Seconds of this call.
    pub seconds: f64,
    /// Why it ended before all was done.
    pub stopped_by: Option<&'static str>,
    /// The trials that failed.
    pub failed: Vec<FailedTrial>,
    /// The exit code.
    #[serde(skip)]
    pub exit: u8,
}

/// What a call trained.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Trained {
    /// Stages that reached an end.
    pub stages: u64,
    /// Their tokens.
    pub tokens: u64,
    /// Their FLOPs.
    pub flops: f64,
}

/// A trial that failed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FailedTrial {
    /// Its name.
    pub trial: String,
    /// Why.
    pub cause: String,
    /// Where to read more.
    pub log: String,
}

/// Trains what is missing of a sweep.
pub async fn run(
    context: &Context,
    request: &Request,
    observe: &mut dyn FnMut(Progress<'_>),
) -> Result<Summary, Failure> {
    let began = Instant::now();
    // Everything that can be wrong with the file is found before anything is touched.
    let (sweep, text, notes) = planning::read_sweep(&request.file, &request.sets)?;
    planning::plan_sweep(
        context,
        sweep.clone(),
        text.clone(),
        Vec::new(),
        Known::default(),
        (BTreeMap::new(), None),
    )?;
    let _lock = context.workdir.lock(&context.holder())?;
    let mut store = Store::open(context.workdir.database()).await?;
    reclaim(context, &mut store).await?;
    let known = store.known(&sweep.name).await?;
    let rates = store.rates().await?;
    let planned = planning::plan_sweep(context, sweep, text, notes, known, rates)?;
    planning::announce(context, &mut store, &planned).await?;
    let (chosen, capped) = choose(&planned);
    let stages: Vec<StagePlan> = planned
        .plan
        .missing_for(chosen.iter().copied(), &planned.known)
        .into_iter()
        .cloned()
        .collect();
    observe(Progress::Planned {
        planned: &planned,
        stages: &stages,
    });
    let mut orchestra = Orchestra::new(context, &planned, store, &stages, request).await?;
    let stopped = orchestra.play(observe).await;
    orchestra.pool.close().await;
    let trained = orchestra.trained;
    let stopped_by = stopped?.or(capped);
    summary(
        &mut orchestra.store,
        &planned,
        trained,
        began.elapsed().as_secs_f64(),
        stopped_by,
    )
    .await
}

/// Stages that were running when their orchestrator went away: lost workers, to be tried again.
async fn reclaim(context: &Context, store: &mut Store) -> Result<(), Failure> {
    let entries: Vec<Entry> = store
        .running()
        .await?
        .into_iter()
        .map(|row| Entry::Stage {
            stage: StageId(row.stage),
            event: StageEvent::Faulted {
                attempt: u32::try_from(row.attempt).unwrap_or(u32::MAX),
            },
            detail: StageDetail {
                cause: Some(Cause::WorkerLost),
                message: Some("its orchestrator went away".to_owned()),
                ..StageDetail::default()
            },
        })
        .collect();
    if entries.is_empty() {
        return Ok(());
    }
    Ok(store.append(&context.now(), &entries).await?)
}

/// The trials that this call may train, and the limit that left out the rest.
fn choose(planned: &Planned) -> (Vec<&TrialPlan>, Option<&'static str>) {
    let mut chosen = Vec::new();
    let mut started = 0;
    for trial in &planned.plan.trials {
        if planned.plan.missing_for([trial], &planned.known).is_empty() {
            continue;
        }
        if planned.sweep.run_cap.is_some_and(|cap| started >= cap) {
            return (chosen, Some("run_cap"));
        }
        chosen.push(trial);
        let flops: f64 = planned
            .plan
            .missing_for(chosen.iter().copied(), &planned.known)
            .iter()
            .map(|stage| stage.flops())
            .sum();
        if planned.sweep.budget.flops.is_some_and(|budget| flops > budget) {
            chosen.pop();
            return (chosen, Some("budget"));
        }
        started += 1;
    }
    (chosen, None)
}

/// What runs and what is written while it runs.
struct Orchestra<'a> {
    context: &'a Context,
    planned: &'a Planned,
    store: Store,
    pool: Pool,
    scheduler: Scheduler,
    stages: BTreeMap<StageId, StagePlan>,
    /// What the last line of each attempt said, until it is written.
    details: BTreeMap<StageId, StageDetail>,
    /// Steps that each running stage has made.
    steps: BTreeMap<StageId, u64>,
    trained: Trained,
    deadline: Option<Instant>,
    stopped_by: Option<&'static str>,
    done: bool,
}

impl<'a> Orchestra<'a> {
    async fn new(
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
            slots: workers.unwrap_or(context.cores),
            retries: retries(planned),
            default_retries: DEFAULT_RETRIES,
            fail_fast: request.fail_fast,
        };
        let tasks = tasks(stages, &attempts, workers.is_some());
        let program = Program {
            path: context.worker.clone(),
            args: worker_args(context),
            env: worker_env(),
        };
        let hours = planned.sweep.budget.hours;
        Ok(Self {
            context,
            planned,
            store,
            pool: Pool::new(program, context.workdir.home().join("workers")),
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
    async fn play(&mut self, observe: &mut dyn FnMut(Progress<'_>)) -> Result<Option<&'static str>, Failure> {
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
                    last = Some(line)
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
            device: "cpu".to_owned(),
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

/// Variables of a worker. Temporaries of a training step are large and short-lived; given back to the system each time, they are mapped and
/// zeroed anew at every step.
pub fn worker_env() -> Vec<(String, String)> {
    [
        ("MALLOC_MMAP_THRESHOLD_", "1073741824"),
        ("MALLOC_TRIM_THRESHOLD_", "4294967296"),
        ("MALLOC_TOP_PAD_", "67108864"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

async fn summary(
    store: &mut Store,
    planned: &Planned,
    trained: Trained,
    seconds: f64,
    stopped_by: Option<&'static str>,
) -> Result<Summary, Failure> {
    let sweep = planned.plan.sweep.clone();
    let known = store.known(&sweep).await?;
    let state = |id: &StageId| known.stages.get(id).map_or(StageState::Pending, |stage| stage.state);
    let states = planned.plan.trials.iter().map(|trial| {
        let stages: Vec<StageState> = trial.stages.iter().map(state).collect();
        trial_state(&stages)
    });
    let counts = count_states(states);
    let mut failed: Vec<FailedTrial> = Vec::new();
    for (trial, cause, folder) in store.failures(&sweep).await? {
        if failed.iter().all(|other| other.trial != trial) {
            failed.push(FailedTrial {
                trial,
                cause,
                log: log_of(Path::new(&folder)),
            });
        }
    }
    let exit = match stopped_by {
        Some("signal") => exit::SIGINT,
        Some("sigterm") => exit::SIGTERM,
        Some("disk") => exit::ENVIRONMENT,
        Some("budget" | "run_cap") => exit::LIMIT,
        Some(_) => exit::SOME_FAILED,
        None if counts[TrialState::Failed.name()] > 0 => exit::SOME_FAILED,
        None => 0,
    };
    // The contract knows one word for both signals; the exit code tells them apart.
    let stopped_by = stopped_by.map(|why| if why == "sigterm" { "signal" } else { why });
    Ok(Summary {
        sweep,
        counts,
        trained,
        seconds,
        stopped_by,
        failed,
        exit,
    })
}

fn log_of(folder: &Path) -> String {
    folder.join(wire::LINES_FILE).display().to_string()
}
