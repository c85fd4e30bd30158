//! One orchestrator, its scheduler, its workers, and the one writer of the database, while a sweep is trained.
//!
//! Refuses to know which stages are worth training: it is handed them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fs_err as fs;

use crate::exec::{self, Workers};
use crate::fault::Kind;
use crate::plan::StagePlan;
use crate::protocol::{self, Cause, Checkpoint, Job, Resume};
use crate::run::context::{Context, VERSION};
use crate::run::failure::{Failure, exit};
use crate::run::planning::Planned;
use crate::run::signals::{Signals, Stop};
use crate::run::train::attempt::Attempt;
use crate::run::train::progress::{Progress, StoppedBy, Trained};
use crate::run::train::recovery::remove;
use crate::run::train::request::Request;
use crate::run::train::resources;
use crate::sched::{Effect, News, Outcome, Scheduler};
use crate::stage::StageKind;
use crate::stage::{StageEvent, StageState};
use crate::store::{Entry, StageDetail, Store};
use crate::units::StageId;
use crate::workdir::write_whole;

/// How often workers are looked after that do not ring.
const POLL: Duration = Duration::from_millis(100);

/// How often it is looked whether somebody took trials out.
const GLANCE: Duration = Duration::from_secs(1);

/// Windows of each held-out set that are evaluated at the end of a stage.
const EVAL_WINDOWS: u64 = 256;

/// What a run has to work with.
pub(super) struct Equipment {
    pub(super) store: Store,
    pub(super) workers: Workers,
    /// The attempts that they make.
    pub(super) at_work: BTreeMap<StageId, Attempt>,
}

/// What runs and what is written while it runs.
pub(super) struct Driver<'a> {
    context: &'a Context,
    planned: &'a Planned,
    /// The database; the one writer is here.
    store: Store,
    workers: Workers,
    scheduler: Scheduler,
    stages: BTreeMap<StageId, StagePlan>,
    /// The attempts that run.
    attempts: BTreeMap<StageId, Attempt>,
    /// What the last line of each attempt said, until it is written.
    details: BTreeMap<StageId, StageDetail>,
    /// What was trained so far.
    trained: Trained,
    deadline: Option<Instant>,
    /// The database as it was seen last, and when.
    glance: (i64, Instant),
    stopped_by: Option<StoppedBy>,
    /// A state was lost: what is left needs a new plan.
    needs_plan: bool,
    is_done: bool,
}

impl<'a> Driver<'a> {
    pub(super) async fn new(
        context: &'a Context,
        planned: &'a Planned,
        equipment: Equipment,
        stages: &[StagePlan],
        request: &Request,
        deadline: Option<Instant>,
    ) -> Result<Self, Failure> {
        let Equipment {
            mut store,
            workers,
            at_work,
        } = equipment;
        let attempts = store.attempts().await?;
        let reopened: Vec<Entry> = stages
            .iter()
            .filter(|stage| planned.known.state(&stage.id) == StageState::Failed)
            .map(|stage| Entry::Stage {
                stage: stage.id.clone(),
                event: StageEvent::Reopened,
                detail: StageDetail::default(),
            })
            .collect();
        if !reopened.is_empty() {
            store.append(&context.now(), &reopened).await?;
        }
        let peaks = store.peaks().await?;
        let limits = resources::limits(context, planned, request, at_work.len());
        let tasks = resources::tasks(stages, planned, &attempts, &peaks, request, &at_work);
        let glance = (store.data_version().await?, Instant::now());
        Ok(Self {
            context,
            planned,
            store,
            workers,
            scheduler: Scheduler::new(tasks, limits),
            stages: stages.iter().map(|stage| (stage.id.clone(), stage.clone())).collect(),
            attempts: at_work,
            details: BTreeMap::new(),
            trained: Trained::default(),
            deadline,
            glance,
            stopped_by: None,
            needs_plan: false,
            is_done: false,
        })
    }

    /// Trains until nothing is left, or something stops it; says what. A full disk is a stop, not an error.
    pub(super) async fn play(&mut self, observe: &mut dyn FnMut(Progress<'_>)) -> Result<Option<StoppedBy>, Failure> {
        match self.play_on(observe).await {
            Err(failure) if failure.is_disk_full() => {
                observe(Progress::Stopping("the disk is full"));
                self.workers.stop_all().await?;
                Ok(Some(StoppedBy::Disk))
            }
            other => other,
        }
    }

    async fn play_on(&mut self, observe: &mut dyn FnMut(Progress<'_>)) -> Result<Option<StoppedBy>, Failure> {
        let mut signals = Signals::new()?;
        self.take(News::Start, observe).await?;
        while !self.is_done {
            if let Some(signal) = pause(&self.workers, &mut signals).await {
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
                self.stop(StoppedBy::Budget, observe).await?;
            }
            for news in self.workers.poll()? {
                self.hear(news, observe).await?;
            }
            if let Some(word) = self.workers.notice() {
                observe(Progress::Word(&word));
            }
            self.look_for_cancelled(observe).await?;
        }
        Ok(self.stopped_by)
    }

    /// Gives back what it was given, with what was trained, and whether what is left can be trained after a new plan.
    pub(super) fn leave(self) -> (Equipment, Trained, bool) {
        let equipment = Equipment {
            store: self.store,
            workers: self.workers,
            at_work: self.attempts,
        };
        (equipment, self.trained, self.needs_plan)
    }

    async fn stop(&mut self, why: StoppedBy, observe: &mut dyn FnMut(Progress<'_>)) -> Result<(), Failure> {
        self.stopped_by = Some(why);
        self.workers.stop_all().await?;
        self.take(News::Drain, observe).await
    }

    /// Stops what only trials need that somebody has taken out meanwhile.
    async fn look_for_cancelled(&mut self, observe: &mut dyn FnMut(Progress<'_>)) -> Result<(), Failure> {
        if self.glance.1.elapsed() < GLANCE {
            return Ok(());
        }
        let version = self.store.data_version().await?;
        let changed = version != self.glance.0;
        self.glance = (version, Instant::now());
        if !changed {
            return Ok(());
        }
        let cancelled = self.store.cancelled(&self.planned.plan.sweep).await?;
        let trials = self.planned.plan.trials.iter();
        let wanted: BTreeSet<&StageId> = trials
            .filter(|trial| !cancelled.contains(&trial.id))
            .flat_map(|trial| &trial.stages)
            .collect();
        let unwanted: Vec<StageId> = self.stages.keys().filter(|id| !wanted.contains(id)).cloned().collect();
        if unwanted.is_empty() {
            return Ok(());
        }
        self.take(News::Withdrawn(unwanted), observe).await
    }

    /// Takes what a worker said into the database, and its last word to the scheduler.
    async fn hear(&mut self, news: exec::News, observe: &mut dyn FnMut(Progress<'_>)) -> Result<(), Failure> {
        let exec::News {
            stage,
            attempt: number,
            lines,
            bytes,
            lost,
        } = news;
        let attempt = self.attempts.get_mut(&stage);
        // A worker may still speak of an attempt that is over for everybody else.
        let Some(attempt) = attempt.filter(|attempt| attempt.number == number) else {
            return Ok(());
        };
        attempt.bytes += bytes;
        let mut heard = attempt.hear(lines);
        let mut ending = attempt.ending(heard.last.take(), lost);
        if !heard.said.is_empty() {
            self.store
                .take_in(&self.context.now(), &stage, number, &heard.said)
                .await?;
            remove(&heard.unneeded);
        }
        if let Some(point) = heard.newest_point() {
            observe(Progress::Point(&self.stages[&stage], point));
        }
        let Some((outcome, detail)) = &mut ending else {
            return Ok(());
        };
        if *outcome == Outcome::Diverged && self.planned.known.state(&stage) == StageState::Complete {
            *outcome = Outcome::Faulted(Cause::Other);
            detail.message = Some("diverged where it was complete before".to_owned());
        }
        self.ended(stage, *outcome, detail.clone(), observe).await
    }

    /// Does what follows from an attempt's end.
    async fn ended(
        &mut self,
        stage: StageId,
        outcome: Outcome,
        detail: StageDetail,
        observe: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), Failure> {
        let attempt = self.attempts.remove(&stage).expect("what runs was launched");
        self.account(&attempt, outcome, &detail);
        observe(Progress::Ended(
            &self.stages[&stage],
            outcome,
            detail.message.as_deref(),
        ));
        self.details.insert(stage.clone(), detail);
        match outcome {
            Outcome::Faulted(Cause::DiskFull) if self.stopped_by.is_none() => {
                self.stop(StoppedBy::Disk, observe).await?;
            }
            Outcome::Faulted(Cause::DamagedCheckpoint) => self.drop_parent(&stage).await?,
            Outcome::Faulted(_) | Outcome::Completed | Outcome::Diverged => {}
        }
        self.take(
            News::Ended {
                stage: stage.clone(),
                outcome,
                has_moved: attempt.has_moved(),
            },
            observe,
        )
        .await?;
        if !matches!(outcome, Outcome::Faulted(_)) {
            self.strike(Kind::Unfollowed, &stage, attempt.number);
            remove(&attempt.states().collect::<Vec<_>>());
        }
        Ok(())
    }

    /// The state that the stage starts from cannot be used: it has to be made again.
    async fn drop_parent(&mut self, stage: &StageId) -> Result<(), Failure> {
        let Some(parent) = self.stages[stage].parent.clone() else {
            return Ok(());
        };
        let at = self.stages[stage].from;
        let states = self.store.checkpoints(&parent).await?;
        let entry = Entry::Dropped {
            stage: parent,
            steps: vec![at],
            why: "damaged".to_owned(),
        };
        self.store.append(&self.context.now(), &[entry]).await?;
        let paths = states.iter().filter(|resume| resume.step == at);
        let paths: Vec<PathBuf> = paths
            .map(|resume| self.context.workdir.resolved(&resume.checkpoint.path))
            .collect();
        remove(&paths);
        self.needs_plan = true;
        Ok(())
    }

    fn account(&mut self, attempt: &Attempt, outcome: Outcome, detail: &StageDetail) {
        let plan = &self.stages[&attempt.stage];
        let from = attempt.from.unwrap_or(plan.from).0;
        let steps = detail.step.unwrap_or(from).saturating_sub(from);
        let tokens = steps * plan.config.batch_tokens.0;
        self.trained.stages += u64::from(!matches!(outcome, Outcome::Faulted(_)));
        self.trained.tokens += tokens;
        self.trained.flops += crate::plan::flops_per_token(&plan.config) * tokens as f64;
    }

    /// Tells the scheduler, and does what it answers: records first, then acts.
    async fn take(&mut self, news: News, observe: &mut dyn FnMut(Progress<'_>)) -> Result<(), Failure> {
        let effects = self
            .scheduler
            .handle(news)
            .map_err(|error| Failure::new(exit::INTERNAL, "scheduler", error.to_string(), "please report this"))?;
        // Where each launch goes is known before its record is written.
        let devices: BTreeMap<StageId, (usize, u32)> = effects.iter().filter_map(placed).collect();
        for effect in effects {
            match effect {
                Effect::Record(stage, event) => self.record(stage, event, &devices).await?,
                Effect::Launch {
                    stage,
                    attempt,
                    device,
                    halvings,
                } => {
                    self.strike(Kind::Unlaunched, &stage, attempt);
                    self.launch(&stage, attempt, device, halvings).await?;
                    observe(Progress::Launched(&self.stages[&stage]));
                }
                Effect::Stop(stage) => self.workers.stop(&|other| *other == stage).await?,
                Effect::Done => self.is_done = true,
            }
        }
        if self.stopped_by.is_none() && self.scheduler.is_draining() {
            self.stopped_by = Some(StoppedBy::FailFast);
            self.workers.stop_all().await?;
        }
        Ok(())
    }

    /// Dies here, if `SANDBOX_FAIL` says so; a stage's step is that of its end.
    fn strike(&self, kind: Kind, stage: &StageId, attempt: u32) {
        let step = self.stages[stage].to.0;
        if self.context.faults.strikes(kind, &stage.0, attempt, step) {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).ok();
        }
    }

    async fn record(
        &mut self,
        stage: StageId,
        event: StageEvent,
        devices: &BTreeMap<StageId, (usize, u32)>,
    ) -> Result<(), Failure> {
        let detail = match event {
            StageEvent::Launched { attempt } => {
                let (device, halvings) = devices.get(&stage).copied().unwrap_or_default();
                let folder = self.context.workdir.attempt(&stage, attempt);
                StageDetail {
                    folder: Some(self.context.workdir.recorded(&folder).display().to_string()),
                    worker: self.workers.next_worker(device).map(|number| number as u64),
                    code_version: Some(VERSION.to_owned()),
                    micro_batch: (halvings > 0).then(|| micro_batch(&self.stages[&stage], halvings)),
                    ..StageDetail::default()
                }
            }
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

    async fn launch(&mut self, stage: &StageId, attempt: u32, device: usize, halvings: u32) -> Result<(), Failure> {
        let plan = self.stages[stage].clone();
        let parent = match &plan.parent {
            Some(parent) => self.state_at(parent, plan.from).await?,
            None => None,
        };
        // A complete stage whose state is made again has nothing inside it to go on from.
        let kept = self.store.checkpoints(stage).await?;
        let folder = self.context.workdir.attempt(stage, attempt);
        // Left over from a database that is gone; its lines are not this attempt's.
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        let mut config = plan.config.clone();
        config.numerics.micro_batch = micro_batch(&plan, halvings);
        let job = Job {
            protocol: protocol::PROTOCOL,
            version: VERSION.to_owned(),
            stage: stage.clone(),
            attempt,
            config,
            from: plan.from,
            to: plan.to,
            parent,
            resume: kept.iter().map(|resume| self.opened(resume)).collect(),
            checkpoint_every: resources::interval(self.planned, &plan),
            keep_state: plan.kind == StageKind::Trunk || self.planned.sweep.resources.keep_weights,
            data: std::path::absolute(self.data_folder(&plan))?,
            eval_windows: EVAL_WINDOWS,
            device: self.context.device_name(device),
        };
        let path = folder.join(protocol::JOB_FILE);
        let text = serde_json::to_string_pretty(&job).map_err(std::io::Error::other)?;
        write_whole(&path, text.as_bytes())?;
        let mut ongoing = Attempt::new(&self.context.workdir, stage.clone(), attempt, kept);
        ongoing.bytes = text.len() as u64;
        self.attempts.insert(stage.clone(), ongoing);
        let path = std::path::absolute(&path)?;
        Ok(self.workers.launch(stage.clone(), attempt, device, &path).await?)
    }

    /// The state that a stage left at a step.
    async fn state_at(&mut self, stage: &StageId, step: crate::units::Steps) -> Result<Option<Checkpoint>, Failure> {
        let states = self.store.checkpoints(stage).await?;
        let state = states.iter().find(|resume| resume.step == step);
        Ok(state.map(|resume| self.opened(resume).checkpoint))
    }

    /// A state with its path as a worker can open it, wherever that stands.
    fn opened(&self, resume: &Resume) -> Resume {
        let path = self.context.workdir.resolved(&resume.checkpoint.path);
        Resume {
            step: resume.step,
            checkpoint: Checkpoint {
                path: std::path::absolute(&path).unwrap_or(path),
                ..resume.checkpoint.clone()
            },
        }
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

/// Waits for a worker, a signal, or a moment.
async fn pause(workers: &Workers, signals: &mut Signals) -> Option<StoppedBy> {
    tokio::select! {
        asked = signals.next() => Some(match asked {
            Stop::Interrupt => StoppedBy::Interrupt,
            Stop::Terminate => StoppedBy::Terminate,
        }),
        () = workers.wakeup() => None,
        () = tokio::time::sleep(POLL) => None,
    }
}

/// Where a launch goes.
fn placed(effect: &Effect) -> Option<(StageId, (usize, u32))> {
    match effect {
        Effect::Launch {
            stage,
            device,
            halvings,
            attempt: _,
        } => Some((stage.clone(), (*device, *halvings))),
        Effect::Record(..) | Effect::Stop(_) | Effect::Done => None,
    }
}

/// Sequences in one forward pass after the memory was full so many times.
fn micro_batch(plan: &StagePlan, halvings: u32) -> u64 {
    (plan.config.numerics.micro_batch >> halvings.min(63)).max(1)
}
