//! What the tables of axes and of words are for: an axis and a decay that only tests have are rows of them, and reach
//! the plan, names, conditions, comparisons, the recipe's own sweep, the page and help without another line.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::config::DeviceKind;
use crate::model::data_info::DataInfo;
use crate::plan::resolve::Machine;
use crate::plan::tree;
use crate::plan::{Known, Plan};
use crate::protocol::Trainer;
use crate::record::TrialRow;
use crate::report::sections;
use crate::run::recipe::files;
use crate::setup::Setup;
use crate::spec::{self, Sweep};
use crate::study::filter::Filter;
use crate::study::next_sweep::NextSweep;
use crate::study::{proxies, tests::trial};

const BASE: &str = "name: first\ndata: text\nparameters:\n  model: [6K]\n  lr: [1e-3, 3e-3]\n  tokens: [1M]\n  \
    batch_tokens: 4096\n  context: 128\n  schedule: {name: wsd, warmup: 20k, final_fraction: 0.1}\n";

fn read(more: &str) -> Sweep {
    let text = format!("{BASE}{more}");
    let (sweep, notes) = spec::read(&text, "first.yaml", &[]).unwrap_or_else(|mistakes| panic!("{mistakes:?}\n{text}"));
    assert!(notes.is_empty(), "{notes:?}");
    sweep
}

fn plan(sweep: &Sweep) -> Plan {
    let data = BTreeMap::from([("text".to_owned(), DataInfo::of_test("text"))]);
    let machine = Machine {
        device: DeviceKind::Cpu,
        threads: None,
    };
    tree::plan(sweep, &data, machine, Trainer::Proxy, &Known::default()).expect("a plan")
}

/// The trials of a sweep as finished rows.
fn rows(sweep: &Sweep) -> Vec<TrialRow> {
    let row = |(number, spec): (usize, &spec::TrialSpec)| {
        trial(&format!("t{number}"), |row| {
            row.lr = spec.settings.lr;
            row.axes.clone_from(&spec.axes);
            row.setup = TrialRow::setup_of(&spec.settings);
        })
    };
    sweep.trials.iter().enumerate().map(row).collect()
}

/// The axis varied over two values reaches everything that speaks of axes.
fn reaches_everything(path: &str, line: &str, values: [&str; 2]) {
    let sweep = read(line);
    assert_eq!(sweep.axes, ["lr", path], "the reader");
    let plan = plan(&sweep);
    let names: BTreeSet<&str> = plan.trials.iter().map(|trial| trial.config_hash.as_str()).collect();
    assert_eq!(names.len(), 4, "identity");
    let slugs: BTreeSet<&str> = plan.trials.iter().map(|trial| trial.slug.as_str()).collect();
    assert_eq!(slugs.len(), 4, "slugs: {slugs:?}");
    let ends: BTreeSet<_> = plan.trials.iter().map(|trial| trial.stages.last()).collect();
    assert_eq!(ends.len(), 4, "stages");

    let rows = rows(&sweep);
    let text = values[1]
        .parse::<f64>()
        .map_or(format!("\"{}\"", values[1]), |_| values[1].to_owned());
    let filter = Filter::new(Some(&format!("{path} == {text}")), &rows).expect("a condition");
    assert_eq!(rows.iter().filter(|row| filter.holds(row)).count(), 2, "--where");

    let setups: BTreeSet<Setup> = rows.iter().map(|row| Setup::from(row).without([])).collect();
    assert_eq!(setups.len(), 4, "what has to be equal");
    let best = proxies::best(&rows, &[]).expect("a best trial");
    let settings = &sweep.trials[0].settings;
    assert_eq!(
        proxies::proxies(best.of_all, settings, Some(settings), &rows, &[]).differ_in,
        [path],
        "the recipe's warning"
    );
    assert!(best.decaying.is_some());

    let provenance = sections::provenance(&rows);
    let shown = provenance.iter().find(|(name, _)| name == path).expect("the page");
    assert!(values.iter().all(|value| shown.1.contains(value)), "{shown:?}");

    let file = format!("{BASE}{line}");
    let wider = proxies_next(&file, &rows);
    assert_eq!(wider.axes, ["lr", path, "seed"], "the sweep to run next");
    let help = spec::axes().into_iter().find(|axis| axis.path == path).expect("help");
    assert!(
        !help.doc.is_empty() && !help.values.is_empty() && help.default.is_some(),
        "{help:?}"
    );
}

fn proxies_next(file: &str, rows: &[TrialRow]) -> Sweep {
    use crate::recipe::next::Widening;
    let rows: Vec<TrialRow> = rows
        .iter()
        .map(|row| TrialRow {
            sweep: "first".to_owned(),
            ..row.clone()
        })
        .collect();
    let next = NextSweep::new([("first", file)].into_iter(), &rows).file(&[Widening::Seeds], "why");
    let next = next.expect("a file");
    spec::read(&next.text, &next.name, &[]).expect("a sweep").0
}

#[test]
fn an_axis_is_a_row() {
    reaches_everything("of_a_test", "  of_a_test: [0, 0.25]\n", ["0", "0.25"]);
    let settings = read("  of_a_test: 0.25\n").trials.remove(0).settings;
    assert_eq!(
        files::taken_over(&settings)["of_a_test"],
        0.25,
        "the recipe's own sweep"
    );
    let wrong = spec::read(&format!("{BASE}  of_a_test: 2\n"), "first.yaml", &[]).expect_err("out of bounds");
    assert!(wrong[0].message.contains("from 0 to 1"), "{wrong:?}");
    let meant = spec::read(&format!("{BASE}  test_axis: 0\n"), "first.yaml", &[]).expect_err("another name");
    assert_eq!(meant[0].suggestion.as_deref(), Some("of_a_test"));
}

#[test]
fn a_decay_is_a_word() {
    let line = "  schedule.decay: [linear, parabola]\n";
    reaches_everything("schedule.decay", line, ["linear", "parabola"]);
}

#[test]
fn an_axis_at_its_default_renames_nothing() {
    let named = |sweep: &Sweep| {
        plan(sweep)
            .trials
            .iter()
            .map(|trial| trial.config_hash.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(named(&read("")), named(&read("  of_a_test: 0\n")));
    let config = serde_json::to_string(&plan(&read("")).trials[0].config).expect("JSON");
    assert!(!config.contains("of_a_test"), "names of older runs stay: {config}");
    let written = serde_json::to_value(&read("").trials[0].settings).expect("JSON");
    assert_eq!(written.get("of_a_test"), None);
}
