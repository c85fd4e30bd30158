//! Trials that differ in one thing each, and which of them compare.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::mup::Parametrization;
use crate::protocol::Trainer;
use crate::record::{TrialRow, TrialState};
use crate::setup::{Factor, Setup};
use crate::spec::ScheduleName;
use crate::study::pairs::wsd_and_cosine;
use crate::study::{proxies, select};

/// A finished trial of 9M parameters, 300,000 tokens and batches of 4,096.
pub(crate) fn trial(name: &str, change: impl FnOnce(&mut TrialRow)) -> TrialRow {
    let settings = [
        ("weight_decay", "0.1"),
        ("clip", "1.0"),
        ("multipliers", "{\"init_std\":0.1}"),
        ("precision", "\"float32\""),
        ("schedule.name", "\"wsd\""),
        ("schedule.decay", "\"exponential\""),
        ("data", "\"text\""),
    ];
    let mut row = TrialRow {
        trial: name.to_owned(),
        sweep: "sweep".to_owned(),
        slug: name.to_owned(),
        state: TrialState::Complete,
        trainer: Trainer::Proxy,
        model: "9M".to_owned(),
        params_non_embedding: 9_000_000,
        params_total: 10_000_000,
        width: 320,
        layers: 8,
        heads: 5,
        vocab: 256,
        context: 128,
        parametrization: Parametrization::Mup,
        lr: 0.01,
        batch_tokens: 4096,
        schedule: ScheduleName::Wsd,
        warmup_tokens: 8192,
        decay_fraction: Some(0.1),
        tokens: 299_008,
        tokens_asked: 300_000,
        steps: 73,
        seed: 0,
        flops: 1e15,
        final_loss: Some(3.0),
        bits_per_byte: None,
        diverged_at_tokens: None,
        device: None,
        numerics: "f32".to_owned(),
        code_epoch: 1,
        code_version: None,
        data_hash: "b3:1".to_owned(),
        config_hash: "c".to_owned(),
        seconds: None,
        axes: BTreeMap::new(),
        setup: settings.map(|(path, value)| (path.to_owned(), value.to_owned())).into(),
    };
    change(&mut row);
    row
}

/// The same with another value of a setting.
fn with(path: &str, value: &str) -> TrialRow {
    trial(path, |row| drop(row.setup.insert(path.to_owned(), value.to_owned())))
}

fn cosine(name: &str) -> TrialRow {
    trial(name, |row| {
        row.schedule = ScheduleName::Cosine;
        row.decay_fraction = None;
        row.setup.insert("schedule.name".to_owned(), "\"cosine\"".to_owned());
    })
}

fn names(rows: &[&TrialRow]) -> Vec<String> {
    rows.iter().map(|row| row.trial.clone()).collect()
}

#[test]
fn a_law_of_curves_takes_runs_that_differ_in_the_schedule_its_peak_and_the_seed() {
    let first = trial("first", |_| {});
    let alike = [
        cosine("cosine"),
        trial("longer", |row| row.tokens_asked *= 2),
        trial("rate", |row| row.lr *= 2.0),
        trial("seed", |row| row.seed = 1),
        with("schedule.decay", "\"linear\""),
    ];
    for row in &alike {
        assert_eq!(select::first_unlike(&[&first, row]), None, "{}", row.trial);
    }
    let other = [
        with("weight_decay", "0.05"),
        with("clip", "0.5"),
        with("multipliers", "{\"init_std\":0.2}"),
        with("precision", "\"bfloat16\""),
        trial("batch_tokens", |row| row.batch_tokens = 8192),
        trial("parametrization", |row| row.parametrization = Parametrization::Standard),
        trial("data", |row| row.data_hash = "b3:2".to_owned()),
        trial("model", |row| row.model = "10M".to_owned()),
    ];
    for row in &other {
        let (unlike, differences) = select::first_unlike(&[&first, &alike[0], row]).expect("more than the schedule");
        assert_eq!((unlike, differences), (row, vec![row.trial.clone()]));
    }
}

#[test]
fn a_budget_is_what_was_asked_at_every_batch() {
    let small = trial("small", |_| {});
    let large = trial("large", |row| (row.batch_tokens, row.tokens) = (8192, 303_104));
    let [a, b] = [&small, &large].map(Setup::from);
    assert!(a.is_of_point(&b));
    assert_ne!(a, b);
    assert_eq!(a.differences(&b), ["batch_tokens"]);
    assert_eq!(a.without([Factor::Batch]), b.without([Factor::Batch]));
    // Budgets that happen to give the same number of steps are two.
    let nearly = trial("nearly", |row| row.tokens_asked = 299_500);
    assert!(!Setup::from(&small).is_of_point(&Setup::from(&nearly)));
}

#[test]
fn pairs_differ_in_the_schedule_alone() {
    let trials = [
        trial("wsd", |_| {}),
        cosine("cosine"),
        trial("other batch", |row| row.batch_tokens = 8192),
        trial("other warm-up", |row| row.warmup_tokens = 0),
        with("weight_decay", "0.05"),
        with("schedule.decay", "\"linear\""),
        trial("diverged", |row| row.final_loss = None),
    ];
    let pairs = wsd_and_cosine(&trials);
    let wsd: Vec<&str> = pairs.iter().map(|(wsd, _)| wsd.trial.as_str()).collect();
    assert_eq!(wsd, ["wsd", "schedule.decay"], "several decays may fit one cosine");
    assert!(pairs.iter().all(|(_, partner)| partner.trial == "cosine"));
}

#[test]
fn grids_of_rates_are_of_one_schedule_batch_and_weight_decay() {
    let rate = |lr: f64| move |row: &mut TrialRow| row.lr = lr;
    let mut trials = vec![
        trial("a", rate(0.01)),
        trial("b", rate(0.02)),
        trial("c", rate(0.04)),
        cosine("cosine"),
        trial("batch", |row| row.batch_tokens = 8192),
        with("weight_decay", "0.05"),
        trial("lone", |row| row.params_non_embedding = 1),
        trial("running", |row| {
            (row.state, row.final_loss) = (TrialState::Running, None);
        }),
        trial("diverged", |row| {
            (row.state, row.final_loss, row.lr) = (TrialState::Diverged, None, 0.5);
        }),
    ];
    let (chosen, left_out) = select::lr_grids(&trials);
    assert_eq!(names(&chosen), ["a", "b", "c", "diverged"]);
    let out: Vec<&str> = left_out.iter().map(|it| it.trial.as_str()).collect();
    assert_eq!(out, ["cosine", "batch", "weight_decay", "lone"]);
    trials.reverse();
    assert_eq!(select::lr_grids(&trials).0.len(), 4, "whatever the order");
}

#[test]
fn of_grids_at_several_batches_and_schedules_the_best_is_taken_and_said() {
    let at = |name: &str, batch: u64, lr: f64, loss: f64| {
        trial(name, move |row| {
            (row.batch_tokens, row.lr, row.final_loss) = (batch, lr, Some(loss));
        })
    };
    let mut trials = vec![
        at("small-1", 512, 0.01, 2.9),
        at("small-2", 512, 0.02, 2.8),
        at("large-1", 2048, 0.01, 3.4),
        at("large-2", 2048, 0.02, 3.3),
    ];
    for (name, lr) in [("cosine-1", 0.01), ("cosine-2", 0.02)] {
        let mut row = cosine(name);
        (row.batch_tokens, row.lr, row.final_loss) = (512, lr, Some(2.85));
        trials.push(row);
    }
    let (chosen, left_out) = select::lr_grids(&trials);
    assert_eq!(
        names(&chosen),
        ["small-1", "small-2"],
        "neither the largest batch nor the worst schedule"
    );
    let out: BTreeSet<&str> = left_out.iter().map(|it| it.trial.as_str()).collect();
    assert_eq!(
        select::words("the law", &trials, &out).as_deref(),
        Some(
            "the law rests on 2 of 6 runs (schedule wsd; batch 512) and not on 4 (schedule cosine, wsd; batch 512, 2048)"
        )
    );
    assert_eq!(select::words("the law", &trials[..2], &BTreeSet::new()), None);
    // Twice as many rates say more than lower losses do.
    for (k, lr) in [0.04, 0.08].into_iter().enumerate() {
        trials.push(at(&format!("more-{k}"), 2048, lr, 3.5));
    }
    assert_eq!(select::lr_grids(&trials).0.len(), 4);
}

#[test]
fn along_single_runs_the_longest_budget_is_one_at_every_batch() {
    let at = |batch: u64, asked: u64, loss: f64| {
        trial(&format!("{batch}-{asked}"), move |row| {
            (row.batch_tokens, row.tokens_asked) = (batch, asked);
            (row.tokens, row.final_loss) = (asked.div_ceil(batch) * batch, Some(loss));
        })
    };
    let mut trials = vec![at(1024, 300_000, 3.0), at(65_536, 300_000, 3.2), at(1024, 150_000, 3.4)];
    // Whole batches make it 327,680 tokens: 9 % more than what was asked.
    assert_eq!(names(&select::longest(&trials)), ["1024-300000", "65536-300000"]);
    trials.push(trial("better", |row| row.final_loss = Some(2.9)));
    trials.push(trial("seed", |row| row.seed = 1));
    assert_eq!(
        names(&select::longest(&trials)),
        ["1024-300000", "better", "65536-300000"]
    );
    let unlike = with("weight_decay", "0.05");
    assert!(!select::longest(&[trials, vec![unlike.clone()]].concat()).contains(&&unlike));
}

#[test]
fn three_batches_of_three_budgets_show_a_best_batch() {
    let grid = |batches: &[u64]| -> Vec<TrialRow> {
        let budgets = [100_000, 200_000, 300_000];
        let places = batches.iter().flat_map(|&batch| budgets.map(|asked| (batch, asked)));
        let row = |(batch, asked)| trial("t", |row| (row.batch_tokens, row.tokens_asked) = (batch, asked));
        places.map(row).collect()
    };
    assert!(select::shows_best_batch(&grid(&[1024, 2048, 4096])));
    assert!(!select::shows_best_batch(&grid(&[1024, 2048])));
    let mut rounded = grid(&[1024, 2048]);
    rounded.extend([1, 2, 3].map(|more| trial("t", |row| row.tokens = 300_000 + more)));
    assert!(!select::shows_best_batch(&rounded), "one budget, rounded in three ways");
}

#[test]
fn the_most_frequent_kind_is_drawn_and_of_equals_wsd() {
    let equal = [trial("wsd", |_| {}), cosine("cosine"), with("weight_decay", "0.05")];
    assert_eq!(names(&select::of_most_frequent_kind(&equal))[..].len(), 1);
    assert_ne!(select::of_most_frequent_kind(&equal)[0].trial, "cosine");
    let two = [trial("wsd", |_| {}), cosine("a"), cosine("b")];
    assert_eq!(names(&select::of_most_frequent_kind(&two)), ["a", "b"]);
}

#[test]
fn a_recipe_takes_its_settings_from_the_best_of_the_largest_size_and_budget() {
    let trials = [
        trial("small", |row| {
            (row.params_non_embedding, row.final_loss) = (1, Some(1.0));
        }),
        trial("large", |row| row.final_loss = Some(2.5)),
        // More tokens by rounding alone, and a higher loss.
        trial("rounded", |row| (row.tokens, row.batch_tokens) = (327_680, 65_536)),
        cosine("cosine"),
    ];
    let best = proxies::best(&trials, &[]).expect("a finished trial");
    assert_eq!((best.of_all, best.decaying), (&trials[1], Some(&trials[1])));
    let running = trial("running", |row| row.final_loss = None);
    assert_eq!(proxies::best(&[running], &[]), Err(0));
}
