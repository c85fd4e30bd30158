//! What to do next: a value that takes news and returns effects.
//!
//! Refuses to know clocks, files, processes and the database. The driver feeds [`News`] in and carries [`Effect`]s
//! out, in order; a record always comes before the act that it announces.

use std::collections::BTreeMap;

use crate::stage::{StageEvent, StageState, UnlawfulEvent};
use crate::units::StageId;
use crate::wire::Cause;

/// A stage that has to be trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The stage.
    pub stage: StageId,
    /// The stage that must be complete first, if that is still to be trained.
    pub parent: Option<StageId>,
    /// Cores, or slots of a card, that it takes.
    pub slots: u64,
    /// What it and everything behind it costs; the longest path goes first.
    pub path_flops: f64,
    /// Attempts that were made before.
    pub attempts: u32,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// At the stage's end.
    Completed,
    /// With a loss that was not finite.
    Diverged,
    /// Without a result.
    Faulted(Cause),
}

/// News from outside.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// The driver is ready.
    Start,
    /// An attempt ended.
    Ended {
        /// The stage.
        stage: StageId,
        /// How.
        outcome: Outcome,
    },
    /// Nothing new is to be started.
    Drain,
}

/// What the driver must do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Write this to the log.
    Record(StageId, StageEvent),
    /// Hand the stage to a worker.
    Launch {
        /// The stage.
        stage: StageId,
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// Nothing runs and nothing can be started.
    Done,
}

/// Limits that never change a result.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Slots in all.
    pub slots: u64,
    /// Further attempts after a fault, by cause.
    pub retries: BTreeMap<Cause, u32>,
    /// Further attempts after any other fault.
    pub default_retries: u32,
    /// Whether the first failure ends everything.
    pub fail_fast: bool,
}

#[derive(Debug)]
struct Tracked {
    task: Task,
    state: StageState,
    faults: BTreeMap<Cause, u32>,
}

/// Decides what runs next.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    tasks: BTreeMap<StageId, Tracked>,
    draining: bool,
}

impl Scheduler {
    /// Starts from the stages that have to be trained.
    pub fn new(tasks: Vec<Task>, limits: Limits) -> Self {
        let tracked = |task: Task| {
            (
                task.stage.clone(),
                Tracked {
                    task,
                    state: StageState::Pending,
                    faults: BTreeMap::new(),
                },
            )
        };
        Self {
            limits,
            tasks: tasks.into_iter().map(tracked).collect(),
            draining: false,
        }
    }

    /// Takes one piece of news and says what to do about it.
    pub fn handle(&mut self, news: News) -> Result<Vec<Effect>, UnlawfulEvent> {
        let mut effects = Vec::new();
        match news {
            News::Start => {}
            News::Drain => self.draining = true,
            News::Ended { stage, outcome } => self.ended(&stage, outcome, &mut effects)?,
        }
        if !self.draining {
            self.launch_ready(&mut effects)?;
        }
        if self.running().next().is_none() {
            effects.push(Effect::Done);
        }
        Ok(effects)
    }

    /// Where a stage stands.
    pub fn state(&self, stage: &StageId) -> Option<StageState> {
        self.tasks.get(stage).map(|tracked| tracked.state)
    }

    /// Whether nothing new is started any more.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    fn running(&self) -> impl Iterator<Item = &Tracked> {
        self.tasks
            .values()
            .filter(|tracked| matches!(tracked.state, StageState::Running { .. }))
    }

    fn ended(&mut self, stage: &StageId, outcome: Outcome, effects: &mut Vec<Effect>) -> Result<(), UnlawfulEvent> {
        let attempt = self.tasks[stage].task.attempts;
        match outcome {
            Outcome::Completed => self.record(stage, StageEvent::Completed { attempt }, effects),
            Outcome::Diverged => self.record(stage, StageEvent::Diverged { attempt }, effects),
            Outcome::Faulted(cause) => {
                self.record(stage, StageEvent::Faulted { attempt }, effects)?;
                let tracked = self.tasks.get_mut(stage).expect("the plan names every stage");
                let faults = tracked.faults.entry(cause).or_default();
                *faults += 1;
                let allowed = self
                    .limits
                    .retries
                    .get(&cause)
                    .copied()
                    .unwrap_or(self.limits.default_retries);
                // A run that is being stopped leaves its stages pending: nothing has failed.
                if *faults > allowed && !self.draining {
                    self.record(stage, StageEvent::GaveUp, effects)?;
                    self.draining |= self.limits.fail_fast;
                }
                Ok(())
            }
        }
    }

    fn launch_ready(&mut self, effects: &mut Vec<Effect>) -> Result<(), UnlawfulEvent> {
        let used: u64 = self.running().map(|tracked| self.cost(tracked)).sum();
        let mut free = self.limits.slots.saturating_sub(used);
        let mut ready: Vec<&Tracked> = self.tasks.values().filter(|tracked| self.is_ready(tracked)).collect();
        ready.sort_by(|a, b| b.task.path_flops.total_cmp(&a.task.path_flops));
        let mut launched = Vec::new();
        for tracked in ready {
            let cost = self.cost(tracked);
            if cost > free {
                // What does not fit waits for room; something smaller must not keep it waiting for ever.
                break;
            }
            free -= cost;
            launched.push(tracked.task.stage.clone());
        }
        for stage in launched {
            let tracked = self.tasks.get_mut(&stage).expect("it was just found");
            tracked.task.attempts += 1;
            let attempt = tracked.task.attempts;
            self.record(&stage, StageEvent::Launched { attempt }, effects)?;
            effects.push(Effect::Launch { stage, attempt });
        }
        Ok(())
    }

    /// A stage that wants more than there is gets all of it.
    fn cost(&self, tracked: &Tracked) -> u64 {
        tracked.task.slots.clamp(1, self.limits.slots.max(1))
    }

    fn is_ready(&self, tracked: &Tracked) -> bool {
        let parent = tracked.task.parent.as_ref().and_then(|parent| self.state(parent));
        tracked.state == StageState::Pending && parent.is_none_or(|state| state == StageState::Complete)
    }

    fn record(&mut self, stage: &StageId, event: StageEvent, effects: &mut Vec<Effect>) -> Result<(), UnlawfulEvent> {
        let tracked = self.tasks.get_mut(stage).expect("the plan names every stage");
        tracked.state = tracked.state.next(event)?;
        effects.push(Effect::Record(stage.clone(), event));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A random forest: each stage hangs on an earlier one or on nothing.
    fn forest() -> impl Strategy<Value = Vec<Task>> {
        prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), 1u64..4), 1..25).prop_map(|rows| {
            let name = |index: usize| StageId(format!("s{index:02}"));
            rows.iter()
                .enumerate()
                .map(|(index, (parent, is_root, slots))| Task {
                    stage: name(index),
                    parent: (!is_root && index > 0).then(|| name(parent.index(index))),
                    slots: *slots,
                    path_flops: index as f64,
                    attempts: 0,
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn any_forest_in_any_weather_ends_and_keeps_its_limits(
            tasks in forest(),
            weather in prop::collection::vec((any::<prop::sample::Index>(), 0u8..5), 1..400),
            slots in 1u64..5,
        ) {
            let limits = Limits { slots, retries: BTreeMap::new(), default_retries: 1, fail_fast: false };
            let mut scheduler = Scheduler::new(tasks.clone(), limits);
            let by_name: BTreeMap<StageId, Task> =
                tasks.iter().map(|task| (task.stage.clone(), task.clone())).collect();
            let mut running: Vec<StageId> = Vec::new();
            let mut complete: Vec<StageId> = Vec::new();
            let mut effects = scheduler.handle(News::Start).expect("lawful");
            let mut sky = weather.iter().cycle();
            for _ in 0..10_000 {
                let mut recorded = None;
                for effect in &effects {
                    match effect {
                        Effect::Record(stage, event) => recorded = Some((stage.clone(), *event)),
                        Effect::Launch { stage, attempt } => {
                            let event = StageEvent::Launched { attempt: *attempt };
                            prop_assert_eq!(&recorded, &Some((stage.clone(), event)), "recorded first");
                            let parent = &by_name[stage].parent;
                            prop_assert!(parent.as_ref().is_none_or(|parent| complete.contains(parent)));
                            running.push(stage.clone());
                        }
                        Effect::Done => prop_assert!(running.is_empty()),
                    }
                }
                let used: u64 = running.iter().map(|stage| by_name[stage].slots.min(slots)).sum();
                prop_assert!(used <= slots);
                if running.is_empty() {
                    break;
                }
                let (pick, kind) = sky.next().expect("a cycle");
                let stage = running.remove(pick.index(running.len()));
                let outcome = match kind {
                    0 => Outcome::Diverged,
                    1 => Outcome::Faulted(Cause::WorkerLost),
                    _ => Outcome::Completed,
                };
                if outcome == Outcome::Completed {
                    complete.push(stage.clone());
                }
                effects = scheduler.handle(News::Ended { stage, outcome }).expect("lawful");
            }
            prop_assert!(effects.contains(&Effect::Done));
            for task in &tasks {
                let state = scheduler.state(&task.stage).expect("known");
                let parent_done = task.parent.as_ref().is_none_or(|parent| complete.contains(parent));
                prop_assert_eq!(state == StageState::Pending, !parent_done, "only orphans are left over");
            }
        }
    }

    #[test]
    fn the_longest_path_goes_first() {
        let task = |name: &str, path_flops: f64| Task {
            stage: StageId(name.to_owned()),
            parent: None,
            slots: 1,
            path_flops,
            attempts: 0,
        };
        let limits = Limits {
            slots: 1,
            retries: BTreeMap::new(),
            default_retries: 0,
            fail_fast: false,
        };
        let mut scheduler = Scheduler::new(vec![task("a", 1.0), task("b", 2.0)], limits);
        let effects = scheduler.handle(News::Start).expect("lawful");
        assert!(effects.contains(&Effect::Launch {
            stage: StageId("b".to_owned()),
            attempt: 1
        }));
    }

    #[test]
    fn a_run_that_is_stopped_leaves_its_stages_pending() {
        let stage = StageId("a".to_owned());
        let task = Task {
            stage: stage.clone(),
            parent: None,
            slots: 1,
            path_flops: 1.0,
            attempts: 0,
        };
        let limits = Limits {
            slots: 1,
            retries: BTreeMap::new(),
            default_retries: 0,
            fail_fast: false,
        };
        let mut scheduler = Scheduler::new(vec![task], limits);
        scheduler.handle(News::Start).expect("lawful");
        scheduler.handle(News::Drain).expect("lawful");
        let outcome = Outcome::Faulted(Cause::WorkerLost);
        let effects = scheduler
            .handle(News::Ended {
                stage: stage.clone(),
                outcome,
            })
            .expect("lawful");
        assert_eq!(effects.last(), Some(&Effect::Done));
        assert_eq!(scheduler.state(&stage), Some(StageState::Pending));
    }
}
