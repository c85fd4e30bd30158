//! Which workers a run has: this machine's or a cluster's, and what earlier runs have left running there.
//!
//! Refuses to know how workers are had and heard (`exec`), and what they train.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fs_err as fs;

use crate::exec::pool::{self, Adopted, BatchSystem, Settings, Timeouts};
use crate::exec::{Workers, WorkersError, batch_system, local};
use crate::mailbox::Owner;
use crate::model::config::DeviceKind;
use crate::protocol::{Process, Trainer};
use crate::run::context::{Context, VERSION};
use crate::run::failure::{At, Failure};
use crate::run::planning::Planned;
use crate::spec::profile::{self, Profile};
use crate::store::Store;
use crate::units::StageId;

/// Milliseconds between two signs of life of a worker.
const BEAT_MS: f64 = 3000.0;

/// A cluster, as a run uses it.
#[derive(Debug, Clone)]
pub struct Cluster {
    system: Arc<dyn BatchSystem>,
    profile: Profile,
    /// How many times faster than usual everything that waits has to be (tests).
    haste: f64,
}

impl Cluster {
    /// The cluster of a profile: the file that is named, else the home's, else what the site gives by itself.
    pub fn read(
        system: Arc<dyn BatchSystem>,
        context: &Context,
        file: Option<&Path>,
        haste: f64,
    ) -> Result<Self, Failure> {
        let homes = context.workdir.profile();
        let text = match file {
            Some(file) => fs::read_to_string(file).map_err(|error| {
                Failure::invalid(
                    "no_profile",
                    error.to_string(),
                    "name a file with what a worker asks the cluster for: partition, time, gpus, cpus, memory, …",
                )
            })?,
            None if homes.exists() => fs::read_to_string(&homes)?,
            None => String::new(),
        };
        let name = file.unwrap_or(&homes).display().to_string();
        let profile = profile::read(&text, &name).map_err(|mistakes| {
            let message = format!("`{name}` cannot be used; nothing was changed");
            let mut failure = Failure::invalid("invalid_profile", message, "");
            failure.at = mistakes.into_iter().map(At::from).collect();
            failure
        })?;
        Ok(Self { system, profile, haste })
    }

    /// The context of a run there: its nodes train, and the profile knows whether on cards.
    pub fn context(&self, context: &Context) -> Context {
        let device = match self.profile.gpus {
            Some(_) => DeviceKind::Cuda,
            None => DeviceKind::Cpu,
        };
        Context {
            device,
            ..context.clone()
        }
    }

    /// What its jobs run on.
    pub fn system(&self) -> &dyn BatchSystem {
        self.system.as_ref()
    }

    pub fn workers(&self) -> u64 {
        self.profile.max_workers
    }

    /// What is to be said where the stages of a plan take more threads than a worker has cores.
    pub(super) fn lacks_cores(&self, planned: &Planned) -> Option<String> {
        let threads = planned.plan.stages.iter().map(|stage| stage.config.numerics.threads);
        let threads = threads.max()?;
        // A cluster gives one where nobody asks for more; a card's worker waits for the card.
        let cores = self.profile.cpus.unwrap_or(1);
        (self.profile.gpus.is_none() && threads > cores).then(|| {
            format!("stages of this sweep take {threads} threads, and a worker has {cores} core: write `cpus: {threads}` into the profile")
        })
    }

    /// What its pool is made of; `silence`: how long a worker may say nothing of its stage.
    pub fn settings(&self, context: &Context, silence: Duration) -> Result<Settings, Failure> {
        let pools = std::path::absolute(context.workdir.pools())?;
        let home = blake3::hash(pools.as_os_str().as_encoded_bytes()).to_hex();
        let command = match context.trainer {
            Trainer::Toy => "toy-worker",
            Trainer::Proxy | Trainer::Imported => "serve",
        };
        let mut program = vec![context.worker.clone().into_os_string(), command.into()];
        if self.haste > 1.0 {
            program.extend(["--beat".into(), format!("{:.0}", BEAT_MS / self.haste).into()]);
        }
        Ok(Settings {
            system: Arc::clone(&self.system),
            pools,
            home: home[..8].to_owned(),
            profile: self.profile.clone(),
            program,
            version: VERSION.to_owned(),
            owner: Owner {
                process: Process::of(std::process::id(), &|path| fs::read_to_string(path).ok()),
                host: context.host.clone(),
            },
            timeouts: timeouts(self.haste, silence),
        })
    }
}

fn timeouts(haste: f64, silence: Duration) -> Timeouts {
    let usual = Timeouts::default();
    Timeouts {
        lease: usual.lease.div_f64(haste),
        short_lease: usual.short_lease.div_f64(haste),
        silence,
        look: usual.look.div_f64(haste),
        ask: usual.ask.div_f64(haste),
        // What a worker does in this time cannot be hurried.
        farewell: usual.farewell,
    }
}

/// The attempts that are recorded as running.
pub(super) async fn running(store: &mut Store) -> Result<BTreeMap<StageId, u32>, Failure> {
    let rows = store.running().await?.into_iter();
    Ok(rows
        .map(|row| (StageId(row.stage), u32::try_from(row.attempt).unwrap_or(u32::MAX)))
        .collect())
}

/// Those of them at stages that a plan wants just as they were begun.
pub(super) fn wanted(planned: &Planned, mut running: BTreeMap<StageId, u32>) -> BTreeMap<StageId, u32> {
    let stages = &planned.known.stages;
    let unchanged = |stage: &crate::plan::StagePlan| stages.get(&stage.id).is_some_and(|known| known.plan == *stage);
    let wanted: Vec<&StageId> = planned
        .plan
        .stages
        .iter()
        .filter(|stage| unchanged(stage))
        .map(|stage| &stage.id)
        .collect();
    running.retain(|stage, _| wanted.contains(&stage));
    running
}

/// The workers of a run here. What earlier runs have left on a cluster is revoked.
pub(super) async fn local_workers(
    context: &Context,
    silence: Duration,
    running: &BTreeMap<StageId, u32>,
    word: &mut dyn FnMut(&str),
) -> Result<Workers, Failure> {
    let pools = std::path::absolute(context.workdir.pools())?;
    retire(&pools, None, &timeouts(1.0, silence), running, word).await?;
    let program = local::Program {
        path: context.worker.clone(),
        args: match context.trainer {
            Trainer::Toy => vec!["toy-worker".into()],
            Trainer::Proxy | Trainer::Imported => Vec::new(),
        },
    };
    Ok(Workers::Local(local::Pool::new(
        program,
        context.workdir.clone(),
        silence,
    )))
}

/// The workers of a run on a cluster, with the attempts of `wanted` that some of them go on with.
pub(super) async fn cluster_workers(
    settings: Settings,
    running: &BTreeMap<StageId, u32>,
    wanted: &BTreeMap<StageId, u32>,
    word: &mut dyn FnMut(&str),
) -> Result<(Workers, Vec<Adopted>), Failure> {
    let pools = settings.pools.clone();
    retire(&pools, Some(&settings), &settings.timeouts, running, word).await?;
    let system = settings.system.word();
    let opened = pool::Pool::open(settings, &in_(wanted)).await;
    let (pool, adopted) = opened.map_err(|error| WorkersError::of_pool(system, error))?;
    if !adopted.is_empty() {
        word(&format!("{} workers of the last run go on", adopted.len()));
    }
    Ok((Workers::Cluster(Box::new(pool)), adopted))
}

/// Ends the pools of earlier runs but for one that these settings can take over.
async fn retire(
    pools: &Path,
    keep: Option<&Settings>,
    timeouts: &Timeouts,
    running: &BTreeMap<StageId, u32>,
    word: &mut dyn FnMut(&str),
) -> Result<(), Failure> {
    if pool::has_others(pools, keep)? {
        word("the workers that an earlier run has left on a cluster hand their stages back");
    }
    let retired = pool::retire_others(pools, keep, timeouts, &batch_system, &in_(running)).await;
    let system = keep.map_or("slurm", |settings| settings.system.word());
    retired.map_err(|error| WorkersError::of_pool(system, error))?;
    Ok(())
}

fn in_(attempts: &BTreeMap<StageId, u32>) -> impl Fn(&StageId, u32) -> bool {
    |stage, attempt| attempts.get(stage) == Some(&attempt)
}
