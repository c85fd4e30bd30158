//! The numbers of a recipe that rest on the law of loss: how long the run is, what it costs, and what loss it ends with.
//!
//! Beyond the largest run for which the study vouches they are withheld, unless they are asked for all the same. Refuses
//! to say how far that is.

use serde_json::json;

use crate::fit::Estimate;
use crate::fit::law::OfLoss;
use crate::recipe::evidence::{Ask, Evidence, Size};
use crate::recipe::published;
use crate::recipe::reach::{Reach, RunSize};
use crate::recipe::{Extrapolated, Item, Source};

/// Why a number that rests on the law of loss is withheld.
pub(super) const BEYOND: &str = "beyond the largest run for which this study vouches";
/// Why what follows from the tokens is withheld.
const NO_TOKENS: &str = "it follows from the tokens, which are withheld";

/// What is known of the law and its reach.
#[derive(Debug, Clone, Copy)]
pub(super) struct ByLoss<'a> {
    pub(super) evidence: &'a Evidence<'a>,
    pub(super) reach: Option<&'a Reach>,
    /// Whether numbers beyond reach are asked for all the same.
    pub(super) beyond: bool,
}

impl ByLoss<'_> {
    /// Whether a law of loss speaks of that run.
    pub(super) fn holds(&self, params: f64, tokens: f64) -> bool {
        let run = RunSize::new(params, tokens);
        self.reach.is_some_and(|reach| reach.largest.holds(run))
    }

    /// An item as it is, marked, or withheld.
    fn judged(&self, item: Item, is_within: bool) -> Item {
        match (is_within, self.beyond) {
            (true, _) => item,
            (false, true) => Item { beyond: true, ..item },
            (false, false) => item.withheld(BEYOND),
        }
    }

    /// The law says how many tokens a size wants; without one, or where it cannot tell, twenty a parameter.
    pub(super) fn optimal(&self, params: f64) -> Item {
        let Some((fit, law)) = self.evidence.loss else {
            return chinchilla_tokens(params);
        };
        let Some(Estimate { value, ci95, .. }) = law.optimal_tokens(params) else {
            return chinchilla_tokens(params);
        };
        let how = format!("{}: least loss for 6 N D", law.name());
        let item = Item {
            ci95,
            fit: Some(fit.to_owned()),
            trials: law.runs() as u64,
            extrapolation: Some(extrapolated(law, params, value)),
            ..Item::plain(json!(value.round()), "tokens", Source::Fitted, &how)
        };
        let is_size_within = self.reach.is_some_and(|reach| reach.largest.holds_size(params));
        if is_size_within && !item.is_determined() && !self.beyond {
            return item.or_published(|| chinchilla_tokens(params), "larger sizes and longer budgets");
        }
        let is_within = self.holds(params, value) && item.is_determined();
        self.judged(item, is_within)
    }

    pub(super) fn loss(&self, params: f64, tokens: Option<f64>) -> Option<Item> {
        let (fit, law) = self.evidence.loss?;
        let how = format!("{}: {}", law.name(), law.formula());
        let item = Item {
            fit: Some(fit.to_owned()),
            trials: law.runs() as u64,
            ..Item::plain(json!(null), "nats per token of the proxies' data", Source::Fitted, &how)
        };
        let Some(tokens) = tokens else {
            return Some(item.withheld(BEYOND));
        };
        let predicted = law.predict(params, tokens);
        let item = Item {
            value: json!(predicted.mean),
            ci95: predicted.ci95_mean,
            ci95_new_run: predicted.ci95_new_run,
            extrapolation: Some(extrapolated(law, params, tokens)),
            ..item
        };
        Some(self.judged(item, self.holds(params, tokens)))
    }
}

/// How long the run is.
pub(super) fn tokens(ask: &Ask, optimal: &Item, per_token: f64) -> Item {
    let asked = |value: f64, law: &str| Item::plain(json!(value.round()), "tokens", Source::Default, law);
    match ask.size {
        Size::Tokens(tokens) => asked(tokens, "as asked"),
        Size::Flops(flops) => asked(flops / per_token, "as the FLOPs that were asked for allow"),
        Size::Hours {
            hours,
            tokens_per_second,
        } => asked(hours * 3600.0 * tokens_per_second, "as the hours at that speed allow"),
        Size::Optimal => optimal.clone(),
    }
}

pub(super) fn flops(tokens: &Item, per_token: f64, context: u64) -> Item {
    let law = format!("6 (N + V d) + 12 L d T a token, T = {context}");
    following(tokens.times(per_token, "FLOP", &law), tokens)
}

/// What follows from the tokens goes where they go.
pub(super) fn following(item: Item, tokens: &Item) -> Item {
    if tokens.withheld.is_some() {
        return item.withheld(NO_TOKENS);
    }
    let beyond = tokens.beyond;
    Item { beyond, ..item }
}

/// A share of the tokens that a paper gives, with the interval that follows from that of the tokens.
pub(super) fn share(tokens: &Item, share: f64, source: &str) -> Item {
    let item = tokens.times(share, "tokens", source);
    Item {
        value: json!(item.value.as_f64().map(f64::round)),
        source: Source::Published,
        fit: None,
        trials: 0,
        extrapolation: None,
        ..following(item, tokens)
    }
}

/// What rests on the tokens by a law, `at` any number of them: where this study leaves these open, its interval holds what
/// the law says at both ends.
pub(super) fn over_open_tokens(item: Item, tokens: &Item, at: impl Fn(f64) -> Estimate) -> Item {
    let Some(ends) = tokens.undetermined else {
        return item;
    };
    let all = ends.map(|end| at(end).ci95).into_iter().chain([item.ci95]);
    let all: Option<Vec<[f64; 2]>> = all.collect();
    let ci95 = all.map(|all| {
        all.iter()
            .fold([f64::INFINITY, 0.0], |[a, b], [low, high]| [a.min(*low), b.max(*high)])
    });
    let law = format!("{}; over all tokens that this study leaves open", item.law);
    Item { ci95, law, ..item }
}

fn chinchilla_tokens(params: f64) -> Item {
    Item::plain(
        json!((published::TOKENS_PER_PARAM * params).round()),
        "tokens",
        Source::Published,
        published::TOKENS_SOURCE,
    )
}

fn extrapolated(law: &dyn OfLoss, params: f64, tokens: f64) -> Extrapolated {
    let beyond = law.extrapolation(params, tokens);
    Extrapolated {
        params: beyond.params,
        tokens: beyond.tokens,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(low: f64, high: f64) -> Item {
        let estimate = Estimate {
            value: 60.0,
            se: None,
            ci95: Some([low, high]),
        };
        let published = || Item::plain(json!(20.0), "tokens", Source::Published, "a paper");
        Item::estimated(estimate, "tokens", "a law").or_published(published, "more")
    }

    /// A law of the batch: the root of the tokens, within a tenth.
    fn root(tokens: f64) -> Estimate {
        let value = tokens.sqrt();
        Estimate {
            value,
            se: None,
            ci95: Some([0.9 * value, 1.1 * value]),
        }
    }

    #[test]
    fn what_follows_published_tokens_carries_what_the_study_leaves_open() {
        let run = tokens(16.0, 400.0);
        assert_eq!((run.source, run.undetermined), (Source::Published, Some([16.0, 400.0])));
        let flops = flops(&run, 10.0, 128);
        assert_eq!(
            (flops.value, flops.ci95, flops.undetermined),
            (json!(200.0), None, Some([160.0, 4000.0]))
        );
        assert!(
            flops.law.ends_with("not determined by this study: 160 to 4000"),
            "{}",
            flops.law
        );
        let warmup = share(&run, 0.1, "a paper");
        assert_eq!((warmup.value, warmup.undetermined), (json!(2.0), Some([1.6, 40.0])));
        // The batch moves as the root: over all these tokens it stays within a factor of ten, so it is a value.
        let batch = |run: &Item| over_open_tokens(Item::estimated(root(20.0), "tokens", "a law"), run, root);
        let ends = batch(&run).ci95.expect("an interval");
        assert!(
            (ends[0] - 0.9 * 4.0).abs() < 1e-12 && (ends[1] - 1.1 * 20.0).abs() < 1e-12,
            "{ends:?}"
        );
        assert!(batch(&run).is_determined());
        assert!(
            !batch(&tokens(1.0, 400.0)).is_determined(),
            "over a factor of 400 it does not"
        );
    }

    #[test]
    fn what_follows_fitted_tokens_has_their_interval_and_the_batch_its_own() {
        let run = tokens(30.0, 90.0);
        assert_eq!((run.source, run.undetermined), (Source::Fitted, None));
        assert_eq!(share(&run, 0.1, "a paper").ci95, Some([3.0, 9.0]));
        let batch = over_open_tokens(Item::estimated(root(60.0), "tokens", "a law"), &run, root);
        assert_eq!((batch.ci95, batch.law.as_str()), (root(60.0).ci95, "a law"));
    }
}
