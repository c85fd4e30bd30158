//! Tests of one worker as its orchestrator sees it.

use std::time::Duration;

use super::*;
use crate::slurm::state::Why;
use crate::wire::Process;

const PATIENCE: Patience = Patience {
    lease: Duration::from_secs(100),
    short_lease: Duration::from_secs(10),
    silence: Duration::from_secs(50),
    look: Duration::from_secs(1),
    ask: Duration::from_secs(1),
    farewell: Duration::from_secs(1),
};

fn settled(folder: &Path, now: Instant) -> Berth {
    let hello = Hello {
        post: post::POST,
        version: "1".to_owned(),
        process: Process::of(1, &|_| None),
        host: "h".to_owned(),
        node: None,
        job: Some(7),
        task: None,
        submission: 1,
        beat_ms: 10,
    };
    for name in [post::INBOX, post::TAKEN] {
        fs::create_dir(folder.join(name)).expect("a folder");
    }
    fs::write(folder.join(post::HELLO_FILE), serde_json::to_vec(&hello).expect("JSON")).expect("written");
    Berth::find(folder.to_owned(), 3, now)
        .expect("readable")
        .expect("there")
}

fn beat(folder: &Path, beat: u64, taken: u64) {
    let text = serde_json::to_vec(&Beat { beat, taken }).expect("JSON");
    fs::write(folder.join(post::BEAT_FILE), text).expect("written");
}

fn put(berth: &mut Berth, now: Instant) -> bool {
    berth
        .put(&StageId("s".to_owned()), 1, Path::new("/nowhere/job.json"), now)
        .expect("put")
}

fn task(standing: Standing) -> Task {
    Task {
        id: TaskId { job: 7, task: None },
        standing,
        nodes: String::new(),
        comment: String::new(),
        reason: String::new(),
        exit: None,
    }
}

#[test]
fn slurms_word_shortens_the_lease_of_the_silent_and_of_nobody_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let t = Instant::now();
    let at = |seconds| t + Duration::from_secs(seconds);
    let mut berth = settled(folder.path(), t);
    let gone = task(Standing::Gone(Why::NodeFail));
    let odd = task(Standing::Unknown("DREAMING".to_owned()));
    let hint = |asked, task| Some(Hint { asked, task });
    beat(folder.path(), 1, 0);
    let mut fate = |now, hint| berth.fate(now, hint, &PATIENCE).expect("readable");
    assert_eq!(fate(at(1), None), Fate::Lives);
    assert_eq!(fate(at(50), None), Fate::Lives);
    // Asked before it was heard last: that says nothing.
    assert_eq!(fate(at(50), hint(t, Some(&gone))), Fate::Lives);
    assert_eq!(fate(at(50), hint(at(2), Some(&odd))), Fate::Lives);
    assert_eq!(fate(at(10), hint(at(2), None)), Fate::Lives);
    assert_eq!(fate(at(12), hint(at(2), None)), Fate::Silent);
    assert_eq!(fate(at(12), hint(at(2), Some(&gone))), Fate::Silent);
    assert_eq!(fate(at(102), None), Fate::Silent);
    // Whoever beats lives, whatever Slurm says.
    beat(folder.path(), 2, 0);
    assert_eq!(fate(at(103), hint(at(102), Some(&gone))), Fate::Lives);
    let lost = berth.lost(&Fate::Silent, hint(at(2), Some(&gone)));
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
    let mut berth = settled(folder.path(), t);
    assert!(put(&mut berth, t));
    beat(folder.path(), 1, 0);
    // Its libraries may take long; a second order may not.
    let patient = Patience {
        silence: Duration::from_secs(1000),
        ..PATIENCE
    };
    assert_eq!(berth.fate(later, None, &patient).expect("readable"), Fate::Lives);
    assert_eq!(berth.fate(later, None, &PATIENCE).expect("readable"), Fate::Deaf);
    assert!(berth.has_never_begun());
    berth.close().expect("closed");
    assert!(berth.withdraw().expect("withdrawn"));
    assert_eq!(berth.orders().expect("readable").len(), 0, "nobody finds it here again");
    assert!(!put(&mut berth, t), "nothing arrives in a closed inbox");
    // The same, but that the worker was quicker than the end of its inbox.
    let folder = tempfile::tempdir().expect("a folder");
    let mut berth = settled(folder.path(), t);
    assert!(put(&mut berth, t));
    let name = post::order_file(1);
    let path = folder.path();
    fs::rename(path.join(post::INBOX).join(&name), path.join(post::TAKEN).join(&name)).expect("taken");
    berth.close().expect("closed");
    assert!(!berth.withdraw().expect("asked"));
    beat(folder.path(), 1, 1);
    assert_eq!(berth.fate(t, None, &PATIENCE).expect("readable"), Fate::Lives);
    assert_eq!(
        berth
            .fate(t + Duration::from_secs(51), None, &PATIENCE)
            .expect("readable"),
        Fate::Mute
    );
    assert_eq!(berth.lost(&Fate::Mute, None).cause, Cause::TimedOut);
    assert_eq!(berth.orders().expect("readable").len(), 1);
}
