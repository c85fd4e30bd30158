//! Which runs of one place compare: those that are alike in everything but what is varied there.
//!
//! Refuses to know what that is.

use std::collections::{BTreeMap, BTreeSet};

/// Whether each run is of its place's kind: the one with the most settings there; of kinds with as many, the one with
/// the most runs over all places, then the last (`wsd`, not `cosine`).
///
/// `describe` gives a run's place (size and tokens, say), its kind (all that has to be equal), and the setting that is
/// varied.
pub fn alike<'a, T, P: Ord, K: Ord, S: Ord>(runs: &'a [T], describe: impl Fn(&'a T) -> (P, K, S)) -> Vec<bool> {
    let described: Vec<(P, K, S)> = runs.iter().map(describe).collect();
    let mut over_all: BTreeMap<&K, usize> = BTreeMap::new();
    let mut places: BTreeMap<&P, BTreeMap<&K, BTreeSet<&S>>> = BTreeMap::new();
    for (place, kind, setting) in &described {
        *over_all.entry(kind).or_default() += 1;
        let kinds = places.entry(place).or_default();
        kinds.entry(kind).or_default().insert(setting);
    }
    let rank = |kind: &K, settings: usize| (settings, over_all.get(kind).copied());
    let chosen: BTreeMap<&P, &K> = places
        .into_iter()
        .filter_map(|(place, kinds)| {
            let kinds = kinds
                .into_iter()
                .map(|(kind, settings)| (rank(kind, settings.len()), kind));
            Some((place, kinds.max()?.1))
        })
        .collect();
    described
        .iter()
        .map(|(place, kind, _)| chosen.get(place) == Some(&kind))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_keeps_the_kind_with_the_most_settings() {
        let runs = [
            ("9M", "decay 0.1", 1),
            ("9M", "decay 0.1", 2),
            ("9M", "decay 0.2", 1),
            // As many of each: the kind that is more common elsewhere.
            ("30M", "decay 0.0", 1),
            ("30M", "decay 0.1", 1),
            // Seeds are not settings.
            ("40M", "decay 0.1", 1),
            ("40M", "decay 0.1", 1),
            ("40M", "decay 0.2", 1),
            ("40M", "decay 0.2", 2),
        ];
        let kept = alike(&runs, |run| *run);
        assert_eq!(kept, [true, true, false, false, true, false, false, true, true]);
    }
}
