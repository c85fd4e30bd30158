//! Which batch? At one small size and the longest budget, each batch at two rates: the best one, and that scaled by the
//! root of the batch; widened while the best lies at an edge.

use std::collections::BTreeMap;

use serde_json::json;

use crate::campaign::frame::Frame;
use crate::campaign::questions::rates::middle;
use crate::campaign::questions::{Step, asked, percent, settled};
use crate::campaign::state::{Chosen, Design, State};
use crate::spec::study_file::Question;
use crate::units::{human_count, significant, whole_count};

/// Batches to begin with.
const FIRST: usize = 3;
/// Batches at most.
const BATCHES_MAX: usize = 6;

pub(super) fn step(state: &State<'_>, chosen: &mut Chosen) -> Step {
    let frame = state.frame;
    let mut batches = match state.design {
        Design::Grid => frame.batches.clone(),
        Design::Chosen | Design::Random | Design::Cheapest => middle(&frame.batches, FIRST).to_vec(),
    };
    if batches.len() < 2 {
        return Step::default();
    }
    let base = chosen.batch_tokens;
    let (model, tokens) = (frame.probe(), frame.longest());
    let lr = chosen.lr(Frame::params(model) as f64, frame.middle_tokens());
    let mut why = "Which batch ends lowest, and reaches a loss with the fewest tokens?".to_owned();
    loop {
        let pairs = pairs(&batches, base, lr);
        let mut grid = settled(chosen).with("model", [model]).with("tokens", [tokens]);
        grid.axes.remove("batch_tokens");
        grid.variants = pairs
            .iter()
            .map(|(batch, lr)| {
                BTreeMap::from([("batch_tokens".to_owned(), json!(batch)), ("lr".to_owned(), json!(lr))])
            })
            .collect();
        let list: Vec<String> = batches.iter().map(|batch| whole_count(*batch)).collect();
        let what = format!(
            "batches {} of {model} on {} tokens",
            list.join(", "),
            human_count(tokens as f64)
        );
        let (rows, ask) = asked(state, Question::Batch, &grid, what, &why);
        if ask.is_some() {
            return Step { ask, ..Step::default() };
        }
        let ended = pairs
            .iter()
            .zip(rows)
            .filter_map(|(pair, row)| Some((*pair, row?.final_loss?)));
        let ended: Vec<((u64, f64), f64)> = ended.collect();
        let Some(&((best, at), lowest)) = ended.iter().min_by(|a, b| a.1.total_cmp(&b.1)) else {
            return Step::default();
        };
        let of_base = ended
            .iter()
            .filter(|((batch, _), _)| *batch == base)
            .map(|it| it.1)
            .fold(f64::INFINITY, f64::min);
        let gain = (of_base - lowest) / of_base;
        let matters = gain > chosen.resolution();
        let next = if matters { beyond(&batches, best, frame) } else { None };
        match next {
            Some(more) if !state.is_dropped(Question::Batch) => {
                batches = more;
                why = format!(
                    "The best batch, {}, lies at the edge of those that were tried.",
                    whole_count(best)
                );
            }
            Some(_) | None => {
                if matters {
                    chosen.batch_tokens = best;
                    chosen.rate_factor = at / lr;
                }
                return Step {
                    answer: Some(answer(base, best, gain, matters)),
                    ask: None,
                    starved: false,
                };
            }
        }
    }
}

/// Each batch with the rates at which it is tried.
fn pairs(batches: &[u64], base: u64, lr: f64) -> Vec<(u64, f64)> {
    let of = |batch: u64| {
        let scaled = significant(lr * (batch as f64 / base as f64).sqrt(), 3);
        let mut rates = vec![(batch, lr)];
        if batch != base {
            rates.push((batch, scaled));
        }
        rates
    };
    batches.iter().flat_map(|&batch| of(batch)).collect()
}

/// One more batch beyond the best, where that lies at an edge and a batch is still whole sequences.
fn beyond(batches: &[u64], best: u64, frame: &Frame) -> Option<Vec<u64>> {
    let mut more = batches.to_vec();
    if batches.len() >= BATCHES_MAX {
        return None;
    }
    // The range of the file first; beyond it by factors of two.
    if batches.last() == Some(&best) {
        let next = frame.batches.iter().copied().find(|batch| *batch > best);
        more.push(next.unwrap_or(best * 2));
    } else if batches.first() == Some(&best) {
        let next = frame.batches.iter().copied().rfind(|batch| *batch < best);
        let half = best.is_multiple_of(2 * frame.context.max(1)).then_some(best / 2);
        more.insert(0, next.or(half)?);
    } else {
        return None;
    }
    Some(more)
}

fn answer(base: u64, best: u64, gain: f64, matters: bool) -> String {
    if matters {
        format!(
            "batch {}: {} below that of {}",
            whole_count(best),
            percent(gain),
            whole_count(base)
        )
    } else {
        format!(
            "batch {} stays: no other is better by more than noise",
            whole_count(base)
        )
    }
}
