//! Stub
use crate::cli::output::Output;
use crate::run::{context::Context, failure::Failure};
#[derive(Debug, clap::Args)]
pub(super) struct FitArgs {}
#[derive(Debug, clap::Args)]
pub(super) struct PredictArgs {}
pub(super) async fn fit(_: &Context, _: &FitArgs, _: &Output) -> Result<u8, Failure> {
    Ok(0)
}
pub(super) async fn predict(_: &Context, _: &PredictArgs, _: &Output) -> Result<u8, Failure> {
    Ok(0)
}
