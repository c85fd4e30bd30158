//! From laws to a recipe, and the gates that say how far to trust it.

use std::collections::BTreeMap;

use serde_json::json;

use crate::fit::learning_rate::LrFit;
use crate::fit::loss_fit::LossFit;
use crate::fit::statistics::interval95;
use crate::fit::{Estimate, Warning};
use crate::model::flops;
use crate::model::mup::{BASE_WIDTH, Group, Multipliers, Parametrization, Scaling};
use crate::model::shape::Shape;
use crate::recipe::published;
use crate::recipe::{Gate, Item, Mup, Reach, Recipe, ShapeItem, Source, Verdict};

/// Beyond this many times the largest proxy nothing counts as verified: MiniCPM went from 0.5B to 2.4B, five times.
const REACH_MAX: f64 = 10.0;
/// The largest held-out error that passes, relative.
const HOLD_OUT_MAX: f64 = 0.01;
/// The largest drift of ln lr for each factor e of size that passes.
const DRIFT_MAX: f64 = 0.1;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ask {
    /// Parameters of the big run, without the embedding.
    pub params: f64,
    /// Its tokens; none: those that are compute-optimal.
    pub tokens: Option<f64>,
    /// Its FLOPs, instead of its tokens.
    pub flops: Option<f64>,
}

/// What is known.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The law of loss with the name of its fit.
    pub loss: Option<(&'a str, &'a LossFit)>,
    /// The law of the learning rate with the name of its fit.
    pub lr: Option<(&'a str, &'a LrFit)>,
    /// muP's constants of the proxies.
    pub multipliers: Multipliers,
    /// Whether all proxies were scaled by muP.
    pub is_mup: bool,
    /// Different batch sizes among the trials.
    pub batches: usize,
    /// WSD against cosine where all else is equal: pairs, and the mean of WSD's loss less cosine's.
    pub wsd_less_cosine: Option<(u64, f64)>,
}

/// Writes the recipe.
pub fn build(ask: &Ask, evidence: &Evidence<'_>) -> Recipe {
    let (model, shape) = published::shape(ask.params);
    let params = shape.params_non_embedding();
    let items = items(ask, evidence, shape);
    let tokens = items["tokens"].value.as_f64().unwrap_or_default();
    let gates = gates(evidence, params.as_f64(), tokens);
    let fits = [evidence.loss.map(|it| it.0), evidence.lr.map(|it| it.0)];
    let mut recipe = Recipe {
        recipe: String::new(),
        params: params.0,
        verdict: verdict(&gates),
        fits: fits.into_iter().flatten().map(str::to_owned).collect(),
        shape: ShapeItem::new(&model, shape, published::vocab(params.0), published::CONTEXT),
        mup: Mup {
            base_width: BASE_WIDTH,
            scale_emb: evidence.multipliers.scale_emb,
            scale_depth: evidence.multipliers.scale_depth,
            init_std: evidence.multipliers.init_std,
        },
        items,
        gates,
        warnings: warnings(evidence),
    };
    let text = serde_json::to_string(&recipe).unwrap_or_default();
    recipe.recipe = blake3::hash(text.as_bytes()).to_hex().chars().take(12).collect();
    recipe
}

/// The numbers, by name.
fn items(ask: &Ask, evidence: &Evidence<'_>, shape: Shape) -> BTreeMap<String, Item> {
    let params = shape.params_non_embedding();
    let per_token = flops::per_token(shape, published::vocab(params.0), published::CONTEXT);
    let scaling = Scaling::new(shape, Parametrization::Mup, evidence.multipliers);
    let lr = lr_item(evidence);
    let lr_hidden = scaled(&lr, scaling.lr_factor(Group::Matrix));
    let optimal = optimal_item(evidence, params.as_f64());
    let tokens = tokens_item(ask, optimal.as_ref(), per_token, params.as_f64());
    let count = tokens.value.as_f64().unwrap_or_default();
    let warmup = json!((published::WARMUP_FRACTION * count).round());
    let (decay, schedule_source) = (json!(published::DECAY_FRACTION), published::SCHEDULE_SOURCE);
    let mut items = vec![
        ("lr", lr),
        ("lr_hidden", lr_hidden),
        ("batch_tokens", batch_item(count)),
        (
            "warmup_tokens",
            plain(warmup, "tokens", Source::Published, published::WARMUP_SOURCE),
        ),
        (
            "decay_fraction",
            plain(decay, "share of the run", Source::Published, schedule_source),
        ),
        ("schedule", schedule_item(evidence)),
        ("flops", flops_item(&tokens, per_token)),
        (
            "tokens_compute_optimal",
            optimal.unwrap_or_else(|| chinchilla_tokens(params.as_f64())),
        ),
        ("tokens", tokens),
    ];
    items.extend(loss_item(evidence, params.as_f64(), count).map(|loss| ("loss", loss)));
    items.into_iter().map(|(name, item)| (name.to_owned(), item)).collect()
}

fn flops_item(tokens: &Item, per_token: f64) -> Item {
    Item {
        value: json!(tokens.value.as_f64().map(|count| count * per_token)),
        ci95: tokens.ci95.map(|ends| ends.map(|end| end * per_token)),
        unit: "FLOP".to_owned(),
        law: format!("6 (N + V d) + 12 L d T a token, T = {}", published::CONTEXT),
        ..tokens.clone()
    }
}

fn plain(value: serde_json::Value, unit: &str, source: Source, law: &str) -> Item {
    Item {
        value,
        ci95: None,
        ci95_new_run: None,
        unit: unit.to_owned(),
        source,
        law: law.to_owned(),
        fit: None,
        trials: 0,
        extrapolation: None,
    }
}

fn lr_item(evidence: &Evidence<'_>) -> Item {
    let unit = "peak, embedding and norms";
    let Some((fit, law)) = evidence.lr else {
        return plain(json!(published::LR), unit, Source::Published, published::LR_SOURCE);
    };
    let Estimate { value, ci95, .. } = law.best;
    let trials = law
        .groups
        .iter()
        .filter(|group| group.best.is_some())
        .map(|group| group.points.len() as u64)
        .sum();
    Item {
        value: json!(value),
        ci95,
        fit: Some(fit.to_owned()),
        trials,
        ..plain(
            json!(null),
            unit,
            Source::Fitted,
            "mean of ln lr over the minima; muP keeps it over width",
        )
    }
}

fn scaled(item: &Item, factor: f64) -> Item {
    Item {
        value: json!(item.value.as_f64().map(|value| value * factor)),
        ci95: item.ci95.map(|ends| ends.map(|end| end * factor)),
        unit: "peak, matrices of the layers".to_owned(),
        law: format!("lr / (width / {BASE_WIDTH}); {}", item.law),
        ..item.clone()
    }
}

/// The law says how many tokens a size wants; without one, twenty a parameter.
fn optimal_item(evidence: &Evidence<'_>, params: f64) -> Option<Item> {
    let (fit, law) = evidence.loss?;
    let value = law.point().optimal_tokens(params);
    let draws: Vec<f64> = law
        .draws
        .iter()
        .map(|draw| draw.optimal_tokens(params))
        .filter(|it| it.is_finite())
        .collect();
    value.is_finite().then(|| Item {
        value: json!(value.round()),
        ci95: interval95(&draws),
        fit: Some(fit.to_owned()),
        trials: law.n as u64,
        extrapolation: Some(reach(law, params, value)),
        ..plain(
            json!(null),
            "tokens",
            Source::Fitted,
            "chinchilla: least loss for 6 N D",
        )
    })
}

fn chinchilla_tokens(params: f64) -> Item {
    plain(
        json!((20.0 * params).round()),
        "tokens",
        Source::Published,
        "Chinchilla 2203.15556: about 20 N",
    )
}

fn tokens_item(ask: &Ask, optimal: Option<&Item>, per_token: f64, params: f64) -> Item {
    let asked = |value: f64, law: &str| plain(json!(value.round()), "tokens", Source::Default, law);
    match (ask.tokens, ask.flops) {
        (Some(tokens), _) => asked(tokens, "as asked"),
        (None, Some(flops)) => asked(flops / per_token, "as the FLOPs that were asked for allow"),
        (None, None) => optimal.cloned().unwrap_or_else(|| chinchilla_tokens(params)),
    }
}

fn batch_item(tokens: f64) -> Item {
    // Whole sequences.
    let sequences = (published::batch_tokens(tokens) / published::CONTEXT as f64)
        .round()
        .max(1.0);
    let value = json!(sequences * published::CONTEXT as f64);
    plain(value, "tokens", Source::Published, published::BATCH_SOURCE)
}

fn schedule_item(evidence: &Evidence<'_>) -> Item {
    match evidence.wsd_less_cosine {
        Some((pairs, difference)) => Item {
            trials: 2 * pairs,
            ..plain(
                json!("wsd"),
                "",
                Source::Measured,
                &format!(
                    "WSD less cosine: {difference:+.4} nats, mean of {pairs} pairs; one trunk serves many budgets"
                ),
            )
        },
        None => plain(json!("wsd"), "", Source::Published, published::SCHEDULE_SOURCE),
    }
}

fn loss_item(evidence: &Evidence<'_>, params: f64, tokens: f64) -> Option<Item> {
    let (fit, law) = evidence.loss?;
    let predicted = law.predict(params, tokens);
    Some(Item {
        value: json!(predicted.mean),
        ci95: predicted.ci95_mean,
        ci95_new_run: predicted.ci95_new_run,
        fit: Some(fit.to_owned()),
        trials: law.n as u64,
        extrapolation: Some(reach(law, params, tokens)),
        ..plain(
            json!(null),
            "nats per token of the proxies' data",
            Source::Fitted,
            "chinchilla: E + A/N^alpha + B/D^beta",
        )
    })
}

fn reach(law: &LossFit, params: f64, tokens: f64) -> Reach {
    let beyond = law.extrapolation(params, tokens);
    Reach {
        params: beyond.params,
        tokens: beyond.tokens,
    }
}

fn gates(evidence: &Evidence<'_>, params: f64, tokens: f64) -> Vec<Gate> {
    let gate = |name: &str, passed: bool, why: String, next: &str| Gate {
        name: name.to_owned(),
        passed,
        why,
        next: (!passed && !next.is_empty()).then(|| next.to_owned()),
    };
    let loss = evidence.loss.map(|it| it.1);
    let lr = evidence.lr.map(|it| it.1);
    let beyond = loss.map(|law| law.extrapolation(params, tokens));
    let spanned = |factor: Option<f64>, what: &str| match factor {
        Some(factor) => (
            factor <= REACH_MAX,
            format!("{factor:.3e} times the {what} that were seen; {REACH_MAX} at most"),
        ),
        None => (false, "no law of loss was fitted".to_owned()),
    };
    let (sizes, why_sizes) = spanned(beyond.map(|it| it.params), "largest parameters");
    let (budgets, why_budgets) = spanned(beyond.map(|it| it.tokens), "most tokens");
    let (bracketed, why_bracketed) = match lr {
        Some(law) => (
            law.at_edge == 0,
            format!(
                "{} minima are bracketed, {} lie at the edge of the grid",
                law.bracketed, law.at_edge
            ),
        ),
        None => (false, "no law of the learning rate was fitted".to_owned()),
    };
    let (still, why_still) = drift(lr, evidence.is_mup);
    let (held, why_held) = held_out(loss);
    vec![
        gate("sizes_spanned", sizes, why_sizes, "sweeps/minicpm-data-scaling.yaml"),
        gate(
            "tokens_spanned",
            budgets,
            why_budgets,
            "sweeps/minicpm-data-scaling.yaml",
        ),
        gate(
            "lr_bracketed",
            bracketed,
            why_bracketed,
            "sweeps/minicpm-lr-transfer.yaml",
        ),
        gate("lr_transfers", still, why_still, "sweeps/minicpm-lr-transfer.yaml"),
        gate(
            "batch_law",
            false,
            format!(
                "{} batch sizes were tried and no law of the batch is fitted: it is published",
                evidence.batches
            ),
            "sweeps/minicpm-batch-size.yaml",
        ),
        gate("hold_out", held, why_held, "sweeps/minicpm-data-scaling.yaml"),
    ]
}

fn drift(lr: Option<&LrFit>, is_mup: bool) -> (bool, String) {
    let Some(law) = lr else {
        return (false, "no law of the learning rate was fitted".to_owned());
    };
    if !is_mup {
        return (false, "the proxies are not scaled by muP".to_owned());
    }
    let [low, high] = law.widths;
    match law.size_exponent {
        Some(Estimate {
            value,
            ci95: Some([from, to]),
            ..
        }) => (
            from <= 0.0 && 0.0 <= to && (to - from) / 2.0 <= DRIFT_MAX,
            format!(
                "best lr moves as N^{value:.3} (95 %: {from:.3} to {to:.3}) over widths {low:.0} to {high:.0}; within ±{DRIFT_MAX} passes"
            ),
        ),
        Some(Estimate { value, .. }) => (
            false,
            format!("best lr moves as N^{value:.3} over widths {low:.0} to {high:.0}; too few minima for an interval"),
        ),
        None => (
            false,
            format!("fewer than two sizes have a minimum at equal tokens (widths {low:.0} to {high:.0})"),
        ),
    }
}

fn held_out(loss: Option<&LossFit>) -> (bool, String) {
    match loss.and_then(|law| law.hold_out.as_ref()) {
        Some(held) => {
            let error = held.mean_abs_rel_error;
            let text = format!(
                "the largest size was predicted to {:.2} % from the others; {:.0} % at most",
                error * 100.0,
                HOLD_OUT_MAX * 100.0
            );
            (error <= HOLD_OUT_MAX, text)
        }
        None => (false, "too few sizes to hold one out".to_owned()),
    }
}

fn verdict(gates: &[Gate]) -> Verdict {
    let passed = |name: &str| gates.iter().any(|gate| gate.name == name && gate.passed);
    if gates.iter().all(|gate| gate.passed) {
        Verdict::Verified
    } else if passed("sizes_spanned") && passed("lr_bracketed") {
        Verdict::Partly
    } else {
        Verdict::Unverified
    }
}

fn warnings(evidence: &Evidence<'_>) -> Vec<Warning> {
    let mut warnings: Vec<Warning> = Vec::new();
    warnings.extend(evidence.loss.iter().flat_map(|(_, law)| law.warnings.clone()));
    warnings.extend(evidence.lr.iter().flat_map(|(_, law)| law.warnings.clone()));
    let text =
        "the predicted loss is in nats per token of the proxies' tokenizer and text; with others it is another number";
    warnings.push(Warning::new("loss_of_the_proxies_data", text));
    warnings
}
