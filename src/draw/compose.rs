//! How the panels of a figure are laid out on a wide page, on a narrow one and in a file.
//!
//! Refuses to know how a panel is drawn and on what.

use std::collections::BTreeSet;

use crate::draw::DrawError;
use crate::draw::canvas::{Canvas, Drawn, Rect, Surface, Words};
use crate::draw::palette::Role;
use crate::draw::panel;
use crate::draw::typeface::{Weight, width, wrap};
use crate::report::view::{FigureView, Ink, Mark};

/// Width of a wide figure.
const WIDE: f64 = 1080.0;
/// Width of a narrow figure: a phone's page of 390 without its margins.
const NARROW: f64 = 358.0;
/// Width and height of a panel with little in it.
const SMALL_PANEL: [f64; 2] = [560.0, 270.0];
/// Dots at so many places are few.
const PLACES_FEW: usize = 4;
const GAP: f64 = 28.0;
const MARGIN: f64 = 24.0;
/// Size of small words, and the height of their lines.
const SMALL: f64 = 12.0;
const SMALL_LINE: f64 = 17.0;
/// Height of a line of the key.
const KEY_LINE: f64 = 20.0;

/// Where a figure stands.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Layout<'a> {
    /// On the page, on a wide screen or paper; title and caption are the page's.
    Wide,
    /// On the page, on a narrow screen.
    Narrow,
    /// Alone, with its title and caption.
    File {
        /// The sweep it belongs to.
        sweep: &'a str,
    },
}

/// Every measure of a laid-out figure.
struct Plan {
    width: f64,
    margin: f64,
    head: f64,
    key: Vec<(f64, f64)>,
    key_height: f64,
    columns: usize,
    panel_width: f64,
    panel_height: f64,
    rows: usize,
    foot: Vec<String>,
}

impl Plan {
    fn of(figure: &FigureView, layout: Layout<'_>) -> Self {
        let panels = figure.panels().len().max(1);
        let (inner, margin, columns) = match layout {
            Layout::Wide => (WIDE, 0.0, columns(panels)),
            Layout::Narrow => (NARROW, 0.0, 1),
            Layout::File { .. } => (WIDE, MARGIN, columns(panels)),
        };
        let panel_width = if is_small(figure) {
            inner.min(SMALL_PANEL[0])
        } else {
            (inner - GAP * (columns - 1) as f64) / columns as f64
        };
        let panel_height = match (layout, columns) {
            (Layout::Narrow, _) => 300.0,
            (Layout::Wide | Layout::File { .. }, _) if is_small(figure) => SMALL_PANEL[1],
            (Layout::Wide | Layout::File { .. }, 1) => 480.0,
            (Layout::Wide | Layout::File { .. }, 2) => 380.0,
            (Layout::Wide | Layout::File { .. }, _) => 330.0,
        };
        let (head, foot) = match layout {
            Layout::Wide | Layout::Narrow => (0.0, Vec::new()),
            Layout::File { .. } => {
                let mut text = figure.caption.clone();
                text.extend(figure.omitted_sentence().map(|more| format!(" {more}")));
                (34.0, wrap(&text, SMALL, inner))
            }
        };
        let (key, key_height) = key_places(&figure.key, inner);
        Self {
            width: inner + 2.0 * margin,
            margin,
            head,
            key,
            key_height,
            columns,
            panel_width,
            panel_height,
            rows: panels.div_ceil(columns),
            foot,
        }
    }

    fn height(&self) -> f64 {
        let rows = self.rows as f64;
        let foot = if self.foot.is_empty() {
            0.0
        } else {
            10.0 + SMALL_LINE * self.foot.len() as f64
        };
        2.0 * self.margin + self.head + self.key_height + rows * self.panel_height + (rows - 1.0) * GAP + foot
    }

    fn panel(&self, at: usize) -> Rect {
        let column = (at % self.columns) as f64;
        let row = (at / self.columns) as f64;
        let left = self.margin + column * (self.panel_width + GAP);
        let top = self.margin + self.head + self.key_height + row * (self.panel_height + GAP);
        Rect {
            left,
            top,
            right: left + self.panel_width,
            bottom: top + self.panel_height,
        }
    }
}

/// Whether there is so little to see that a whole width would be empty: one panel of dots at a few places.
fn is_small(figure: &FigureView) -> bool {
    let [panel] = figure.panels() else {
        return false;
    };
    let is_line = |mark: &Mark| matches!(mark, Mark::Line { .. } | Mark::Area { .. } | Mark::Field { .. });
    let place = |mark: &Mark| match mark {
        Mark::Dot { at, .. } => Some(at[0].to_bits()),
        _ => None,
    };
    let places: BTreeSet<u64> = panel.marks.iter().filter_map(place).collect();
    places.len() <= PLACES_FEW && !panel.marks.iter().any(is_line)
}

fn columns(panels: usize) -> usize {
    match panels {
        0 | 1 => 1,
        2 | 4 => 2,
        _ => 3,
    }
}

/// Where the entries of a key start, and the height of its lines.
fn key_places(key: &[(Ink, String)], limit: f64) -> (Vec<(f64, f64)>, f64) {
    let mut places = Vec::new();
    let (mut x, mut y) = (0.0, 0.0);
    for (_, label) in key {
        let wide = 14.0 + width(label, SMALL, Weight::Regular) + 18.0;
        if x > 0.0 && x + wide > limit {
            x = 0.0;
            y += KEY_LINE;
        }
        places.push((x, y));
        x += wide;
    }
    let height = if key.is_empty() { 0.0 } else { y + KEY_LINE + 6.0 };
    (places, height)
}

/// Width and height of a figure.
pub(crate) fn size(figure: &FigureView, layout: Layout<'_>) -> [f64; 2] {
    let plan = Plan::of(figure, layout);
    [plan.width, plan.height()]
}

/// Draws a figure on a surface of `scale` pixels to a unit, and gives the surface back.
pub(crate) fn figure<S: Surface>(
    figure: &FigureView,
    layout: Layout<'_>,
    surface: S,
    scale: f64,
) -> Result<S, DrawError> {
    let mut canvas = Canvas::new(surface, scale);
    draw(figure, layout, &mut canvas).map_err(|error| DrawError::Surface {
        figure: figure.name,
        cause: error.to_string(),
    })?;
    Ok(canvas.finish())
}

fn draw<S: Surface>(figure: &FigureView, layout: Layout<'_>, canvas: &mut Canvas<S>) -> Drawn<S> {
    let plan = Plan::of(figure, layout);
    let left = plan.margin;
    if let Layout::File { sweep } = layout {
        let title = format!("{} \u{b7} {sweep}", figure.title);
        let style = Words::new(17.0, Role::Text).semi_bold();
        canvas.words(&title, [left, plan.margin + 15.0], &style)?;
    }
    let key_top = plan.margin + plan.head;
    for ((ink, label), &(x, y)) in figure.key.iter().zip(&plan.key) {
        let middle = key_top + y + KEY_LINE / 2.0;
        canvas.disc([left + x + 5.0, middle], 4.0, Role::of(*ink))?;
        let style = Words::new(SMALL, Role::Text);
        canvas.words(label, [left + x + 14.0, middle + 4.3], &style)?;
    }
    for (at, view) in figure.panels().iter().enumerate() {
        panel::draw(canvas, plan.panel(at), view)?;
    }
    let foot_top = plan.height() - plan.margin - SMALL_LINE * plan.foot.len() as f64;
    for (line, at) in plan.foot.iter().zip(0..) {
        let baseline = foot_top + SMALL_LINE * f64::from(at) + 12.0;
        canvas.words(line, [left, baseline], &Words::new(SMALL, Role::Muted))?;
    }
    Ok(())
}
