//! The numbers of a recipe, each with its interval and its origin.
//!
//! Refuses to judge them: that is what gates do.

use std::collections::BTreeMap;

use serde_json::json;

use crate::fit::Estimate;
use crate::fit::loss::loss_fit::Extrapolation;
use crate::fit::rate::learning_rate::{LrFit, LrRule};
use crate::fit::rate::lr_batch::LrBatchLaw;
use crate::fit::rate::transfer::{Transfer, Verdict};
use crate::model::flops;
use crate::model::mup::{Group, Parametrization, Scaling};
use crate::model::shape::Shape;
use crate::recipe::TextShape;
use crate::recipe::by_loss::{self, ByLoss};
use crate::recipe::evidence::{Annealing, Ask, Comparison, Evidence, Proxies};
use crate::recipe::published;
use crate::recipe::reach::REACH_MAX;
use crate::recipe::{Extrapolated, Item, Source};
use crate::spec::ScheduleName;
use crate::units::significant;

/// The numbers, by name.
pub(super) fn items(ask: &Ask, by_loss: ByLoss<'_>, shape: Shape, text: TextShape) -> BTreeMap<String, Item> {
    let evidence = by_loss.evidence;
    let params = shape.params_non_embedding().as_f64();
    let per_token = flops::per_token(shape, text.vocab, text.context);
    let proxies = &evidence.proxies;
    let scaling = Scaling::new(shape, proxies.parametrization, proxies.multipliers);
    let optimal = by_loss.optimal(params);
    let tokens = by_loss::tokens(ask, &optimal, per_token);
    let count = tokens.value.as_f64();
    let lr = lr_item(evidence, params, count);
    let lr_hidden = hidden(&lr, scaling.lr_factor(Group::Matrix), proxies);
    let warmup = by_loss::share(&tokens, published::WARMUP_FRACTION, published::WARMUP_SOURCE);
    let batch = batch_item(evidence, params, &tokens, text.context);
    let batch_warmup = count
        .filter(|&count| by_loss.beyond || by_loss.holds(params, count))
        .and_then(|count| batch_warmup_item(evidence, params, count));
    let mut items = vec![
        ("lr", lr),
        ("lr_hidden", lr_hidden),
        ("batch_tokens", by_loss::following(batch, &tokens)),
        ("warmup_tokens", warmup),
        ("schedule", schedule_item(proxies.schedule, proxies.wsd_less_cosine)),
        ("flops", by_loss::flops(&tokens, per_token, text.context)),
        ("tokens_compute_optimal", optimal),
    ];
    items.extend(decay_items(proxies));
    items.extend(by_loss.loss(params, count).map(|loss| ("loss", loss)));
    items.extend(batch_warmup.map(|item| ("batch_warmup_tokens", by_loss::following(item, &tokens))));
    items.push(("tokens", tokens));
    items
        .into_iter()
        .map(|(name, item)| (name.to_owned(), item.inside()))
        .collect()
}

/// The best rate of the law that also gives the batch; else that of the grid over learning rates alone; where neither
/// determines it, the published one. Where the tokens are withheld, at as many as are published for that size.
fn lr_item(evidence: &Evidence<'_>, params: f64, tokens: Option<f64>) -> Item {
    let unit = "peak, embedding and norms";
    let published = || Item::plain(json!(published::LR), unit, Source::Published, published::LR_SOURCE);
    let at = tokens.unwrap_or(published::TOKENS_PER_PARAM * params);
    let assumed = match tokens {
        Some(_) => "",
        None => ", at 20 tokens a parameter",
    };
    let item = if let Some((fit, law)) = evidence.lr_batch {
        let rule = format!("lr-batch: c N^a D^b at the best batch{assumed}");
        Item {
            trials: trials_of(law),
            fit: Some(fit.to_owned()),
            extrapolation: reach_of(law, params, at),
            ..Item::estimated(law.lr.at(params, at), unit, &rule)
        }
    } else if let Some((fit, law)) = evidence.lr {
        let item = of_grids(law, params, at, unit, assumed);
        Item {
            fit: Some(fit.to_owned()),
            ..item
        }
    } else {
        published()
    };
    item.or_published(published, "minima of more sizes inside the grid of rates")
}

fn of_grids(law: &LrFit, params: f64, tokens: f64, unit: &str, assumed: &str) -> Item {
    let found = law.predict(params, tokens);
    let bracketed = || law.groups.iter().filter(|group| group.best.is_some());
    let extrapolation = beyond(bracketed().map(|group| (group.params, group.tokens)), params, tokens);
    let is_far = extrapolation.is_some_and(|reach| reach.params.max(reach.tokens) > REACH_MAX);
    let (estimate, rule) = match found.by {
        // A drift between tiny widths is no ground for a factor of a hundred at scale; it does widen the interval.
        LrRule::Power if is_far => (
            spanning(law.best, found.lr),
            format!(
                "mean of ln lr over the minima; the minima drift (to {} here{assumed}), and the interval holds that, too",
                significant(found.lr.value, 2)
            ),
        ),
        LrRule::Constant => (law.best, constant_rule(law.transfer.as_ref(), law.widths[1])),
        LrRule::Power => (
            found.lr,
            format!("c N^a D^b at a fixed batch{assumed}; the minima drift, so one rate does not serve all sizes"),
        ),
    };
    Item {
        trials: bracketed().map(|group| group.points.len() as u64).sum(),
        extrapolation,
        ..Item::estimated(estimate, unit, &rule)
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

fn trials_of(law: &LrBatchLaw) -> u64 {
    let used = law.groups.iter().filter(|group| group.left_out.is_none());
    used.map(|group| group.points as u64).sum()
}

fn reach_of(law: &LrBatchLaw, params: f64, tokens: f64) -> Option<Extrapolated> {
    let used = law.groups.iter().filter(|group| group.left_out.is_none());
    beyond(used.map(|group| (group.params, group.tokens)), params, tokens)
}

fn beyond(runs: impl Iterator<Item = (f64, f64)>, params: f64, tokens: f64) -> Option<Extrapolated> {
    let Extrapolation { params, tokens, .. } = Extrapolation::beyond(runs, params, tokens)?;
    Some(Extrapolated { params, tokens })
}

/// The rate of the matrices in the layers: muP divides it by how much wider than the base the model is.
fn hidden(item: &Item, factor: f64, proxies: &Proxies) -> Item {
    let base = proxies.multipliers.base_width;
    let law = match proxies.parametrization {
        Parametrization::Mup => format!("the peak above / (width / {base})"),
        Parametrization::Standard => "the peak above: not scaled, as the proxies".to_owned(),
    };
    Item {
        value: json!(item.value.as_f64().map(|value| value * factor)),
        ci95: item.ci95.map(|ends| ends.map(|end| end * factor)),
        unit: "peak, matrices of the layers".to_owned(),
        law,
        ..item.clone()
    }
}

/// The best batch of the valley in learning rate and batch, else of curves of equal loss, else the published one.
fn batch_item(evidence: &Evidence<'_>, params: f64, run: &Item, context: u64) -> Item {
    let unit = "tokens";
    let tokens = run.value.as_f64().unwrap_or(f64::NAN);
    let published = || {
        let value = json!(published::batch_tokens(tokens));
        Item::plain(value, unit, Source::Published, published::BATCH_SOURCE)
    };
    let item = if let Some((fit, law)) = evidence.lr_batch {
        let at = |tokens: f64| law.batch.at(params, tokens);
        let rule = format!("lr-batch: {}", law.batch_form.formula());
        Item {
            fit: Some(fit.to_owned()),
            trials: trials_of(law),
            extrapolation: reach_of(law, params, tokens),
            ..by_loss::over_open_tokens(Item::estimated(at(tokens), unit, &rule), run, at)
        }
    } else if let Some(equal) = &evidence.equal_loss {
        let at = |tokens: f64| equal.law.by_tokens.at(tokens);
        let rule = "minima of curves of equal loss: c D^b";
        let levels = || equal.law.levels.iter().map(|level| (level.params, level.tokens));
        Item {
            fit: Some(equal.fit.to_owned()),
            trials: equal.trials,
            extrapolation: beyond(levels(), params, tokens),
            ..by_loss::over_open_tokens(Item::estimated(at(tokens), unit, rule), run, at)
        }
    } else if let Some(batch) = of_proxies(evidence, params, tokens) {
        Item::plain(
            json!(batch),
            unit,
            Source::Measured,
            "that of the proxies: the law of loss holds for it",
        )
    } else {
        published()
    };
    let item = item.or_published(published, "minima of more sizes inside the grid of batches");
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
        ..Item::plain(
            json!(high.round()),
            "tokens with half the batch",
            Source::Fitted,
            "batch = c / L^k along the law of loss",
        )
    })
}

/// The schedule of the runs on which the laws rest: their rate and their losses are those of no other.
fn schedule_item(schedule: ScheduleName, measured: Option<Comparison>) -> Item {
    let value = json!(schedule.name());
    if schedule != ScheduleName::Wsd {
        return other_than_wsd(schedule, measured);
    }
    let Some(Comparison { pairs, rates, mean }) = measured else {
        return Item::plain(value, "", Source::Published, published::SCHEDULE_SOURCE);
    };
    let at = match rates {
        1 => "at one learning rate".to_owned(),
        rates => format!("at {rates} learning rates"),
    };
    let law =
        format!("WSD less cosine: {mean:+.4} nats, mean of {pairs} pairs {at}; WSD, for one trunk serves many budgets");
    Item {
        trials: 2 * pairs,
        ..Item::plain(value, "", Source::Measured, &law)
    }
}

fn other_than_wsd(schedule: ScheduleName, measured: Option<Comparison>) -> Item {
    let name = schedule.name();
    let item = |source, law: &str| Item::plain(json!(name), "", source, law);
    let Some(Comparison { pairs, mean, .. }) = measured else {
        let law =
            "that of the proxies: the laws of loss and rate hold for it; MiniCPM used WSD, which was not compared";
        return item(Source::Default, law);
    };
    let law =
        format!("that of the runs with the lowest losses; WSD less cosine: {mean:+.4} nats, mean of {pairs} pairs");
    Item {
        trials: 2 * pairs,
        ..item(Source::Measured, &law)
    }
}

/// How the rate comes down: as in the proxies, for their losses are what the law predicts from.
fn decay_items(proxies: &Proxies) -> [(&'static str, Item); 3] {
    let schedule = proxies.schedule;
    let (proxies, law) = match proxies.annealing {
        Some(used) => (used, "as the proxies decayed"),
        None => (published::ANNEALING, "as sweeps decay where they do not say"),
    };
    let item = |value: serde_json::Value, unit: &str, is_published: bool| {
        if is_published {
            Item::plain(value, unit, Source::Published, published::SCHEDULE_SOURCE)
        } else {
            Item::plain(value, unit, Source::Default, law)
        }
    };
    let Annealing { form, fraction, last } = proxies;
    let of_wsd = |item: Item| match schedule {
        ScheduleName::Wsd => item,
        ScheduleName::Cosine | ScheduleName::Linear | ScheduleName::Constant => {
            item.withheld(&format!("the schedule is {}, which has no such part", schedule.name()))
        }
    };
    let is_tenth = (fraction - published::ANNEALING.fraction).abs() < 1e-9;
    [
        (
            "decay_fraction",
            of_wsd(item(json!(fraction), "share of the run", is_tenth)),
        ),
        (
            "decay",
            of_wsd(item(json!(form), "", form == published::ANNEALING.form)),
        ),
        ("final_fraction", item(json!(last), "share of the peak", false)),
    ]
}
