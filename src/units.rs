//! The words of the field as types: counts, names and the amounts people write (`2.4B`, `20N`, `128Ki`, `10%`).
//!
//! Refuses to know what any of them is used for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Defines a whole count with a unit.
macro_rules! count {
    ($(#[$doc:meta])* $name:ident, $unit:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The count as a floating-point number, for formulas.
            pub fn as_f64(self) -> f64 {
                self.0 as f64
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", human_count(self.0 as f64), $unit)
            }
        }
    };
}

count!(
    /// A number of tokens.
    Tokens,
    " tokens"
);
count!(
    /// A number of parameters.
    Params,
    ""
);
count!(
    /// A number of optimiser steps.
    Steps,
    " steps"
);

/// A number of floating-point operations.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Flops(pub f64);

impl fmt::Display for Flops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2e} FLOP", self.0)
    }
}

/// Training FLOPs of the laws: `6 N D`, of N parameters and D tokens, by whichever N the law counts.
pub fn six_nd(params: f64, tokens: f64) -> f64 {
    6.0 * params * tokens
}

/// Defines a name that is a hash of what it names.
macro_rules! hash_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

hash_name!(
    /// The name of a training state: a hash of everything that determines it.
    StageId
);
hash_name!(
    /// The name of a trial: a hash of its whole configuration.
    TrialId
);
hash_name!(
    /// The name of a sweep, as its file gives it.
    SweepId
);

/// Why an amount could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {wanted}")]
pub struct AmountError {
    text: String,
    wanted: &'static str,
}

/// The suffixes of counts: decimal as the field writes them, binary as computers count.
const SUFFIXES: &[(&str, f64)] = &[
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("K", 1e3),
    ("k", 1e3),
    ("M", 1e6),
    ("m", 1e6),
    ("G", 1e9),
    ("B", 1e9),
    ("b", 1e9),
    ("T", 1e12),
    ("t", 1e12),
];

/// Reads a whole, positive count such as `4096`, `128Ki`, `1.5M`, `2.4B`, `1e6`.
pub fn parse_count(text: &str) -> Result<u64, AmountError> {
    let error = || AmountError {
        text: text.to_owned(),
        wanted: "a count such as `4096`, `128Ki`, `1.5M` or `2.4B`",
    };
    let trimmed = text.trim().replace('_', "");
    let (digits, scale) = SUFFIXES
        .iter()
        .find_map(|&(suffix, scale)| trimmed.strip_suffix(suffix).map(|rest| (rest, scale)))
        .unwrap_or((trimmed.as_str(), 1.0));
    let number: f64 = digits.trim().parse().map_err(|_| error())?;
    let value = number * scale;
    let whole = value.round();
    // 2^53: above it neighbouring whole numbers can no longer be told apart.
    if !(1.0..=9_007_199_254_740_992.0).contains(&whole) || (value - whole).abs() > 1e-6 * value {
        return Err(error());
    }
    Ok(whole as u64)
}

/// How many tokens a trial trains on: a count, or a multiple of its own parameters (`20N`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenBudget {
    Count(Tokens),
    /// So many tokens for each non-embedding parameter.
    PerParam(f64),
}

impl TokenBudget {
    /// The budget in tokens for a model of `params` non-embedding parameters.
    pub fn resolve(self, params: Params) -> Tokens {
        match self {
            Self::Count(tokens) => tokens,
            Self::PerParam(ratio) => Tokens((ratio * params.as_f64()).round() as u64),
        }
    }
}

impl FromStr for TokenBudget {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let trimmed = text.trim();
        if let Some(ratio) = trimmed.strip_suffix('N') {
            return match ratio.trim().parse::<f64>() {
                Ok(ratio) if ratio.is_finite() && ratio > 0.0 => Ok(Self::PerParam(ratio)),
                Ok(_) | Err(_) => Err(AmountError {
                    text: text.to_owned(),
                    wanted: "a multiple of the parameters such as `20N`",
                }),
            };
        }
        parse_count(trimmed).map(|count| Self::Count(Tokens(count)))
    }
}

/// A length given as tokens (`50k`) or as a share of the whole run (`10%`, `0.1`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    Count(Tokens),
    /// This share of the whole run, in 0..=1.
    Share(f64),
}

impl Length {
    /// The length in tokens, within a run of `total`.
    pub fn resolve(self, total: Tokens) -> Tokens {
        match self {
            Self::Count(tokens) => tokens,
            Self::Share(share) => Tokens((share * total.as_f64()).round() as u64),
        }
    }
}

impl FromStr for Length {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        match text.trim().parse::<f64>() {
            Ok(0.0) => Ok(Self::Count(Tokens(0))),
            Ok(number) if number < 1.0 => parse_share(text).map(Self::Share),
            Ok(_) | Err(_) if text.trim().ends_with('%') => parse_share(text).map(Self::Share),
            Ok(_) | Err(_) => parse_count(text).map(|count| Self::Count(Tokens(count))),
        }
    }
}

/// Reads a share such as `10%` or `0.1`, in 0..=1.
pub fn parse_share(text: &str) -> Result<f64, AmountError> {
    let trimmed = text.trim();
    let parsed = match trimmed.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|value| value / 100.0),
        None => trimmed.parse::<f64>(),
    };
    match parsed {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        Ok(_) | Err(_) => Err(AmountError {
            text: text.to_owned(),
            wanted: "a share such as `10%` or `0.1`",
        }),
    }
}

/// A count as people say it: `9.43M`, `2.44B`, `512`.
pub fn human_count(value: f64) -> String {
    // No suffix says more than a power of ten from here on.
    if value.abs() >= 1e15 {
        return format!("{value:.2e}");
    }
    let (scaled, suffix) = match value.abs() {
        magnitude if magnitude >= 1e12 => (value / 1e12, "T"),
        magnitude if magnitude >= 1e9 => (value / 1e9, "B"),
        magnitude if magnitude >= 1e6 => (value / 1e6, "M"),
        magnitude if magnitude >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = format!("{}", significant(scaled, 3));
    format!("{digits}{suffix}")
}

/// A whole count, every digit of it: `1,024`. For what people choose, such as a batch, and would not recognise rounded.
pub fn whole_count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Rounds to so many significant digits.
pub fn significant(value: f64, digits: i32) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let exponent = digits - 1 - value.abs().log10().floor() as i32;
    if exponent >= 0 {
        let scale = 10f64.powi(exponent);
        (value * scale).round() / scale
    } else {
        // Dividing by a whole power of ten keeps large counts free of stray digits.
        let scale = 10f64.powi(-exponent);
        (value / scale).round() * scale
    }
}

/// A number of any magnitude with so many digits: `0.0123`, `4.2e-6`, `1.21e9`.
pub fn printed(value: f64, digits: i32) -> String {
    if !value.is_finite() {
        return "not finite".to_owned();
    }
    let rounded = significant(value, digits);
    let magnitude = rounded.abs();
    if rounded == 0.0 || (1e-4..1e6).contains(&magnitude) {
        format!("{rounded}")
    } else {
        format!("{rounded:e}")
    }
}

/// A duration as people say it: `42s`, `3m10s`, `2h05m`.
pub fn human_seconds(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..60 => format!("{whole}s"),
        60..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        3600..172_800 => format!("{}h{:02}m", whole / 3600, whole % 3600 / 60),
        _ => format!("{:.1}d", seconds / 86_400.0),
    }
}

/// A number of bytes as people say it, in powers of 1024.
pub fn human_bytes(bytes: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{} {}", significant(value, 3), UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_with_their_suffixes() {
        assert_eq!(parse_count("128Ki"), Ok(131_072));
        assert_eq!(parse_count("2.4B"), Ok(2_400_000_000));
        assert_eq!(parse_count("1e6"), Ok(1_000_000));
        assert_eq!(parse_count("4_096"), Ok(4096));
        for wrong in ["0", "-3", "1.5", "x", "NaN", "inf", "1e300", ""] {
            assert!(parse_count(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn budgets_follow_the_model_or_stand_alone() {
        assert_eq!("20N".parse(), Ok(TokenBudget::PerParam(20.0)));
        assert_eq!("1.5M".parse(), Ok(TokenBudget::Count(Tokens(1_500_000))));
        assert!("-1N".parse::<TokenBudget>().is_err());
        assert!("NaNN".parse::<TokenBudget>().is_err());
        assert_eq!(TokenBudget::PerParam(20.0).resolve(Params(100)), Tokens(2000));
    }

    #[test]
    fn lengths_below_one_are_shares() {
        assert_eq!("10%".parse(), Ok(Length::Share(0.1)));
        assert_eq!("0.1".parse(), Ok(Length::Share(0.1)));
        assert_eq!("100%".parse(), Ok(Length::Share(1.0)));
        assert_eq!("50k".parse(), Ok(Length::Count(Tokens(50_000))));
        assert_eq!("0".parse(), Ok(Length::Count(Tokens(0))));
        assert!("120%".parse::<Length>().is_err());
        assert!("-1".parse::<Length>().is_err());
    }

    #[test]
    fn numbers_are_decimal_where_people_read_decimals() {
        for (value, digits, text) in [
            (0.012_345, 3, "0.0123"),
            (4.24e-6, 2, "4.2e-6"),
            (406_432_100.0, 4, "4.064e8"),
            (999_950.0, 4, "1e6"),
            (0.0, 3, "0"),
            (-0.5, 3, "-0.5"),
            (f64::INFINITY, 3, "not finite"),
        ] {
            assert_eq!(printed(value, digits), text);
        }
    }

    #[test]
    fn people_read_round_numbers() {
        assert_eq!(human_count(2_442_057_984.0), "2.44B");
        assert_eq!(human_count(512.0), "512");
        assert_eq!(human_count(4.68e21), "4.68e21");
        assert_eq!(human_seconds(3725.0), "1h02m");
        let whole = [0, 512, 1024, 131_072, 1_048_576].map(whole_count);
        assert_eq!(whole, ["0", "512", "1,024", "131,072", "1,048,576"]);
        assert_eq!(human_bytes(1536.0), "1.5 KiB");
    }
}
