//! Whole sweep files, good and bad.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::model::config::DeviceKind;
use crate::model::data_info::DataInfo;
use crate::plan::Known;
use crate::plan::resolve::Machine;
use crate::plan::tree;
use crate::protocol::Trainer;
use crate::spec::axes::{AXES, Axis};
use crate::spec::kind::Kind;
use crate::spec::resolve::{self, names};
use crate::spec::syntax::expressions::Expr;
use crate::spec::syntax::mistakes::{Mistake, Note};
use crate::spec::{Sweep, TEMPLATE, read};
use crate::units::{Length, Tokens};

/// Reads a file that is right.
fn good(text: &str) -> (Sweep, Vec<Note>) {
    good_with(text, &[])
}

fn good_with(text: &str, sets: &[&str]) -> (Sweep, Vec<Note>) {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    match read(text, "sweeps/test.yaml", &sets) {
        Ok(read) => read,
        Err(mistakes) => panic!("{text}\n{}", show(&mistakes)),
    }
}

/// Reads a file that is wrong, and gives its mistakes as `line:column key: message; try suggestion`.
fn bad(text: &str) -> String {
    bad_with(text, &[])
}

fn bad_with(text: &str, sets: &[&str]) -> String {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    show(&read(text, "t.yaml", &sets).expect_err(text))
}

fn show(mistakes: &[Mistake]) -> String {
    let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

fn number(sweep: &Sweep, trial: usize, axis: &str) -> f64 {
    sweep.trials[trial].axes[axis].as_f64().expect("a number")
}

#[test]
fn a_grid_is_every_combination_in_the_order_of_the_file() {
    let (sweep, notes) =
        good("data: d\nparameters:\n  model: [6K, 9M]\n  lr: {values: [1e-4, \"1e-3\", .5]}\nseeds: 2\n");
    assert!(notes.is_empty(), "{notes:?}");
    assert_eq!(sweep.name, "test");
    assert_eq!(sweep.axes, ["model", "lr", "seed"]);
    assert_eq!(sweep.trials.len(), 12);
    assert_eq!(sweep.trials[0].settings.model, "6K");
    assert_eq!(number(&sweep, 0, "lr"), 1e-4);
    assert_eq!(number(&sweep, 1, "seed"), 1.0);
    assert_eq!(number(&sweep, 2, "lr"), 1e-3);
    assert_eq!(sweep.trials[11].settings.lr, 0.5);
}

#[test]
fn nested_and_dotted_paths_are_the_same() {
    let nested = "data: d\nparameters:\n  model: 9M\n  schedule:\n    parameters:\n      name: {values: [wsd, cosine]}\n      warmup: {value: 100k}\n";
    let short = "data: d\nparameters:\n  model: 9m\n  schedule: {name: [wsd, cosine], warmup: 100k}\n";
    let dotted = "parameters:\n  data: d\n  model: 9M\n  schedule.name: [wsd, cosine]\n  schedule.warmup: 100_000\n";
    assert_eq!(good(nested).0.trials, good(short).0.trials);
    assert_eq!(good(nested).0.trials, good(dotted).0.trials);
}

#[test]
fn every_mistake_of_a_file_is_reported_with_its_place() {
    let text = "\
nme: x
data: my data
method: gird
parameters:
  model: [9M, 8M, 170M]
  lr: {values: [1e-3, .nan, -1, 0]}
  lr: 1
  batch_tokns: 8192
  tokens: []
  context: 4,096
  schedule: {name: wds, decay_frac: 10%}
  beta2: {valeus: [0.9]}
seeds: [0, -1]
run_cap: 0
budget: {gpu_hours: 3}
exclude: [\"lr >> 1\", \"modl == 9M\"]
";
    insta::assert_snapshot!(bad(text), @r#"
    t.yaml:1:1: nme: there is no key `nme`; try: name
    t.yaml:2:7: data: `my data` is not a name: letters, digits, `.`, `_` and `-` only, at most 100, a letter, digit or `_` first; try: my-data
    t.yaml:3:9: method: expected grid, random or list, found `gird`; try: grid
    t.yaml:5:15: parameters.model: `8M` is not on the ladder: 6K, 9K, 13K, 18K, 24K, 37K, 53K, 55K, 80K, 119K, 144K, 189K, 531K, 1.1M, 3M, 6M, 9M, 30M, 70M, 0.1B, 0.17B, 0.2B, 0.5B, 1.2B, 2.4B; other shapes are given by `shape`; try: 9M
    t.yaml:5:19: parameters.model: `170M` is not on the ladder: 6K, 9K, 13K, 18K, 24K, 37K, 53K, 55K, 80K, 119K, 144K, 189K, 531K, 1.1M, 3M, 6M, 9M, 30M, 70M, 0.1B, 0.17B, 0.2B, 0.5B, 1.2B, 2.4B; other shapes are given by `shape`; try: 0.17B
    t.yaml:6:23: parameters.lr.values: expected a number above 0 such as `1e-2`, found `.nan`; try: 1e-2
    t.yaml:6:29: parameters.lr.values: expected a number above 0 such as `1e-2`, found `-1`; try: 1e-2
    t.yaml:6:33: parameters.lr.values: expected a number above 0 such as `1e-2`, found `0`; try: 1e-2
    t.yaml:7:3: parameters.lr: given twice, the first time in line 6; try: keep one of the two
    t.yaml:8:3: parameters.batch_tokns: there is no axis `batch_tokns`; try: batch_tokens
    t.yaml:9:11: parameters.tokens: an empty list: no trial has a value; try: […] with one value or more
    t.yaml:10:12: parameters.context: expected a whole number from 1, such as `4096`, `128Ki` or `1e6`, found `4,096`; try: 4096
    t.yaml:11:20: parameters.schedule.name: expected one of wsd, cosine, linear, constant, found `wds`; try: wsd
    t.yaml:11:25: parameters.schedule.decay_frac: there is no axis `schedule.decay_frac`; try: schedule.decay_fraction
    t.yaml:12:11: parameters.beta2.valeus: an axis has no `valeus`; try: values
    t.yaml:13:12: seeds: expected a whole number from 0 to 2^53, found `-1`; try: 0
    t.yaml:14:10: run_cap: expected a whole number from 1, found `0`; try: 1
    t.yaml:15:10: budget.gpu_hours: there is no `gpu_hours`; there is flops, hours; try: hours
    t.yaml:16:15: exclude: expected a comparison such as `==`, `<=` or `in [..]`, found `>>`
    t.yaml:16:23: exclude: there is no `modl` here; try: model
    "#);
}

#[test]
fn what_does_not_fit_together_is_blamed_on_its_line() {
    let base = "data: d\nparameters:\n  model: 6K\n";
    let wrong = |rest: &str| bad(&format!("{base}{rest}"));
    insta::assert_snapshot!(wrong("  batch_tokens: [8192, 1000]\n"), @r#"t.yaml:4:24: parameters.batch_tokens: a batch of 1000 tokens is not a whole number of sequences of 256; try: batch_tokens: 1024"#);
    insta::assert_snapshot!(wrong("  tokens: [1M, 5k]\n"), @r#"t.yaml:4:16: parameters.tokens: a run of 5000 tokens of 6K is shorter than one batch of 8192"#);
    insta::assert_snapshot!(wrong("  tokens: 1M\n  schedule: {warmup: [1k, 95%]}\n"), @r#"t.yaml:5:27: parameters.schedule.warmup: a warm-up of 950k tokens and its decay does not fit into a run of 1M tokens; try: schedule.warmup: 100k"#);
    insta::assert_snapshot!(wrong("  tokens: 1M\n  schedule.final_fraction: 0\n"), @r#"t.yaml:5:28: parameters.schedule.final_fraction: an exponential decay never reaches 0; try: final_fraction: 0.1, or decay: linear"#);
    insta::assert_snapshot!(wrong("  shape.width: 64\n"), @r#"t.yaml:4:16: parameters.shape.width: give either `model` or `shape`, not both: a rung is a shape; try: remove `model`"#);
    insta::assert_snapshot!(
        bad("data: d\nparameters:\n  shape: {width: 30, layers: 2, heads: 4}\n  tokens: 1M\n"), @r#"t.yaml:3:40: parameters.shape.heads: width 30 is not a multiple of heads 4"#);
    insta::assert_snapshot!(bad("data: d\nparameters:\n  shape: {width: 64}\n"), @r#"t.yaml:3:18: parameters.shape.width: a shape needs `shape.layers` too; try: shape: {width: 64, layers: 4, heads: 4}"#);
}

#[test]
fn other_bad_files_have_one_clear_mistake() {
    insta::assert_snapshot!(bad(""), @r#"t.yaml:1:1: the file is empty; `sandbox init` writes a sweep to start from"#);
    insta::assert_snapshot!(bad("- a\n"), @r#"t.yaml:1:1: expected a mapping of keys, found a list; try: parameters: {model: 9M, lr: [5e-3, 1e-2]}"#);
    insta::assert_snapshot!(bad("a: [1\nb: 2\n"), @r#"t.yaml:2:2: not valid YAML: illegal placement of ':' indicator"#);
    insta::assert_snapshot!(bad("parameters: {lr: 1e-2}\n"), @r#"
    t.yaml:1:13: parameters.model: `model` must be given: a rung of the ladder, or a `shape`; try: model: 9M
    t.yaml:1:13: data: `data` must be given: the name of a prepared data set; try: data: rust-sources
    "#);
    insta::assert_snapshot!(bad("data: d\nparameters: {model: 9M, lr: {min: 1e-4, max: 1e-2}}\n"), @r#"t.yaml:2:25: parameters.lr: a range has no end of values; only random sweeps draw from one; try: values: […], or method: random"#);
    insta::assert_snapshot!(bad("data: d\nmethod: random\nparameters: {model: 9M}\n"), @r#"t.yaml:3:13: count: a random sweep needs `count` (draws) or `run_cap`; try: count: 100"#);
    insta::assert_snapshot!(bad("data: d\nparameters: {model: 9M, lr: [1e-2, 2e-2], beta1: 0.9}\nzip: [[lr, beta1]]\n"), @r#"t.yaml:3:7: zip: axes that move together need equally many values: lr has 2, beta1 has 1"#);
    insta::assert_snapshot!(bad("data: d\nparameters: {model: 9M}\nexclude: \"model == 9M\"\n"), @r#"t.yaml:3:10: exclude: every trial is excluded"#);
    insta::assert_snapshot!(bad("data: d\nparameters: {model: 9M}\nseeds: 10001\n"), @r#"t.yaml:3:8: seeds: expected a list of seeds, or how many (1 to 10000), found `10001`; try: [0, 1, 2]"#);
    insta::assert_snapshot!(
        bad("data: d\nparameters: {model: 9M, lr: {value: 1, when: \"beta1 > 0\"}, beta1: {value: 0.5, when: \"lr > 1\"}}\n"), @r#"
    t.yaml:2:46: when.lr: these conditions depend on one another in a circle
    t.yaml:2:86: when.beta1: these conditions depend on one another in a circle
    "#);
    let many = "data: d\nparameters:\n  model: [6K, 9M]\n  lr: [1, 2, 3, 4, 5, 6, 7, 8]\n  clip: [1, 2, 3, 4, 5, 6, 7]\nseeds: 1000\n";
    insta::assert_snapshot!(bad(many), @r#"t.yaml:3:3: parameters: 112000 combinations are more than the 100000 that one sweep may ask for; try: fewer values, `zip`, or method: random with `count`"#);
}

#[test]
fn zipped_axes_move_together() {
    let text = "data: d\nparameters:\n  model: [6K, 9M]\n  lr: [1e-3, 1e-2]\n  batch_tokens: [256, 512]\nzip: [model, batch_tokens]\n";
    let (sweep, _) = good(text);
    let pairs: BTreeSet<(String, u64)> = sweep
        .trials
        .iter()
        .map(|trial| (trial.settings.model.clone(), trial.settings.batch_tokens.0))
        .collect();
    assert_eq!(sweep.trials.len(), 4);
    assert_eq!(pairs, BTreeSet::from([("6K".to_owned(), 256), ("9M".to_owned(), 512)]));
}

#[test]
fn conditions_fold_what_they_switch_off() {
    let text =
        "data: d\nparameters:\n  model: 9M\n  schedule.name: [wsd, cosine]\n  schedule.decay_fraction: [0.1, 0.2]\n";
    // A cosine has no decay of its own: three trials, not four.
    assert_eq!(good(text).0.trials.len(), 3);
    let text = "data: d\nparameters:\n  model: 9M\n  lr: [1e-3, 1e-2]\n  beta2: {values: [0.95, 0.99], when: \"lr >= 1e-2\"}\n";
    let (sweep, _) = good(text);
    assert_eq!(sweep.trials.len(), 3);
    assert_eq!(number(&sweep, 0, "beta2"), 0.95);
    let top =
        "data: d\nparameters:\n  model: 9M\n  lr: [1e-3, 1e-2]\n  beta2: [0.95, 0.99]\nwhen: {beta2: \"lr >= 1e-2\"}\n";
    assert_eq!(good(top).0.trials, sweep.trials);
}

#[test]
fn overrides_replace_an_axis_for_one_size() {
    let text = "data: d\nparameters:\n  model: [6K, 9M]\n  batch_tokens: [256, 512]\noverrides: {9m: {batch_tokens: {values: [1024]}}, 30M: {lr: 1}}\n";
    let (sweep, notes) = good(text);
    let of = |model: &str| -> Vec<u64> {
        let trials = sweep.trials.iter().filter(|t| t.settings.model == model);
        trials.map(|trial| trial.settings.batch_tokens.0).collect()
    };
    assert_eq!(of("6K"), [256, 512]);
    assert_eq!(of("9M"), [1024]);
    assert!(notes.iter().any(|note| note.text.contains("30M")), "{notes:?}");
}

#[test]
fn exclusions_take_out_and_say_when_they_meet_nothing() {
    let text = "data: d\nparameters:\n  model: [6K, 9M]\n  lr: [1e-3, 1e-2]\nexclude: [\"lr >= 1e-2 and model == 9m\", \"params > 1B\"]\n";
    let (sweep, notes) = good(text);
    assert_eq!(sweep.trials.len(), 3);
    assert_eq!(notes.len(), 1);
    assert_eq!(notes[0].line, 5);
}

#[test]
fn short_runs_have_a_short_warm_up_and_a_note_if_that_parts_their_trunks() {
    let base = "data: d\nparameters:\n  model: 6K\n  batch_tokens: 2048\n";
    let (sweep, notes) = good(&format!("{base}  context: 128\n  tokens: [200k, 10M]\n"));
    let warmup = |trial: usize| sweep.trials[trial].settings.schedule.warmup;
    assert_eq!(warmup(0), Length::Count(Tokens(20_000)));
    assert_eq!(warmup(1), Length::Count(Tokens(32 * 2048)));
    assert_eq!(notes.len(), 1, "{notes:?}");
    let (_, notes) = good(&format!("{base}  tokens: [200k, 10M]\n  schedule.warmup: 20k\n"));
    assert!(notes.is_empty(), "{notes:?}");
}

#[test]
fn equal_trials_are_one() {
    // 9M has 9 426 240 parameters.
    let text = "data: d\nparameters:\n  model: 9M\n  tokens: [1N, 9426240, 2N]\n  lr: [1e-2, 0.01]\n";
    assert_eq!(good(text).0.trials.len(), 2);
}

#[test]
fn a_list_is_its_trials_with_every_combination() {
    let text = "data: d\nmethod: list\ntrials:\n  - {model: 6K, lr: 1e-3}\n  - {shape: {width: 64, layers: 4, heads: 4, kv_heads: 2}, lr: 2e-3, beta1: 0.8}\nparameters:\n  beta1: [0.9, 0.95]\n  tokens: 1M\n";
    let (sweep, _) = good(text);
    assert_eq!(sweep.trials.len(), 3);
    assert_eq!(sweep.trials[2].settings.model, "w64-l4-h4-kv2");
    assert_eq!(sweep.trials[2].settings.beta1, 0.8);
}

#[test]
fn a_shape_on_the_ladder_has_its_name() {
    let text = "data: d\nparameters: {shape: {width: 320, layers: 8, heads: 5}}\n";
    assert_eq!(good(text).0.trials[0].settings.model, "9M");
}

#[test]
fn a_larger_random_sweep_begins_with_the_smaller_one() {
    let text = "data: d\nmethod: random\nparameters:\n  model: [6K, 9M]\n  tokens: 1M\n  lr: {min: 1e-4, max: 1e-1, distribution: log_uniform_values}\n  beta1: {min: 0.8, max: 0.9}\n";
    let small = good(&format!("{text}run_cap: 5\n")).0;
    let large = good(&format!("{text}count: 50\n")).0;
    assert_eq!(small.trials.len(), 5);
    let settings = |sweep: &Sweep| -> Vec<_> { sweep.trials.iter().map(|trial| trial.settings.clone()).collect() };
    assert_eq!(settings(&small), settings(&large)[..5]);
    let other = good(&format!("{text}run_cap: 5\nrandom_seed: 1\n")).0;
    assert_ne!(settings(&small), settings(&other));
    assert!(large.trials.iter().all(|t| (1e-4..=1e-1).contains(&t.settings.lr)));
}

#[test]
fn a_file_of_another_sweeper_is_read_with_notes() {
    let text = "program: train.py\nproject: p\nmethod: grid\nmetric: {name: val/loss, goal: minimize}\nearly_terminate: {type: hyperband}\nparameters:\n  data: {value: d}\n  model: {values: [9M]}\n  lr: {values: [0.01, 0.02]}\n";
    let (sweep, notes) = good(text);
    assert_eq!(sweep.trials.len(), 2);
    let lines: Vec<usize> = notes.iter().map(|note| note.line).collect();
    assert_eq!(lines, [1, 2, 5]);
}

#[test]
fn set_overrides_any_key_and_makes_missing_ones() {
    let text = "data: d\nparameters:\n  model: 9M\n  lr: [1e-2]\n  schedule: {parameters: {name: {value: wsd}}}\noverrides: {0.5B: {lr: 1}}\n";
    let sets = [
        "parameters.lr.values=[1e-3,2e-3]",
        "seeds=[0,1]",
        "run_cap=3",
        "parameters.schedule.name=cosine",
        "parameters.schedule.warmup=1M",
        "overrides.0.5B.lr.values=[2]",
        "data=other",
        "budget.flops=1e15",
    ];
    let (sweep, _) = good_with(text, &sets);
    assert_eq!(sweep.trials.len(), 4);
    assert_eq!(sweep.run_cap, Some(3));
    assert_eq!(sweep.budget.flops, Some(1e15));
    assert_eq!(sweep.trials[0].settings.lr, 1e-3);
    assert_eq!(sweep.trials[0].settings.schedule.name.name(), "cosine");
    assert_eq!(sweep.trials[0].settings.data, "other");
    insta::assert_snapshot!(
        bad_with(text, &["parameters.lr.values=[x]", "lrr=3", "nonsense", "seeds=["]), @r#"
    --set: nonsense: expected a key and a value (in `--set nonsense`); try: --set run_cap=3
    --set: not valid YAML: while parsing a node, did not find expected node content (in `--set seeds=[`)
    --set: lrr: there is no key `lrr` (in `--set lrr=3`); try: parameters.lr
    --set: parameters.lr.values: expected a number above 0 such as `1e-2`, found `x` (in `--set parameters.lr.values=[x]`); try: 1e-2
    "#);
}

#[test]
fn the_template_and_the_sweeps_that_ship_are_right() {
    let (sweep, notes) = read(TEMPLATE, "t.yaml", &[]).expect("the template");
    assert!(notes.is_empty(), "{notes:?}");
    assert_eq!(sweep.trials.len(), 27);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/sweeps");
    let mut count = 0;
    for entry in fs_err::read_dir(folder).expect("sweeps") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = fs_err::read_to_string(&path).expect("text");
        let name = path.display().to_string();
        match read(&text, &name, &[]) {
            Ok((sweep, notes)) => {
                assert!(notes.is_empty(), "{name}: {notes:?}");
                assert_eq!(path.file_stem().and_then(|stem| stem.to_str()), Some(&*sweep.name));
            }
            Err(mistakes) => panic!("{}", show(&mistakes)),
        }
        count += 1;
    }
    assert!(count >= 7);
}

/// Values of an axis that fit the sweep of [`varied`], as a file writes them.
fn samples(axis: &Axis) -> Vec<&'static str> {
    match (axis.kind, axis.path) {
        (Kind::Model, _) => vec!["6K", "9M"],
        (Kind::Count, "batch_tokens") => vec!["4096", "8192"],
        (Kind::Count, "shape.width" | "shape.d_ff" | "context") => vec!["128", "256"],
        (Kind::Count, _) => vec!["2", "4"],
        (Kind::Number(_), _) => vec!["0.25", "0.5"],
        (Kind::Word(words), _) => words.to_vec(),
        (Kind::Data, _) => vec!["d", "e"],
        (Kind::Tokens, _) => vec!["2M", "30N"],
        (Kind::Length, _) => vec!["10k", "2%"],
    }
}

/// A sweep over one axis, everything else fixed.
fn varied(axis: &Axis, values: &[&str]) -> Sweep {
    let fixed = [
        ("data", "d"),
        ("model", "6K"),
        ("shape.width", "128"),
        ("shape.layers", "2"),
        ("shape.heads", "4"),
        ("tokens", "1M"),
    ];
    let is_shape = |path: &str| path.starts_with("shape.");
    let fits = |path: &str| {
        path != axis.path && (is_shape(path) == is_shape(axis.path) || !(is_shape(path) || path == "model"))
    };
    let fixed = fixed.into_iter().filter(|(path, _)| fits(path));
    let lines: String = fixed.map(|(path, value)| format!("  {path}: {value}\n")).collect();
    good(&format!(
        "parameters:\n{lines}  {}: [{}]\n",
        axis.path,
        values.join(", ")
    ))
    .0
}

/// The names of the runs of a sweep on a machine that can train all of them.
fn names_of(sweep: &Sweep) -> BTreeSet<String> {
    let data = ["d", "e"].map(|name| (name.to_owned(), DataInfo::of_test(name))).into();
    let machine = Machine {
        device: DeviceKind::Cuda,
        threads: None,
    };
    let plan = tree::plan(sweep, &data, machine, Trainer::Proxy, &Known::default()).expect("a plan");
    plan.trials.into_iter().map(|trial| trial.config_hash).collect()
}

#[test]
fn what_is_written_for_an_axis_is_trained_shown_and_found() {
    for axis in AXES {
        let values = samples(axis);
        let sweep = varied(axis, &values);
        assert_eq!(sweep.axes, [axis.path]);
        assert_eq!(
            names_of(&sweep).len(),
            values.len(),
            "{}: the plan tells its values apart",
            axis.path
        );
        assert_eq!(
            sweep.trials.len(),
            values.len(),
            "{}: each value trains another run",
            axis.path
        );
        for (trial, value) in sweep.trials.iter().zip(&values) {
            let shown = match &trial.axes[axis.path] {
                serde_json::Value::String(text) => text.clone(),
                number => number.to_string(),
            };
            let again = varied(axis, &[&shown]).trials.remove(0).settings;
            assert_eq!(again, trial.settings, "{} = {value}, shown as {shown}", axis.path);
            if let Kind::Tokens | Kind::Length = axis.kind {
                continue;
            }
            let condition = format!("{} == {value}", axis.path);
            let found = Expr::parse(&condition, &names()).expect(&condition);
            let found = sweep
                .trials
                .iter()
                .filter(|t| found.holds(&|name| resolve::value(&t.settings, name)));
            assert_eq!(found.collect::<Vec<_>>(), [trial], "{condition}");
        }
    }
}

/// Lines of a sweep's parameters, in any order.
fn shuffled() -> impl Strategy<Value = Vec<&'static str>> {
    Just(vec![
        "  model: [6K, 9M]",
        "  lr: [1e-3, 1e-2]",
        "  tokens: [1M, 20N]",
        "  schedule.name: [wsd, cosine]",
        "  schedule.decay_fraction: [0.1, 0.2]",
        "  schedule.warmup: 10k",
        "  beta1: {values: [0.9, 0.8], when: \"lr == 1e-3\"}",
    ])
    .prop_shuffle()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_order_of_axes_changes_no_trial(lines in shuffled(), random in any::<bool>()) {
        let method = if random { "method: random\ncount: 20" } else { "method: grid" };
        let tail = "exclude: \"model == 6K and tokens > 500k and lr > 5e-3\"\nseeds: 2\n";
        let of = |lines: &[&str]| -> BTreeSet<String> {
            let text = format!("data: d\n{method}\nparameters:\n{}\n{tail}", lines.join("\n"));
            let text = text.replace("20N", "2M");
            let trials = good(&text).0.trials;
            trials.iter().map(|trial| format!("{:?}", trial.settings)).collect()
        };
        let mut sorted = lines.clone();
        sorted.sort_unstable();
        prop_assert_eq!(of(&lines), of(&sorted));
    }

    #[test]
    fn no_text_makes_the_reader_fall_over(text in "\\PC{0,60}|[a-z0-9:\\[\\]{}\\-\n ,&*!|>'\"%#?]{0,80}") {
        drop(read(&text, "t.yaml", &[]));
    }

    #[test]
    fn no_value_makes_the_reader_fall_over(key in "name|method|zip|when|exclude|overrides|seeds|budget|retry|resources|target|trials|count|parameters", value in "[a-z0-9:\\[\\]{}, .=<>'-]{0,30}") {
        let text = format!("data: d\nparameters: {{model: 9M, lr: [1e-2, 2e-2]}}\n{key}: {value}\n");
        drop(read(&text, "t.yaml", &[]));
        drop(read("parameters: {model: 9M}", "t.yaml", &[format!("{key}.lr={value}")]));
    }
}
