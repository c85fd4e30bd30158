//! What to do next: a value that takes news and returns effects.
//!
//! Refuses to know clocks, files, processes and the database. The driver feeds [`News`] in and carries [`Effect`]s
//! out, in order; a record always comes before the act that it announces.

use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::Cause;
use crate::stage::{StageEvent, StageState, UnlawfulEvent};
use crate::units::StageId;

/// A stage that has to be trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    pub stage: StageId,
    /// The stage that must be complete first, if that is still to be trained.
    pub parent: Option<StageId>,
    /// Slots of a device that it takes: cores, or shares of a card.
    pub slots: u64,
    /// Memory that it takes, in bytes.
    pub bytes: u64,
    /// What it and everything behind it costs; the longest path goes first.
    pub path_flops: f64,
    /// What it costs itself.
    pub flops: f64,
    /// Whether it is the last stage of a trial behind a trunk: its result comes early where that delays nothing.
    pub is_decay: bool,
    /// Attempts that were made before.
    pub attempts: u32,
    /// How often its micro-batch was halved before, because the memory was full.
    pub halvings: u32,
    /// How often that can be done at all.
    pub halvings_max: u32,
    /// Whether it is complete and only the state at its end is made again.
    pub remake: bool,
    /// Whether the last of its attempts is on a worker already.
    pub is_running: bool,
}

/// Something that stages are trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    pub slots: u64,
    /// Its memory in bytes; none: unknown, and then only slots count.
    pub bytes: Option<u64>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// At the stage's end.
    Completed,
    /// With a loss that was not finite.
    Diverged,
    Faulted(Cause),
}

#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// The driver is ready.
    Start,
    Ended {
        stage: StageId,
        outcome: Outcome,
        /// Whether it has brought the stage forward.
        has_moved: bool,
    },
    /// Nobody wants these stages any more.
    Withdrawn(Vec<StageId>),
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
        stage: StageId,
        /// Which attempt, from 1.
        attempt: u32,
        /// The device, by its place in the limits.
        device: usize,
        /// How often its micro-batch is halved.
        halvings: u32,
    },
    /// Ask the worker of this stage to stop.
    Stop(StageId),
    /// Nothing runs and nothing can be started.
    Done,
}

/// Limits that never change a result.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// What there is to train on.
    pub devices: Vec<Device>,
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
    /// The device of a running attempt.
    device: usize,
    /// Some trial needs it.
    is_wanted: bool,
    children: Vec<usize>,
}

/// Decides what runs next.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    /// The longest path first: a task's place is its rank.
    tasks: Vec<Tracked>,
    rank: BTreeMap<StageId, usize>,
    /// Ranks of the tasks that could start now.
    ready: BTreeSet<usize>,
    /// The same of the decays alone.
    ready_decays: BTreeSet<usize>,
    /// FLOPs of all that is not on a worker yet and may still get there.
    waiting_flops: f64,
    /// What is free of each device: slots and bytes.
    free: Vec<Device>,
    running: usize,
    is_draining: bool,
}

impl Scheduler {
    /// Starts from the stages that have to be trained.
    pub fn new(mut tasks: Vec<Task>, limits: Limits) -> Self {
        tasks.sort_by(|a, b| {
            b.path_flops
                .total_cmp(&a.path_flops)
                .then_with(|| a.stage.cmp(&b.stage))
        });
        let rank: BTreeMap<StageId, usize> = tasks
            .iter()
            .enumerate()
            .map(|(rank, task)| (task.stage.clone(), rank))
            .collect();
        let mut children: Vec<Vec<usize>> = vec![Vec::new(); tasks.len()];
        let mut ready = BTreeSet::new();
        for (place, task) in tasks.iter().enumerate() {
            match task.parent.as_ref().and_then(|parent| rank.get(parent)) {
                Some(&parent) => children[parent].push(place),
                None if task.is_running => {}
                None => {
                    ready.insert(place);
                }
            }
        }
        let tracked = |(task, children): (Task, Vec<usize>)| Tracked {
            state: begins_as(&task),
            task,
            faults: BTreeMap::new(),
            device: 0,
            is_wanted: true,
            children,
        };
        let mut scheduler = Self {
            free: limits.devices.clone(),
            limits,
            tasks: tasks.into_iter().zip(children).map(tracked).collect(),
            rank,
            ready: BTreeSet::new(),
            ready_decays: BTreeSet::new(),
            waiting_flops: 0.0,
            running: 0,
            is_draining: false,
        };
        for rank in ready {
            scheduler.make_ready(rank);
        }
        for rank in 0..scheduler.tasks.len() {
            if scheduler.tasks[rank].task.is_running {
                scheduler.occupy(rank, 0);
            } else {
                scheduler.waiting_flops += scheduler.tasks[rank].task.flops;
            }
        }
        scheduler
    }

    /// Takes one piece of news and says what to do about it.
    pub fn handle(&mut self, news: News) -> Result<Vec<Effect>, UnlawfulEvent> {
        let mut effects = Vec::new();
        match news {
            News::Start => {}
            News::Drain => self.is_draining = true,
            News::Withdrawn(stages) => self.withdraw(&stages, &mut effects),
            News::Ended {
                stage,
                outcome,
                has_moved,
            } => self.ended(&stage, outcome, has_moved, &mut effects)?,
        }
        if !self.is_draining {
            self.launch_ready(&mut effects)?;
        }
        if self.running == 0 {
            effects.push(Effect::Done);
        }
        Ok(effects)
    }

    /// Where a stage stands.
    pub fn state(&self, stage: &StageId) -> Option<StageState> {
        self.rank.get(stage).map(|&rank| self.tasks[rank].state)
    }

    /// Whether nothing new is started any more.
    pub fn is_draining(&self) -> bool {
        self.is_draining
    }

    fn withdraw(&mut self, stages: &[StageId], effects: &mut Vec<Effect>) {
        for stage in stages {
            let Some(&rank) = self.rank.get(stage) else { continue };
            self.take_ready(rank);
            let tracked = &mut self.tasks[rank];
            let was_wanted = std::mem::replace(&mut tracked.is_wanted, false);
            if is_running(tracked.state) {
                effects.push(Effect::Stop(stage.clone()));
            } else if was_wanted && tracked.state == begins_as(&tracked.task) {
                self.waiting_flops -= tracked.task.flops;
            }
        }
    }

    fn ended(
        &mut self,
        stage: &StageId,
        outcome: Outcome,
        has_moved: bool,
        effects: &mut Vec<Effect>,
    ) -> Result<(), UnlawfulEvent> {
        let rank = self.rank[stage];
        self.give_back(rank);
        let attempt = self.tasks[rank].task.attempts;
        match outcome {
            Outcome::Completed => {
                self.record(rank, StageEvent::Completed { attempt }, effects)?;
                let children = self.tasks[rank].children.clone();
                for child in children {
                    if self.tasks[child].is_wanted {
                        self.make_ready(child);
                    }
                }
                Ok(())
            }
            Outcome::Diverged => {
                self.waiting_flops -= self.flops_behind(rank);
                self.record(rank, StageEvent::Diverged { attempt }, effects)
            }
            Outcome::Faulted(cause) => {
                self.record(rank, StageEvent::Faulted { attempt }, effects)?;
                if matches!(cause, Cause::Interrupted | Cause::WorkerLost) && has_moved {
                    // What takes its workers away is no fault of a stage that came forward meanwhile.
                    self.tasks[rank].faults.remove(&cause);
                }
                self.after_fault(rank, cause, effects)
            }
        }
    }

    /// Another attempt, or none.
    fn after_fault(&mut self, rank: usize, cause: Cause, effects: &mut Vec<Effect>) -> Result<(), UnlawfulEvent> {
        let allowed = self.limits.retries.get(&cause).copied();
        let allowed = allowed.unwrap_or(self.limits.default_retries);
        let tracked = &mut self.tasks[rank];
        let faults = tracked.faults.entry(cause).or_default();
        *faults = faults.saturating_add(1);
        let mut again = *faults <= allowed;
        if cause == Cause::OutOfMemory {
            // The same again would fail again: less at once, or not at all.
            again &= tracked.task.halvings < tracked.task.halvings_max;
            tracked.task.halvings += 1;
        }
        // A run that is being stopped leaves its stages pending: nothing has failed.
        if self.is_draining || !tracked.is_wanted {
            return Ok(());
        }
        if !again && !tracked.task.remake {
            self.waiting_flops -= self.flops_behind(rank);
            self.record(rank, StageEvent::GaveUp, effects)?;
            self.is_draining |= self.limits.fail_fast;
        } else if again && cause != Cause::DamagedCheckpoint {
            // Behind a damaged state waits what has to make it again: that is for a new plan.
            self.waiting_flops += self.tasks[rank].task.flops;
            self.make_ready(rank);
        }
        Ok(())
    }

    fn launch_ready(&mut self, effects: &mut Vec<Effect>) -> Result<(), UnlawfulEvent> {
        while let Some(&longest) = self.ready.first() {
            // What does not fit waits for room; something smaller must not keep it waiting for ever.
            let mut first = self.free_decay(longest).into_iter().chain([longest]);
            let Some((rank, device)) = first.find_map(|rank| Some((rank, self.place(rank)?))) else {
                break;
            };
            self.take_ready(rank);
            self.waiting_flops -= self.tasks[rank].task.flops;
            self.occupy(rank, device);
            let tracked = &mut self.tasks[rank];
            tracked.task.attempts += 1;
            let Task {
                attempts: attempt,
                halvings,
                ..
            } = tracked.task;
            let stage = tracked.task.stage.clone();
            self.record(rank, StageEvent::Launched { attempt }, effects)?;
            effects.push(Effect::Launch {
                stage,
                attempt,
                device,
                halvings,
            });
        }
        Ok(())
    }

    fn make_ready(&mut self, rank: usize) {
        self.ready.insert(rank);
        if self.tasks[rank].task.is_decay {
            self.ready_decays.insert(rank);
        }
    }

    fn take_ready(&mut self, rank: usize) {
        self.ready.remove(&rank);
        self.ready_decays.remove(&rank);
    }

    /// A decay that could start now without delaying the end: what waits keeps every slot at work for longer than the
    /// longest path takes even if that begins after the decay. Its trial has a result then, long before the last trunk.
    fn free_decay(&self, longest: usize) -> Option<usize> {
        /// Sums of the same numbers in another order differ by less.
        const ROUNDING: f64 = 1e-9;
        let decay = *self.ready_decays.first()?;
        let head = &self.tasks[longest].task;
        let slots: u64 = self.limits.devices.iter().map(|device| device.slots).sum();
        let workers = (slots / head.slots.max(1)).max(1);
        let after = self.tasks[decay].task.flops + head.path_flops;
        (after <= self.waiting_flops / workers as f64 * (1.0 + ROUNDING)).then_some(decay)
    }

    /// FLOPs of all that would have followed after a stage.
    fn flops_behind(&self, rank: usize) -> f64 {
        let children = self.tasks[rank].children.iter();
        let of_child = |&child: &usize| {
            let tracked = &self.tasks[child];
            let own = if tracked.is_wanted { tracked.task.flops } else { 0.0 };
            own + self.flops_behind(child)
        };
        children.map(of_child).sum()
    }

    /// The device with the most room that this task fits on now.
    fn place(&self, rank: usize) -> Option<usize> {
        let fits = |device: &usize| {
            let (slots, bytes) = self.cost(rank, *device);
            let free = self.free[*device];
            slots <= free.slots && free.bytes.is_none_or(|free| bytes <= free)
        };
        let devices = (0..self.free.len()).filter(fits);
        // The first of equals: devices fill in their order.
        devices.rev().max_by_key(|device| self.free[*device].slots)
    }

    /// A task that wants more than a device has gets all of it.
    fn cost(&self, rank: usize, device: usize) -> (u64, u64) {
        let whole = self.limits.devices[device];
        let task = &self.tasks[rank].task;
        (
            task.slots.clamp(1, whole.slots.max(1)),
            task.bytes.min(whole.bytes.unwrap_or(u64::MAX)),
        )
    }

    fn occupy(&mut self, rank: usize, device: usize) {
        let (slots, bytes) = self.cost(rank, device);
        let free = &mut self.free[device];
        free.slots -= slots;
        free.bytes = free.bytes.map(|free| free - bytes);
        self.running += 1;
        self.tasks[rank].device = device;
    }

    fn give_back(&mut self, rank: usize) {
        if !is_running(self.tasks[rank].state) {
            return;
        }
        let device = self.tasks[rank].device;
        let (slots, bytes) = self.cost(rank, device);
        let free = &mut self.free[device];
        free.slots += slots;
        free.bytes = free.bytes.map(|free| free + bytes);
        self.running -= 1;
    }

    fn record(&mut self, rank: usize, event: StageEvent, effects: &mut Vec<Effect>) -> Result<(), UnlawfulEvent> {
        let tracked = &mut self.tasks[rank];
        tracked.state = tracked.state.next(event)?;
        effects.push(Effect::Record(tracked.task.stage.clone(), event));
        Ok(())
    }
}

fn begins_as(task: &Task) -> StageState {
    let attempt = task.attempts;
    match (task.remake, task.is_running) {
        (false, false) => StageState::Pending,
        (false, true) => StageState::Running { attempt },
        (true, false) => StageState::Complete,
        (true, true) => StageState::Remaking { attempt },
    }
}

fn is_running(state: StageState) -> bool {
    matches!(state, StageState::Running { .. } | StageState::Remaking { .. })
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
                    flops: (index % 4) as f64,
                    is_decay: index % 3 == 0,
                    bytes: index as u64 % 3,
                    ..task("", 0.0)
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn any_forest_in_any_weather_ends_and_keeps_its_limits(
            tasks in forest(),
            weather in prop::collection::vec((any::<prop::sample::Index>(), 0u8..6), 1..400),
            devices in prop::collection::vec((1u64..5, prop::option::of(1u64..4)), 1..4),
        ) {
            let devices: Vec<Device> =
                devices.into_iter().map(|(slots, bytes)| Device { slots, bytes }).collect();
            let limits = Limits { devices: devices.clone(), ..limits(1) };
            let mut scheduler = Scheduler::new(tasks.clone(), limits);
            let by_name: BTreeMap<StageId, Task> =
                tasks.iter().map(|task| (task.stage.clone(), task.clone())).collect();
            let mut running: Vec<(StageId, usize)> = Vec::new();
            let mut complete: Vec<StageId> = Vec::new();
            let mut effects = scheduler.handle(News::Start).expect("lawful");
            let mut sky = weather.iter().cycle();
            for _ in 0..10_000 {
                let mut recorded = None;
                for effect in &effects {
                    match effect {
                        Effect::Record(stage, event) => recorded = Some((stage.clone(), *event)),
                        Effect::Launch { stage, attempt, device, halvings } => {
                            prop_assert!(*halvings <= by_name[stage].halvings_max);
                            let event = StageEvent::Launched { attempt: *attempt };
                            prop_assert_eq!(&recorded, &Some((stage.clone(), event)), "recorded first");
                            let parent = &by_name[stage].parent;
                            prop_assert!(parent.as_ref().is_none_or(|parent| complete.contains(parent)));
                            running.push((stage.clone(), *device));
                        }
                        Effect::Stop(_) => prop_assert!(false, "nobody withdrew anything"),
                        Effect::Done => prop_assert!(running.is_empty()),
                    }
                }
                for (place, device) in devices.iter().enumerate() {
                    let on = running.iter().filter(|(_, on)| *on == place).map(|(stage, _)| &by_name[stage]);
                    let (slots, bytes) = on.fold((0, 0), |(slots, bytes), task| {
                        (slots + task.slots.min(device.slots), bytes + task.bytes.min(device.bytes.unwrap_or(9)))
                    });
                    prop_assert!(slots <= device.slots && device.bytes.is_none_or(|all| bytes <= all));
                }
                if running.is_empty() {
                    break;
                }
                let (pick, kind) = sky.next().expect("a cycle");
                let (stage, _) = running.remove(pick.index(running.len()));
                let outcome = match kind {
                    0 => Outcome::Diverged,
                    1 => Outcome::Faulted(Cause::WorkerLost),
                    2 => Outcome::Faulted(Cause::OutOfMemory),
                    _ => Outcome::Completed,
                };
                if outcome == Outcome::Completed {
                    complete.push(stage.clone());
                }
                effects = scheduler.handle(News::Ended { stage, outcome, has_moved: false }).expect("lawful");
            }
            prop_assert!(effects.contains(&Effect::Done));
            for task in &tasks {
                let state = scheduler.state(&task.stage).expect("known");
                let parent_done = task.parent.as_ref().is_none_or(|parent| complete.contains(parent));
                prop_assert_eq!(state == StageState::Pending, !parent_done, "only orphans are left over");
            }
        }
    }

    fn task(name: &str, path_flops: f64) -> Task {
        Task {
            stage: StageId(name.to_owned()),
            parent: None,
            slots: 1,
            bytes: 0,
            path_flops,
            flops: path_flops,
            is_decay: false,
            attempts: 0,
            halvings: 0,
            halvings_max: 1,
            remake: false,
            is_running: false,
        }
    }

    fn limits(default_retries: u32) -> Limits {
        Limits {
            devices: vec![Device { slots: 1, bytes: None }],
            retries: BTreeMap::new(),
            default_retries,
            fail_fast: false,
        }
    }

    fn launched(effects: &[Effect]) -> Vec<(&str, u32)> {
        let launch = |effect: &'_ Effect| matches!(effect, Effect::Launch { .. });
        effects
            .iter()
            .filter(|effect| launch(effect))
            .map(|effect| match effect {
                Effect::Launch { stage, halvings, .. } => (stage.0.as_str(), *halvings),
                Effect::Record(..) | Effect::Stop(_) | Effect::Done => ("", 0),
            })
            .collect()
    }

    fn faulted(name: &str, cause: Cause) -> News {
        News::Ended {
            stage: StageId(name.to_owned()),
            outcome: Outcome::Faulted(cause),
            has_moved: false,
        }
    }

    #[test]
    fn the_longest_path_goes_first() {
        let mut scheduler = Scheduler::new(vec![task("a", 1.0), task("b", 2.0)], limits(0));
        let effects = scheduler.handle(News::Start).expect("lawful");
        assert_eq!(launched(&effects), [("b", 0)]);
    }

    /// A trunk and the decay behind it.
    fn chain(name: &str, trunk: f64, decay: f64) -> [Task; 2] {
        let before = Task {
            flops: trunk,
            ..task(name, trunk + decay)
        };
        let after = Task {
            parent: Some(before.stage.clone()),
            is_decay: true,
            ..task(&format!("{name}-decay"), decay)
        };
        [before, after]
    }

    /// The order in which stages begin where `slots` run at once and the one that was started first ends first.
    fn order(tasks: Vec<Task>, slots: u64) -> Vec<String> {
        let device = Device { slots, bytes: None };
        let mut scheduler = Scheduler::new(
            tasks,
            Limits {
                devices: vec![device],
                ..limits(0)
            },
        );
        let mut begun: Vec<String> = Vec::new();
        let mut ended = 0;
        let mut effects = scheduler.handle(News::Start).expect("lawful");
        loop {
            begun.extend(launched(&effects).iter().map(|(name, _)| (*name).to_owned()));
            let Some(stage) = begun.get(ended).cloned() else { break };
            ended += 1;
            let news = News::Ended {
                stage: StageId(stage),
                outcome: Outcome::Completed,
                has_moved: true,
            };
            effects = scheduler.handle(news).expect("lawful");
        }
        begun
    }

    #[test]
    fn on_one_slot_a_trial_is_finished_before_the_next_trunk_begins() {
        let tasks = [chain("a", 9.0, 1.0), chain("b", 8.0, 1.0), chain("c", 7.0, 1.0)].concat();
        assert_eq!(order(tasks, 1), ["a", "a-decay", "b", "b-decay", "c", "c-decay"]);
    }

    #[test]
    fn a_decay_waits_where_the_longest_path_would_end_later_for_it() {
        // Two slots; behind the short trunk stands a path that takes as long as everything else.
        let mut tasks = [chain("a", 2.0, 2.0), chain("b", 1.0, 1.0)].concat();
        let long = Task {
            parent: Some(StageId("b".to_owned())),
            ..task("long", 20.0)
        };
        tasks.push(long);
        tasks.push(task("d", 1.0));
        tasks[2].path_flops = 21.0;
        let order = order(tasks, 2);
        let place = |name: &str| order.iter().position(|other| other == name);
        assert!(
            place("long") < place("a-decay") && place("long") < place("b-decay"),
            "{order:?}"
        );
    }

    #[test]
    fn a_run_that_is_stopped_leaves_its_stages_pending() {
        let mut scheduler = Scheduler::new(vec![task("a", 1.0)], limits(0));
        scheduler.handle(News::Start).expect("lawful");
        scheduler.handle(News::Drain).expect("lawful");
        let effects = scheduler.handle(faulted("a", Cause::WorkerLost)).expect("lawful");
        assert_eq!(effects.last(), Some(&Effect::Done));
        assert_eq!(scheduler.state(&StageId("a".to_owned())), Some(StageState::Pending));
    }

    #[test]
    fn a_full_memory_halves_the_micro_batch_as_often_as_it_can() {
        let mut scheduler = Scheduler::new(vec![task("a", 1.0)], limits(5));
        scheduler.handle(News::Start).expect("lawful");
        let effects = scheduler.handle(faulted("a", Cause::OutOfMemory)).expect("lawful");
        assert_eq!(launched(&effects), [("a", 1)]);
        let effects = scheduler.handle(faulted("a", Cause::OutOfMemory)).expect("lawful");
        assert_eq!(launched(&effects), []);
        assert_eq!(scheduler.state(&StageId("a".to_owned())), Some(StageState::Failed));
    }

    #[test]
    fn what_nobody_wants_any_more_is_stopped_and_not_started() {
        let child = Task {
            parent: Some(StageId("a".to_owned())),
            ..task("b", 1.0)
        };
        let mut scheduler = Scheduler::new(vec![task("a", 2.0), child, task("c", 0.5)], limits(5));
        scheduler.handle(News::Start).expect("lawful");
        let both = ["a", "b"].map(|name| StageId(name.to_owned()));
        let effects = scheduler.handle(News::Withdrawn(both.to_vec())).expect("lawful");
        assert_eq!(effects, [Effect::Stop(StageId("a".to_owned()))]);
        let effects = scheduler.handle(faulted("a", Cause::Interrupted)).expect("lawful");
        assert_eq!(launched(&effects), [("c", 0)]);
    }

    #[test]
    fn a_state_that_is_lost_is_made_again_before_what_starts_from_it() {
        let parent = Task {
            remake: true,
            ..task("a", 2.0)
        };
        let child = Task {
            parent: Some(StageId("a".to_owned())),
            ..task("b", 1.0)
        };
        let mut scheduler = Scheduler::new(vec![parent, child], limits(0));
        let effects = scheduler.handle(News::Start).expect("lawful");
        assert_eq!(launched(&effects), [("a", 0)]);
        let news = News::Ended {
            stage: StageId("a".to_owned()),
            outcome: Outcome::Completed,
            has_moved: true,
        };
        assert_eq!(launched(&scheduler.handle(news).expect("lawful")), [("b", 0)]);
    }

    #[test]
    fn a_task_that_runs_already_holds_its_slot_and_ends_like_any_other() {
        let running = Task {
            attempts: 3,
            is_running: true,
            ..task("a", 9.0)
        };
        let mut scheduler = Scheduler::new(vec![running, task("b", 1.0)], limits(1));
        assert_eq!(launched(&scheduler.handle(News::Start).expect("lawful")), []);
        let news = News::Ended {
            stage: StageId("a".to_owned()),
            outcome: Outcome::Completed,
            has_moved: true,
        };
        let effects = scheduler.handle(news).expect("lawful");
        let completed = StageEvent::Completed { attempt: 3 };
        assert_eq!(effects[0], Effect::Record(StageId("a".to_owned()), completed));
        assert_eq!(launched(&effects), [("b", 0)]);
    }

    #[test]
    fn a_worker_that_is_taken_away_counts_only_while_the_stage_stands_still() {
        let mut scheduler = Scheduler::new(
            vec![task("a", 1.0)],
            Limits {
                retries: BTreeMap::from([(Cause::Interrupted, 2)]),
                ..limits(1)
            },
        );
        scheduler.handle(News::Start).expect("lawful");
        let mut taken_away = |has_moved| {
            let news = News::Ended {
                stage: StageId("a".to_owned()),
                outcome: Outcome::Faulted(Cause::Interrupted),
                has_moved,
            };
            launched(&scheduler.handle(news).expect("lawful")).len()
        };
        for has_moved in [true, true, true, false, true, false] {
            assert_eq!(taken_away(has_moved), 1);
        }
        assert_eq!(taken_away(false), 0, "three in a row");
    }
}
