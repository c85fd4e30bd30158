//! Whatever Slurm's commands print, and whatever stands in a profile, is read or kept.
#![no_main]

use pure::queue::script::{Wanted, number_of};
use pure::queue::slurm::{parse, script};
use pure::spec::profile;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
    for read in [parse::squeue, parse::show_jobs, parse::sacct] {
        let listing = read(text);
        assert_eq!(listing.tasks.len() + listing.odd.len(), lines);
    }
    parse::sinfo(text);
    parse::submitted(text);
    let site = parse::show_config(text);
    if let Ok(profile) = profile::read(text, "profile.yaml") {
        let wanted = Wanted {
            profile: &profile,
            folder: std::path::Path::new("/pool"),
            pool: "g1",
            workers: profile.max_workers.min(100),
            first: 1,
            program: &[],
        };
        let submissions = script::submissions(&wanted, &site).expect("a plain folder");
        assert!(submissions.iter().all(|submission| number_of(&submission.key, "g1").is_some()));
    }
});

