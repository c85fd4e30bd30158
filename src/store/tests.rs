//! What must hold of the database.

use super::*;
use crate::stage::StageEvent;
use crate::units::{StageId, Steps, Tokens};
use crate::wire::{Cause, Point, Split, Trainer};

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
    };
    let stage = crate::plan::StagePlan {
        id: StageId(name.to_owned()),
        parent: parent.map(|parent| StageId(parent.to_owned())),
        lineage: "line".to_owned(),
        kind: crate::plan::StageKind::Trunk,
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

#[test]
fn a_new_attempt_is_not_mixed_with_what_the_lost_one_measured() {
    run(async {
        let (_folder, mut store) = fresh().await;
        let id = StageId("a".to_owned());
        let launch = [
            stage("a", None, 0, 10),
            happens("a", StageEvent::Launched { attempt: 1 }),
        ];
        store.append("t0", &launch).await.expect("lawful");
        store
            .add_points(&id, 1, &[point(1, 5.0), point(2, 4.0)])
            .await
            .expect("added");
        let detail = StageDetail {
            cause: Some(Cause::WorkerLost),
            ..StageDetail::default()
        };
        let lost = Entry::Stage {
            stage: id.clone(),
            event: StageEvent::Faulted { attempt: 1 },
            detail,
        };
        let again = happens("a", StageEvent::Launched { attempt: 2 });
        store.append("t1", &[lost, again]).await.expect("lawful");
        store.add_points(&id, 2, &[point(1, 3.0)]).await.expect("added");
        let rows: Vec<(i64, f64)> = sqlx::query_as("select step, loss from points where stage = 'a'")
            .fetch_all(&mut store.connection)
            .await
            .expect("readable");
        assert_eq!(rows, vec![(1, 3.0)]);
        let attempts = store.attempts_at("a").await.expect("readable");
        assert_eq!(attempts[0].cause.as_deref(), Some("worker_lost"));
        assert_eq!(attempts[1].state, "running");
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
