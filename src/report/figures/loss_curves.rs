//! The figures of training curves: loss by tokens, by steps and by compute.
//!
//! Refuses to know laws and best learning rates.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::{TrialRow, TrialState};
use crate::report::axes::{Roster, group, linear_axis, log_axis, positive_range, range};
use crate::report::curves::best_by_size;
use crate::report::figures::compute::FLOPS_PER_PARAM_TOKEN;
use crate::report::figures::envelope;
use crate::report::study::Study;
use crate::report::text;
use crate::report::view::{Beyond, Content, FigureView, Mark, Numbers, Panel, Shape, Stroke};

/// How training curves are thinned, in words.
pub(crate) const THINNING: &str = "Each curve is the mean of the training losses that fall into one of up to 160 \
    buckets of equal width in log tokens (fewer when there are many curves); recorded losses are the lowest and the \
    highest of each. Above 400 curves an even choice is drawn in the order of final loss within each size, and \
    always the best of each size, and of each batch where batches were tried. Figures of laws and pairs have at most \
    600 dots, an even choice of all runs. sandbox export writes every recorded point.";

/// Most runs that are drawn with their recorded losses as well, the largest sizes: the hair of more hides the curves.
const RAW_MAX: usize = 1;

/// How far the axis of losses reaches above the worst of the best losses: in spans of the best losses, and at least
/// so many nats. Nine tenths of the height would else show how runs begin.
const REACH: (f64, f64) = (0.6, 0.3);

/// What a training curve runs along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Along {
    Tokens,
    Steps,
    Compute,
}

impl Along {
    /// Units of this axis to a token of a trial.
    fn per_token(self, trial: &TrialRow) -> f64 {
        match self {
            Self::Tokens => 1.0,
            Self::Steps => 1.0 / trial.batch_tokens.max(1) as f64,
            Self::Compute => FLOPS_PER_PARAM_TOKEN * trial.params_non_embedding as f64,
        }
    }
}

/// Where the range begins that matters: how runs start is not drawn.
#[derive(Debug, Clone, Copy)]
struct Cut {
    /// The highest loss of the axis.
    top: f64,
    /// The highest loss of the marked runs.
    start: f64,
}

/// The curves of a figure, before they have axes.
#[derive(Default)]
struct Drawing {
    raw: Vec<Mark>,
    thin: Vec<Mark>,
    strong: Vec<Mark>,
    ends: Vec<Mark>,
    best_ends: Vec<Mark>,
    off: Vec<Mark>,
}

/// Training loss along tokens or compute; and how many points it shows.
pub(crate) fn loss_curves(study: &Study<'_>, along: Along) -> (FigureView, u64) {
    let sizes = Roster::of(study.trials);
    let best = best_by_size(study.trials);
    let spoken: BTreeSet<usize> = best.iter().rev().take(RAW_MAX).copied().collect();
    let best: BTreeSet<usize> = best.into_iter().collect();
    let mut drawing = Drawing::default();
    let mut omitted = Vec::new();
    let mut shown = 0;
    for (at, trial) in study.trials.iter().enumerate() {
        match curve_of(study, trial) {
            Ok(points) => {
                let means = points.len();
                shown += means as u64 + u64::from(trial.final_loss.is_some());
                drawing.add(trial, points, along, best.contains(&at), &sizes);
                if along == Along::Tokens && spoken.contains(&at) {
                    let raw = study.curves.raw(&trial.trial);
                    // Its means are of the same points.
                    shown += raw.as_ref().map_or(0, Vec::len).saturating_sub(means) as u64;
                    drawing.raw.extend(raw.map(|points| raw_line(trial, points, &sizes)));
                }
            }
            Err(reason) => omitted.push(reason),
        }
    }
    let (name, title) = match along {
        Along::Tokens => ("loss-curves", "Training loss by tokens"),
        Along::Steps => ("loss-steps", "Training loss by steps"),
        Along::Compute => ("loss-compute", "Training loss by compute"),
    };
    let cut = drawing.cut(study.trials);
    let (frontier, of_frontier) = match along {
        Along::Compute => envelope::frontier(study),
        Along::Tokens | Along::Steps => (Vec::new(), String::new()),
    };
    let caption = of_frontier + &caption(&drawing, cut, along);
    let figure = FigureView {
        name,
        title: title.to_owned(),
        caption,
        key: Vec::new(),
        content: drawing.content(along, cut, frontier),
        omitted: group(omitted),
    };
    (figure, shown)
}

/// How to read the curves, and where their beginning is.
fn caption(drawing: &Drawing, cut: Option<Cut>, along: Along) -> String {
    let raw = if drawing.raw.is_empty() {
        ""
    } else {
        "; the hair behind one of them is its recorded losses"
    };
    let begin = cut.map_or_else(String::new, |cut| {
        format!(
            " The axis begins where the curves come below {} nats; they start at {}.",
            text::loss(cut.top),
            text::loss(cut.start)
        )
    });
    let along = match along {
        Along::Compute => " Compute is 6ND, with N without the embedding.",
        Along::Tokens | Along::Steps => "",
    };
    format!(
        "One thin line a run, smoothed; strong, the best run of each size at its largest budget{raw}. Dots are losses on \
         the held-out set at the end of a finished schedule. Above the panel, crosses are runs whose loss was no longer \
         finite, triangles runs that ended above the axis. Runs of one seed see the data in one order, so they spike \
         together.{begin}{along}"
    )
}

/// The recorded losses of a run, behind its smoothed curve.
fn raw_line(trial: &TrialRow, points: Vec<[f64; 2]>, sizes: &Roster<'_>) -> Mark {
    Mark::Line {
        points,
        ink: sizes.ink(trial),
        stroke: Stroke::Raw,
        label: None,
        hover: Some(format!("recorded losses\n{}", text::trial_hover(trial))),
    }
}

/// The curve of a trial, or why it is not drawn.
fn curve_of(study: &Study<'_>, trial: &TrialRow) -> Result<Vec<[f64; 2]>, String> {
    let is_drawable = matches!(trial.state, TrialState::Complete | TrialState::Diverged);
    if !is_drawable {
        return Err(trial.why_no_loss().unwrap_or("without recorded points").to_owned());
    }
    let why = match trial.state {
        _ if !study.curves.keeps(&trial.trial) => "thinned out",
        TrialState::Diverged => "diverged before a loss was recorded",
        _ => "without recorded points",
    };
    study.curves.losses(&trial.trial).ok_or_else(|| why.to_owned())
}

impl Drawing {
    fn add(&mut self, trial: &TrialRow, points: Vec<[f64; 2]>, along: Along, marked: bool, sizes: &Roster<'_>) {
        let scale = along.per_token(trial);
        let ink = sizes.ink(trial);
        let hover = Some(text::trial_hover(trial));
        let line = Mark::Line {
            points: points
                .into_iter()
                .map(|[tokens, loss]| [tokens * scale, loss])
                .collect(),
            ink,
            stroke: if marked { Stroke::Strong } else { Stroke::Thin },
            label: marked.then(|| text::size_label(&trial.model, trial.params_non_embedding)),
            hover: hover.clone(),
        };
        if marked { &mut self.strong } else { &mut self.thin }.push(line);
        let end = trial.final_loss.map(|loss| Mark::Dot {
            at: [trial.tokens as f64 * scale, loss],
            ink,
            shape: if marked { Shape::Disc } else { Shape::Ring },
            hover: hover.clone(),
        });
        if marked { &mut self.best_ends } else { &mut self.ends }.extend(end);
        let diverged = trial.diverged_at_tokens.filter(|&tokens| tokens > 0);
        self.off.extend(diverged.map(|tokens| Mark::Off {
            x: tokens as f64 * scale,
            why: Beyond::Diverged,
            ink,
            hover,
        }));
    }

    /// The top of the axis: somewhat above the best losses of each size and budget; none where nothing lies higher.
    fn cut(&self, trials: &[TrialRow]) -> Option<Cut> {
        let mut best: BTreeMap<(u64, u64), f64> = BTreeMap::new();
        for trial in trials {
            if let Some(loss) = trial.final_loss.filter(|loss| loss.is_finite()) {
                let held = best
                    .entry((trial.params_non_embedding, trial.tokens_asked))
                    .or_insert(loss);
                *held = held.min(loss);
            }
        }
        let [low, high] = range(best.into_values())?;
        let top = high + ((high - low) * REACH.0).max(REACH.1);
        let [_, start] = range(values(&[&self.strong], 1))?;
        (start > top).then_some(Cut { top, start })
    }

    /// The axis of losses ends at the cut, and the other begins where the first curve comes below it.
    fn content(mut self, along: Along, cut: Option<Cut>, frontier: Vec<Mark>) -> Content {
        self.ends.append(&mut self.best_ends);
        let top = cut.map_or(f64::INFINITY, |cut| cut.top);
        let (ends, above): (Vec<Mark>, Vec<Mark>) = self.ends.into_iter().partition(|mark| mark.along(1)[0] <= top);
        self.off.extend(above.into_iter().filter_map(triangle));
        let all = [&self.thin, &self.strong, &ends];
        let speaking = if self.strong.is_empty() {
            &self.thin
        } else {
            &self.strong
        };
        let below = |mark: &Mark| {
            mark.along(0)
                .into_iter()
                .zip(mark.along(1))
                .filter(|at| at.1 <= top)
                .collect()
        };
        let seen: Vec<(f64, f64)> = speaking.iter().chain(&ends).flat_map::<Vec<_>, _>(below).collect();
        let (Some([lowest, _]), Some([_, highest]), Some([first, _]), Some([_, last])) = (
            range(values(&all, 1)),
            range(seen.iter().map(|at| at.1)),
            positive_range(seen.iter().map(|at| at.0)),
            positive_range(values(&all, 0)),
        ) else {
            return Content::Missing("No finished or diverged run with recorded points to draw.".to_owned());
        };
        let reach = [first.min(last), last];
        let x = match along {
            Along::Tokens => log_axis("tokens", Numbers::Counts, reach),
            Along::Steps => log_axis("steps", Numbers::Counts, reach),
            Along::Compute => log_axis("compute 6ND (FLOP)", Numbers::Plain, reach),
        };
        Content::Panels(vec![Panel {
            title: String::new(),
            x,
            y: linear_axis(
                "training loss (nats per token)",
                Numbers::Plain,
                [lowest, highest.min(top)],
            ),
            marks: [self.thin, self.raw, self.strong, ends, frontier, self.off].concat(),
        }])
    }
}

fn values(marks: &[&Vec<Mark>], axis: usize) -> Vec<f64> {
    marks
        .iter()
        .flat_map(|marks| marks.iter())
        .flat_map(|mark| mark.along(axis))
        .collect()
}

/// The end of a run above the axis, as a mark above the panel.
fn triangle(end: Mark) -> Option<Mark> {
    let Mark::Dot {
        at: [x, _], ink, hover, ..
    } = end
    else {
        return None;
    };
    let why = Beyond::Above;
    Some(Mark::Off { x, why, ink, hover })
}
