//! The law of loss over compute and over-training, with one exponent for both (Gadre et al. 2024).
//!
//! Refuses to know how its constants are found.

use crate::fit::law::{About, Data, Found, Law, LeftOutForm, Needs, Options};
use crate::fit::laws::surface;
use crate::fit::loss::forms::{Surface as _, TiedLaw};
use crate::fit::loss::loss_fit::LossFit;
use crate::fit::refusal::Refusal;

/// L(C, M) = E + (a·M^η + b·M^-η)·C^-η.
#[derive(Debug)]
pub struct Tied;

impl Law for Tied {
    type Fit = LossFit<TiedLaw>;
    const ABOUT: About = About {
        name: TiedLaw::NAME,
        tells: "the loss over compute and over-training, with one exponent",
        formula: TiedLaw::FORMULA,
        source: "Gadre et al. 2024, arXiv 2403.08540, equation 4",
        limits: "size and data must matter alike: optimal size and tokens both grow as C^0.5",
        needs: Needs::Runs,
        beside: Some("lr"),
        compare: Some(surface::compare::<TiedLaw, 4>),
        work_max: Some(25_000_000),
        left_out: LeftOutForm::Objects,
    };

    fn fit(data: &Data, options: &Options<'_>) -> Result<Found<Self::Fit>, Refusal> {
        Ok(surface::fit::<TiedLaw, 4>(data, options)?.0)
    }
}
