//! Opens a study: its file, its data, and what it would do with its budget.
//!
//! Refuses to train.

use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::campaign::foresee::{self, Outlook};
use crate::campaign::frame::{Frame, Setting};
use crate::data::corpus::Reading;
use crate::data::manifest::Manifest;
use crate::data::prepare::{self, Request};
use crate::data::source::Source;
use crate::data::tokenizer::TokenizerSpec;
use crate::model::data_info::DataInfo;
use crate::run::context::Context;
use crate::run::failure::{At, Failure};
use crate::run::planning::data_failure;
use crate::run::study::costs::Planner;
use crate::run::study::rate;
use crate::spec::study_file::{self, StudyFile};
use crate::store::Store;

/// A study that was read, with the data that it trains on.
#[derive(Debug, Clone)]
pub struct Opened {
    pub study: StudyFile,
    /// Its file.
    pub text: String,
    pub data: DataInfo,
}

/// Reads a study file.
pub fn read(path: &Path) -> Result<(StudyFile, String), Failure> {
    let text = fs::read_to_string(path).map_err(|error| {
        let hint = "`sandbox init --study` writes a commented study";
        Failure::invalid("no_study_file", error.to_string(), hint)
    })?;
    let file = path.display().to_string();
    let (study, _) = study_file::read(&text, &file).map_err(|mistakes| {
        let count = mistakes.len();
        let noun = if count == 1 { "mistake" } else { "mistakes" };
        let mut failure = Failure::invalid(
            "invalid_study",
            format!("`{file}` has {count} {noun}; nothing was changed"),
            "",
        );
        failure.at = mistakes.into_iter().map(At::from).collect();
        failure
    })?;
    Ok((study, text))
}

/// Reads a study, and prepares its text where that is not done. `cargo_home`: where the corpus of that name lies.
pub fn open(context: &Context, path: &Path, cargo_home: PathBuf, say: &mut dyn FnMut(&str)) -> Result<Opened, Failure> {
    let (study, text) = read(path)?;
    let folder = context.workdir.data().join(&study.data);
    if !folder.is_dir() {
        prepared(context, &study, cargo_home, say)?;
    }
    let data = Manifest::read(&folder).map_err(data_failure)?.info();
    Ok(Opened { study, text, data })
}

fn prepared(
    context: &Context,
    study: &StudyFile,
    cargo_home: PathBuf,
    say: &mut dyn FnMut(&str),
) -> Result<(), Failure> {
    let Some(text) = &study.text else {
        return Err(Failure::invalid(
            "no_data",
            format!("data `{}` is not prepared", study.data),
            "prepare it with `sandbox data prepare`, or write `text: [PATH]` into the study; `sandbox data list` shows what is there",
        ));
    };
    let sources: Result<Vec<Source>, _> = text.paths.iter().map(|path| Source::parse(path)).collect();
    let request = Request {
        name: study.data.clone(),
        sources: sources.map_err(data_failure)?,
        tokenizer: TokenizerSpec::parse(&text.tokenizer).map_err(data_failure)?,
        reading: Reading::default(),
        held_out: Vec::new(),
        bytes_max: None,
        force: false,
        cargo_home,
    };
    context.workdir.create()?;
    let summary = prepare::prepare(&request, &context.workdir.data(), &mut |_| {}).map_err(data_failure)?;
    say(&format!(
        "prepared the data `{}` ({} documents)",
        summary.data, summary.documents
    ));
    Ok(())
}

/// What a study would do: of one that has begun, in the frame that was fixed then.
pub async fn outlook(
    context: &Context,
    store: Option<&mut Store>,
    opened: &Opened,
    workers: Option<u64>,
) -> Result<Outlook, Failure> {
    let mut store = store;
    let study = &opened.study;
    let kept = match &mut store {
        Some(store) => frame_of(store, opened).await?,
        None => None,
    };
    let speed = match &kept {
        Some(frame) => frame.flops_per_second,
        None => rate::flops_per_second(context, store.as_deref_mut(), study, workers).await?,
    };
    let planner = Planner::new(context, store, opened.data.clone(), speed).await?;
    let setting = Setting {
        flops_per_second: speed,
        train_tokens: opened.data.train_tokens.0,
    };
    Ok(match kept {
        Some(frame) => foresee::of_frame(study, frame, &planner),
        None => foresee::outlook(study, &setting, &planner),
    })
}

/// The frame of a study that was begun with this very file.
pub(super) async fn frame_of(store: &mut Store, opened: &Opened) -> Result<Option<Frame>, Failure> {
    let row = store.study(&opened.study.name).await?;
    let row = row.filter(|row| row.spec == opened.text);
    Ok(row
        .map(|row| serde_json::from_value(row.frame))
        .transpose()
        .map_err(std::io::Error::other)?)
}
