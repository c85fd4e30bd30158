//! What the values of an axis look like, and how one is read.
//!
//! Refuses to know which axes there are (`axes`).

use serde_json::json;

use crate::model::ladder::{self, LADDER};
use crate::spec::syntax::mistakes::{Wrong, closest};
use crate::spec::syntax::tree::{Node, quoted};
use crate::units::{Length, TokenBudget, Tokens, parse_count};

/// What the values of an axis look like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// A rung of the ladder.
    Model,
    /// A whole number from 1.
    Count,
    /// A number within bounds.
    Number(Bounds),
    /// One of these words.
    Word(&'static [&'static str]),
    /// The name of prepared data.
    Data,
    /// A number of tokens, or a multiple of the parameters.
    Tokens,
    /// A length in tokens, or a share of the run.
    Length,
}

/// Bounds of a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bounds {
    /// Above 0.
    Positive,
    /// 0 or above.
    NotNegative,
    /// From 0 to below 1.
    BelowOne,
    /// Above 0, at most 1.
    Part,
    /// From 0 to 1.
    Share,
}

impl Bounds {
    /// Whether a finite number is within.
    fn hold(self, number: f64) -> bool {
        match self {
            Self::Positive => number > 0.0,
            Self::NotNegative => number >= 0.0,
            Self::BelowOne => (0.0..1.0).contains(&number),
            Self::Part => number > 0.0 && number <= 1.0,
            Self::Share => (0.0..=1.0).contains(&number),
        }
    }

    fn wanted(self) -> &'static str {
        match self {
            Self::Positive => "a number above 0 such as `1e-2`",
            Self::NotNegative => "a number that is 0 or above, such as `0.1`",
            Self::BelowOne => "a number from 0 to below 1, such as `0.95`",
            Self::Part => "a share above 0 and up to 1, such as `10%` or `0.1`",
            Self::Share => "a share from 0 to 1, such as `10%` or `0.1`",
        }
    }
}

/// A value of an axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Setting {
    Count(u64),
    Number(f64),
    /// A word, as the table writes it.
    Word(String),
    /// A number of tokens.
    Tokens(TokenBudget),
    Length(Length),
}

impl Setting {
    /// The whole number, where it is one.
    pub(crate) fn count(&self) -> Option<u64> {
        match self {
            Self::Count(count) => Some(*count),
            Self::Word(_) | Self::Number(_) | Self::Tokens(_) | Self::Length(_) => None,
        }
    }

    /// The number, where it is one.
    pub(crate) fn float(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Word(_) | Self::Count(_) | Self::Tokens(_) | Self::Length(_) => None,
        }
    }

    /// The budget, where it is one.
    pub(crate) fn tokens(&self) -> Option<TokenBudget> {
        match self {
            Self::Tokens(tokens) => Some(*tokens),
            Self::Word(_) | Self::Count(_) | Self::Number(_) | Self::Length(_) => None,
        }
    }

    /// The length, where it is one.
    pub(crate) fn length(&self) -> Option<Length> {
        match self {
            Self::Length(length) => Some(*length),
            Self::Word(_) | Self::Count(_) | Self::Number(_) | Self::Tokens(_) => None,
        }
    }

    /// The word, where it is one.
    pub(crate) fn word(&self) -> Option<&str> {
        match self {
            Self::Word(word) => Some(word),
            Self::Count(_) | Self::Number(_) | Self::Tokens(_) | Self::Length(_) => None,
        }
    }

    /// The number of a value that has an order; what depends on the trial has none.
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Count(count) => Some(*count as f64),
            Self::Number(number) => Some(*number),
            Self::Tokens(TokenBudget::Count(tokens)) | Self::Length(Length::Count(tokens)) => Some(tokens.as_f64()),
            Self::Word(_) | Self::Tokens(TokenBudget::PerParam(_)) | Self::Length(Length::Share(_)) => None,
        }
    }

    /// The value as trials show it; what has a unit that depends on the trial stays as it was written (`20N`, `10%`).
    pub(crate) fn json(&self) -> serde_json::Value {
        match self {
            Self::Count(count) => json!(count),
            Self::Number(number) => json!(number),
            Self::Word(word) => json!(word),
            Self::Tokens(TokenBudget::Count(tokens)) | Self::Length(Length::Count(tokens)) => {
                json!(tokens.0)
            }
            Self::Tokens(TokenBudget::PerParam(ratio)) => json!(format!("{ratio}N")),
            Self::Length(Length::Share(share)) => {
                json!(format!("{}%", crate::units::significant(share * 100.0, 12)))
            }
        }
    }
}

impl Kind {
    pub(crate) fn read(self, node: &Node) -> Result<Setting, Wrong> {
        let wrong = |what: &str| Wrong::new(format!("expected {what}, found {}", node.found())).with(self.example());
        let Some(text) = node.text().map(str::trim) else {
            return Err(wrong(self.wanted()));
        };
        match self {
            Self::Model => read_model(text),
            Self::Count => parse_count(text).map(Setting::Count).map_err(|_| {
                let plain = text.replace(',', "");
                wrong(self.wanted()).maybe((plain != text && parse_count(&plain).is_ok()).then_some(plain))
            }),
            Self::Number(bounds) => match number(text) {
                Some(number) if bounds.hold(number) => Ok(Setting::Number(number)),
                Some(_) | None => {
                    let point = text.replace(',', ".");
                    let near = number(&point).filter(|&n| point != text && bounds.hold(n));
                    Err(wrong(bounds.wanted()).maybe(near.map(|_| point)))
                }
            },
            Self::Word(words) => {
                let found = words.iter().find(|word| word.eq_ignore_ascii_case(text));
                found.map(|&word| Setting::Word(word.to_owned())).ok_or_else(|| {
                    wrong(&format!("one of {}", words.join(", "))).maybe(closest(text, words.iter().copied()))
                })
            }
            Self::Data => read_name(text).map(Setting::Word),
            Self::Tokens => text.parse().map(Setting::Tokens).map_err(|_| {
                let upper = text.strip_suffix('n').map(|ratio| format!("{ratio}N"));
                let near = upper.filter(|upper| upper.parse::<TokenBudget>().is_ok());
                wrong(self.wanted()).maybe(near)
            }),
            Self::Length => text.parse().map(Setting::Length).map_err(|_| wrong(self.wanted())),
        }
    }

    /// The value nearest to a number that was drawn, for axes that have an order.
    pub(crate) fn nearest(self, number: f64) -> Option<Setting> {
        let count = || (number.round() >= 1.0).then(|| number.round() as u64);
        match self {
            Self::Count => count().map(Setting::Count),
            Self::Number(bounds) => bounds.hold(number).then_some(Setting::Number(number)),
            Self::Tokens => count().map(|n| Setting::Tokens(TokenBudget::Count(Tokens(n)))),
            Self::Length => count().map(|n| Setting::Length(Length::Count(Tokens(n)))),
            Self::Model | Self::Word(_) | Self::Data => None,
        }
    }

    /// A value that is right.
    fn example(self) -> &'static str {
        match self {
            Self::Model => "9M",
            Self::Count => "4096",
            Self::Number(Bounds::Positive) => "1e-2",
            Self::Number(Bounds::BelowOne) => "0.95",
            Self::Number(Bounds::NotNegative | Bounds::Part | Bounds::Share) => "0.1",
            Self::Word(words) => words.first().copied().unwrap_or_default(),
            Self::Data => "rust-sources",
            Self::Tokens => "20N",
            Self::Length => "50k",
        }
    }

    /// What values look like, in a list of all axes.
    pub(crate) fn values(self) -> String {
        match self {
            Self::Word(words) => words.join(" | "),
            Self::Model | Self::Count | Self::Number(_) | Self::Data | Self::Tokens | Self::Length => {
                self.wanted().to_owned()
            }
        }
    }

    /// What is expected, for a message.
    pub(crate) fn wanted(self) -> &'static str {
        match self {
            Self::Model => "the name of a rung such as `9M`",
            Self::Count => "a whole number from 1, such as `4096`, `128Ki` or `1e6`",
            Self::Number(bounds) => bounds.wanted(),
            Self::Word(_) => "a word",
            Self::Data => "the name of prepared data such as `rust-sources`",
            Self::Tokens => "a number of tokens such as `1.5M`, or `20N` for 20 per parameter",
            Self::Length => "a number of tokens such as `50k`, or a share of the run such as `1%`",
        }
    }
}

/// A finite number; `%` divides by 100.
pub(crate) fn number(text: &str) -> Option<f64> {
    let text = text.replace('_', "");
    let number = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().ok()? / 100.0,
        None => text.parse::<f64>().ok()?,
    };
    number.is_finite().then_some(number)
}

fn read_model(text: &str) -> Result<Setting, Wrong> {
    if let Some(rung) = ladder::find(text) {
        return Ok(Setting::Word(rung.name.to_owned()));
    }
    let names: Vec<&str> = LADDER.iter().map(|rung| rung.name).collect();
    // 170M for 0.17B: a size that is not on the ladder has a neighbour there.
    let neighbour = parse_count(text).ok().map(|params| ladder::nearest(params as f64).name);
    let near = neighbour.or_else(|| closest(text, names.iter().copied()));
    let message = format!(
        "{} is not on the ladder: {}; other shapes are given by `shape`",
        quoted(text),
        names.join(", ")
    );
    Err(Wrong::new(message).maybe(near))
}

/// A name that is also the name of a file: letters, digits, `.`, `_` and `-`.
pub(crate) fn read_name(text: &str) -> Result<String, Wrong> {
    const LENGTH_MAX: usize = 100;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if begins_well && text.len() <= LENGTH_MAX && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    let plain: String = text
        .chars()
        .take(LENGTH_MAX)
        .map(|c| if fits(c) { c } else { '-' })
        .collect();
    let plain = plain.trim_matches(['-', '.']);
    let message = format!(
        "{} is not a name: letters, digits, `.`, `_` and `-` only, at most {LENGTH_MAX}, a letter, digit or `_` first",
        quoted(text)
    );
    Err(Wrong::new(message).maybe((!plain.is_empty()).then_some(plain)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::axes::{AXES, find, suggest};
    use crate::spec::syntax::mistakes::Place;
    use crate::spec::syntax::tree::Data;

    fn read(path: &str, text: &str) -> Result<Setting, Wrong> {
        let data = Data::Scalar {
            text: text.to_owned(),
            quoted: false,
        };
        AXES[find(path).expect(path)].kind.read(&Node {
            place: Place::START,
            data,
        })
    }

    #[test]
    fn numbers_are_read_by_the_schema() {
        assert_eq!(read("lr", "1e-4"), Ok(Setting::Number(1e-4)));
        assert_eq!(read("lr", ".5"), Ok(Setting::Number(0.5)));
        assert_eq!(read("batch_tokens", "128Ki"), Ok(Setting::Count(131_072)));
        assert_eq!(read("batch_tokens", "1e6"), Ok(Setting::Count(1_000_000)));
        assert_eq!(read("schedule.decay_fraction", "10%"), Ok(Setting::Number(0.1)));
        assert_eq!(read("tokens", "20N"), Ok(Setting::Tokens(TokenBudget::PerParam(20.0))));
        assert_eq!(read("model", "0.1b"), Ok(Setting::Word("0.1B".to_owned())));
        assert_eq!(
            read("schedule.warmup", "0"),
            Ok(Setting::Length(Length::Count(Tokens(0))))
        );
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "nan", ".nan", "NaN", "inf", "-inf", ".inf", "-1e-3", "0", "", "x", "true",
        ] {
            assert!(read("lr", text).is_err(), "{text}");
            assert!(read("tokens", text).is_err(), "{text}");
            assert!(read("batch_tokens", text).is_err(), "{text}");
        }
        assert!(read("beta2", "1").is_err());
        assert!(read("schedule.decay_fraction", "0").is_err());
        assert!(read("schedule.decay_fraction", "1.5").is_err());
        let suggestion = |path, text| read(path, text).expect_err(text).suggestion;
        assert_eq!(suggestion("lr", "0,01").as_deref(), Some("0.01"));
        assert_eq!(suggestion("batch_tokens", "4,096").as_deref(), Some("4096"));
        assert_eq!(suggestion("tokens", "20n").as_deref(), Some("20N"));
        assert_eq!(suggestion("model", "170M").as_deref(), Some("0.17B"));
        assert_eq!(suggestion("precision", "float3").as_deref(), Some("float32"));
        assert_eq!(suggestion("data", "my data").as_deref(), Some("my-data"));
    }

    #[test]
    fn wrong_paths_find_the_axis_that_was_meant() {
        assert_eq!(suggest("learning_rate"), Some("lr"));
        assert_eq!(suggest("bath_tokens"), Some("batch_tokens"));
        assert_eq!(suggest("warmup"), Some("schedule.warmup"));
        assert_eq!(suggest("schedule.decay_frac"), Some("schedule.decay_fraction"));
        assert_eq!(suggest("schedule.warm_up"), Some("schedule.warmup"));
        assert_eq!(suggest("xyzzy_plugh"), None);
    }
}
