//! One number of a recipe: where it comes from, how far it reaches, and why it is missing where it is.
//!
//! Refuses to know any one number.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::fit::Estimate;
use crate::units::human_count;

/// Where a number comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Read off a law that was fitted here.
    Fitted,
    /// Compared here, without a law.
    Measured,
    /// Taken from a paper.
    Published,
    /// Neither: a convention.
    Default,
}

impl Source {
    /// The word in JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fitted => "fitted",
            Self::Measured => "measured",
            Self::Published => "published",
            Self::Default => "default",
        }
    }
}

/// One number of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// A number, or the name of a schedule.
    pub value: serde_json::Value,
    /// Its 95 % interval.
    pub ci95: Option<[f64; 2]>,
    /// The interval of one new run, where the item is a loss.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ci95_new_run: Option<[f64; 2]>,
    pub unit: String,
    /// Where it comes from.
    pub source: Source,
    /// The law, or the paper.
    pub law: String,
    pub fit: Option<String>,
    /// Trials that it rests on.
    pub trials: u64,
    /// How far beyond them it reaches.
    pub extrapolation: Option<Extrapolated>,
    /// The 95 % interval of this study, where that is too wide for a value and what a paper says stands in.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub undetermined: Option<[f64; 2]>,
    /// Why it has no value.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub withheld: Option<String>,
    /// Whether it lies beyond what the study vouches for, and was asked for all the same.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub beyond: bool,
}

/// How many times beyond the trials.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Extrapolated {
    pub params: f64,
    pub tokens: f64,
}

/// An interval of more than so many times is no value.
const SPAN_MAX: f64 = 10.0;

impl Item {
    /// Without an interval, a fit and trials.
    pub(super) fn plain(value: serde_json::Value, unit: &str, source: Source, law: &str) -> Self {
        Self {
            value,
            ci95: None,
            ci95_new_run: None,
            unit: unit.to_owned(),
            source,
            law: law.to_owned(),
            fit: None,
            trials: 0,
            extrapolation: None,
            undetermined: None,
            withheld: None,
            beyond: false,
        }
    }

    pub(super) fn estimated(estimate: Estimate, unit: &str, law: &str) -> Self {
        Self {
            ci95: estimate.ci95,
            ..Self::plain(json!(estimate.value), unit, Source::Fitted, law)
        }
    }

    /// Without its numbers.
    pub(super) fn withheld(self, why: &str) -> Self {
        Self {
            value: json!(null),
            ci95: None,
            ci95_new_run: None,
            extrapolation: None,
            undetermined: None,
            withheld: Some(why.to_owned()),
            ..self
        }
    }

    /// What was rounded stays inside its interval.
    pub(super) fn inside(self) -> Self {
        let value = self.value.as_f64();
        let hold = |[low, high]: [f64; 2], value: f64| [low.min(value), high.max(value)];
        Self {
            ci95: self.ci95.map(|ends| value.map_or(ends, |value| hold(ends, value))),
            ..self
        }
    }

    /// Whether its interval is narrow enough for its number to be a value.
    pub(super) fn is_determined(&self) -> bool {
        self.ci95.is_none_or(|[low, high]| high <= SPAN_MAX * low)
    }

    /// As it is where the study determines it; else what a paper says, and what would determine it.
    pub(super) fn or_published(self, published: impl FnOnce() -> Self, needs: &str) -> Self {
        let Some([low, high]) = self.ci95.filter(|_| !self.is_determined()) else {
            return self;
        };
        let published = published();
        let law = format!("{}; {} (needs {needs})", published.law, open([low, high]));
        Self {
            law,
            undetermined: Some([low, high]),
            ..published
        }
    }

    /// What is so many times as much, with its interval, or with what this study leaves open.
    pub(super) fn times(&self, factor: f64, unit: &str, law: &str) -> Self {
        let scaled = |ends: [f64; 2]| ends.map(|end| end * factor);
        let undetermined = self.undetermined.map(scaled);
        let law = match undetermined {
            Some(ends) => format!("{law}; {}", open(ends)),
            None => law.to_owned(),
        };
        Self {
            value: json!(self.value.as_f64().map(|value| value * factor)),
            ci95: self.ci95.map(scaled),
            unit: unit.to_owned(),
            undetermined,
            law,
            ..self.clone()
        }
    }
}

/// What this study leaves open, in words.
fn open(ends: [f64; 2]) -> String {
    let [low, high] = ends.map(|end| match end {
        small if small < 1.0 => format!("{small:.2e}"),
        large => human_count(large),
    });
    format!("not determined by this study: {low} to {high}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_of_more_than_a_factor_of_ten_is_no_value() {
        let published = || Item::plain(json!(20.0), "tokens", Source::Published, "a paper");
        let fitted = |high: f64| {
            let estimate = Estimate {
                value: 50.0,
                se: None,
                ci95: Some([10.0, high]),
            };
            Item::estimated(estimate, "tokens", "a law").or_published(published, "more sizes")
        };
        assert_eq!(
            (fitted(100.0).value, fitted(100.0).source),
            (json!(50.0), Source::Fitted)
        );
        let wide = fitted(101.0);
        assert_eq!(
            (&wide.value, wide.source, wide.ci95),
            (&json!(20.0), Source::Published, None)
        );
        let words = "a paper; not determined by this study: 10 to 101 (needs more sizes)";
        assert_eq!(wide.law, words);
    }

    #[test]
    fn a_withheld_item_keeps_what_it_is_but_no_number() {
        let loss = Item {
            ci95: Some([1.0, 2.0]),
            ci95_new_run: Some([0.5, 2.5]),
            ..Item::plain(json!(1.5), "nats", Source::Fitted, "a law")
        };
        let text = serde_json::to_value(loss.withheld("too far")).expect("JSON");
        assert!(text["value"].is_null() && text["ci95"].is_null(), "{text}");
        assert_eq!((&text["withheld"], &text["law"]), (&json!("too far"), &json!("a law")));
        assert!(
            text.get("ci95_new_run").is_none() && text.get("beyond").is_none(),
            "{text}"
        );
    }
}
