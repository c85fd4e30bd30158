//! The numbers of a recipe, each with its interval and its origin.
//!
//! Refuses to judge them: that is what gates do.

use std::collections::BTreeMap;

use serde_json::json;

use crate::fit::Estimate;
use crate::fit::law::OfLoss;
use crate::fit::loss::loss_fit::Extrapolation;
use crate::fit::rate::learning_rate::LrRule;
use crate::fit::rate::lr_batch::LrBatchLaw;
use crate::fit::rate::transfer::{Transfer, Verdict};
use crate::model::flops;
use crate::model::mup::{Group, Parametrization, Scaling};
use crate::model::shape::Shape;
use crate::recipe::evidence::{Annealing, Ask, Comparison, Evidence, Proxies, Size, TextShape};
use crate::recipe::published;
use crate::recipe::{Item, REACH_MAX, Reach, Source};
use crate::units::significant;

/// The numbers, by name.
pub(super) fn items(ask: &Ask, evidence: &Evidence<'_>, shape: Shape, text: TextShape) -> BTreeMap<String, Item> {
    let params = shape.params_non_embedding();
    let per_token = flops::per_token(shape, text.vocab, text.context);
    let proxies = &evidence.proxies;
    let scaling = Scaling::new(shape, proxies.parametrization, proxies.multipliers);
    let optimal = optimal_item(evidence, params.as_f64());
    let tokens = tokens_item(ask, optimal.as_ref(), per_token, params.as_f64());
    let count = tokens.value.as_f64().unwrap_or_default();
    let lr = lr_item(evidence, params.as_f64(), count);
    let lr_hidden = hidden(&lr, scaling.lr_factor(Group::Matrix), proxies);
    let warmup = json!((published::WARMUP_FRACTION * count).round());
    let mut items = vec![
        ("lr", lr),
        ("lr_hidden", lr_hidden),
        (
            "batch_tokens",
            batch_item(evidence, params.as_f64(), count, text.context),
        ),
        (
            "warmup_tokens",
            plain(warmup, "tokens", Source::Published, published::WARMUP_SOURCE),
        ),
        ("schedule", schedule_item(proxies.wsd_less_cosine)),
        ("flops", flops_item(&tokens, per_token, text.context)),
        (
            "tokens_compute_optimal",
            optimal.unwrap_or_else(|| chinchilla_tokens(params.as_f64())),
        ),
        ("tokens", tokens),
    ];
    items.extend(decay_items(proxies.annealing));
    items.extend(loss_item(evidence, params.as_f64(), count).map(|loss| ("loss", loss)));
    items.extend(batch_warmup_item(evidence, params.as_f64(), count).map(|item| ("batch_warmup_tokens", item)));
    items
        .into_iter()
        .map(|(name, item)| (name.to_owned(), inside(item)))
        .collect()
}

/// What was rounded stays inside its interval.
fn inside(item: Item) -> Item {
    let value = item.value.as_f64();
    let hold = |[low, high]: [f64; 2], value: f64| [low.min(value), high.max(value)];
    Item {
        ci95: item.ci95.map(|ends| value.map_or(ends, |value| hold(ends, value))),
        ..item
    }
}

fn flops_item(tokens: &Item, per_token: f64, context: u64) -> Item {
    Item {
        value: json!(tokens.value.as_f64().map(|count| count * per_token)),
        ci95: tokens.ci95.map(|ends| ends.map(|end| end * per_token)),
        unit: "FLOP".to_owned(),
        law: format!("6 (N + V d) + 12 L d T a token, T = {context}"),
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

/// The best rate of the law that also gives the batch; else that of the grid over learning rates alone.
fn lr_item(evidence: &Evidence<'_>, params: f64, tokens: f64) -> Item {
    let unit = "peak, embedding and norms";
    if let Some((fit, law)) = evidence.lr_batch {
        return Item {
            trials: trials_of(law),
            fit: Some(fit.to_owned()),
            extrapolation: reach_of(law, params, tokens),
            ..estimated(law.lr.at(params, tokens), unit, "lr-batch: c N^a D^b at the best batch")
        };
    }
    let Some((fit, law)) = evidence.lr else {
        return plain(json!(published::LR), unit, Source::Published, published::LR_SOURCE);
    };
    let found = law.predict(params, tokens);
    let bracketed = || law.groups.iter().filter(|group| group.best.is_some());
    let extrapolation = beyond(bracketed().map(|group| (group.params, group.tokens)), params, tokens);
    let is_far = extrapolation.is_some_and(|reach| reach.params.max(reach.tokens) > REACH_MAX);
    let (estimate, rule) = match found.by {
        // A drift between tiny widths is no ground for a factor of a hundred at scale; it does widen the interval.
        LrRule::Power if is_far => (
            spanning(law.best, found.lr),
            format!(
                "mean of ln lr over the minima; they drift (to {} here), and the interval holds that, too",
                significant(found.lr.value, 2)
            ),
        ),
        LrRule::Constant => (law.best, constant_rule(law.transfer.as_ref(), law.widths[1])),
        LrRule::Power => (
            found.lr,
            "lr: c N^a D^b at a fixed batch, for the minima drift".to_owned(),
        ),
    };
    Item {
        fit: Some(fit.to_owned()),
        trials: bracketed().map(|group| group.points.len() as u64).sum(),
        extrapolation,
        ..estimated(estimate, unit, &rule)
    }
}

/// What one rate for all sizes rests on.
fn constant_rule(transfer: Option<&Transfer>, widest: f64) -> String {
    let known = match transfer.map(|it| it.verdict) {
        Some(Verdict::Verified) => format!("verified up to width {widest:.0}"),
        Some(Verdict::Drifts) => "it drifts with the width".to_owned(),
        Some(Verdict::NotKnown) | None => "whether it stays over the width is not known".to_owned(),
    };
    format!("mean of ln lr over the minima; {known}")
}

/// The first estimate with an interval that holds those of both.
fn spanning(first: Estimate, second: Estimate) -> Estimate {
    let both = first.ci95.zip(second.ci95);
    Estimate {
        ci95: both.map(|([a, b], [c, d])| [a.min(c), b.max(d)]),
        ..first
    }
}

fn estimated(estimate: Estimate, unit: &str, law: &str) -> Item {
    Item {
        ci95: estimate.ci95,
        ..plain(json!(estimate.value), unit, Source::Fitted, law)
    }
}

fn trials_of(law: &LrBatchLaw) -> u64 {
    let used = law.groups.iter().filter(|group| group.left_out.is_none());
    used.map(|group| group.points as u64).sum()
}

fn reach_of(law: &LrBatchLaw, params: f64, tokens: f64) -> Option<Reach> {
    let used = law.groups.iter().filter(|group| group.left_out.is_none());
    beyond(used.map(|group| (group.params, group.tokens)), params, tokens)
}

fn beyond(runs: impl Iterator<Item = (f64, f64)>, params: f64, tokens: f64) -> Option<Reach> {
    let Extrapolation { params, tokens, .. } = Extrapolation::beyond(runs, params, tokens)?;
    Some(Reach { params, tokens })
}

/// The rate of the matrices in the layers: muP divides it by how much wider than the base the model is.
fn hidden(item: &Item, factor: f64, proxies: &Proxies) -> Item {
    let base = proxies.multipliers.base_width;
    let law = match proxies.parametrization {
        Parametrization::Mup => format!("lr / (width / {base}); {}", item.law),
        Parametrization::Standard => format!("not scaled, as the proxies; {}", item.law),
    };
    Item {
        value: json!(item.value.as_f64().map(|value| value * factor)),
        ci95: item.ci95.map(|ends| ends.map(|end| end * factor)),
        unit: "peak, matrices of the layers".to_owned(),
        law,
        ..item.clone()
    }
}

/// The law says how many tokens a size wants; without one, twenty a parameter.
fn optimal_item(evidence: &Evidence<'_>, params: f64) -> Option<Item> {
    let (fit, law) = evidence.loss?;
    let Estimate { value, ci95, .. } = law.optimal_tokens(params)?;
    let how = format!("{}: least loss for 6 N D", law.name());
    Some(Item {
        value: json!(value.round()),
        ci95,
        fit: Some(fit.to_owned()),
        trials: law.runs() as u64,
        extrapolation: Some(reach(law, params, value)),
        ..plain(json!(null), "tokens", Source::Fitted, &how)
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
    match ask.size {
        Size::Tokens(tokens) => asked(tokens, "as asked"),
        Size::Flops(flops) => asked(flops / per_token, "as the FLOPs that were asked for allow"),
        Size::Hours {
            hours,
            tokens_per_second,
        } => asked(hours * 3600.0 * tokens_per_second, "as the hours at that speed allow"),
        Size::Optimal => optimal.cloned().unwrap_or_else(|| chinchilla_tokens(params)),
    }
}

/// The best batch of the valley in learning rate and batch, else of curves of equal loss, else the published one.
fn batch_item(evidence: &Evidence<'_>, params: f64, tokens: f64, context: u64) -> Item {
    let unit = "tokens";
    let item = if let Some((fit, law)) = evidence.lr_batch {
        Item {
            fit: Some(fit.to_owned()),
            trials: trials_of(law),
            extrapolation: reach_of(law, params, tokens),
            ..estimated(
                law.batch.at(params, tokens),
                unit,
                &format!("lr-batch: {}", law.batch_form.formula()),
            )
        }
    } else if let Some(equal) = &evidence.equal_loss {
        let levels = || equal.law.levels.iter().map(|level| (level.params, level.tokens));
        Item {
            fit: Some(equal.fit.to_owned()),
            trials: equal.trials,
            extrapolation: beyond(levels(), params, tokens),
            ..estimated(
                equal.law.by_tokens.at(tokens),
                unit,
                "minima of curves of equal loss: c D^b",
            )
        }
    } else if let Some(batch) = of_proxies(evidence, params, tokens) {
        plain(
            json!(batch),
            unit,
            Source::Measured,
            "that of the proxies: the law of loss holds for it",
        )
    } else {
        let value = json!(published::batch_tokens(tokens));
        plain(value, unit, Source::Published, published::BATCH_SOURCE)
    };
    // Whole sequences.
    let context = context as f64;
    let sequences = item.value.as_f64().map(|batch| (batch / context).round().max(1.0));
    Item {
        value: json!(sequences.map(|count| count * context)),
        ..item
    }
}

/// The one batch of the proxies, where the run is no further from them than what they verify.
fn of_proxies(evidence: &Evidence<'_>, params: f64, tokens: f64) -> Option<u64> {
    let beyond = evidence.loss?.1.extrapolation(params, tokens);
    evidence
        .proxies
        .batch_tokens
        .filter(|_| beyond.params.max(beyond.tokens) <= REACH_MAX)
}

/// Until when half the batch is enough, where the batch follows the loss: `MiniCPM` doubled its batch that way (2M to
/// 4M for its 1.2B). None where that is a negligible part of the run, or no law says it.
fn batch_warmup_item(evidence: &Evidence<'_>, params: f64, tokens: f64) -> Option<Item> {
    const NEGLIGIBLE: f64 = 0.01;
    let (equal, (_, loss)) = (evidence.equal_loss.as_ref()?, evidence.loss?);
    let batch_at = |tokens: f64| equal.law.by_loss.at(loss.loss(params, tokens)).value;
    let half = batch_at(tokens) / 2.0;
    let (mut low, mut high) = (0.0, tokens);
    if !half.is_finite() || batch_at(tokens * NEGLIGIBLE) >= half {
        return None;
    }
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if batch_at(middle) < half {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(Item {
        fit: Some(equal.fit.to_owned()),
        trials: equal.trials,
        ..plain(
            json!(high.round()),
            "tokens with half the batch",
            Source::Fitted,
            "batch = c / L^k along the law of loss",
        )
    })
}

fn schedule_item(measured: Option<Comparison>) -> Item {
    let value = json!("wsd");
    let Some(Comparison { pairs, rates, mean }) = measured else {
        return plain(value, "", Source::Published, published::SCHEDULE_SOURCE);
    };
    let at = match rates {
        1 => "at one learning rate".to_owned(),
        rates => format!("at {rates} learning rates"),
    };
    let law =
        format!("WSD less cosine: {mean:+.4} nats, mean of {pairs} pairs {at}; WSD, for one trunk serves many budgets");
    Item {
        trials: 2 * pairs,
        ..plain(value, "", Source::Measured, &law)
    }
}

/// How the rate comes down: as in the proxies, for their losses are what the law predicts from.
fn decay_items(annealing: Option<Annealing>) -> [(&'static str, Item); 3] {
    let (proxies, law) = match annealing {
        Some(used) => (used, "as the proxies decayed"),
        None => (published::ANNEALING, "as sweeps decay where they do not say"),
    };
    let item = |value: serde_json::Value, unit: &str, is_published: bool| {
        if is_published {
            plain(value, unit, Source::Published, published::SCHEDULE_SOURCE)
        } else {
            plain(value, unit, Source::Default, law)
        }
    };
    let Annealing { form, fraction, last } = proxies;
    let is_tenth = (fraction - published::ANNEALING.fraction).abs() < 1e-9;
    [
        ("decay_fraction", item(json!(fraction), "share of the run", is_tenth)),
        ("decay", item(json!(form), "", form == published::ANNEALING.form)),
        ("final_fraction", item(json!(last), "share of the peak", false)),
    ]
}

fn loss_item(evidence: &Evidence<'_>, params: f64, tokens: f64) -> Option<Item> {
    let (fit, law) = evidence.loss?;
    let predicted = law.predict(params, tokens);
    Some(Item {
        value: json!(predicted.mean),
        ci95: predicted.ci95_mean,
        ci95_new_run: predicted.ci95_new_run,
        fit: Some(fit.to_owned()),
        trials: law.runs() as u64,
        extrapolation: Some(reach(law, params, tokens)),
        ..plain(
            json!(null),
            "nats per token of the proxies' data",
            Source::Fitted,
            &format!("{}: {}", law.name(), law.formula()),
        )
    })
}

fn reach(law: &dyn OfLoss, params: f64, tokens: f64) -> Reach {
    let beyond = law.extrapolation(params, tokens);
    Reach {
        params: beyond.params,
        tokens: beyond.tokens,
    }
}
