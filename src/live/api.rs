//! What the page asks, answered as JSON: the views of the command line where it has them.
//!
//! Reads only. Refuses to know who may ask.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path as Named, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};

use crate::live::curves::{self, CurvesView, RateView, SHOWN, SHOWN_MAX};
use crate::live::database::{Database, known, opened};
use crate::live::tail;
use crate::live::throughput::{self, Beat, Span, Window};
use crate::live::trials::{Which, meant, page};
use crate::record::TrialRow;
use crate::run::failure::{Failure, exit};
use crate::run::home::status::{self, AttemptLog, HomeStatus, TrialStatus};
use crate::store::Store;

/// Seconds for which an answer about the last minutes holds.
const PACE_HOLDS: i64 = 5;

type Shared = State<Arc<Database>>;

/// How the home stands, and what the page shows beside it.
#[derive(Debug, Serialize)]
struct Status {
    #[serde(flatten)]
    home: HomeStatus,
    /// When this was so.
    now: String,
    /// Workers that fit, a core or a card each.
    slots: u64,
    /// The questions of the sweeps that ask one.
    questions: BTreeMap<String, String>,
    /// The trials that run now, by name.
    names: BTreeMap<String, Called>,
    /// How long the rest of a sweep that runs takes, at the speed of the last minutes.
    seconds_left_now: BTreeMap<String, f64>,
}

/// What a trial is called.
#[derive(Debug, Serialize)]
struct Called {
    sweep: String,
    slug: String,
}

/// What the last run was like, or the one that goes on.
#[derive(Debug, Serialize)]
struct Pace {
    window_seconds: f64,
    /// How long ago it ended; none: it goes on.
    ended_seconds_ago: Option<f64>,
    slots: u64,
    /// The mean of the last ten seconds.
    last: Option<Beat>,
    beats: Vec<Beat>,
}

/// Of which sweep a trial is meant.
#[derive(Debug, Deserialize)]
pub(super) struct Of {
    sweep: Option<String>,
}

/// `GET /api/status`: as `sandbox status --json`, with more.
pub(super) async fn status(State(database): Shared, headers: HeaderMap) -> Response {
    answer(&database, &headers, "", status_now(&database)).await
}

/// `GET /api/pace`: tokens per second and workers at work over the run that goes on, or the last one.
pub(super) async fn throughput(State(database): Shared, headers: HeaderMap) -> Response {
    let moment = jiff::Timestamp::now().as_second() / PACE_HOLDS;
    answer(&database, &headers, &moment.to_string(), async {
        let (now, spans) = spans(&database).await?;
        let holder = database.context.workdir.holder()?;
        let began = holder.as_ref().and_then(|holder| seconds(&holder.since));
        let window = Window::of_run(now, began, &spans);
        Ok(Pace {
            window_seconds: window.seconds(),
            ended_seconds_ago: holder.is_none().then_some(now - window.to),
            slots: database.context.slots(),
            last: holder.and_then(|_| throughput::beats(window.last(), &spans).pop()),
            beats: throughput::beats(window, &spans),
        })
    })
    .await
}

/// `GET /api/sweeps/{sweep}/trials?where=…&sort=…&down=true&offset=…&limit=…`.
pub(super) async fn trials(
    State(database): Shared,
    headers: HeaderMap,
    Named(sweep): Named<String>,
    Query(which): Query<Which>,
) -> Response {
    let about = format!("{sweep} {which:?}");
    answer(&database, &headers, &about, page(&database, &sweep, &which)).await
}

/// `GET /api/sweeps/{sweep}/curves?where=…&limit=…`: loss against tokens.
pub(super) async fn sweep_curves(
    State(database): Shared,
    headers: HeaderMap,
    Named(sweep): Named<String>,
    Query(which): Query<Which>,
) -> Response {
    let about = format!("{sweep} {which:?}");
    answer(&database, &headers, &about, curves_of(&database, &sweep, &which)).await
}

/// `GET /api/sweeps/{sweep}/rates?where=…`: final loss against learning rate, means over seeds.
pub(super) async fn sweep_rates(
    State(database): Shared,
    headers: HeaderMap,
    Named(sweep): Named<String>,
    Query(which): Query<Which>,
) -> Response {
    let about = format!("{sweep} {which:?}");
    answer(&database, &headers, &about, async {
        let mut reader = database.slow().await;
        let opened = opened(reader.open(database.context.workdir.database()).await?)?;
        known(&mut opened.store, &sweep).await?;
        let trials = opened.store.lean_trials(&sweep).await?;
        let trials = meant(&mut opened.store, &sweep, &which, trials).await?;
        let rates: Vec<RateView> = curves::rates(&trials);
        Ok(rates)
    })
    .await
}

/// `GET /api/trials/{trial}?sweep=…`: as `sandbox show --json`.
pub(super) async fn trial(
    State(database): Shared,
    headers: HeaderMap,
    Named(name): Named<String>,
    Query(of): Query<Of>,
) -> Response {
    answer(&database, &headers, &format!("{name} {of:?}"), async {
        let mut reader = database.quick().await;
        let opened = opened(reader.open(database.context.workdir.database()).await?)?;
        let row = find(&mut opened.store, &name, &of).await?;
        let status: TrialStatus = status::trial_status(&mut opened.store, row).await?;
        Ok(status)
    })
    .await
}

/// `GET /api/trials/{trial}/curve?sweep=…`: the curve of one trial.
pub(super) async fn trial_curve(
    State(database): Shared,
    headers: HeaderMap,
    Named(name): Named<String>,
    Query(of): Query<Of>,
) -> Response {
    answer(&database, &headers, &format!("{name} {of:?}"), async {
        let mut reader = database.quick().await;
        let opened = opened(reader.open(database.context.workdir.database()).await?)?;
        let row = find(&mut opened.store, &name, &of).await?;
        let lean = curves::lean(&row);
        let curves = curves::curves(&mut opened.store, &mut opened.thinned, &row.sweep, &[&lean]).await?;
        Ok(CurvesView {
            sweep: row.sweep,
            drawable: 1,
            sizes: curves::sizes(&[lean]),
            curves,
        })
    })
    .await
}

/// `GET /api/trials/{trial}/logs?sweep=…`: the ends of what `sandbox logs --json` prints.
pub(super) async fn logs(
    State(database): Shared,
    headers: HeaderMap,
    Named(name): Named<String>,
    Query(of): Query<Of>,
) -> Response {
    let logs: Result<Vec<AttemptLog>, Failure> = async {
        let mut reader = database.quick().await;
        let opened = opened(reader.open(database.context.workdir.database()).await?)?;
        let row = find(&mut opened.store, &name, &of).await?;
        status::logs_of(&database.context, &mut opened.store, &row, tail::last_lines).await
    }
    .await;
    // Files grow without the database: the answer itself tells whether it is new.
    match logs.and_then(|logs| Ok(serde_json::to_string(&logs).map_err(std::io::Error::other)?)) {
        Ok(text) => tagged(&headers, &blake3::hash(text.as_bytes()).to_hex()[..16], || {
            ([(header::CONTENT_TYPE, "application/json")], text.clone()).into_response()
        }),
        Err(failure) => refusal(&failure),
    }
}

async fn status_now(database: &Database) -> Result<Status, Failure> {
    let mut reader = database.quick().await;
    let mut opened = reader.open(database.context.workdir.database()).await?;
    let store = opened.as_mut().map(|opened| &mut opened.store);
    let status = status::status_of(&database.context, store, None).await?;
    let names: BTreeMap<String, Called> = status
        .running
        .iter()
        .map(|running| {
            let called = Called {
                sweep: running.sweep.clone(),
                slug: running.slug.clone(),
            };
            (running.row.trial.clone(), called)
        })
        .collect();
    let mut questions = BTreeMap::new();
    if let Some(opened) = opened {
        let sweeps = opened.store.sweeps().await?.into_iter();
        questions.extend(sweeps.filter_map(|row| Some((row.sweep, row.description?))));
    }
    drop(reader);
    let active: BTreeSet<&str> = names.values().map(|called: &Called| called.sweep.as_str()).collect();
    let recent = match &status.orchestrator {
        Some(holder) if !active.is_empty() => {
            let (now, spans) = spans(database).await?;
            throughput::recent(now, seconds(&holder.since).unwrap_or(now), &spans)
        }
        Some(_) | None => None,
    };
    let seconds_left_now = status
        .sweeps
        .iter()
        .filter(|sweep| active.contains(sweep.sweep.as_str()))
        .filter_map(|sweep| {
            Some((
                sweep.sweep.clone(),
                sweep.flops_left / recent.filter(|flops| *flops > 0.0)?,
            ))
        })
        .collect();
    Ok(Status {
        home: status,
        now: database.context.now(),
        slots: database.context.slots(),
        questions,
        names,
        seconds_left_now,
    })
}

/// The seconds now, and the attempts of the last day on the same clock.
async fn spans(database: &Database) -> Result<(f64, Vec<Span>), Failure> {
    let is_running = database.context.workdir.holder()?.is_some();
    let moment = jiff::Timestamp::now();
    let now = moment.as_millisecond() as f64 / 1e3;
    let since = format!(
        "{:.6}",
        moment - jiff::SignedDuration::from_secs_f64(throughput::WINDOW_MAX)
    );
    let mut reader = database.quick().await;
    let Some(opened) = reader.open(database.context.workdir.database()).await? else {
        return Ok((now, Vec::new()));
    };
    let attempts = opened.store.attempts_after(&since).await?;
    let spans = attempts.iter().filter_map(|attempt| {
        Some(Span {
            from: seconds(&attempt.started_at)?,
            // What a crash left open is not at work.
            to: match &attempt.ended_at {
                Some(ended) => seconds(ended)?,
                None if is_running => now,
                None => return None,
            },
            tokens: attempt.tokens,
            flops: attempt.flops,
        })
    });
    Ok((now, spans.collect()))
}

fn seconds(text: &str) -> Option<f64> {
    let moment: jiff::Timestamp = text.parse().ok()?;
    Some(moment.as_millisecond() as f64 / 1e3)
}

async fn curves_of(database: &Database, sweep: &str, which: &Which) -> Result<CurvesView, Failure> {
    let most = which.limit.unwrap_or(SHOWN).min(SHOWN_MAX);
    let mut reader = database.slow().await;
    let opened = opened(reader.open(database.context.workdir.database()).await?)?;
    known(&mut opened.store, sweep).await?;
    let trials = opened.store.lean_trials(sweep).await?;
    let sizes = curves::sizes(&trials);
    let trials = meant(&mut opened.store, sweep, which, trials).await?;
    let (chosen, drawable) = curves::choose(&trials, most);
    let curves = curves::curves(&mut opened.store, &mut opened.thinned, sweep, &chosen).await?;
    Ok(CurvesView {
        sweep: sweep.to_owned(),
        drawable,
        sizes,
        curves,
    })
}

async fn find(store: &mut Store, name: &str, of: &Of) -> Result<TrialRow, Failure> {
    let row = store.trial_named(name, of.sweep.as_deref()).await?;
    row.ok_or_else(|| {
        Failure::invalid(
            "unknown_trial",
            format!("there is no trial `{name}`"),
            "names are whole here",
        )
    })
}

/// Answers what holds for a version of the database, or says that it still holds.
async fn answer<T: Serialize>(
    database: &Database,
    headers: &HeaderMap,
    about: &str,
    make: impl Future<Output = Result<T, Failure>>,
) -> Response {
    let version = match database.version().await {
        Ok(version) => version,
        Err(failure) => return refusal(&failure),
    };
    let tag = blake3::hash(format!("{version} {about}").as_bytes()).to_hex()[..16].to_owned();
    if asked_for(headers, &tag) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    match make.await {
        Ok(value) => tagged(headers, &tag, || Json(&value).into_response()),
        Err(failure) => {
            // Whatever went wrong, the next question starts afresh.
            if failure.exit == exit::ENVIRONMENT {
                database.quick().await.close();
                database.slow().await.close();
            }
            refusal(&failure)
        }
    }
}

/// Whether the asker has this version already.
fn asked_for(headers: &HeaderMap, tag: &str) -> bool {
    let has = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    has.is_some_and(|has| has.trim_matches('"') == tag)
}

fn tagged(headers: &HeaderMap, tag: &str, make: impl FnOnce() -> Response) -> Response {
    if asked_for(headers, tag) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let mut response = make();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{tag}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// What went wrong, in the shape of the command line.
pub(super) fn refusal(failure: &Failure) -> Response {
    let status = match failure.code {
        "unknown_trial" | "unknown_sweep" | "no_database" | "not_found" => StatusCode::NOT_FOUND,
        _ if failure.exit == exit::INVALID => StatusCode::BAD_REQUEST,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(serde_json::json!({ "error": failure }))).into_response()
}
