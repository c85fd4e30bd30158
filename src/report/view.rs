//! What a report shows, as plain data: panels of axes and marks in the units of the data, tables, sentences.
//!
//! A view can be printed, stored and compared; it says what is drawn and in which role. Refuses to know pixels,
//! colours, fonts and markup.

use serde::Serialize;

/// The role of a mark, which a drawing turns into a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ink {
    /// A model size: its rank among `of` sizes, the smallest is 0.
    Size {
        /// Rank, from 0.
        rank: usize,
        /// How many sizes there are.
        of: usize,
    },
    /// One of a few kinds without an order (a schedule, say).
    Kind(usize),
    /// The colour of text: for marks that belong to the whole.
    Plain,
    Quiet,
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stroke {
    Thin,
    /// What was recorded, behind what is spoken about.
    Raw,
    /// One that is spoken about.
    Strong,
    /// A law inside the range of its data.
    Law,
    /// A law outside the range of its data.
    Beyond,
}

/// The form of a dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    Disc,
    /// A measurement that was held out, or one of many.
    Ring,
    Diamond,
}

/// Why a mark stands in the strip above a panel instead of at its height.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Beyond {
    /// The loss was not finite.
    Diverged,
    /// The loss is finite and above the top of the axis.
    Above,
}

/// Something that is drawn. Positions are `[x, y]` in the units of the axes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "mark")]
pub enum Mark {
    /// A line through points.
    Line {
        points: Vec<[f64; 2]>,
        ink: Ink,
        /// How it is drawn.
        stroke: Stroke,
        /// Text at its end.
        label: Option<String>,
        /// Text under the pointer.
        hover: Option<String>,
    },
    Dot {
        at: [f64; 2],
        ink: Ink,
        shape: Shape,
        /// Text under the pointer.
        hover: Option<String>,
    },
    Span {
        from: [f64; 2],
        to: [f64; 2],
        ink: Ink,
        /// Text under the pointer.
        hover: Option<String>,
    },
    /// A ground with so many corners, through which what lies below is seen: bands laid over each other are darker.
    Area {
        corners: Vec<[f64; 2]>,
        ink: Ink,
        /// Text under the pointer.
        hover: Option<String>,
    },
    /// A field of a map, which hides what lies below.
    Field {
        /// Its lower left corner.
        from: [f64; 2],
        /// Its upper right corner.
        to: [f64; 2],
        ink: Ink,
        /// Text under the pointer.
        hover: Option<String>,
    },
    /// A value that has no place on the y axis, in the strip above the panel.
    Off {
        /// Where on the x axis.
        x: f64,
        why: Beyond,
        /// Its role; marks of one role share a row.
        ink: Ink,
        /// Text under the pointer.
        hover: Option<String>,
    },
    /// A horizontal line through the whole panel.
    Level { y: f64 },
}

impl Mark {
    /// Where it stands along an axis: 0 is x, 1 is y. Grounds, strips and levels do not stretch an axis.
    pub(crate) fn along(&self, axis: usize) -> Vec<f64> {
        match self {
            Self::Line { points, .. } => points.iter().map(|point| point[axis]).collect(),
            Self::Dot { at, .. } => vec![at[axis]],
            Self::Span { from, to, .. } => vec![from[axis], to[axis]],
            Self::Area { .. } | Self::Field { .. } | Self::Off { .. } | Self::Level { .. } => Vec::new(),
        }
    }

    /// The ground between two lines, from `[x, low, high]`.
    pub(crate) fn band(edges: &[[f64; 3]], ink: Ink, hover: Option<String>) -> Self {
        let low = edges.iter().map(|&[x, low, _]| [x, low]);
        let high = edges.iter().rev().map(|&[x, _, high]| [x, high]);
        Self::Area {
            corners: low.chain(high).collect(),
            ink,
            hover,
        }
    }
}

/// How an axis runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Equal differences, equal lengths.
    Linear,
    /// Equal factors, equal lengths.
    Log,
}

/// How the numbers of an axis are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Numbers {
    /// `10k`, `3M`.
    Counts,
    /// `0.001`, `0.03`.
    Plain,
    /// `+0.02`, `-0.01`.
    Signed,
    /// `40%`.
    Percent,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Axis {
    /// What it shows, with its unit: `tokens`, `loss (nats per token)`.
    pub label: String,
    pub scale: Scale,
    /// How its numbers are written.
    pub numbers: Numbers,
    /// Its left or lower end.
    pub from: f64,
    /// Its right or upper end.
    pub to: f64,
}

/// One pair of axes with its marks, drawn in order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Panel {
    /// What sets it apart from its neighbours; empty when it is alone.
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    pub marks: Vec<Mark>,
}

/// A number of trials that a figure does not show, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Omitted {
    pub trials: usize,
    /// Why, as the end of a sentence: `diverged`.
    pub reason: String,
}

/// What a figure has to show.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Panels, in reading order.
    Panels(Vec<Panel>),
    /// Nothing, and the sentence that says why.
    Missing(String),
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FigureView {
    /// The name of its files.
    pub name: &'static str,
    pub title: String,
    /// What to see and how to read it.
    pub caption: String,
    /// Inks in words, for a key: only where lines cannot carry their own labels.
    pub key: Vec<(Ink, String)>,
    /// Its panels, or why there are none.
    pub content: Content,
    /// Trials that it does not show.
    pub omitted: Vec<Omitted>,
}

impl FigureView {
    /// Its panels; none when there is nothing to show.
    pub fn panels(&self) -> &[Panel] {
        match &self.content {
            Content::Panels(panels) => panels,
            Content::Missing(_) => &[],
        }
    }

    /// `12 trials are not shown: 8 diverged, 4 still running.`; none when all are.
    pub fn omitted_sentence(&self) -> Option<String> {
        let total: usize = self.omitted.iter().map(|group| group.trials).sum();
        let alone = self.omitted.len() == 1;
        let reasons: Vec<String> = self
            .omitted
            .iter()
            .map(|group| {
                if alone {
                    group.reason.clone()
                } else {
                    format!("{} {}", group.trials, group.reason)
                }
            })
            .collect();
        let verb = if total == 1 { "trial is" } else { "trials are" };
        (total > 0).then(|| format!("{total} {verb} not shown: {}.", reasons.join(", ")))
    }
}

/// A table: one heading a column, then rows of text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct Table {
    pub columns: Vec<Column>,
    /// Its rows; every row has one cell a column.
    pub rows: Vec<Vec<Cell>>,
}

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    pub title: &'static str,
    /// Whether it holds numbers.
    pub numeric: bool,
}

impl Column {
    /// A column of words.
    pub fn words(title: &'static str) -> Self {
        Self { title, numeric: false }
    }

    /// A column of numbers.
    pub fn numbers(title: &'static str) -> Self {
        Self { title, numeric: true }
    }
}

/// One cell: what is read, and what it is sorted by when that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// The text; empty when the value is missing.
    pub text: String,
    /// The value behind a text such as `3.1M`.
    pub sort: Option<String>,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, sort: None }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl Cell {
    /// A number as people read it, sorted by its value.
    pub fn number(text: String, value: f64) -> Self {
        Self {
            text,
            sort: Some(format!("{value:e}")),
        }
    }
}
