//! What several figures draw of a law: its runs as dots, its curves, and what they leave out.
//!
//! Refuses to fit: laws come in with their predictions.

use std::collections::BTreeSet;

use crate::record::TrialRow;
use crate::report::axes::{Roster, evenly, omitted, range};
use crate::report::law_view::{LawInput, LawPoint, Predict};
use crate::report::study::Study;
use crate::report::view::{Ink, Mark, Omitted, Shape};

/// Points of a drawn curve.
pub(crate) const CURVE_POINTS: u32 = 96;

/// Points along a band: intervals take longer to work out than values, and bend less.
const BAND_POINTS: u32 = 24;

/// A law that can be drawn.
pub(crate) struct Drawable<'a> {
    pub(crate) law: &'a LawInput<'a>,
    pub(crate) predict: Predict<'a>,
    /// The observations that are drawn: all, or an even choice of many.
    pub(crate) dots: Vec<&'a LawPoint>,
}

impl<'a> Drawable<'a> {
    fn of(law: &'a LawInput<'a>, predict: Predict<'a>) -> Self {
        let mut dots: Vec<&LawPoint> = law.points.iter().collect();
        dots.sort_by(|a, b| {
            let by_size = a.params.total_cmp(&b.params).then(a.tokens.total_cmp(&b.tokens));
            by_size.then(a.loss.total_cmp(&b.loss)).then(a.trial.cmp(&b.trial))
        });
        let dots = evenly(dots.into_iter());
        Self { law, predict, dots }
    }
}

/// The first law with a prediction and observations.
pub(crate) fn drawable<'a>(study: &Study<'a>) -> Option<Drawable<'a>> {
    study.laws.iter().find_map(|law| {
        let predict = law.predict?;
        (law.refused.is_none() && !law.points.is_empty()).then(|| Drawable::of(law, predict))
    })
}

/// Why there is no law to draw.
pub(crate) fn no_law(study: &Study<'_>) -> String {
    match study.laws.iter().find_map(|law| law.refused) {
        Some(why) => format!("No law was fitted: {why}"),
        None => "No law was fitted to these runs.".to_owned(),
    }
}

/// Trials that are not in the law, and runs of it that are not drawn.
pub(crate) fn not_in_law(trials: &[TrialRow], drawn: &Drawable<'_>) -> Vec<Omitted> {
    let used: BTreeSet<&str> = drawn.law.points.iter().map(|point| point.trial.as_str()).collect();
    let mut omitted = omitted(trials, &used, "not used by the fit");
    omitted.extend(thinned(drawn));
    omitted
}

/// The runs of a law that are not drawn because there are many.
pub(crate) fn thinned(drawn: &Drawable<'_>) -> Option<Omitted> {
    let trials = drawn.law.points.len() - drawn.dots.len();
    let reason = "thinned out evenly".to_owned();
    (trials > 0).then_some(Omitted { trials, reason })
}

/// What rings are, if there are any.
pub(crate) fn rings(law: &LawInput<'_>) -> &'static str {
    if law.points.iter().any(|point| point.held_out) {
        "; rings are the runs that the hold-out sets aside and predicts from the others; here they are fitted, too"
    } else {
        ""
    }
}

pub(crate) fn dot(point: &LawPoint, at: [f64; 2], sizes: &Roster<'_>) -> Mark {
    Mark::Dot {
        at,
        ink: sizes.ink_named(&point.model),
        shape: if point.held_out { Shape::Ring } else { Shape::Disc },
        hover: Some(sizes.hover_point(point)),
    }
}

/// A diamond on its interval.
pub(crate) fn on_interval(at: [f64; 2], ci95: Option<[f64; 2]>, ink: Ink, hover: &str) -> Vec<Mark> {
    let span = ci95.map(|[low, high]| Mark::Span {
        from: [at[0], low],
        to: [at[0], high],
        ink,
        hover: Some(hover.to_owned()),
    });
    let diamond = Mark::Dot {
        at,
        ink,
        shape: Shape::Diamond,
        hover: Some(hover.to_owned()),
    };
    span.into_iter().chain([diamond]).collect()
}

/// A curve at equal factors of x; where the law does not speak there is no point.
pub(crate) fn curve(from: f64, to: f64, y: impl Fn(f64) -> Option<f64>) -> Vec<[f64; 2]> {
    (0..=CURVE_POINTS)
        .map(|at| from * (to / from).powf(f64::from(at) / f64::from(CURVE_POINTS)))
        .filter_map(|x| Some([x, y(x).filter(|y| y.is_finite())?]))
        .collect()
}

/// `[x, low, high]` of an interval at equal factors of x, where there is one.
pub(crate) fn band_edges(from: f64, to: f64, interval: impl Fn(f64) -> Option<[f64; 2]>) -> Vec<[f64; 3]> {
    (0..=BAND_POINTS)
        .map(|at| from * (to / from).powf(f64::from(at) / f64::from(BAND_POINTS)))
        .filter_map(|x| Some((x, interval(x)?)))
        .filter(|(_, [low, high])| low.is_finite() && high.is_finite())
        .map(|(x, [low, high])| [x, low, high])
        .collect()
}

pub(crate) fn range_of_marks(marks: &[Mark], axis: usize) -> Option<[f64; 2]> {
    range(marks.iter().flat_map(|mark| mark.along(axis)))
}
