//! The law of loss whose data term moves with the size (Farseer, Li et al. 2025).
//!
//! Refuses to know how its constants are found.

use crate::fit::law::{About, Data, Found, Law, LeftOutForm, Needs, Options};
use crate::fit::laws::surface;
use crate::fit::loss::forms::{FarseerLaw, Surface as _};
use crate::fit::loss::loss_fit::LossFit;
use crate::fit::refusal::Refusal;

/// L(N, D) = e^(s·N^q + S) + e^(B·N^b + Q) · D^-e^(A·N^a + U).
#[derive(Debug)]
pub struct Farseer;

impl Law for Farseer {
    type Fit = LossFit<FarseerLaw>;
    const ABOUT: About = About {
        name: FarseerLaw::NAME,
        tells: "the loss over size and tokens where the data term moves with the size",
        formula: FarseerLaw::FORMULA,
        source: "Li et al. 2025 (Farseer), arXiv 2506.10972",
        limits: "dense grids: four sizes and 14 configurations at least; D in tokens",
        needs: Needs::Runs,
        beside: Some("lr"),
        compare: Some(surface::compare::<FarseerLaw, 9>),
        work_max: Some(25_000_000),
        left_out: LeftOutForm::Objects,
    };

    fn fit(data: &Data, options: &Options<'_>) -> Result<Found<Self::Fit>, Refusal> {
        Ok(surface::fit::<FarseerLaw, 9>(data, options)?.0)
    }
}
