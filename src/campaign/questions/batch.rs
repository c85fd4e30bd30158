//! Which batch? At one small size and the longest budget, each batch at two rates: the best one, and that scaled by the
//! root of the batch; widened while the best lies at an edge.

use std::collections::BTreeMap;

use serde_json::json;

use crate::campaign::frame::Frame;
use crate::campaign::questions::{Step, asked, percent, settled};
use crate::campaign::state::{Chosen, State};
use crate::spec::study_file::Question;
use crate::units::{human_count, significant, whole_count};

/// Batches at most.
const BATCHES_MAX: usize = 6;

pub(super) fn step(state: &State<'_>, chosen: &mut Chosen) -> Step {
    let frame = state.frame;
    let mut batches = frame.batches.clone();
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
        let next = if matters {
            beyond(&batches, best, frame.context)
        } else {
            None
        };
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
fn beyond(batches: &[u64], best: u64, context: u64) -> Option<Vec<u64>> {
    let mut more = batches.to_vec();
    if batches.len() >= BATCHES_MAX {
        return None;
    }
    if batches.last() == Some(&best) {
        more.push(best * 2);
    } else if batches.first() == Some(&best) && best.is_multiple_of(2 * context.max(1)) {
        more.insert(0, best / 2);
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
