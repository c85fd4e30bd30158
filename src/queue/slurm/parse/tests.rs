//! What Slurm prints, from several versions, cut and bent in every way.

use proptest::prelude::*;

use super::*;
use crate::queue::EndReason;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../../../tests/slurm/fixtures/", $name))
    };
}

fn find(listing: &Listing, job: u64, task: Option<u64>) -> &Task {
    let id = TaskId { job, task };
    listing.tasks.iter().find(|task| task.id == id).expect("listed")
}

#[test]
fn what_the_captured_version_lists_is_read() {
    let listing = squeue(fixture!("squeue-22.05.8.txt"));
    assert_eq!((listing.tasks.len(), listing.odd.len()), (28, 0));
    let cancelled = find(&listing, 21, Some(1));
    assert_eq!(cancelled.state, TaskState::Gone(EndReason::Cancelled));
    assert_eq!(cancelled.exit, Some(Exit { code: 0, signal: 15 }));
    assert_eq!(cancelled.comment, "sandbox:g1:1");
    let failed = find(&listing, 23, None);
    assert_eq!(failed.exit, Some(Exit { code: 28, signal: 0 }));
    assert_eq!(failed.comment, "two words");
    let running = find(&listing, 21, Some(3));
    assert_eq!(
        (running.state.clone(), running.nodes.as_str()),
        (TaskState::Running, "n2")
    );
    assert_eq!(running.exit, None);
    let waiting = find(&listing, 21, Some(9));
    assert_eq!(
        (waiting.state.clone(), waiting.reason.as_str()),
        (TaskState::Queued, "JobArrayTaskLimit")
    );
    assert_eq!(find(&listing, 21, Some(0)).state, TaskState::Gone(EndReason::NodeFail));
}

#[test]
fn both_ways_of_asking_agree() {
    let (list, show) = (
        squeue(fixture!("squeue-22.05.8.txt")),
        show_jobs(fixture!("show_job-22.05.8.txt")),
    );
    let mut compared = 0;
    for task in show
        .tasks
        .iter()
        .filter(|task| list.tasks.iter().any(|other| other.id == task.id))
    {
        let other = find(&list, task.id.job, task.id.task);
        assert_eq!(
            (&task.state, &task.comment, &task.nodes, task.exit),
            (&other.state, &other.comment, &other.nodes, other.exit)
        );
        compared += 1;
    }
    assert!(compared >= 9, "{compared}");
}

#[test]
fn what_other_versions_document_is_read() {
    let old = sacct(fixture!("sacct-20.11.documented.txt"));
    assert_eq!(old.odd, Vec::<String>::new());
    let standings: Vec<TaskState> = old.tasks.iter().map(|task| task.state.clone()).collect();
    let gone = TaskState::Gone;
    let expected = [
        gone(EndReason::Completed),
        gone(EndReason::Cancelled),
        gone(EndReason::OutOfMemory),
        gone(EndReason::TimeLimit),
        gone(EndReason::NodeFail),
        gone(EndReason::Preempted),
        TaskState::Queued,
        gone(EndReason::Failed),
    ];
    assert_eq!(standings, expected);
    assert_eq!(old.tasks[6].nodes, "");
    assert_eq!(old.tasks[7].exit, Some(Exit { code: 28, signal: 0 }));
    let newer = sacct(fixture!("sacct-23.11.documented.txt"));
    assert_eq!(newer.tasks[0].comment, "comment with a | bar");
    let newest = squeue(fixture!("squeue-24.05.documented.txt"));
    assert_eq!(newest.tasks.len(), 7);
    assert_eq!(find(&newest, 501, Some(2)).exit, Some(Exit { code: 0, signal: 125 }));
    assert_eq!(find(&newest, 501, Some(3)).state, TaskState::Queued);
    assert!(find(&newest, 501, Some(1)).reason.ends_with("gpu-a03"));
    assert_eq!(
        find(&newest, 502, None).state,
        TaskState::Unknown("STATE_OF_TOMORROW".to_owned())
    );
    let shown = show_jobs(fixture!("show_job-24.05.documented.txt"));
    assert_eq!(shown.odd, ["No jobs in the system"]);
    assert_eq!(find(&shown, 9000, Some(1)).comment, "sandbox:lab.g0003:2");
    assert_eq!(find(&shown, 9000, None).state, TaskState::Queued);
}

#[test]
fn the_site_says_what_it_allows() {
    let site = show_config(fixture!("show_config-22.05.8.txt"));
    let expected = Site {
        max_array: 1001,
        version: Some("22.05.8".to_owned()),
        has_accounting: false,
        kill_wait: Some(3),
    };
    assert_eq!(site, expected);
    assert_eq!(show_config(""), Site::default());
    assert!(show_config("AccountingStorageType   = accounting_storage/slurmdbd").has_accounting);
    let partitions = sinfo(fixture!("sinfo-22.05.8.txt"));
    assert!(
        partitions
            .iter()
            .all(|part| part.is_default && part.name == "main" && part.gres.is_empty())
    );
    assert_eq!(partitions.iter().map(|part| part.nodes).sum::<u64>(), 4);
}

#[test]
fn the_number_of_a_job_is_found_behind_whatever_a_site_prints_before() {
    assert_eq!(submitted("12\n"), Some(12));
    assert_eq!(submitted("Welcome to the cluster!\n12;alpha\n"), Some(12));
    assert_eq!(submitted("sbatch: error"), None);
    assert_eq!(submitted(""), None);
}

proptest! {
    #[test]
    fn no_text_is_too_odd(text in "(?s).{0,400}") {
        squeue(&text);
        show_jobs(&text);
        sacct(&text);
        sinfo(&text);
        show_config(&text);
        submitted(&text);
        task_id(&text);
    }

    #[test]
    fn no_listing_cut_or_bent_anywhere_is_too_odd(
        which in 0usize..3, at in any::<proptest::sample::Index>(), put in "(?s).{0,6}", drop in 0usize..40,
    ) {
        let texts = [
            fixture!("squeue-22.05.8.txt"), fixture!("show_job-22.05.8.txt"), fixture!("sacct-20.11.documented.txt"),
        ];
        let text = texts[which];
        let at = at.index(text.len());
        let end = (at + drop).min(text.len());
        let bent = format!("{}{put}{}", &text[..at], &text[end..]);
        let read = [squeue, show_jobs, sacct][which];
        // At most the two lines around the place suffer.
        let (whole, hurt) = (read(text), read(&bent));
        let same = whole.tasks.iter().filter(|task| hurt.tasks.contains(task)).count();
        prop_assert!(same + 3 >= whole.tasks.len(), "{} of {}", same, whole.tasks.len());
    }

    #[test]
    fn a_listed_task_is_read_back(job in any::<u64>(), task in proptest::option::of(0u64..5000), state in "[A-Z_]{1,20}") {
        let index = task.map_or("N/A".to_owned(), |task| task.to_string());
        let line = format!("{job:<24}{index:<24}{state:<24}{:<16}{:<80}{:<120}{:<120}", "0", "n1", "a b", "None");
        let listing = squeue(&line);
        prop_assert_eq!(&listing.tasks[0].id, &TaskId { job, task });
        prop_assert_eq!(&listing.tasks[0].comment, "a b");
        if let TaskState::Unknown(text) = &listing.tasks[0].state {
            prop_assert_eq!(text, &state);
        }
    }
}
