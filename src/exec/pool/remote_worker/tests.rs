//! Tests of one worker as its orchestrator sees it.

use std::time::Duration;

use super::*;
use crate::protocol::Process;

const TIMEOUTS: Timeouts = Timeouts {
    lease: Duration::from_secs(100),
    short_lease: Duration::from_secs(10),
    silence: Duration::from_secs(50),
    look: Duration::from_secs(1),
    ask: Duration::from_secs(1),
    farewell: Duration::from_secs(1),
};

fn settled(folder: &Path, now: Instant) -> RemoteWorker {
    let hello = Hello {
        format: mailbox::FORMAT,
        version: "1".to_owned(),
        process: Process::of(1, &|_| None),
        host: "h".to_owned(),
        node: None,
        job: Some(7),
        task: None,
        submission: 1,
        beat_ms: 10,
    };
    for name in [mailbox::INBOX, mailbox::TAKEN] {
        fs::create_dir(folder.join(name)).expect("a folder");
    }
    fs::write(
        folder.join(mailbox::HELLO_FILE),
        serde_json::to_vec(&hello).expect("JSON"),
    )
    .expect("written");
    RemoteWorker::find(folder.to_owned(), 3, now)
        .expect("readable")
        .expect("there")
}

fn beat(folder: &Path, beat: u64, taken: u64) {
    let text = serde_json::to_vec(&Beat { beat, taken }).expect("JSON");
    fs::write(folder.join(mailbox::BEAT_FILE), text).expect("written");
}

fn put(worker: &mut RemoteWorker, now: Instant) -> bool {
    worker
        .put(&StageId("s".to_owned()), 1, Path::new("/nowhere/job.json"), now)
        .expect("put")
}

fn task(state: TaskState) -> Task {
    Task {
        id: TaskId { job: 7, task: None },
        state,
        nodes: String::new(),
        comment: String::new(),
        reason: String::new(),
        exit: None,
    }
}

#[test]
fn what_the_batch_system_says_shortens_the_lease_of_the_silent_and_of_nobody_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let t = Instant::now();
    let at = |seconds| t + Duration::from_secs(seconds);
    let mut worker = settled(folder.path(), t);
    let gone = task(TaskState::Gone(EndReason::NodeFail));
    let odd = task(TaskState::Unknown("DREAMING".to_owned()));
    let hint = |asked, task| Some(Hint { asked, task });
    beat(folder.path(), 1, 0);
    let mut health = |now, hint| worker.health(now, hint, &TIMEOUTS).expect("readable");
    assert_eq!(health(at(1), None), Health::Alive);
    assert_eq!(health(at(50), None), Health::Alive);
    // Asked before it was heard last: that says nothing.
    assert_eq!(health(at(50), hint(t, Some(&gone))), Health::Alive);
    assert_eq!(health(at(50), hint(at(2), Some(&odd))), Health::Alive);
    assert_eq!(health(at(10), hint(at(2), None)), Health::Alive);
    assert_eq!(health(at(12), hint(at(2), None)), Health::NoHeartbeat);
    assert_eq!(health(at(12), hint(at(2), Some(&gone))), Health::NoHeartbeat);
    assert_eq!(health(at(102), None), Health::NoHeartbeat);
    // Whoever beats lives, whatever the batch system says.
    beat(folder.path(), 2, 0);
    assert_eq!(health(at(103), hint(at(102), Some(&gone))), Health::Alive);
    let lost = worker.lost(&Health::NoHeartbeat, hint(at(2), Some(&gone)));
    assert_eq!(lost.cause, Cause::Interrupted);
    assert_eq!(
        lost.message,
        "worker 3 on h: it gives no sign of life (its node failed)"
    );
}

#[test]
fn an_order_that_is_not_begun_is_given_to_another_and_one_that_is_begun_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let (t, later) = (Instant::now(), Instant::now() + Duration::from_secs(101));
    let mut worker = settled(folder.path(), t);
    assert!(put(&mut worker, t));
    beat(folder.path(), 1, 0);
    // Its libraries may take long; a second order may not.
    let patient = Timeouts {
        silence: Duration::from_secs(1000),
        ..TIMEOUTS
    };
    assert_eq!(worker.health(later, None, &patient).expect("readable"), Health::Alive);
    assert_eq!(
        worker.health(later, None, &TIMEOUTS).expect("readable"),
        Health::NotStarting
    );
    assert!(worker.has_never_begun());
    worker.close().expect("closed");
    assert!(worker.withdraw().expect("withdrawn"));
    assert_eq!(
        worker.orders().expect("readable").len(),
        0,
        "nobody finds it here again"
    );
    assert!(!put(&mut worker, t), "nothing arrives in a closed inbox");
    // The same, but that the worker was quicker than the end of its inbox.
    let folder = tempfile::tempdir().expect("a folder");
    let mut worker = settled(folder.path(), t);
    assert!(put(&mut worker, t));
    let name = mailbox::order_file(1);
    let path = folder.path();
    fs::rename(
        path.join(mailbox::INBOX).join(&name),
        path.join(mailbox::TAKEN).join(&name),
    )
    .expect("taken");
    worker.close().expect("closed");
    assert!(!worker.withdraw().expect("asked"));
    beat(folder.path(), 1, 1);
    assert_eq!(worker.health(t, None, &TIMEOUTS).expect("readable"), Health::Alive);
    assert_eq!(
        worker
            .health(t + Duration::from_secs(51), None, &TIMEOUTS)
            .expect("readable"),
        Health::Stalled
    );
    assert_eq!(worker.lost(&Health::Stalled, None).cause, Cause::TimedOut);
    assert_eq!(worker.orders().expect("readable").len(), 1);
}
