//! Whether workers can be had on a cluster, and in words what is missing.
//!
//! Refuses to submit anything.

use std::path::PathBuf;

use crate::exec::pool::Finding;
use crate::exec::slurm::Client;
use crate::queue::Site;
use crate::queue::script::Wanted;
use crate::queue::slurm::parse::Partition;
use crate::queue::slurm::script;
use crate::spec;
use crate::spec::profile::Profile;
use crate::workdir::mount::shared_file_system_of;

fn good(text: impl Into<String>) -> Finding {
    Finding {
        is_good: true,
        text: text.into(),
        advice: None,
    }
}

fn bad(text: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding {
        is_good: false,
        text: text.into(),
        advice: Some(advice.into()),
    }
}

/// Whether the cluster can give these workers; their folder need not exist.
pub(super) async fn survey(client: &Client, wanted: &Wanted<'_>) -> Vec<Finding> {
    let site = match client.config().await {
        Ok(site) => site,
        Err(error) => return vec![bad("the cluster cannot be asked", error.to_string())],
    };
    let mut findings = about_site(&site);
    match client.partitions().await {
        Ok(partitions) => findings.extend(about_partition(wanted.profile, &partitions)),
        Err(error) => findings.push(bad("the partitions are not known", error.to_string())),
    }
    findings.extend(about_folders(wanted));
    findings.push(rehearsal(client, wanted, &site).await);
    findings
}

/// Whether nodes see the home and the program as this machine does.
fn about_folders(wanted: &Wanted<'_>) -> Vec<Finding> {
    let program = wanted.program.first().map(PathBuf::from);
    let places = [Some(wanted.folder.to_owned()), program];
    let mut findings = Vec::new();
    for place in places.into_iter().flatten() {
        let shown = place.display();
        findings.push(match shared_file_system_of(&place) {
            Ok(Some(kind)) => good(format!("`{shown}` lies on {kind}")),
            Ok(None) => good(format!(
                "`{shown}` lies on no network file system that is known here: every node must see it under this path"
            )),
            Err(error) => bad(format!("`{shown}` cannot be looked at"), error.to_string()),
        });
    }
    findings
}

/// What a site allows, in words.
fn about_site(site: &Site) -> Vec<Finding> {
    let version = site.version.as_deref().unwrap_or("of an unknown version");
    let mut findings = vec![good(format!("Slurm {version} answers"))];
    findings.push(match site.max_array {
        0 => good("the site allows no arrays: every worker is a job of its own"),
        most => good(format!("an array holds up to {most} workers")),
    });
    findings.push(good(if site.has_accounting {
        "the site has accounting"
    } else {
        "the site has no accounting, and needs none"
    }));
    findings
}

/// Whether the partition is there, takes jobs, and has what the profile asks for.
fn about_partition(profile: &Profile, partitions: &[Partition]) -> Vec<Finding> {
    let is_ours = |part: &&Partition| match &profile.partition {
        // Several may be named, and then the first that is free is taken.
        Some(names) => names.split(',').any(|name| name == part.name),
        None => part.is_default,
    };
    let ours: Vec<&Partition> = partitions.iter().filter(is_ours).collect();
    let Some(first) = ours.first() else {
        let mut names: Vec<&str> = partitions.iter().map(|part| part.name.as_str()).collect();
        names.dedup();
        let text = match &profile.partition {
            Some(name) => format!("there is no partition `{name}`"),
            None => "the site has no default partition".to_owned(),
        };
        return vec![bad(
            text,
            format!("write one of these into the profile: {}", names.join(", ")),
        )];
    };
    let name = &first.name;
    let mut findings = Vec::new();
    if ours.iter().any(|part| part.availability == "up") {
        findings.push(good(format!("the partition `{name}` takes jobs")));
    } else {
        let advice = "name another in the profile, or ask the site";
        findings.push(bad(format!("the partition `{name}` is {}", first.availability), advice));
    }
    let is_usable = |part: &&&Partition| {
        let state = part.state.to_lowercase();
        !["down", "drain", "fail", "unknown"]
            .iter()
            .any(|word| state.contains(word))
            && !state.contains('*')
    };
    let nodes: u64 = ours.iter().filter(is_usable).map(|part| part.nodes).sum();
    findings.push(if nodes > 0 {
        good(format!("{nodes} nodes of it are there"))
    } else {
        bad(
            format!("no node of `{name}` can be used now"),
            "wait, or name another partition",
        )
    });
    // Where one has no limit, neither has the job.
    let limits: Option<Vec<_>> = ours.iter().map(|part| spec::profile::time(&part.time_limit)).collect();
    let longest = limits.into_iter().flatten().max();
    if let (Some(time), Some(longest)) = (profile.time, longest)
        && time > longest
    {
        let (minutes, most) = (time.as_secs() / 60, longest.as_secs() / 60);
        let text = format!("a worker asks for {minutes} minutes, and a job of `{name}` gets {most} at most");
        findings.push(bad(text, "shorten `time` in the profile, or such jobs wait for ever"));
    }
    let cards = profile
        .gpus
        .as_deref()
        .and_then(|gpus| gpus.rsplit(':').next()?.parse::<u64>().ok());
    if let Some(cards) = cards.filter(|cards| *cards > 1) {
        let text = format!("a worker asks for {cards} cards and uses one");
        findings.push(bad(text, "ask for one, and for more workers: `max_workers`"));
    }
    if profile.gpus.is_some() && !ours.iter().any(|part| part.gres.contains("gpu")) {
        let advice = "name a partition with cards, or leave `gpus` out";
        findings.push(bad(format!("the nodes of `{name}` have no cards"), advice));
    }
    findings
}

/// Has Slurm look at one worker without taking it.
async fn rehearsal(client: &Client, wanted: &Wanted<'_>, site: &Site) -> Finding {
    let script = std::env::temp_dir().join(format!("sandbox-doctor-{}.sh", std::process::id()));
    let mut submission = match script::submissions(wanted, site) {
        Ok(mut submissions) => match submissions.pop() {
            Some(submission) => submission,
            None => return good("nothing is wanted"),
        },
        Err(error) => return bad("no worker can be submitted from here", error.to_string()),
    };
    submission.path.clone_from(&script);
    // The folder comes into being with the first pool.
    submission
        .args
        .retain(|argument| !argument.as_encoded_bytes().starts_with(b"--chdir="));
    let finding = match fs_err::write(&script, &submission.script) {
        Ok(()) => match client.rehearse(&submission).await {
            Ok(_) => good("Slurm would take a worker of this profile"),
            Err(error) => bad("Slurm would not take a worker of this profile", error.to_string()),
        },
        Err(error) => bad("no script can be written", error.to_string()),
    };
    drop(fs_err::remove_file(&script));
    finding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::slurm::parse::sinfo;

    fn about(profile: &Profile, text: &str) -> Vec<String> {
        let findings = about_partition(profile, &sinfo(text));
        let bad = findings.into_iter().filter(|finding| !finding.is_good);
        bad.map(|finding| finding.text).collect()
    }

    #[test]
    fn what_is_missing_is_said() {
        let text = "cpu*|up|infinite|3|idle|4|4000|(null)|(null)\ngpu|up|1-00:00:00|2|down*|8|64000|gpu:a100:4|a100\n\
                    old|drain|infinite|1|idle|4|4000|(null)|(null)\n";
        let of = |partition: Option<&str>, gpus: Option<&str>| Profile {
            partition: partition.map(str::to_owned),
            gpus: gpus.map(str::to_owned),
            ..Profile::default()
        };
        assert_eq!(about(&of(None, None), text), Vec::<String>::new());
        assert_eq!(about(&of(Some("none"), None), text), ["there is no partition `none`"]);
        assert_eq!(about(&of(None, Some("1")), text), ["the nodes of `cpu` have no cards"]);
        assert_eq!(
            about(&of(Some("gpu"), Some("1")), text),
            ["no node of `gpu` can be used now"]
        );
        assert_eq!(about(&of(Some("old"), None), text), ["the partition `old` is drain"]);
        let long = |partition: &str| Profile {
            time: Some(std::time::Duration::from_hours(48)),
            ..of(Some(partition), None)
        };
        assert_eq!(about(&long("cpu"), text), Vec::<String>::new());
        let said = about(&long("gpu"), text);
        assert!(said.iter().any(|text| text.contains("gets 1440 at most")), "{said:?}");
        assert_eq!(about(&of(Some("cpu,gpu"), Some("1")), text), Vec::<String>::new());
    }
}
