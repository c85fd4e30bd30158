//! Learning-rate schedules: the factor on the peak learning rate at every optimiser step.
//!
//! Refuses to know the peak itself, and what a step trains on. Everything is counted in whole steps; the last
//! step of a decay uses exactly `final_fraction` of the peak.

use serde::{Deserialize, Serialize};

use crate::units::Steps;
use crate::words::words;

words! {
    /// How the learning rate falls in the decay of WSD.
    pub enum Decay {
        /// Equal factors: `MiniCPM`'s half-life form, `0.5^(s / half-life)`, with the half-life that ends at the final fraction.
        Exponential = "exponential",
        Linear = "linear",
        Cosine = "cosine",
        /// `1 − √p` (Hägele et al., 2405.18392).
        OneMinusSqrt = "one_minus_sqrt",
        /// `1 − p²`, which no program has: what a form needs beside its row and its formula is nothing.
        #[cfg(test)]
        Parabola = "parabola",
    }
}

impl Decay {
    /// Factor at progress `p` in 0..=1, from 1 down to `last`.
    pub fn factor(self, p: f64, last: f64) -> f64 {
        match self {
            Self::Exponential => last.powf(p),
            Self::Linear => 1.0 - (1.0 - last) * p,
            Self::Cosine => last + (1.0 - last) * 0.5 * (1.0 + (std::f64::consts::PI * p).cos()),
            Self::OneMinusSqrt => last + (1.0 - last) * (1.0 - p.sqrt()),
            #[cfg(test)]
            Self::Parabola => last + (1.0 - last) * (1.0 - p * p),
        }
    }
}

/// What follows the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Form {
    /// The peak for ever: also every trunk of WSD.
    Constant,
    /// Warm-up, stable, decay (`MiniCPM`, equation 1).
    Wsd {
        /// Steps before the decay begins.
        decay_start: Steps,
        /// Steps at its end.
        end: Steps,
        decay: Decay,
        /// Share of the peak at its end.
        final_fraction: f64,
    },
    /// Half a cosine from the end of the warm-up to the end of the run.
    Cosine {
        /// Steps at its end.
        end: Steps,
        /// Share of the peak at its end.
        final_fraction: f64,
    },
    /// A straight line from the end of the warm-up to the end of the run.
    Linear {
        /// Steps at its end.
        end: Steps,
        /// Share of the peak at its end.
        final_fraction: f64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Steps of linear warm-up; the last of them is at the peak.
    pub warmup: Steps,
    pub form: Form,
}

impl Schedule {
    /// The factor on the peak learning rate of the update that follows `done` steps.
    pub fn factor(&self, done: Steps) -> f64 {
        let step = done.0 + 1;
        if step <= self.warmup.0 {
            return step as f64 / self.warmup.0 as f64;
        }
        // Progress through a span, 1 at its last step.
        let progress = |start: Steps, end: Steps| {
            let span = end.0.saturating_sub(start.0).max(1) as f64;
            (step.saturating_sub(start.0) as f64 / span).min(1.0)
        };
        match self.form {
            Form::Constant => 1.0,
            Form::Wsd { decay_start, .. } if step <= decay_start.0 => 1.0,
            Form::Wsd {
                decay_start,
                end,
                decay,
                final_fraction,
            } => decay.factor(progress(decay_start, end), final_fraction),
            Form::Cosine { end, final_fraction } => Decay::Cosine.factor(progress(self.warmup, end), final_fraction),
            Form::Linear { end, final_fraction } => Decay::Linear.factor(progress(self.warmup, end), final_fraction),
        }
    }

    /// The schedule as far as a state after `position` steps can tell: what lies ahead is cut off.
    ///
    /// Two schedules with equal prefixes lead to the same state. A WSD trunk is a constant schedule; a cosine knows
    /// its end from its first step on, so nothing of it is shared.
    #[must_use]
    pub fn prefix(&self, position: Steps) -> Self {
        match self.form {
            Form::Wsd { decay_start, .. } if position <= decay_start => Self {
                warmup: self.warmup,
                form: Form::Constant,
            },
            Form::Constant | Form::Wsd { .. } | Form::Cosine { .. } | Form::Linear { .. } => *self,
        }
    }

    /// Where the part that can be shared ends, for a run of `end` steps.
    pub fn shared_until(&self, end: Steps) -> Steps {
        match self.form {
            Form::Constant => end,
            Form::Wsd { decay_start, .. } => decay_start,
            Form::Cosine { .. } | Form::Linear { .. } => Steps(0),
        }
    }

    /// Whether a run that ends at `end` has finished its decay, so that its loss may enter a law of final loss.
    pub fn is_finished_at(&self, end: Steps) -> bool {
        match self.form {
            Form::Constant => false,
            Form::Wsd { end: last, .. } | Form::Cosine { end: last, .. } | Form::Linear { end: last, .. } => {
                end == last
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wsd(decay: Decay) -> Schedule {
        let form = Form::Wsd {
            decay_start: Steps(80),
            end: Steps(100),
            decay,
            final_fraction: 0.1,
        };
        Schedule {
            warmup: Steps(10),
            form,
        }
    }

    #[test]
    fn warm_up_rises_to_the_peak_and_the_decay_ends_at_its_fraction() {
        for &decay in Decay::ALL {
            let schedule = wsd(decay);
            assert!((schedule.factor(Steps(0)) - 0.1).abs() < 1e-12);
            assert!((schedule.factor(Steps(9)) - 1.0).abs() < 1e-12);
            assert!((schedule.factor(Steps(79)) - 1.0).abs() < 1e-12);
            assert!(schedule.factor(Steps(80)) < 1.0);
            assert!((schedule.factor(Steps(99)) - 0.1).abs() < 1e-12, "{decay:?}");
            for k in 80..99 {
                assert!(
                    schedule.factor(Steps(k + 1)) < schedule.factor(Steps(k)),
                    "{decay:?} at {k}"
                );
            }
        }
    }

    #[test]
    fn the_decay_forms_have_their_middles_where_theory_says() {
        let at = |decay: Decay| wsd(decay).factor(Steps(89));
        assert!((at(Decay::Exponential) - 0.1f64.sqrt()).abs() < 1e-12);
        assert!((at(Decay::Linear) - 0.55).abs() < 1e-12);
        assert!((at(Decay::Cosine) - 0.55).abs() < 1e-12);
        assert!((at(Decay::OneMinusSqrt) - (0.1 + 0.9 * (1.0 - 0.5f64.sqrt()))).abs() < 1e-12);
    }

    #[test]
    fn linear_to_zero_ends_at_zero_and_cosine_at_its_floor() {
        let linear = Schedule {
            warmup: Steps(0),
            form: Form::Linear {
                end: Steps(50),
                final_fraction: 0.0,
            },
        };
        assert!(linear.factor(Steps(49)).abs() < 1e-12);
        let cosine = Schedule {
            warmup: Steps(5),
            form: Form::Cosine {
                end: Steps(50),
                final_fraction: 0.1,
            },
        };
        assert!((cosine.factor(Steps(4)) - 1.0).abs() < 1e-12);
        assert!((cosine.factor(Steps(49)) - 0.1).abs() < 1e-12);
    }

    #[test]
    fn trunks_of_different_budgets_are_one_schedule() {
        let long = Schedule {
            form: Form::Wsd {
                decay_start: Steps(160),
                end: Steps(200),
                decay: Decay::Linear,
                final_fraction: 0.0,
            },
            ..wsd(Decay::Linear)
        };
        let short = wsd(Decay::Exponential);
        assert_eq!(short.prefix(Steps(80)), long.prefix(Steps(80)));
        assert_ne!(short.prefix(Steps(81)), long.prefix(Steps(81)));
        for k in 0..80 {
            assert!((short.factor(Steps(k)) - long.factor(Steps(k))).abs() < 1e-15);
        }
    }
}
