//! The report, from rows that a planted law makes to the bytes of its page.
//!
//! With `SANDBOX_KEEP_REPORT=DIR` the page and the figures of the whole study are left in `DIR` to be looked at.

mod study;

use fs_err as fs;
use proptest::prelude::*;
use sandbox::draw::{Figure, figures, page};
use sandbox::record::{PointRow, TrialRow, TrialState};
use sandbox::report::curves::Curves;
use sandbox::report::study::Study;
use sandbox::report::view::{Content, Ink, Mark, Panel};
use sandbox::report::{ReportView, build};
use study::{Planted, batches, law_alone, many, refused, whole};

fn view_of(trials: &[TrialRow], points: &[PointRow]) -> ReportView {
    let curves = Curves::collect(trials, points);
    build(&Study {
        sweep: "quickstart",
        question: Some("Does the best learning rate stay where it is when the model grows?"),
        trials,
        curves: &curves,
        bowls: &[],
        rates: None,
        batch: None,
        laws: &[],
        recipe: None,
        forecast: None,
        beside: None,
    })
}

#[test]
fn a_whole_study_shows_every_figure() {
    let view = whole();
    let drawn = figures(&view).expect("figures");
    let names: Vec<&str> = drawn.iter().map(|figure| figure.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "forecast",
            "loss-curves",
            "loss-compute",
            "lr-bowls",
            "best-lr",
            "law",
            "hold-out",
            "residuals",
            "allocation",
            "schedules",
            "wsd-vs-cosine"
        ]
    );
    let html = page(&view, &drawn);
    for figure in &drawn {
        assert!(figure.svg.starts_with("<svg ") && figure.svg.ends_with("</svg>\n"));
        assert!(figure.png.starts_with(b"\x89PNG\r\n\x1a\n"));
        assert!(html.contains(&figure.wide) && html.contains(&figure.narrow));
    }
    keep("whole", &html, &drawn);
}

/// Leaves a page and its figures to be looked at, if that was asked for.
fn keep(name: &str, html: &str, drawn: &[Figure]) {
    let Some(folder) = std::env::var_os("SANDBOX_KEEP_REPORT") else {
        return;
    };
    let folder = std::path::PathBuf::from(folder).join(name);
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("index.html"), html).expect("a page");
    for figure in drawn {
        fs::write(folder.join(format!("{}.svg", figure.name)), &figure.svg).expect("an SVG");
        fs::write(folder.join(format!("{}.png", figure.name)), &figure.png).expect("a PNG");
    }
}

#[test]
fn a_refused_law_is_shown_with_its_reason_and_without_a_curve() {
    let view = refused();
    let drawn = figures(&view).expect("figures");
    assert!(
        drawn
            .iter()
            .all(|figure| figure.name != "residuals" && figure.name != "allocation")
    );
    let html = page(&view, &drawn);
    assert_eq!(html.matches("a law in N needs three sizes at least").count(), 5);
    assert!(html.contains("Final loss by tokens"));
    keep("refused", &html, &[]);
}

#[test]
fn a_study_of_batch_sizes_shows_the_tokens_to_equal_losses() {
    let view = batches();
    let figure = view
        .figures
        .iter()
        .find(|figure| figure.name == "equal-loss")
        .expect("a figure");
    assert_eq!(figure.panels().len(), 4);
    assert!(figure.caption.contains("batch = 3\u{b7}D^k"), "{}", figure.caption);
    let is_minimum = |mark: &Mark| matches!(mark, Mark::Dot { ink: Ink::Plain, .. });
    let minima = |panel: &Panel| panel.marks.iter().filter(|mark| is_minimum(mark)).count();
    assert_eq!(figure.panels().iter().map(minima).collect::<Vec<_>>(), [2; 4]);
    let drawn = figures(&view).expect("figures");
    keep("batches", &page(&view, &drawn), &drawn);
}

#[test]
fn a_report_of_ten_thousand_trials_is_light_and_says_what_it_leaves_out() {
    let view = many();
    let drawn = figures(&view).expect("figures");
    let html = page(&view, &drawn);
    assert!(html.len() < 10_000_000, "{} bytes", html.len());
    assert!(html.contains("of 10000000 recorded points are drawn"));
    assert!(html.contains("more trials are not listed here"));
    assert!(html.contains("bars run from the lowest to the highest seed"));
    let law = view
        .figures
        .iter()
        .find(|figure| figure.name == "law")
        .expect("a figure");
    let omitted = law.omitted_sentence().expect("a sentence");
    assert!(omitted.contains("thinned out evenly"), "{omitted}");
    let curves = view.figures[0].omitted_sentence().expect("a sentence");
    assert!(curves.contains("thinned out"), "{curves}");
    keep("many", &html, &drawn);
}

#[test]
fn equal_rows_give_equal_bytes_in_whatever_order_points_come() {
    let planted = Planted::new();
    let mut reversed = planted.points.clone();
    reversed.reverse();
    let first = view_of(&planted.trials, &planted.points);
    let drawn = figures(&first).expect("figures");
    assert_eq!(drawn, figures(&first).expect("figures"));
    let second = view_of(&planted.trials, &planted.points);
    assert_eq!(page(&first, &drawn), page(&second, &figures(&second).expect("figures")));
    assert_eq!(first.points_total, planted.points.len() as u64);
    assert_eq!(view_of(&planted.trials, &reversed).points_shown, first.points_shown);
}

#[test]
fn the_page_reaches_for_nothing_beyond_itself() {
    let view = whole();
    let html = page(&view, &figures(&view).expect("figures"));
    for reference in [
        "src=\"http",
        "href=\"http",
        "url(http",
        "@import",
        "<link rel=\"style",
        "<img",
        "fetch(",
    ] {
        assert!(!html.contains(reference), "{reference}");
    }
    // Every link leads to a place on the page that exists.
    for link in html.split("href=\"#").skip(1) {
        let target = link.split('"').next().unwrap_or_default();
        assert!(html.contains(&format!("id=\"{target}\"")), "{target}");
    }
}

#[test]
fn names_from_outside_are_never_markup() {
    let hostile = "<script>alert('x')</script>\" onload=\"y";
    let mut planted = Planted::new();
    for trial in &mut planted.trials {
        trial.slug = hostile.to_owned();
        trial.model = format!("{hostile}{}", trial.params_non_embedding);
        trial.data_hash = hostile.to_owned();
    }
    let curves = Curves::collect(&planted.trials, &planted.points);
    let view = build(&Study {
        sweep: hostile,
        question: Some(hostile),
        trials: &planted.trials,
        curves: &curves,
        bowls: &[],
        rates: None,
        batch: None,
        laws: &[],
        recipe: None,
        forecast: None,
        beside: None,
    });
    let drawn = figures(&view).expect("figures");
    let html = page(&view, &drawn);
    assert!(html.contains("&lt;script&gt;"));
    assert!(!html.contains("<script>alert"));
    assert!(!html.contains("\" onload=\"y"));
    assert!(drawn.iter().all(|figure| !figure.svg.contains("<script")));
}

#[test]
fn each_figure_counts_the_trials_it_leaves_out() {
    let mut planted = Planted::new();
    planted.trials[0].state = TrialState::Failed;
    planted.trials[0].final_loss = None;
    planted.trials[1].state = TrialState::Pending;
    planted.trials[1].final_loss = None;
    let view = view_of(&planted.trials, &planted.points);
    let diverged = planted
        .trials
        .iter()
        .filter(|trial| trial.state == TrialState::Diverged)
        .count();
    assert_eq!(view.left_out.len(), diverged + 2);
    let curves = &view.figures[0];
    assert_eq!(
        curves.omitted_sentence().as_deref(),
        Some("2 trials are not shown: 1 failed, 1 not started.")
    );
    let pairs = view.figures.last().expect("figures");
    let omitted = pairs.omitted_sentence().expect("a sentence");
    assert!(omitted.contains(&format!("{diverged} diverged")), "{omitted}");
}

#[test]
fn an_empty_study_is_a_page_that_says_so() {
    let view = view_of(&[], &[]);
    assert!(
        view.figures
            .iter()
            .all(|figure| matches!(figure.content, Content::Missing(_)))
    );
    let drawn = figures(&view).expect("figures");
    assert!(drawn.is_empty());
    let html = page(&view, &drawn);
    assert!(html.contains("This study has no trials yet"));
    assert!(html.contains("No run has finished its schedule."));
}

#[test]
fn a_study_of_one_trial_is_drawn_without_an_empty_axis() {
    let planted = Planted::new();
    let trials = vec![planted.trials[5].clone()];
    let view = view_of(&trials, &planted.points);
    let drawn = figures(&view).expect("figures");
    let names: Vec<&str> = drawn.iter().map(|figure| figure.name.as_str()).collect();
    assert_eq!(names, ["loss-curves", "loss-compute", "law", "schedules"]);
}

#[test]
fn losses_that_are_no_numbers_are_never_drawn() {
    let mut planted = Planted::new();
    for point in planted.points.iter_mut().step_by(7) {
        point.loss = f64::NAN;
    }
    let view = view_of(&planted.trials, &planted.points);
    for figure in figures(&view).expect("figures") {
        assert!(!figure.svg.contains("NaN") && !figure.svg.contains("inf"));
    }
}

#[test]
fn the_words_of_a_report_are_known() {
    let mut view = whole();
    view.trials.rows.truncate(2);
    view.left_out.truncate(1);
    for figure in &mut view.figures {
        if let Content::Panels(panels) = &mut figure.content {
            for panel in panels {
                panel.marks.clear();
            }
        }
    }
    insta::assert_compact_json_snapshot!(view);
}

/// Every element that is opened is closed, in order.
#[test]
fn svg_and_page_are_well_formed() {
    let view = whole();
    let drawn = figures(&view).expect("figures");
    for figure in &drawn {
        well_formed(&figure.svg);
        well_formed(&figure.wide);
        well_formed(&figure.narrow);
    }
}

fn well_formed(xml: &str) {
    let mut open: Vec<&str> = Vec::new();
    for tag in xml.split('<').skip(1) {
        let (inside, _) = tag.split_once('>').expect("a closed tag");
        if let Some(name) = inside.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !inside.ends_with('/') {
            open.push(inside.split_whitespace().next().expect("a name"));
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

/// Numbers that rows should never hold, among those they should.
fn wild() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => 1e-4f64..10.0,
        1 => Just(0.0),
        1 => Just(-3.0),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(1e300),
        1 => Just(1e-300),
    ]
}

fn wild_trial() -> impl Strategy<Value = TrialRow> {
    let counts = || prop_oneof![Just(0u64), Just(1), 2..1_000_000_000u64, Just(u64::MAX)];
    let of = (0usize..120, counts(), counts(), counts(), 0usize..6);
    (of, wild(), proptest::option::of(wild()), "\\PC{0,40}").prop_map(
        |((at, params, tokens, batch, state), lr, loss, words)| {
            let mut trial = Planted::new().trials.swap_remove(at);
            trial.params_non_embedding = params;
            trial.tokens = tokens;
            trial.batch_tokens = batch;
            trial.state = TrialState::ALL[state];
            trial.lr = lr;
            trial.final_loss = loss;
            trial.tokens_asked = tokens;
            trial.model = words;
            trial
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_row_however_wild_stops_the_report(
        trials in proptest::collection::vec(wild_trial(), 0..12),
        losses in proptest::collection::vec((0u64..1_000_000, wild(), wild()), 0..40),
    ) {
        let mut points = Vec::new();
        for trial in &trials {
            for &(tokens, loss, lr) in &losses {
                points.push(PointRow {
                    trial: trial.trial.clone(),
                    stage: String::new(),
                    step: 1,
                    tokens,
                    flops: 1.0,
                    lr: Some(lr),
                    split: "train".to_owned(),
                    loss,
                    grad_norm: None,
                    seconds: None,
                    peak_lr: lr,
                });
            }
        }
        let view = view_of(&trials, &points);
        let drawn = figures(&view).expect("figures");
        for figure in &drawn {
            well_formed(&figure.svg);
            prop_assert!(!figure.svg.contains("NaN"));
        }
        prop_assert!(page(&view, &drawn).ends_with("</html>\n"));
    }
}

#[test]
fn a_law_of_a_table_has_a_page_of_its_own() {
    let view = law_alone();
    assert!(view.notices.is_empty(), "{:?}", view.notices);
    let drawn = figures(&view).expect("figures");
    let names: Vec<&str> = drawn.iter().map(|figure| figure.name.as_str()).collect();
    assert_eq!(names, ["law", "residuals", "allocation"], "nothing was held out");
}
