//! Stub
use crate::cli::output::Output;
use crate::run::{context::Context, failure::Failure};
#[derive(Debug, clap::Args)]
pub(super) struct ReportArgs {}
pub(super) async fn report(_: &Context, _: &ReportArgs, _: &Output) -> Result<u8, Failure> {
    Ok(0)
}
