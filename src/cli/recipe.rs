//! Stub
use crate::cli::output::Output;
use crate::run::{context::Context, failure::Failure};
#[derive(Debug, clap::Args)]
pub(super) struct RecipeArgs {}
pub(super) async fn recipe(_: &Context, _: &RecipeArgs, _: &Output) -> Result<u8, Failure> {
    Ok(0)
}
