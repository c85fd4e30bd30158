//! What must hold of every plan.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::resolve::Machine;
use super::*;
use crate::model::config::{DeviceKind, Precision};
use crate::model::data_info::DataInfo;
use crate::model::ladder;
use crate::model::mup::{Multipliers, Parametrization};
use crate::model::schedule::Decay;
use crate::protocol::Trainer;
use crate::spec::{Budget, Resources, ScheduleName, ScheduleSettings, Settings, Sweep};
use crate::units::{Length, TokenBudget};

const BATCH: u64 = 1000;

fn settings(schedule: ScheduleName, tokens: u64, lr: f64) -> Settings {
    Settings {
        model: "24K".to_owned(),
        shape: ladder::find("24K").expect("on the ladder").shape,
        parametrization: Parametrization::Mup,
        lr,
        batch_tokens: Tokens(BATCH),
        micro_batch: None,
        tokens: TokenBudget::Count(Tokens(tokens)),
        context: 100,
        data: "text".to_owned(),
        schedule: ScheduleSettings {
            name: schedule,
            warmup: Length::Count(Tokens(2 * BATCH)),
            decay_fraction: 0.1,
            decay: Decay::Exponential,
            final_fraction: 0.1,
        },
        weight_decay: 0.1,
        beta1: 0.9,
        beta2: 0.95,
        clip: 1.0,
        multipliers: Multipliers::default(),
        precision: Precision::Float32,
        seed: 0,
        of_a_test: 0.0,
    }
}

fn sweep(trials: &[Settings]) -> Sweep {
    let spec = |settings: &Settings| TrialSpec {
        axes: BTreeMap::from([("lr".to_owned(), serde_json::json!(settings.lr))]),
        settings: settings.clone(),
    };
    Sweep {
        name: "test".to_owned(),
        description: None,
        trials: trials.iter().map(spec).collect(),
        axes: Vec::new(),
        run_cap: None,
        budget: Budget::default(),
        retry: BTreeMap::new(),
        resources: Resources::default(),
        target: None,
    }
}

fn plan(trials: &[Settings], known: &Known) -> Plan {
    let info = DataInfo {
        hash: "hash".to_owned(),
        ..DataInfo::of_test("text")
    };
    let data = BTreeMap::from([("text".to_owned(), info)]);
    let machine = Machine {
        device: DeviceKind::Cpu,
        threads: None,
    };
    tree::plan(&sweep(trials), &data, machine, Trainer::Proxy, known).expect("a plan")
}

/// What is known after everything of a plan was trained.
fn trained(plan: &Plan, mut known: Known) -> Known {
    for stage in plan.missing(&known.clone()) {
        let has_state = stage.kind == StageKind::Trunk;
        let it = KnownStage {
            plan: stage.clone(),
            state: StageState::Complete,
            has_state,
        };
        known.stages.insert(stage.id.clone(), it);
    }
    known
}

fn ids(plan: &Plan) -> BTreeSet<StageId> {
    plan.stages.iter().map(|stage| stage.id.clone()).collect()
}

fn tokens(stages: &[&StagePlan]) -> u64 {
    stages.iter().map(|stage| stage.tokens().0).sum()
}

#[test]
fn a_data_scaling_sweep_trains_75_units_instead_of_210() {
    let budgets: Vec<Settings> = (1..=6)
        .map(|tens| settings(ScheduleName::Wsd, tens * 10 * 10 * BATCH, 0.01))
        .collect();
    let plan = plan(&budgets, &Known::default());
    let alone: u64 = plan.trials.iter().map(|trial| trial.tokens().0).sum();
    assert_eq!(alone, 210 * 10 * BATCH);
    assert_eq!(tokens(&plan.stages.iter().collect::<Vec<_>>()), 75 * 10 * BATCH);
}

#[test]
fn a_budget_in_between_trains_only_the_difference_and_renames_nothing() {
    let at = |tens: u64| settings(ScheduleName::Wsd, tens * 10 * BATCH, 0.01);
    let first = plan(&[at(20), at(40)], &Known::default());
    let known = trained(&first, Known::default());
    let all = [at(20), at(30), at(40)];
    let second = plan(&all, &known);
    let missing = second.missing(&known);
    // The trunk from 18 to 27 and the decay from 27 to 30.
    assert_eq!(tokens(&missing), 12 * 10 * BATCH);
    let at_once = plan(&all, &Known::default());
    assert_eq!(ids(&at_once), ids(&second));
    let known = trained(&second, known);
    assert!(plan(&all, &known).missing(&known).is_empty());
}

#[test]
fn a_longer_budget_goes_on_from_the_last_trunk() {
    let at = |tens: u64| settings(ScheduleName::Wsd, tens * 10 * BATCH, 0.01);
    let known = trained(&plan(&[at(20)], &Known::default()), Known::default());
    let longer = plan(&[at(40)], &known);
    assert_eq!(tokens(&longer.missing(&known)), 22 * 10 * BATCH);
    assert_eq!(longer.reasons(&known)[0].0, Reason::Continue);
}

#[test]
fn a_cosine_shares_nothing_with_another_end() {
    let at = |tens: u64| settings(ScheduleName::Cosine, tens * 10 * BATCH, 0.01);
    let plan = plan(&[at(20), at(40)], &Known::default());
    assert_eq!(tokens(&plan.stages.iter().collect::<Vec<_>>()), 60 * 10 * BATCH);
    assert!(plan.stages.iter().all(|stage| stage.kind == StageKind::Whole));
}

#[test]
fn what_lies_behind_a_diverged_trunk_is_not_trained() {
    let plan = plan(&[settings(ScheduleName::Wsd, 100 * BATCH, 1.0)], &Known::default());
    let mut known = Known::default();
    let trunk = plan.stages[0].clone();
    let it = KnownStage {
        plan: trunk.clone(),
        state: StageState::Diverged,
        has_state: false,
    };
    known.stages.insert(trunk.id, it);
    assert!(plan.missing(&known).is_empty());
    assert_eq!(plan.reasons(&known)[0].0, Reason::Complete);
}

#[test]
fn a_changed_setting_is_told_from_a_new_trial() {
    let old = settings(ScheduleName::Wsd, 100 * BATCH, 0.01);
    let mut new = old.clone();
    new.clip = 0.5;
    let before = plan(std::slice::from_ref(&old), &Known::default());
    let trials = before
        .trials
        .iter()
        .map(|trial| (trial.id.clone(), trial.spec.clone()))
        .collect();
    let known = Known {
        trials,
        ..Known::default()
    };
    let (reason, why) = plan(&[new], &known).reasons(&known).remove(0);
    assert_eq!(reason, Reason::Changed);
    assert_eq!(why, "clip: 1.0 → 0.5");
}

#[test]
fn a_number_that_is_not_finite_has_no_name() {
    let trial = plan(&[settings(ScheduleName::Wsd, 100 * BATCH, 0.01)], &Known::default())
        .trials
        .remove(0);
    let mut config = trial.config;
    config.optimizer.lr = f64::NAN;
    assert!(identity::stage_id(&config, Trainer::Proxy, Steps(10)).is_err());
}

/// Names are kept for ever: if this test fails, every state of every home gets another name.
#[test]
fn the_name_of_a_state_never_changes() {
    let plan = plan(&[settings(ScheduleName::Wsd, 100 * BATCH, 0.01)], &Known::default());
    let names: Vec<&str> = plan.stages.iter().map(|stage| stage.id.0.as_str()).collect();
    insta::assert_json_snapshot!(names);
}

fn schedules() -> impl Strategy<Value = ScheduleName> {
    prop_oneof![
        Just(ScheduleName::Wsd),
        Just(ScheduleName::Cosine),
        Just(ScheduleName::Linear),
        Just(ScheduleName::Constant),
    ]
}

proptest! {
    #[test]
    fn a_tree_is_never_dearer_than_the_grid_and_does_not_know_the_order(
        grid in prop::collection::vec((schedules(), 5u64..80, 0usize..2), 1..12),
        turn in any::<prop::sample::Index>(),
    ) {
        let trials: Vec<Settings> = grid
            .iter()
            .map(|(schedule, steps, lr)| settings(*schedule, steps * BATCH, [0.01, 0.02][*lr]))
            .collect();
        let once = plan(&trials, &Known::default());
        let alone: u64 = once.trials.iter().map(|trial| trial.tokens().0).sum();
        prop_assert!(tokens(&once.stages.iter().collect::<Vec<_>>()) <= alone);
        let mut turned = trials.clone();
        turned.rotate_left(turn.index(trials.len()));
        prop_assert_eq!(ids(&once), ids(&plan(&turned, &Known::default())));
        for trial in &once.trials {
            let path: Vec<&StagePlan> = trial.stages.iter().filter_map(|id| once.stage(id)).collect();
            prop_assert_eq!(path[0].from, Steps(0));
            prop_assert_eq!(path[path.len() - 1].to, trial.steps);
            for pair in path.windows(2) {
                prop_assert_eq!(pair[0].to, pair[1].from);
                prop_assert_eq!(Some(&pair[0].id), pair[1].parent.as_ref());
            }
        }
    }
}
