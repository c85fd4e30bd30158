//! One panel: its axes, its marks, and the labels at the ends of its lines.
//!
//! Refuses to know what the numbers mean.

use crate::draw::canvas::{Canvas, Drawn, Rect, Surface, Words};
use crate::draw::geometry::{clip, clip_ground, spread};
use crate::draw::palette::Role;
use crate::draw::shapes::{beyond, dot, line};
use crate::draw::ticks::{Tick, minor, share, ticks};
use crate::draw::typeface::{Align, Weight, width};
use crate::report::view::{Axis, Beyond, Ink, Mark, Panel, Scale};

const TITLE: f64 = 13.5;
const SMALL: f64 = 12.0;
/// Height of a label at the end of a line.
const LABEL_LINE: f64 = 15.0;
/// Widest label; longer ones are cut.
const LABEL_WIDTH_MAX: f64 = 150.0;
/// Height of a row of the strip above the panel.
const STRIP_ROW: f64 = 11.0;
/// More dots than this are drawn smaller.
const DOTS_LARGE_MAX: usize = 150;

/// Where the parts of a panel stand.
struct Frame<'a> {
    panel: &'a Panel,
    plot: Rect,
    x: Vec<Tick>,
    y: Vec<Tick>,
    strip: Vec<Ink>,
    labels: Vec<Label>,
    dots: usize,
}

/// A label at the end of a line.
struct Label {
    text: String,
    ink: Ink,
    /// Where the line ends.
    end: [f64; 2],
    /// Where the label's middle stands.
    y: f64,
}

/// Draws a panel into a rectangle.
pub(crate) fn draw<S: Surface>(canvas: &mut Canvas<S>, rect: Rect, panel: &Panel) -> Drawn<S> {
    let frame = Frame::of(rect, panel);
    frame.words_above(canvas, rect)?;
    frame.axes(canvas)?;
    for mark in &panel.marks {
        frame.mark(canvas, mark)?;
    }
    frame.labels(canvas)
}

impl<'a> Frame<'a> {
    fn of(rect: Rect, panel: &'a Panel) -> Self {
        let mut strip: Vec<Ink> = Vec::new();
        for mark in &panel.marks {
            if let Mark::Off { ink, .. } = mark
                && !strip.contains(ink)
            {
                strip.push(*ink);
            }
        }
        strip.sort_by_key(|ink| match ink {
            Ink::Size { rank, .. } => *rank,
            Ink::Kind(kind) => *kind,
            Ink::Plain | Ink::Quiet => 0,
        });
        let title = if panel.title.is_empty() { 0.0 } else { 22.0 };
        let strip_height = if strip.is_empty() {
            0.0
        } else {
            (STRIP_ROW * strip.len() as f64).max(LABEL_LINE * strip_words(panel).len() as f64) + 8.0
        };
        let top = rect.top + title + 24.0 + strip_height;
        let bottom = rect.bottom - 42.0;
        let y = ticks(&panel.y, bottom - top, &|_| SMALL * 1.6);
        let numbers = y
            .iter()
            .map(|tick| width(&tick.text, SMALL, Weight::Regular))
            .fold(0.0, f64::max);
        let left = rect.left + numbers.ceil() + 10.0;
        let right = rect.right - label_room(panel);
        let plot = Rect {
            left,
            top,
            right,
            bottom,
        };
        let x = ticks(&panel.x, right - left, &|text| width(text, SMALL, Weight::Regular));
        let dots = panel
            .marks
            .iter()
            .filter(|mark| matches!(mark, Mark::Dot { .. }))
            .count();
        let mut frame = Self {
            panel,
            plot,
            x,
            y,
            strip,
            labels: Vec::new(),
            dots,
        };
        frame.labels = frame.placed_labels();
        frame
    }

    fn x_of(&self, value: f64) -> f64 {
        self.plot.left + share(&self.panel.x, value) * self.plot.width()
    }

    fn y_of(&self, value: f64) -> f64 {
        self.plot.bottom - share(&self.panel.y, value) * self.plot.height()
    }

    /// The parts of a line inside the plot.
    fn inside(&self, points: &[[f64; 2]]) -> Vec<Vec<[f64; 2]>> {
        let placed: Vec<[f64; 2]> = points
            .iter()
            .filter(|[x, y]| placeable(&self.panel.x, *x) && placeable(&self.panel.y, *y))
            .map(|&[x, y]| [self.x_of(x), self.y_of(y)])
            .collect();
        clip(&placed, self.plot)
    }

    /// The part of a ground inside the plot.
    fn cut_out(&self, corners: &[[f64; 2]]) -> Vec<[f64; 2]> {
        let placed: Vec<[f64; 2]> = corners
            .iter()
            .filter(|[x, y]| placeable(&self.panel.x, *x) && placeable(&self.panel.y, *y))
            .map(|&[x, y]| [self.x_of(x), self.y_of(y)])
            .collect();
        clip_ground(&placed, self.plot)
    }

    /// The end of each labelled line, its label beside it, moved apart where two would touch.
    fn placed_labels(&self) -> Vec<Label> {
        let mut labels: Vec<Label> = self
            .panel
            .marks
            .iter()
            .filter_map(|mark| match mark {
                Mark::Line {
                    points,
                    ink,
                    label: Some(text),
                    ..
                } => {
                    let end = *self.inside(points).last()?.last()?;
                    Some(Label {
                        text: shorten(text),
                        ink: *ink,
                        end,
                        y: end[1],
                    })
                }
                Mark::Line { label: None, .. }
                | Mark::Dot { .. }
                | Mark::Span { .. }
                | Mark::Area { .. }
                | Mark::Field { .. }
                | Mark::Off { .. }
                | Mark::Level { .. } => None,
            })
            .collect();
        labels.sort_by(|a, b| a.end[1].total_cmp(&b.end[1]));
        let room = (self.plot.height() / LABEL_LINE) as usize;
        labels.truncate(room.max(1));
        let wanted: Vec<f64> = labels.iter().map(|label| label.end[1]).collect();
        let placed = spread(&wanted, LABEL_LINE, self.plot.top, self.plot.bottom);
        for (label, y) in labels.iter_mut().zip(placed) {
            label.y = y;
        }
        labels
    }

    fn words_above<S: Surface>(&self, canvas: &mut Canvas<S>, rect: Rect) -> Drawn<S> {
        let mut baseline = rect.top + 13.0;
        if !self.panel.title.is_empty() {
            let style = Words::new(TITLE, Role::Text).semi_bold();
            canvas.words(&self.panel.title, [rect.left, baseline], &style)?;
            baseline += 22.0;
        }
        let style = Words::new(SMALL, Role::Muted);
        canvas.words(&self.panel.y.label, [rect.left, baseline], &style)?;
        let style = style.aligned(Align::Centre);
        let middle = f64::midpoint(self.plot.left, self.plot.right);
        canvas.words(&self.panel.x.label, [middle, rect.bottom - 6.0], &style)
    }

    fn axes<S: Surface>(&self, canvas: &mut Canvas<S>) -> Drawn<S> {
        let Rect {
            left,
            right,
            top,
            bottom,
        } = self.plot;
        let numbers = Words::new(SMALL, Role::Muted);
        for tick in &self.y {
            let y = self.y_of(tick.value);
            canvas.line(&[[left, y], [right, y]], Role::Grid, 1.0)?;
            let style = numbers.aligned(Align::Right);
            canvas.words(&tick.text, [left - 7.0, y + 4.2], &style)?;
        }
        if !self.strip.is_empty() {
            let y = top - 4.0;
            canvas.dashes(&[[left, y], [right, y]], Role::Axis, 1.0, [2.0, 3.0])?;
            for (word, row) in strip_words(self.panel).into_iter().rev().zip(0..) {
                let baseline = y - 4.0 - LABEL_LINE * f64::from(row);
                canvas.words(word, [right + 8.0, baseline], &numbers)?;
            }
        }
        canvas.line(&[[left, bottom], [right, bottom]], Role::Axis, 1.0)?;
        for value in minor(&self.panel.x) {
            let x = self.x_of(value);
            canvas.line(&[[x, bottom], [x, bottom + 3.0]], Role::Axis, 1.0)?;
        }
        for tick in &self.x {
            let x = self.x_of(tick.value);
            canvas.line(&[[x, bottom], [x, bottom + 5.0]], Role::Axis, 1.0)?;
            let half = width(&tick.text, SMALL, Weight::Regular) / 2.0;
            let x = x.max(left - 4.0 + half).min(right + 10.0 - half);
            let style = numbers.aligned(Align::Centre);
            canvas.words(&tick.text, [x, bottom + 18.0], &style)?;
        }
        Ok(())
    }

    fn mark<S: Surface>(&self, canvas: &mut Canvas<S>, mark: &Mark) -> Drawn<S> {
        match mark {
            Mark::Line {
                points,
                ink,
                stroke,
                hover,
                ..
            } => canvas.hover(hover.as_deref(), |canvas| {
                self.inside(points)
                    .iter()
                    .try_for_each(|part| line(canvas, part, *ink, *stroke))
            }),
            Mark::Dot {
                at: [x, y],
                ink,
                shape,
                hover,
            } => {
                let at = [self.x_of(*x), self.y_of(*y)];
                if !holds(self.plot, at) {
                    return Ok(());
                }
                let radius = if self.dots > DOTS_LARGE_MAX { 2.2 } else { 3.4 };
                canvas.hover(hover.as_deref(), |canvas| dot(canvas, at, radius, *ink, *shape))
            }
            Mark::Span { from, to, ink, hover } => canvas.hover(hover.as_deref(), |canvas| {
                self.inside(&[*from, *to])
                    .iter()
                    .try_for_each(|part| canvas.line(part, Role::of(*ink), 2.0))
            }),
            Mark::Area { corners, ink, hover } => {
                let corners = self.cut_out(corners);
                canvas.hover(hover.as_deref(), |canvas| canvas.veil(&corners, Role::of(*ink)))
            }
            Mark::Field { from, to, ink, hover } => {
                let corners = self.cut_out(&[*from, [to[0], from[1]], *to, [from[0], to[1]]]);
                canvas.hover(hover.as_deref(), |canvas| canvas.fill(&corners, Role::of(*ink)))
            }
            Mark::Off { x, why, ink, hover } => {
                if !placeable(&self.panel.x, *x) {
                    return Ok(());
                }
                let row = self.strip.iter().position(|held| held == ink).unwrap_or(0);
                let y = self.plot.top - 8.0 - STRIP_ROW * (row as f64 + 0.5) + 2.0;
                let at = [self.x_of(*x).clamp(self.plot.left, self.plot.right), y];
                canvas.hover(hover.as_deref(), |canvas| beyond(canvas, at, Role::of(*ink), *why))
            }
            Mark::Level { y } => {
                let (left, right) = (self.plot.left, self.plot.right);
                let y = self.y_of(*y);
                canvas.line(&[[left, y], [right, y]], Role::Axis, 1.2)
            }
        }
    }

    fn labels<S: Surface>(&self, canvas: &mut Canvas<S>) -> Drawn<S> {
        let right = self.plot.right;
        for label in &self.labels {
            let [x, y] = label.end;
            let role = Role::tint_of(label.ink);
            let start = (x + 5.0).min(right + 1.0);
            if right - x > 24.0 {
                let knee = [right - 6.0, y];
                let leader = [[start, y], knee, [right + 5.0, label.y]];
                canvas.dashes(&leader, role, 1.0, [1.5, 2.5])?;
            } else if (label.y - y).abs() > 3.0 {
                canvas.line(&[[start, y], [right + 6.0, label.y]], role, 1.0)?;
            }
            let style = Words::new(SMALL, text_role(label.ink)).semi_bold();
            canvas.words(&label.text, [right + 8.0, label.y + 4.2], &style)?;
        }
        Ok(())
    }
}

/// What the strip above a panel holds, in words.
fn strip_words(panel: &Panel) -> Vec<&'static str> {
    let holds = |sought: Beyond| {
        panel
            .marks
            .iter()
            .any(|mark| matches!(mark, Mark::Off { why, .. } if *why == sought))
    };
    [(Beyond::Diverged, "diverged"), (Beyond::Above, "above")]
        .into_iter()
        .filter_map(|(why, word)| holds(why).then_some(word))
        .collect()
}

/// Room for the labels right of the plot.
fn label_room(panel: &Panel) -> f64 {
    let strip = strip_words(panel)
        .into_iter()
        .map(|word| width(word, SMALL, Weight::Regular).ceil() + 12.0)
        .fold(12.0, f64::max);
    panel
        .marks
        .iter()
        .filter_map(|mark| match mark {
            Mark::Line { label: Some(text), .. } => Some(width(&shorten(text), SMALL, Weight::SemiBold).ceil() + 12.0),
            Mark::Line { label: None, .. }
            | Mark::Dot { .. }
            | Mark::Span { .. }
            | Mark::Area { .. }
            | Mark::Field { .. }
            | Mark::Off { .. }
            | Mark::Level { .. } => None,
        })
        .fold(strip, f64::max)
}

/// A label as far as there is room for it.
fn shorten(text: &str) -> String {
    if width(text, SMALL, Weight::SemiBold) <= LABEL_WIDTH_MAX {
        return text.to_owned();
    }
    let mut short = String::new();
    for letter in text.chars() {
        short.push(letter);
        if width(&short, SMALL, Weight::SemiBold) > LABEL_WIDTH_MAX - SMALL {
            short.pop();
            break;
        }
    }
    short + "\u{2026}"
}

/// Lines in the background have labels in the colour of small words.
fn text_role(ink: Ink) -> Role {
    match ink {
        Ink::Quiet => Role::Muted,
        Ink::Size { .. } | Ink::Kind(_) | Ink::Plain => Role::of(ink),
    }
}

/// Whether a value has a place on an axis.
fn placeable(axis: &Axis, value: f64) -> bool {
    value.is_finite() && (axis.scale == Scale::Linear || value > 0.0)
}

fn holds(plot: Rect, [x, y]: [f64; 2]) -> bool {
    (plot.left - 0.5..=plot.right + 0.5).contains(&x) && (plot.top - 0.5..=plot.bottom + 0.5).contains(&y)
}
