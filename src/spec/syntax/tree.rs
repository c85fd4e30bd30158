//! A YAML document as a tree in which every key and every value knows its place.
//!
//! Refuses to know what the keys mean. Scalars stay text: `1e-4` and `"1e-4"` are the same number to whoever
//! expects one.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use crate::spec::syntax::mistakes::{Findings, Place, Wrong};

/// A value and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) data: Data,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Data {
    /// Text as it was written, whether quoted or not.
    Scalar {
        text: String,
        /// Whether it stood between quotes.
        quoted: bool,
    },
    List(Vec<Node>),
    /// Keys and values, in the order of the file.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// Where the key stands.
    pub(crate) place: Place,
    pub(crate) value: Node,
}

/// Deeper nesting than any sweep has use for.
const DEPTH_MAX: usize = 32;

/// More values than any sweep has use for; aliases multiply them.
const NODES_MAX: usize = 200_000;

impl Node {
    /// Whether nothing was given: an empty value, `~` or `null`.
    pub(crate) fn is_null(&self) -> bool {
        match &self.data {
            Data::Scalar { text, quoted } => !quoted && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"),
            Data::List(_) | Data::Map(_) => false,
        }
    }

    /// What stands here, for a message: `a list`, `nothing`, or the text itself.
    pub(crate) fn found(&self) -> String {
        match &self.data {
            _ if self.is_null() => "nothing".to_owned(),
            Data::Scalar { text, .. } => quoted(text),
            Data::List(_) => "a list".to_owned(),
            Data::Map(_) => "a mapping".to_owned(),
        }
    }

    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Scalar { text, .. } if !self.is_null() => Some(text),
            Data::Scalar { .. } | Data::List(_) | Data::Map(_) => None,
        }
    }

    /// Where the text of a scalar begins, after its quote.
    pub(crate) fn text_place(&self) -> Place {
        match &self.data {
            Data::Scalar { quoted: true, .. } => self.place.right(1),
            Data::Scalar { .. } | Data::List(_) | Data::Map(_) => self.place,
        }
    }

    /// The value of a key of a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.data {
            Data::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value),
            Data::Scalar { .. } | Data::List(_) => None,
        }
    }

    /// How many values it is made of.
    fn size(&self) -> usize {
        match &self.data {
            Data::Scalar { .. } => 1,
            Data::List(items) => 1 + items.iter().map(Self::size).sum::<usize>(),
            Data::Map(entries) => 1 + entries.iter().map(|e| e.value.size()).sum::<usize>(),
        }
    }
}

/// A text between backticks, shortened to what a line can hold.
pub(crate) fn quoted(text: &str) -> String {
    const LENGTH_MAX: usize = 60;
    if text.chars().count() > LENGTH_MAX {
        let head: String = text.chars().take(LENGTH_MAX).collect();
        return format!("`{head}…`");
    }
    format!("`{text}`")
}

/// A list or mapping whose end has not been seen.
struct Open {
    node: Node,
    anchor: usize,
    /// The key whose value is awaited.
    key: Option<(String, Place)>,
}

/// Builds the tree of one document from the parser's events.
struct Builder<'a, 'f> {
    findings: &'a mut Findings<'f>,
    set: Option<usize>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

/// Reads the one document of `text`; `set` says which `--set` argument it is the value of.
///
/// Mistakes of YAML itself end the reading; keys that stand twice are reported and the first of them is kept.
pub(crate) fn parse(text: &str, set: Option<usize>, findings: &mut Findings) -> Option<Node> {
    // A byte-order mark is not content.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder {
        findings,
        set,
        open: Vec::new(),
        anchors: BTreeMap::new(),
        nodes: 0,
        root: None,
    };
    let mut parser = Parser::new_from_str(text);
    while let Some(next) = parser.next_event() {
        match next {
            Ok((event, span)) => {
                if let Err((place, wrong)) = builder.take(event, span) {
                    builder.findings.mistake(place, "", wrong);
                    return None;
                }
            }
            Err(error) => {
                let (place, wrong) = builder.syntax(&error, text);
                builder.findings.mistake(place, "", wrong);
                return None;
            }
        }
    }
    let mut root = builder.root.take();
    if let Some(root) = &mut root {
        report_duplicates(root, "", findings);
        merge(root, findings);
    }
    root
}

/// YAML's key for the entries of another mapping.
const MERGE: &str = "<<";

/// Puts the entries of `<<: *common` (or of several, `<<: [*a, *b]`) where they are named; what a mapping says itself
/// wins, then what is named first.
fn merge(node: &mut Node, findings: &mut Findings) {
    match &mut node.data {
        Data::Scalar { .. } => {}
        Data::List(items) => {
            for item in items {
                merge(item, findings);
            }
        }
        Data::Map(entries) => {
            for entry in entries.iter_mut() {
                merge(&mut entry.value, findings);
            }
            let (named, mut own): (Vec<Entry>, Vec<Entry>) = std::mem::take(entries)
                .into_iter()
                .partition(|entry| entry.key == MERGE);
            let mappings = named.into_iter().flat_map(|entry| match entry.value.data {
                Data::List(items) => items,
                Data::Scalar { .. } | Data::Map(_) => vec![entry.value],
            });
            for mapping in mappings {
                let Data::Map(others) = mapping.data else {
                    let wrong = Wrong::new("not a mapping").with("`<<: *common`, where `&common` stands at a mapping");
                    findings.mistake(mapping.place, MERGE, wrong);
                    continue;
                };
                let is_new = |other: &Entry| own.iter().all(|entry| entry.key != other.key);
                let new: Vec<Entry> = others.into_iter().filter(is_new).collect();
                own.extend(new);
            }
            *entries = own;
        }
    }
}

impl Builder<'_, '_> {
    fn place(&self, marker: saphyr_parser::Marker) -> Place {
        Place {
            line: marker.line(),
            column: marker.col() + 1,
            set: self.set,
        }
    }

    fn syntax(&self, error: &ScanError, text: &str) -> (Place, Wrong) {
        let place = self.place(*error.marker());
        let wrong = Wrong::new(format!("not valid YAML: {}", error.info()));
        let line = text.lines().nth(place.line.saturating_sub(1));
        let tabs = line.is_some_and(|line| line.trim_start_matches(' ').starts_with('\t'));
        let suggestion = tabs.then_some("indent with spaces, not tabs");
        (place, wrong.maybe(suggestion))
    }

    fn take(&mut self, event: Event, span: Span) -> Result<(), (Place, Wrong)> {
        let place = self.place(span.start);
        match event {
            Event::DocumentStart(_) if self.root.is_some() => Err((
                place,
                Wrong::new("a sweep file holds one document, and here a second begins").with("one file for each sweep"),
            )),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
            Event::Scalar(text, style, anchor, _tag) => {
                let data = Data::Scalar {
                    text: text.into_owned(),
                    quoted: style != ScalarStyle::Plain,
                };
                self.close(Node { place, data }, anchor)
            }
            Event::Alias(anchor) => {
                // The parser refuses names that no anchor gave; what is missing here is still open: a cycle.
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err((place, Wrong::new("an alias inside its own anchor")));
                };
                let node = Node {
                    place,
                    data: node.data.clone(),
                };
                self.nodes += node.size();
                self.close(node, 0)
            }
            Event::SequenceStart(anchor, _tag) => self.begin(place, Data::List(Vec::new()), anchor),
            Event::MappingStart(anchor, _tag) => self.begin(place, Data::Map(Vec::new()), anchor),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.close(open.node, open.anchor),
                None => Err((place, Wrong::new("an end without a beginning"))),
            },
        }
    }

    fn begin(&mut self, place: Place, data: Data, anchor: usize) -> Result<(), (Place, Wrong)> {
        if self.open.len() >= DEPTH_MAX {
            return Err((place, Wrong::new(format!("nested deeper than {DEPTH_MAX} levels"))));
        }
        self.open.push(Open {
            node: Node { place, data },
            anchor,
            key: None,
        });
        Ok(())
    }

    /// Puts a finished value where it belongs.
    fn close(&mut self, node: Node, anchor: usize) -> Result<(), (Place, Wrong)> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err((node.place, Wrong::new(format!("more than {NODES_MAX} values"))));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.node.data {
            Data::List(items) => items.push(node),
            Data::Map(entries) => match open.key.take() {
                Some((key, place)) => entries.push(Entry {
                    key,
                    place,
                    value: node,
                }),
                None => match node.data {
                    Data::Scalar { text, .. } => open.key = Some((text, node.place)),
                    Data::List(_) | Data::Map(_) => {
                        return Err((node.place, Wrong::new("a key must be a word")));
                    }
                },
            },
            Data::Scalar { .. } => {}
        }
        Ok(())
    }
}

/// Reports keys that stand twice in one mapping.
fn report_duplicates(node: &Node, path: &str, findings: &mut Findings) {
    match &node.data {
        Data::Scalar { .. } => {}
        Data::List(items) => {
            for item in items {
                report_duplicates(item, path, findings);
            }
        }
        Data::Map(entries) => {
            let mut first: BTreeMap<&str, usize> = BTreeMap::new();
            for entry in entries {
                let key = join(path, &entry.key);
                match first.get(entry.key.as_str()) {
                    Some(line) => {
                        let wrong = Wrong::new(format!("given twice, the first time in line {line}"))
                            .with("keep one of the two");
                        findings.mistake(entry.place, &key, wrong);
                    }
                    None => {
                        first.insert(&entry.key, entry.place.line);
                    }
                }
                report_duplicates(&entry.value, &key, findings);
            }
        }
    }
}

/// A dotted path with one more key.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::syntax::mistakes::Mistake;

    fn read(text: &str) -> Result<Node, Vec<Mistake>> {
        let mut findings = Findings::new("f", &[]);
        let node = parse(text, None, &mut findings);
        findings.conclude(node).map(|(node, _)| node)
    }

    fn first_mistake(text: &str) -> (usize, usize, String) {
        let mistakes = read(text).expect_err(text);
        (mistakes[0].line, mistakes[0].column, mistakes[0].message.clone())
    }

    #[test]
    fn merge_keys_give_what_a_mapping_does_not_say_itself() {
        let text = "x-a: &a {p: 1, q: 2}\nx-b: &b {q: 3, r: 4}\nc:\n  <<: [*a, *b]\n  p: 5\nd: {<<: *b}\n";
        let node = read(text).expect("valid");
        let word = |map: &str, key: &str| match &node.get(map)?.get(key)?.data {
            Data::Scalar { text, .. } => Some(text.clone()),
            Data::List(_) | Data::Map(_) => None,
        };
        let words = [("c", "p"), ("c", "q"), ("c", "r"), ("d", "q"), ("d", "r")].map(|(map, key)| word(map, key));
        assert_eq!(words.map(Option::unwrap), ["5", "2", "4", "3", "4"]);
        assert!(node.get("c").unwrap().get("<<").is_none());
        let (line, column, message) = first_mistake("a: 1\nb: {<<: 7}\n");
        assert_eq!((line, column), (2, 9), "{message}");
    }

    #[test]
    fn every_value_knows_its_line_and_column() {
        let node = read("a: 1e-4\nbé: [1, x]\n").expect("valid");
        let list = node.get("bé").expect("given");
        assert_eq!((list.place.line, list.place.column), (2, 5));
        let Data::List(items) = &list.data else {
            panic!("a list")
        };
        assert_eq!((items[1].place.line, items[1].place.column), (2, 9));
        assert_eq!(node.get("a").and_then(Node::text), Some("1e-4"));
    }

    #[test]
    fn mistakes_of_yaml_have_their_place() {
        assert_eq!(first_mistake("a: b: c\n").0, 1);
        assert_eq!(first_mistake("a: 1\nb: [1\n").0, 3);
        let (line, column, message) = first_mistake("a:\n  b: 1\n  c: 2\n  b: 3\n");
        assert_eq!((line, column), (4, 3));
        assert!(message.contains("line 2"), "{message}");
        assert_eq!(first_mistake("a: 1\n---\nb: 2\n").0, 2);
        assert_eq!(first_mistake("? [a]\n: 1\n").0, 1);
    }

    #[test]
    fn aliases_stand_for_their_anchors_and_cannot_explode() {
        let node = read("a: &x [1, 2]\nb: *x\n").expect("valid");
        assert_eq!(node.get("a").map(Node::size), node.get("b").map(Node::size));
        let level = |level: u32| {
            let alias = format!("*a{}, ", level.saturating_sub(1)).repeat(10);
            format!("a{level}: &a{level} [{alias}]\n")
        };
        let levels: String = (1..9).map(level).collect();
        let bomb = format!("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n{levels}");
        assert!(first_mistake(&bomb).2.contains("values"));
        assert!(read("a: &x [*x]\n").is_err());
        assert!(read(&"[".repeat(5000)).is_err());
    }
}
