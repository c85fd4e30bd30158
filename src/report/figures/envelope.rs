//! The frontier of compute: the lowest measured losses, and the least loss that the law gives.
//!
//! Refuses to draw runs, and to know the form of a law.

use crate::record::TrialRow;
use crate::report::figures::compute::{FLOPS_PER_PARAM_TOKEN, best_params};
use crate::report::figures::law_marks::{curve, drawable};
use crate::report::study::Study;
use crate::report::text::{self, number};
use crate::report::view::{Ink, Mark, Stroke};

/// The measured envelope and the law at its best split of compute, with a sentence.
pub(crate) fn frontier(study: &Study<'_>) -> (Vec<Mark>, String) {
    let hull = envelope(study.trials);
    let points: Vec<[f64; 2]> = hull.iter().map(|&(at, _)| at).collect();
    let (Some([first, _]), Some([last, _])) = (points.first(), points.last()) else {
        return (Vec::new(), String::new());
    };
    if points.len() < 2 {
        return (Vec::new(), String::new());
    }
    let law = law_line(study, [*first, *last]);
    let mut sentence = format!(
        "The uncoloured line is the envelope of the final losses, the best that so much compute bought here: {}.",
        holders(&hull)
    );
    if law.is_some() {
        sentence.push_str(" Dashed, the least loss that the law gives at so much compute, whatever the size.");
    }
    let envelope = Mark::Line {
        points,
        ink: Ink::Plain,
        stroke: Stroke::Strong,
        label: Some("envelope".to_owned()),
        hover: Some("the lowest final losses at each compute".to_owned()),
    };
    sentence.push(' ');
    (law.into_iter().chain([envelope]).collect(), sentence)
}

/// The lower convex hull of final losses over log compute, as far as it falls; with the runs on it.
fn envelope(trials: &[TrialRow]) -> Vec<([f64; 2], &TrialRow)> {
    let mut ends: Vec<([f64; 2], &TrialRow)> = trials
        .iter()
        .filter_map(|trial| {
            let compute = FLOPS_PER_PARAM_TOKEN * trial.params_non_embedding as f64 * trial.tokens as f64;
            let loss = trial.final_loss.filter(|loss| loss.is_finite())?;
            (compute > 0.0).then_some(([compute, loss], trial))
        })
        .collect();
    ends.sort_by(|(a, run), (b, other)| {
        let by_place = a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1]));
        by_place.then(run.trial.cmp(&other.trial))
    });
    let mut hull: Vec<([f64; 2], &TrialRow)> = Vec::new();
    for end in ends {
        if hull.last().is_some_and(|(last, _)| end.0[1] >= last[1]) {
            continue;
        }
        while hull.len() > 1 && is_above(hull[hull.len() - 2].0, hull[hull.len() - 1].0, end.0) {
            hull.pop();
        }
        hull.push(end);
    }
    hull
}

/// Whether the middle of three points lies on or above the line between the others, in log compute.
fn is_above(from: [f64; 2], middle: [f64; 2], to: [f64; 2]) -> bool {
    let share = (middle[0] / from[0]).ln() / (to[0] / from[0]).ln();
    middle[1] >= from[1] + share * (to[1] - from[1])
}

/// Which sizes hold the envelope: `6K up to 3.6e10, 13K up to 1.6e11, then 80K`.
fn holders(hull: &[([f64; 2], &TrialRow)]) -> String {
    let mut held: Vec<(String, f64)> = Vec::new();
    for ([compute, _], trial) in hull {
        let size = text::size_label(&trial.model, trial.params_non_embedding);
        match held.last_mut() {
            Some((last, to)) if *last == size => *to = *compute,
            Some(_) | None => held.push((size, *compute)),
        }
    }
    let last = held.len() - 1;
    let words: Vec<String> = held
        .iter()
        .enumerate()
        .map(|(at, (size, to))| {
            if at < last {
                format!("{size} up to {} FLOP", number(*to, 2))
            } else if at == 0 {
                format!("{size} throughout")
            } else {
                format!("then {size}")
            }
        })
        .collect();
    words.join(", ")
}

/// The law at its best split of compute between the ends of the data.
fn law_line(study: &Study<'_>, [from, to]: [f64; 2]) -> Option<Mark> {
    let drawn = drawable(study).filter(|drawn| drawn.law.params_are == "params_non_embedding")?;
    let sizes = drawn.law.points.iter().map(|point| point.params);
    let (low, high) = (sizes.clone().reduce(f64::min)?, sizes.reduce(f64::max)?);
    let best = |flops: f64| best_params(drawn.predict, flops, [low / 30.0, high * 30.0]).map(|(_, loss)| loss);
    Some(Mark::Line {
        points: curve(from, to, best),
        ink: Ink::Plain,
        stroke: Stroke::Beyond,
        label: Some("law, best split".to_owned()),
        hover: Some("the law at its best split of compute between parameters and tokens".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_on_the_chord_is_not_on_the_hull() {
        assert!(is_above([1.0, 4.0], [10.0, 3.0], [100.0, 2.0]));
        assert!(!is_above([1.0, 4.0], [10.0, 2.9], [100.0, 2.0]));
    }
}
