//! From laws to a recipe.
//!
//! Refuses to know how numbers are read off laws (`items`), what must hold (`gates`), and where fits are kept.

use crate::fit::Warning;
use crate::model::mup::Parametrization;
use crate::recipe::evidence::{Ask, Evidence, Proxies};
use crate::recipe::next::Widening;
use crate::recipe::{Mup, Recipe, ShapeItem, alternatives, gates, imported, items, published};

/// Writes the recipe; also says for each gate in order which experiment would answer it, where it fails.
pub fn build(ask: &Ask, evidence: &Evidence<'_>) -> (Recipe, Vec<Option<Widening>>) {
    let (model, shape) = published::shape(ask.params);
    let params = shape.params_non_embedding();
    // Only a released model has a vocabulary of its own; for every other size it is that of the proxies.
    let text = published::text(&model).unwrap_or(evidence.proxies.text);
    let items = items::items(ask, evidence, shape, text);
    let tokens = items["tokens"].value.as_f64().unwrap_or_default();
    let loss = items.get("loss").and_then(|loss| loss.value.as_f64());
    let (gates, widenings): (Vec<_>, Vec<_>) = gates::gates(evidence, params.as_f64(), tokens).into_iter().unzip();
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
        alternatives: evidence
            .loss
            .map(|(_, law)| alternatives::alternatives(law, params.as_f64(), tokens))
            .unwrap_or_default(),
        imported: imported::imported(shape, text, tokens, loss, evidence.proxies.parametrization),
        published: published::minicpm(),
        gates,
        warnings: warnings(evidence),
    };
    let text = serde_json::to_string(&recipe).unwrap_or_default();
    recipe.recipe = blake3::hash(text.as_bytes()).to_hex().chars().take(12).collect();
    (recipe, widenings)
}

fn warnings(evidence: &Evidence<'_>) -> Vec<Warning> {
    let mut warnings: Vec<Warning> = Vec::new();
    warnings.extend(evidence.loss.iter().flat_map(|(_, law)| law.warnings().to_vec()));
    warnings.extend(evidence.lr.iter().flat_map(|(_, law)| law.warnings.clone()));
    warnings.extend(evidence.lr_batch.iter().flat_map(|(_, law)| law.warnings.clone()));
    warnings.extend(of_proxies(&evidence.proxies));
    let text =
        "the predicted loss is in nats per token of the proxies' tokenizer and text; with others it is another number";
    warnings.push(Warning::new("loss_of_the_proxies_data", text));
    warnings
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
