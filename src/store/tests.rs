//! What must hold of the database.

use super::*;
use crate::protocol::{Checkpoint, Point, Process, Resume, Split, Trainer};
use crate::record::TrialRow;
use crate::stage::StageEvent;
use crate::units::{StageId, Steps, Tokens};

fn stage(name: &str, parent: Option<&str>, from: u64, to: u64) -> Entry {
    use crate::model::config::{DeviceKind, Numerics, Optimizer, Precision, RunConfig};
    use crate::model::mup::{Multipliers, Parametrization};
    use crate::model::schedule::{Form, Schedule};
    let config = RunConfig {
        shape: crate::model::ladder::LADDER[0].shape,
        vocab: 256,
        context: 100,
        parametrization: Parametrization::Mup,
        multipliers: Multipliers::default(),
        optimizer: Optimizer {
            lr: 0.01,
            weight_decay: 0.1,
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            clip: 1.0,
        },
        batch_tokens: Tokens(1000),
        schedule: Schedule {
            warmup: Steps(0),
            form: Form::Constant,
        },
        seed: 0,
        data_hash: "hash".to_owned(),
        precision: Precision::Float32,
        numerics: Numerics {
            device: DeviceKind::Cpu,
            threads: 1,
            micro_batch: 10,
        },
        of_a_test: 0.0,
    };
    let stage = crate::plan::StagePlan {
        id: StageId(name.to_owned()),
        parent: parent.map(|parent| StageId(parent.to_owned())),
        lineage: "line".to_owned(),
        kind: crate::stage::StageKind::Trunk,
        config,
        from: Steps(from),
        to: Steps(to),
    };
    Entry::StagePlanned {
        stage: Box::new(stage),
        trainer: Trainer::Proxy,
    }
}

fn happens(name: &str, event: StageEvent) -> Entry {
    Entry::Stage {
        stage: StageId(name.to_owned()),
        event,
        detail: StageDetail::default(),
    }
}

fn point(step: u64, loss: f64) -> Point {
    Point {
        step,
        split: Split::train(),
        loss,
        lr: Some(0.01),
        grad_norm: Some(1.0),
        bits_per_byte: None,
    }
}

async fn fresh() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&folder.path().join("sandbox.db"))
        .await
        .expect("a database");
    (folder, store)
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test);
}

#[test]
fn programs_that_open_a_new_database_at_once_find_one_schema() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sandbox.db");
    let together = std::sync::Barrier::new(8);
    let open = || {
        together.wait();
        run(async { drop(Store::open(&path).await.expect("a database")) });
    };
    std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(open))));
}

#[test]
fn an_unlawful_event_is_refused_and_leaves_no_trace() {
    run(async {
        let (_folder, mut store) = fresh().await;
        store.append("t0", &[stage("a", None, 0, 10)]).await.expect("planned");
        let both = [
            happens("a", StageEvent::Launched { attempt: 1 }),
            happens("a", StageEvent::Completed { attempt: 2 }),
        ];
        assert!(matches!(store.append("t1", &both).await, Err(StoreError::Damaged(_))));
        let known = store.known("none").await.expect("readable");
        assert_eq!(
            known.stages[&StageId("a".to_owned())].state,
            crate::stage::StageState::Pending
        );
    });
}

#[test]
fn a_second_result_is_an_error() {
    run(async {
        let (_folder, mut store) = fresh().await;
        let first = [
            stage("a", None, 0, 10),
            happens("a", StageEvent::Launched { attempt: 1 }),
            happens("a", StageEvent::Completed { attempt: 1 }),
        ];
        store.append("t0", &first).await.expect("lawful");
        let again = happens("a", StageEvent::Completed { attempt: 1 });
        assert!(store.append("t1", &[again]).await.is_err());
    });
}

fn started(name: &str, attempt: u32, from: u64) -> Said {
    Said::Entry(Entry::Started {
        stage: StageId(name.to_owned()),
        attempt,
        from: Some(Steps(from)),
        process: Process {
            pid: 7,
            started: Some(1),
            boot: Some("boot".to_owned()),
        },
        host: "here".to_owned(),
        device: "cpu".to_owned(),
        libtorch: None,
    })
}

fn left(name: &str, attempt: u32, step: u64) -> Said {
    Said::Entry(Entry::Left {
        stage: StageId(name.to_owned()),
        attempt,
        resume: Resume {
            step: Steps(step),
            checkpoint: Checkpoint {
                path: format!("stages/{name}/{attempt}/state-{step}").into(),
                hash: "hash".to_owned(),
                bytes: 4,
            },
        },
        seconds: 1.0,
    })
}

fn ends(name: &str, event: StageEvent, step: u64) -> Entry {
    Entry::Stage {
        stage: StageId(name.to_owned()),
        event,
        detail: StageDetail {
            step: Some(step),
            seconds: Some(2.0),
            ..StageDetail::default()
        },
    }
}

/// A stage of three steps that was lost after its second, went on from its first, and is complete.
async fn lost_and_resumed(store: &mut Store) {
    let id = StageId("a".to_owned());
    let launch = [
        stage("a", None, 0, 3),
        happens("a", StageEvent::Launched { attempt: 1 }),
    ];
    store.append("t0", &launch).await.expect("lawful");
    let first = [
        started("a", 1, 0),
        Said::Points(vec![point(1, 5.0)]),
        left("a", 1, 1),
        Said::Points(vec![point(2, 4.0)]),
    ];
    store.take_in("t1", &id, 1, &first).await.expect("taken in");
    let again = [
        ends("a", StageEvent::Faulted { attempt: 1 }, 2),
        happens("a", StageEvent::Launched { attempt: 2 }),
    ];
    store.append("t2", &again).await.expect("lawful");
    let mut held_out = point(3, 2.5);
    held_out.split = Split("held_out".to_owned());
    let second = [
        started("a", 2, 1),
        Said::Points(vec![point(2, 3.0), point(3, 2.0), held_out]),
        Said::Entry(ends("a", StageEvent::Completed { attempt: 2 }, 3)),
    ];
    store.take_in("t3", &id, 2, &second).await.expect("taken in");
}

#[test]
fn a_new_attempt_keeps_what_stands_before_it_and_measures_the_rest_anew() {
    run(async {
        let (_folder, mut store) = fresh().await;
        lost_and_resumed(&mut store).await;
        let sql = "select step, loss from points where stage = 'a' and split = 'train' order by step";
        let rows: Vec<(i64, f64)> = sqlx::query_as(sql)
            .fetch_all(&mut store.connection)
            .await
            .expect("readable");
        assert_eq!(rows, [(1, 5.0), (2, 3.0), (3, 2.0)]);
        let attempts = store.attempts_at("a").await.expect("readable");
        let steps: Vec<u64> = attempts.iter().map(|attempt| attempt.steps).collect();
        assert_eq!(steps, [2, 2]);
        let states = store.checkpoints(&StageId("a".to_owned())).await.expect("readable");
        assert_eq!(states, [], "a complete stage needs no state inside it");
    });
}

#[test]
fn the_log_alone_gives_every_table_back_and_a_change_beside_it_is_found() {
    run(async {
        let (_folder, mut store) = fresh().await;
        lost_and_resumed(&mut store).await;
        let (events, problems) = store.check().await.expect("checked");
        assert_eq!((events, problems), (8, Vec::new()));
        for (damage, table) in [
            ("update stages set to_steps = 4", "stages"),
            ("delete from attempts where attempt = 1", "attempts"),
            ("delete from points where step = 2", "points"),
        ] {
            let mut tx = sqlx::Connection::begin(&mut store.connection).await.expect("begun");
            sqlx::query(damage).execute(&mut *tx).await.expect("damaged");
            tx.commit().await.expect("written");
            let (_, problems) = store.check().await.expect("checked");
            assert!(
                problems.iter().any(|problem| problem.table == table),
                "{damage}: {problems:?}"
            );
        }
    });
}

#[test]
fn a_state_that_is_lost_is_made_again_and_the_result_stands() {
    run(async {
        let (_folder, mut store) = fresh().await;
        lost_and_resumed(&mut store).await;
        let again = [happens("a", StageEvent::Launched { attempt: 3 })];
        store.append("t4", &again).await.expect("lawful");
        let id = StageId("a".to_owned());
        assert_eq!(
            store.stage_state(&id).await.expect("known"),
            crate::stage::StageState::Remaking { attempt: 3 }
        );
        let mut end = ends("a", StageEvent::Completed { attempt: 3 }, 3);
        if let Entry::Stage { detail, .. } = &mut end {
            detail.checkpoint = Some(Checkpoint {
                path: "stages/a/3/state".into(),
                hash: "hash".to_owned(),
                bytes: 4,
            });
        }
        let said = [started("a", 3, 0), Said::Points(vec![point(2, 9.0)]), Said::Entry(end)];
        store.take_in("t5", &id, 3, &said).await.expect("lawful");
        let stands: (f64,) = sqlx::query_as("select loss from points where step = 2")
            .fetch_one(&mut store.connection)
            .await
            .expect("readable");
        assert_eq!(stands, (3.0,), "a second measurement changes nothing");
        assert_eq!(store.checkpoints(&id).await.expect("readable").len(), 1);
        assert_eq!(store.check().await.expect("checked").1, []);
    });
}

#[test]
fn a_database_of_every_schema_opens_and_is_sound() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        for entry in fs_err::read_dir("tests/databases").expect("fixtures").flatten() {
            let path = folder.path().join(entry.file_name());
            fs_err::copy(entry.path(), &path).expect("copied");
            let mut store = Store::open(&path).await.expect("migrated");
            let (events, problems) = store.check().await.expect("checked");
            assert!(events > 0 && problems.is_empty(), "{}: {problems:#?}", path.display());
            let complete = store.trials(None).await.expect("readable");
            assert!(complete.iter().any(|row| row.final_loss.is_some()));
        }
    });
}

/// The digest of `tests/databases/7.db`, as the program of that schema printed it.
const DIGEST_OF_7: &str = "00004466c4e38b3862fe01b33fcf30c03c18cbd992eca869effa49941904447e";

#[test]
fn a_trial_of_two_sweeps_is_one_trial_and_two_pairs_and_the_digest_stays() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sandbox.db");
        fs_err::copy("tests/databases/7.db", &path).expect("copied");
        let mut store = Store::open(&path).await.expect("migrated");
        assert_eq!(store.digest().await.expect("a digest"), DIGEST_OF_7);
        let all = store.trials(None).await.expect("readable");
        let names: std::collections::BTreeSet<&str> = all.iter().map(|row| row.trial.as_str()).collect();
        assert_eq!((all.len(), names.len()), (6, 6), "each once");
        let [rates, again] = ["rates", "again"];
        for sweep in [rates, again] {
            let trials = store.trials(Some(sweep)).await.expect("readable");
            assert_eq!(trials.len(), 4, "{sweep} keeps its own");
            assert!(trials.iter().all(|row| row.sweep == sweep));
        }
        let shared = all.iter().find(|row| row.slug == "6K-wsd-tokens8000").expect("shared");
        assert_eq!(shared.sweep, again, "the first of its sweeps");
        let taken_out = Entry::Cancelled {
            sweep: again.to_owned(),
            trials: vec![shared.trial.clone()],
            undo: false,
        };
        store.append("t9", &[taken_out]).await.expect("lawful");
        let all = store.trials(None).await.expect("readable");
        let now = all.iter().find(|row| row.trial == shared.trial).expect("still there");
        assert_eq!(
            (now.sweep.as_str(), all.len()),
            (rates, 6),
            "a sweep that wants it comes first"
        );
    });
}

#[test]
fn seconds_of_a_point_count_from_the_beginning_of_its_trial() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sandbox.db");
        fs_err::copy("tests/databases/7.db", &path).expect("copied");
        let mut store = Store::open(&path).await.expect("migrated");
        // Each stage of the trials of 16,000 tokens took a second: two trunks and the decay.
        sqlx::query("update stages set seconds = 1.0")
            .execute(&mut store.connection)
            .await
            .expect("changed");
        let trials = store.trials(Some("rates")).await.expect("readable");
        let long = trials.iter().find(|row| row.tokens == 16_000).expect("a long trial");
        let stages = store.path("rates", &long.trial).await.expect("readable").len();
        let points = store.points(Some("rates")).await.expect("readable");
        let of_long: Vec<_> = points.iter().filter(|point| point.trial == long.trial).collect();
        let last = of_long.last().expect("points");
        assert_eq!(
            (last.step, last.seconds, last.peak_lr),
            (long.steps, Some(stages as f64), long.lr)
        );
        let rises = of_long.windows(2).all(|two| two[0].seconds <= two[1].seconds);
        assert!(rises && of_long[0].seconds > Some(0.0));
        let mut alone = Vec::new();
        let names = [long.trial.clone()];
        let take = &mut |point| alone.push(point);
        store.each_point_of("rates", &names, take).await.expect("readable");
        assert!(alone.iter().eq(of_long), "one by one they are the same");
    });
}

#[test]
fn the_budget_of_an_older_home_comes_from_what_its_log_keeps_of_the_settings() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sandbox.db");
        fs_err::copy("tests/databases/6.db", &path).expect("copied");
        let mut older = connect(&path, false).await.expect("a database");
        for sql in [
            r#"update trials set settings = replace(settings, '"tokens":{"count":8000}', '"tokens":{"per_param":1.25}')"#,
            r#"update events set body = replace(body, '"tokens":{"count":8000}', '"tokens":{"per_param":1.25}')"#,
        ] {
            let changed = sqlx::query(sql).execute(&mut older).await.expect("changed");
            assert!(changed.rows_affected() > 0);
        }
        drop(older);
        let mut store = Store::open(&path).await.expect("migrated");
        assert_eq!(store.check().await.expect("checked").1, [], "the log says the same");
        let trials = store.trials(None).await.expect("readable");
        let of_the_model = |row: &&TrialRow| row.params_non_embedding == 5968 && row.tokens == 8000;
        let changed = trials.iter().find(of_the_model).expect("a trial of 8000 tokens");
        assert_eq!(changed.tokens_asked, 7460, "1.25 tokens for each of 5968 parameters");
        assert!(trials.iter().any(|row| row.tokens_asked == 16_000));
    });
}

#[test]
fn a_result_keeps_the_cut_that_it_was_trained_by() {
    run(async {
        let (_folder, mut store) = fresh().await;
        let first = [
            stage("a", None, 0, 10),
            happens("a", StageEvent::Launched { attempt: 1 }),
            happens("a", StageEvent::Completed { attempt: 1 }),
            stage("b", None, 0, 20),
        ];
        store.append("t0", &first).await.expect("lawful");
        let cut_anew = [stage("b", Some("a"), 10, 20), stage("a", None, 5, 10)];
        store.append("t1", &cut_anew).await.expect("lawful");
        let known = store.known("none").await.expect("readable").stages;
        assert_eq!(known[&StageId("a".to_owned())].plan.from, Steps(0));
        assert_eq!(known[&StageId("b".to_owned())].plan.from, Steps(10));
    });
}

#[test]
fn a_file_that_is_no_database_is_refused_with_its_path() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sandbox.db");
        fs_err::write(&path, "this is not a database, and long enough to be taken for none").expect("written");
        match Store::open(&path).await {
            Err(StoreError::Unreadable { path: named, .. }) => assert_eq!(named, path),
            other => panic!("must be refused: {other:?}"),
        }
    });
}

#[test]
fn a_database_that_another_program_holds_is_told_from_a_damaged_one() {
    run(async {
        let (folder, mut store) = fresh().await;
        let mut other = Store::open(&folder.path().join("sandbox.db")).await.expect("opened");
        let _tx = sqlx::Connection::begin_with(&mut other.connection, "begin exclusive")
            .await
            .expect("held");
        sqlx::query("pragma busy_timeout = 1")
            .execute(&mut store.connection)
            .await
            .expect("set");
        let error = store.append("t0", &[stage("a", None, 0, 1)]).await.expect_err("locked");
        assert!(error.is_locked() && !error.is_disk_full(), "{error}");
    });
}

#[tokio::test]
async fn who_only_reads_neither_writes_nor_takes_another_schema() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sandbox.db");
    assert!(matches!(
        Store::open_to_read(&path).await,
        Err(StoreError::Missing { .. })
    ));
    assert!(!path.exists());
    let mut writer = Store::open(&path).await.expect("created");
    let mut reader = Store::open_to_read(&path).await.expect("the newest schema");
    assert!(reader.sweeps().await.expect("readable").is_empty());
    let written = sqlx::query("delete from sweeps").execute(&mut reader.connection).await;
    assert!(written.is_err(), "the connection cannot write");
    let older = "delete from _sqlx_migrations where version = (select max(version) from _sqlx_migrations)";
    sqlx::query(older)
        .execute(&mut writer.connection)
        .await
        .expect("made older");
    match Store::open_to_read(&path).await {
        Err(StoreError::OtherSchema { found, reads, .. }) => assert_eq!(found + 1, reads),
        other => panic!("an older schema must be refused: {other:?}"),
    }
}
