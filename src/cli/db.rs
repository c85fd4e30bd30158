//! `sandbox db`: whether the database is sound, one hash over its results, a copy of it.

use std::path::PathBuf;

use clap::Subcommand;

use crate::cli::output::{Output, table};
use crate::run::context::Context;
use crate::run::failure::{Failure, exit};
use crate::run::home::maintenance;

#[derive(Debug, Subcommand)]
pub(super) enum DbCommand {
    /// Replay the log, compare every table with it, and read every state on disk
    Check,
    /// Print one hash over all results: equal hashes are equal results
    Digest,
    /// Copy the database as it is now, also while a sweep runs
    Backup {
        /// The file to write; it must not exist yet
        file: PathBuf,
    },
}

pub(super) async fn db(context: &Context, command: &DbCommand, output: &Output) -> Result<u8, Failure> {
    match command {
        DbCommand::Check => check(context, output).await,
        DbCommand::Digest => {
            let digest = context.store().await?.digest().await?;
            let view = serde_json::json!({ "digest": digest });
            output.result(&view, std::slice::from_ref(&digest), || digest.clone())?;
            Ok(0)
        }
        DbCommand::Backup { file } => {
            if file.exists() {
                return Err(Failure::invalid(
                    "file_exists",
                    format!("`{}` exists", file.display()),
                    "name a file that does not exist yet",
                ));
            }
            context.store().await?.backup(file).await?;
            let bytes = fs_err::metadata(file)?.len();
            let view = serde_json::json!({ "file": file, "bytes": bytes });
            let name = file.display().to_string();
            output.result(&view, std::slice::from_ref(&name), || format!("wrote {name}"))?;
            Ok(0)
        }
    }
}

async fn check(context: &Context, output: &Output) -> Result<u8, Failure> {
    let checked = maintenance::check(context).await?;
    output.result(&checked, &[], || {
        if checked.ok {
            return format!(
                "sound: {} entries of the log replayed, {} states read",
                checked.events, checked.checkpoints
            );
        }
        let rows: Vec<Vec<String>> = checked
            .problems
            .iter()
            .map(|it| vec![it.table.clone(), it.key.clone(), it.what.clone()])
            .collect();
        table(&["where", "which", "what is wrong"], &rows)
    })?;
    Ok(if checked.ok { 0 } else { exit::ENVIRONMENT })
}
