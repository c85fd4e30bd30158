//! From laws to a recipe.
//!
//! Refuses to know how numbers are read off laws (`items`), what must hold (`gates`), and where fits are kept.

use std::collections::BTreeMap;

use crate::fit::Warning;
use crate::model::mup::Parametrization;
use crate::recipe::by_loss::ByLoss;
use crate::recipe::evidence::{Ask, Evidence, Proxies};
use crate::recipe::next::Widening;
use crate::recipe::reach::{Reach, RunSize};
use crate::recipe::{Item, Mup, PublishedItem, Recipe, ShapeItem, alternatives, gates, imported, items, published};
use crate::units::significant;

/// Writes the recipe; also says for each gate in order which experiment would answer it, where it fails.
pub fn build(ask: &Ask, evidence: &Evidence<'_>) -> (Recipe, Vec<Option<Widening>>) {
    let (model, shape) = published::shape(ask.params);
    let params = shape.params_non_embedding();
    // Only a released model has a vocabulary of its own; for every other size it is that of the proxies.
    let text = published::text(&model).unwrap_or(evidence.proxies.text);
    let reach = evidence.loss.and_then(|(_, law)| Reach::of(law));
    let by_loss = ByLoss {
        evidence,
        reach: reach.as_ref(),
        beyond: ask.beyond,
    };
    let items = items::items(ask, by_loss, shape, text);
    let tokens = items["tokens"].value.as_f64();
    let loss = items.get("loss").and_then(|loss| loss.value.as_f64());
    let target = RunSize::new(
        params.as_f64(),
        tokens.unwrap_or(published::TOKENS_PER_PARAM * params.as_f64()),
    );
    let mut warnings = warnings(evidence, is_beyond(&items));
    warnings.extend(outside(&model, &items));
    warnings.extend(at_another_batch(evidence, &items));
    let to_reach = reach
        .filter(|reach| !reach.largest.holds(target))
        .map(|reach| reach.needed(target));
    let gates = gates::gates(evidence, [target.params, target.tokens], reach.as_ref(), to_reach);
    let (gates, widenings): (Vec<_>, Vec<_>) = gates.into_iter().unzip();
    let mut recipe = Recipe {
        recipe: String::new(),
        params: params.0,
        verdict: gates::verdict(&gates),
        fits: evidence.fits(),
        shape: ShapeItem::new(&model, shape, text),
        parametrization: evidence.proxies.parametrization,
        mup: Mup {
            base_width: evidence.proxies.multipliers.base_width,
            scale_emb: evidence.proxies.multipliers.scale_emb,
            scale_depth: evidence.proxies.multipliers.scale_depth,
            init_std: evidence.proxies.multipliers.init_std,
        },
        optimizer: evidence.proxies.optimizer,
        items,
        reach: reach.map(|reach| reach.largest),
        to_reach,
        alternatives: evidence
            .loss
            .zip(tokens)
            .map(|((_, law), tokens)| {
                let holds = |params, tokens| ask.beyond || by_loss.holds(params, tokens);
                alternatives::alternatives(law, params.as_f64(), tokens, holds)
            })
            .unwrap_or_default(),
        imported: imported::imported(shape, text, tokens, loss, evidence.proxies.parametrization),
        published: published::minicpm(),
        gates,
        warnings,
    };
    let text = serde_json::to_string(&recipe).unwrap_or_default();
    recipe.recipe = blake3::hash(text.as_bytes()).to_hex().chars().take(12).collect();
    (recipe, widenings)
}

fn warnings(evidence: &Evidence<'_>, is_beyond: bool) -> Vec<Warning> {
    let mut warnings: Vec<Warning> = Vec::new();
    if is_beyond {
        let text = "numbers that are marked lie beyond the largest run for which this study vouches: nothing here says \
                    that they hold";
        warnings.push(Warning::new("beyond_reach", text));
    }
    warnings.extend(evidence.loss.iter().flat_map(|(_, law)| law.warnings().to_vec()));
    warnings.extend(evidence.lr.iter().flat_map(|(_, law)| law.warnings.clone()));
    warnings.extend(evidence.lr_batch.iter().flat_map(|(_, law)| law.warnings.clone()));
    warnings.extend(evidence.selected.iter().cloned());
    warnings.extend(of_proxies(&evidence.proxies));
    let text =
        "the predicted loss is in nats per token of the proxies' tokenizer and text; with others it is another number";
    warnings.push(Warning::new("loss_of_the_proxies_data", text));
    warnings
}

fn is_beyond(items: &BTreeMap<String, Item>) -> bool {
    items.values().any(|item| item.beyond)
}

/// The best rate moves with the batch: where the recipe's batch is another than that of the runs, its rate is not known.
fn at_another_batch(evidence: &Evidence<'_>, items: &BTreeMap<String, Item>) -> Option<Warning> {
    const NEAR: f64 = 2.0;
    let of_runs = evidence
        .proxies
        .batch_tokens
        .filter(|_| evidence.lr_batch.is_none() && evidence.lr.is_some())? as f64;
    let of_recipe = items.get("batch_tokens")?.value.as_f64()?;
    let factor = of_recipe / of_runs;
    let text = format!(
        "the learning rate is that of runs with batches of {of_runs:.0} tokens; at the recipe's batch, {} times as large, it \
         is not known: vary both in one grid",
        significant(factor, 2)
    );
    (!(1.0 / NEAR..=NEAR).contains(&factor)).then(|| Warning::new("rate_at_other_batch", text))
}

/// What papers print has two digits.
const ROUNDED: f64 = 0.01;

/// Where what `MiniCPM-2.4B` was trained with lies outside an interval: its learning rate, which is one for all sizes; for
/// that size all of it.
fn outside(model: &str, items: &BTreeMap<String, Item>) -> Option<Warning> {
    let is_outside = |it: &PublishedItem| {
        let of_all = it.item == "lr" || model == "2.4B";
        let ends = items.get(&it.item).and_then(|item| item.ci95).filter(|_| of_all);
        let value = it.value.as_f64();
        let is_off =
            |(value, [low, high]): (f64, [f64; 2])| value < low * (1.0 - ROUNDED) || value > high * (1.0 + ROUNDED);
        value.zip(ends).is_some_and(is_off)
    };
    let found: Vec<String> = published::minicpm()
        .into_iter()
        .filter(is_outside)
        .map(|it| format!("{} ({}; {})", it.item, it.value, it.source))
        .collect();
    let text = format!(
        "MiniCPM's value lies outside the interval of this study: {}",
        found.join(", ")
    );
    (!found.is_empty()).then(|| Warning::new("published_outside", text))
}

/// What the proxies leave open.
fn of_proxies(proxies: &Proxies) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if proxies.parametrization == Parametrization::Standard {
        let text = "the proxies are not scaled by muP: their best learning rate is not that of a wider model, and the \
                    recipe divides none by the width";
        warnings.push(Warning::new("not_mup", text));
    }
    if !proxies.differ_in.is_empty() {
        let text = format!(
            "the trials differ in {}; the recipe takes what the best trial of the largest size had",
            proxies.differ_in.join(", ")
        );
        warnings.push(Warning::new("mixed_settings", text));
    }
    if let Some(pairs) = proxies.wsd_less_cosine.filter(|pairs| pairs.mean > 0.0) {
        let text = format!(
            "cosine ended {:.4} nats lower than WSD, mean of {} pairs: compare them each at its best learning rate and \
             with a longer decay before WSD is paid for",
            pairs.mean, pairs.pairs
        );
        warnings.push(Warning::new("cosine_ended_lower", text));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::recipe::Source;

    #[test]
    fn what_minicpm_used_is_remarked_where_an_interval_leaves_it_out() {
        let items = |[low, high]: [f64; 2]| {
            let item = Item {
                ci95: Some([low, high]),
                ..Item::plain(json!(low), "", Source::Fitted, "a law")
            };
            BTreeMap::from([("lr".to_owned(), item.clone()), ("lr_hidden".to_owned(), item)])
        };
        let text = |model: &str, ends| outside(model, &items(ends)).map(|it| it.text);
        assert_eq!(text("9M", [0.008, 0.02]), None);
        assert_eq!(text("9M", [0.010_01, 0.02]), None, "rounded");
        let remarked = text("9M", [0.02, 0.03]).expect("0.01 lies below");
        assert!(
            remarked.contains("lr (0.01;") && !remarked.contains("lr_hidden"),
            "{remarked}"
        );
        assert!(text("2.4B", [0.008, 0.02]).is_some_and(|it| it.contains("lr_hidden")));
    }
}
