//! Which documents train, which are held out, which are left out: decided by the hash of what they say.
//!
//! Refuses to read documents; it sees their hashes and lengths only.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;

use crate::data::error::DataError;
use crate::data::manifest::is_name;
use crate::units;

/// The name of the held-out set that has none of its own.
pub const HELD_OUT: &str = "held_out";
/// Largest share of the text that all held-out sets may take.
const SHARE_MAX: f64 = 0.5;

/// A held-out set that is asked for: `1%`, `NAME=1%` or `NAME=PATH`.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldOut {
    pub name: String,
    /// Where its documents come from.
    pub from: HeldOutFrom,
}

/// Where the documents of a held-out set come from.
#[derive(Debug, Clone, PartialEq)]
pub enum HeldOutFrom {
    /// This share of the bytes of the corpus, in 0..1.
    Share(f64),
    /// A file or folder of its own.
    Path(PathBuf),
}

impl HeldOut {
    /// One set of 1% of the corpus.
    pub fn standard() -> Self {
        Self {
            name: HELD_OUT.to_owned(),
            from: HeldOutFrom::Share(0.01),
        }
    }
}

impl FromStr for HeldOut {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let (name, value) = text.split_once('=').unwrap_or((HELD_OUT, text));
        let wrong = |why: &str| DataError::BadHeldOut {
            text: text.to_owned(),
            why: why.to_owned(),
        };
        if !is_name(name) {
            return Err(DataError::BadName { name: name.to_owned() });
        }
        let from = match units::parse_share(value) {
            Ok(share) if share > 0.0 && share <= SHARE_MAX => HeldOutFrom::Share(share),
            Ok(_) => return Err(wrong("a share is above 0 and at most 50%")),
            Err(_) if value.ends_with('%') || !text.contains('=') => {
                return Err(wrong("give a share (`1%`), `NAME=1%` or `NAME=PATH`"));
            }
            Err(_) => HeldOutFrom::Path(PathBuf::from(value)),
        };
        Ok(Self {
            name: name.to_owned(),
            from,
        })
    }
}

/// Checks that the sets go together.
pub fn check_sets(sets: &[HeldOut]) -> Result<(), DataError> {
    let wrong = |set: &HeldOut, why: &str| {
        Err(DataError::BadHeldOut {
            text: set.name.clone(),
            why: why.to_owned(),
        })
    };
    let mut total = 0.0;
    for (index, set) in sets.iter().enumerate() {
        if sets[..index].iter().any(|other| other.name == set.name) {
            return wrong(set, "two sets have this name; write NAME=SHARE for each");
        }
        if let HeldOutFrom::Share(share) = set.from {
            total += share;
        }
        if total > SHARE_MAX {
            return wrong(set, "all shares together are at most 50%");
        }
    }
    Ok(())
}

/// What is known of a document before its fate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// blake3 of its text.
    pub hash: [u8; 32],
    /// Bytes of its text.
    pub bytes: u64,
    /// The held-out set whose own file it is from, if it is.
    pub set: Option<usize>,
}

/// What becomes of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is trained on.
    Train,
    /// It is in the held-out set of this index.
    HeldOut(usize),
    /// Its equal came before it.
    Duplicate,
    /// The corpus was limited, and others were in front.
    LeftOut,
}

impl Fate {
    /// The index of its split, 0 for training and then the held-out sets; none: it is in no split.
    pub fn split(self) -> Option<usize> {
        match self {
            Self::Train => Some(0),
            Self::HeldOut(set) => Some(set + 1),
            Self::Duplicate | Self::LeftOut => None,
        }
    }
}

/// Decides for all documents; those of held-out sets with files of their own must come first.
///
/// The corpus is ordered by hash, a fair shuffle that is the same everywhere. Its beginning, up to `bytes_max`, is
/// kept; of that each set in turn takes documents until it has its share of the bytes. A document that is larger
/// than the whole share stays in training, so that no single one outweighs its set.
pub fn decide(seen: &[Seen], sets: &[HeldOut], bytes_max: Option<u64>) -> Result<Vec<Fate>, DataError> {
    let mut fates = drop_duplicates(seen);
    let different = fates.iter().filter(|fate| **fate != Fate::Duplicate).count();
    let mut corpus: Vec<usize> = (0..seen.len()).filter(|&index| fates[index] == Fate::Train).collect();
    corpus.sort_by_key(|&index| seen[index].hash);
    limit(seen, &mut corpus, &mut fates, bytes_max);
    let corpus_bytes: u64 = corpus.iter().map(|&index| seen[index].bytes).sum();
    for (set, asked) in sets.iter().enumerate() {
        if let HeldOutFrom::Share(share) = asked.from {
            let wanted = (share * corpus_bytes as f64).ceil() as u64;
            take_share(seen, &corpus, &mut fates, set, wanted);
        }
    }
    let missing = |fate: Fate| !fates.contains(&fate);
    let empty = (0..sets.len()).find(|&set| missing(Fate::HeldOut(set)));
    let split = match empty {
        Some(set) => sets[set].name.clone(),
        None if missing(Fate::Train) => crate::model::data_info::TRAIN.to_owned(),
        None => return Ok(fates),
    };
    Err(DataError::SplitEmpty {
        split,
        documents: different as u64,
    })
}

/// Gives each document that came before its fate by origin: its set, or training for now.
fn drop_duplicates(seen: &[Seen]) -> Vec<Fate> {
    let mut hashes = BTreeSet::new();
    seen.iter()
        .map(|document| match (hashes.insert(document.hash), document.set) {
            (false, _) => Fate::Duplicate,
            (true, Some(set)) => Fate::HeldOut(set),
            (true, None) => Fate::Train,
        })
        .collect()
}

/// Cuts the ordered corpus at `bytes_max`; the first document always stays.
fn limit(seen: &[Seen], corpus: &mut Vec<usize>, fates: &mut [Fate], bytes_max: Option<u64>) {
    let Some(bytes_max) = bytes_max else { return };
    let mut bytes = 0;
    let kept = corpus.iter().take_while(|&&index| {
        bytes += seen[index].bytes;
        bytes <= bytes_max
    });
    let kept = kept.count().max(1).min(corpus.len());
    for index in corpus.split_off(kept) {
        fates[index] = Fate::LeftOut;
    }
}

/// Moves documents from training to a set until it has the bytes it wants; one stays in training.
fn take_share(seen: &[Seen], corpus: &[usize], fates: &mut [Fate], set: usize, wanted: u64) {
    let free: Vec<usize> = corpus
        .iter()
        .copied()
        .filter(|&index| fates[index] == Fate::Train)
        .collect();
    let Some(spare) = free.len().checked_sub(1) else {
        return;
    };
    let mut bytes = 0;
    let fitting = free.iter().filter(|&&index| seen[index].bytes <= wanted);
    for &index in fitting.take(spare) {
        if bytes >= wanted {
            break;
        }
        bytes += seen[index].bytes;
        fates[index] = Fate::HeldOut(set);
    }
    if bytes == 0 && spare > 0 {
        // Few documents: every one is larger than the share, so the smallest is the best that can be done.
        let smallest = free
            .iter()
            .copied()
            .min_by_key(|&index| (seen[index].bytes, seen[index].hash));
        fates[smallest.expect("a spare document")] = Fate::HeldOut(set);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen(name: u32, bytes: u64) -> Seen {
        Seen {
            hash: *blake3::hash(&name.to_le_bytes()).as_bytes(),
            bytes,
            set: None,
        }
    }

    fn sets(texts: &[&str]) -> Vec<HeldOut> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    proptest! {
        #[test]
        fn every_text_has_one_place_wherever_its_documents_stand(
            names in prop::collection::vec(0u32..200, 50..200), rotate in 0usize..50,
        ) {
            let documents: Vec<Seen> = names.iter().map(|&name| seen(name, 10)).collect();
            let mut turned = documents.clone();
            turned.rotate_left(rotate);
            let sets = sets(&["a=5%", "b=10%"]);
            let place = |documents: &[Seen]| -> std::collections::BTreeMap<[u8; 32], Fate> {
                let fates = decide(documents, &sets, None).unwrap();
                let kept = documents.iter().zip(fates);
                let kept: Vec<_> = kept.filter(|(_, fate)| *fate != Fate::Duplicate).collect();
                let map: std::collections::BTreeMap<_, _> =
                    kept.iter().map(|(document, fate)| (document.hash, *fate)).collect();
                assert_eq!(map.len(), kept.len(), "no text is kept twice");
                map
            };
            prop_assert_eq!(place(&documents), place(&turned));
        }
    }

    #[test]
    fn sets_hold_their_share_of_the_bytes() {
        let documents: Vec<Seen> = (0..1000).map(|name| seen(name, 50 + u64::from(name % 100))).collect();
        let fates = decide(&documents, &sets(&["a=5%", "b=10%"]), None).unwrap();
        let bytes = |wanted: Fate| -> f64 {
            let of_fate = documents.iter().zip(&fates);
            let of_fate = of_fate.filter(|(_, fate)| **fate == wanted);
            of_fate.map(|(document, _)| document.bytes as f64).sum()
        };
        let total: f64 = documents.iter().map(|document| document.bytes as f64).sum();
        assert!((bytes(Fate::HeldOut(0)) / total - 0.05).abs() < 0.002);
        assert!((bytes(Fate::HeldOut(1)) / total - 0.10).abs() < 0.002);
    }

    #[test]
    fn two_documents_are_enough_and_one_is_not() {
        let documents = [seen(1, 100), seen(2, 90)];
        let fates = decide(&documents, &[HeldOut::standard()], None).unwrap();
        assert_eq!(fates, [Fate::Train, Fate::HeldOut(0)]);
        let error = decide(&documents[..1], &[HeldOut::standard()], None).unwrap_err();
        assert_eq!(error.code(), "split_empty");
    }

    #[test]
    fn a_document_of_a_held_out_file_is_not_trained_on() {
        let mut own = seen(1, 10);
        own.set = Some(0);
        let documents = [own, seen(1, 10), seen(2, 10)];
        let fates = decide(&documents, &sets(&["own=some/path"]), None).unwrap();
        assert_eq!(fates, [Fate::HeldOut(0), Fate::Duplicate, Fate::Train]);
    }

    #[test]
    fn a_limited_corpus_is_a_part_of_the_whole() {
        let documents: Vec<Seen> = (0..100).map(|name| seen(name, 10)).collect();
        let fates = decide(&documents, &sets(&["10%"]), Some(500)).unwrap();
        let count = |wanted| fates.iter().filter(|fate| **fate == wanted).count();
        assert_eq!(count(Fate::LeftOut), 50);
        assert_eq!(count(Fate::HeldOut(0)), 5);
    }

    #[test]
    fn held_out_sets_are_read_from_shares_and_paths() {
        assert_eq!("1%".parse::<HeldOut>().unwrap(), HeldOut::standard());
        let path: HeldOut = "prose=some/folder".parse().unwrap();
        assert_eq!(path.from, HeldOutFrom::Path(PathBuf::from("some/folder")));
        for wrong in ["0%", "60%", "x=0", "train=1%", "nonsense", "a/b=1%"] {
            assert!(wrong.parse::<HeldOut>().is_err(), "{wrong}");
        }
        assert!(check_sets(&sets(&["a=30%", "b=30%"])).is_err());
        assert!(check_sets(&sets(&["a=1%", "a=2%"])).is_err());
        assert!(check_sets(&sets(&["1%", "a=1%"])).is_ok());
    }
}
