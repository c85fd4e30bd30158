//! Enums whose values are words: one list gives the variants, their names, and how names are read back.
//!
//! Refuses to know any of the enums.

/// Declares an enum of words.
///
/// Each variant stands beside its word, which is its name in files, in the database and in JSON. The enum gets `ALL` and
/// `WORDS` in the order of the list, `name`, and `parse`, which knows no word that is not in the list.
macro_rules! words {
    (
        $(#[$of_enum:meta])*
        $access:vis enum $name:ident {
            $($(#[$of_variant:meta])* $variant:ident = $word:literal,)+
        }
    ) => {
        $(#[$of_enum])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        $access enum $name {
            $($(#[$of_variant])* #[serde(rename = $word)] $variant,)+
        }

        #[allow(unused_doc_comments, reason = "the attributes of a variant hold for what is made of it: a test has variants of its own")]
        #[allow(clippy::allow_attributes, reason = "not every enum has such a variant")]
        impl $name {
            /// Every value, in the order of lists and tables.
            $access const ALL: &'static [Self] = &[$($(#[$of_variant])* Self::$variant,)+];

            /// The names of all of them.
            $access const WORDS: &'static [&'static str] = &[$($(#[$of_variant])* $word,)+];

            /// The name in files, in the database and in JSON.
            $access const fn name(self) -> &'static str {
                match self {
                    $($(#[$of_variant])* Self::$variant => $word,)+
                }
            }

            /// The value of this name; none for any other word.
            $access fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.name() == word)
            }
        }
    };
}

pub(crate) use words;

#[cfg(test)]
mod tests {
    words! {
        /// Two words, and one of a test.
        enum Metal {
            /// Soft.
            Tin = "tin",
            /// Hard.
            Iron = "iron",
            /// Only here.
            #[cfg(test)]
            White = "white_gold",
        }
    }

    #[test]
    fn every_word_is_read_back_and_no_other_is() {
        assert_eq!(Metal::WORDS, ["tin", "iron", "white_gold"]);
        for &metal in Metal::ALL {
            assert_eq!(Metal::parse(metal.name()), Some(metal));
            assert_eq!(serde_json::json!(metal), metal.name());
        }
        assert_eq!(Metal::parse("Tin"), None);
        assert_eq!(Metal::parse("white"), None);
    }
}
