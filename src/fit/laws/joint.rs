//! The law of loss in which size and data limit each other (Kaplan et al. 2020), with an irreducible loss.
//!
//! Refuses to know how its constants are found.

use crate::fit::law::{About, Data, Found, Law, LeftOutForm, Needs, Options};
use crate::fit::laws::surface;
use crate::fit::loss::forms::{JointLaw, Surface as _};
use crate::fit::loss::loss_fit::LossFit;
use crate::fit::refusal::Refusal;

/// L(N, D) = E + (A/N^α + B/D^β)^c.
#[derive(Debug)]
pub struct Joint;

impl Law for Joint {
    type Fit = LossFit<JointLaw>;
    const ABOUT: About = About {
        name: JointLaw::NAME,
        tells: "the loss over size and tokens where the two limit each other",
        formula: JointLaw::FORMULA,
        source: "Kaplan et al. 2020, arXiv 2001.08361, equation 1.5, with an irreducible loss",
        limits: "runs at their best learning rate and batch, schedules ended; eight configurations at least",
        needs: Needs::Runs,
        beside: Some("lr"),
        compare: Some(surface::compare::<JointLaw, 6>),
        work_max: Some(25_000_000),
        left_out: LeftOutForm::Objects,
    };

    fn fit(data: &Data, options: &Options<'_>) -> Result<Found<Self::Fit>, Refusal> {
        Ok(surface::fit::<JointLaw, 6>(data, options)?.0)
    }
}
