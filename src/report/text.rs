//! How a report words numbers and trials.
//!
//! Refuses to know what is worth showing.

use crate::record::{TrialRow, TrialState};
pub use crate::units::printed as number;
use crate::units::{human_count, whole_count};

/// A loss in nats: `4.213`.
pub(crate) fn loss(nats: f64) -> String {
    if nats.is_finite() {
        format!("{nats:.3}")
    } else {
        "not finite".to_owned()
    }
}

/// A count as people read it: `4096`, `57.2k`, `3.1M`.
pub fn count(value: f64) -> String {
    if value.abs() < 1e4 {
        format!("{}", value.round())
    } else {
        human_count(value)
    }
}

/// A size as a label: the name of its rung, or its parameters when the name is long.
pub(crate) fn size_label(model: &str, params: u64) -> String {
    if model.len() <= 6 {
        model.to_owned()
    } else {
        count(params as f64)
    }
}

/// A trial under the pointer: `s-lr1e-2: 57k, lr 0.01, WSD, 3.1M tokens, loss 4.213`.
pub(crate) fn trial_hover(trial: &TrialRow) -> String {
    let end = match (trial.final_loss, trial.state) {
        (Some(nats), _) => format!("final loss {}", loss(nats)),
        (None, TrialState::Diverged) => match trial.diverged_at_tokens {
            Some(tokens) => format!("diverged at {} tokens", count(tokens as f64)),
            None => "diverged".to_owned(),
        },
        (None, state) => state.name().to_owned(),
    };
    format!(
        "{}\n{} ({} parameters), lr {}, batch {}, {}, {} tokens, seed {}\n{end}",
        trial.slug,
        trial.model,
        count(trial.params_non_embedding as f64),
        number(trial.lr, 3),
        whole_count(trial.batch_tokens),
        trial.schedule.name(),
        count(trial.tokens as f64),
        trial.seed,
    )
}

/// A share as people say it: `4.2 %`, and from twice the whole on `3.1 times`.
pub(crate) fn share(value: f64) -> String {
    if value.abs() < 2.0 {
        format!("{} %", number(100.0 * value, 2))
    } else {
        format!("{} times", number(value, 2))
    }
}

/// `1 trial`, `2 trials`.
pub(crate) fn plural(count: usize, word: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {word}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_shares_are_no_percentages() {
        assert_eq!(share(0.042), "4.2 %");
        assert_eq!(share(41.73), "42 times");
    }

    #[test]
    fn small_counts_are_exact() {
        assert_eq!(count(4096.0), "4096");
        assert_eq!(count(57_184.0), "57.2k");
    }
}
