//! Shapes in the units of a figure, on any plotters surface.
//!
//! Refuses to know data and axes.

use plotters_backend::{BackendColor, BackendCoord, BackendStyle, DrawingBackend, DrawingErrorKind};

use crate::draw::palette::Role;
use crate::draw::typeface::{Align, Type, Weight};

/// A plotters surface on which shapes can carry a text under the pointer.
pub(crate) trait Surface: DrawingBackend {
    /// What follows belongs to `hover`.
    fn open(&mut self, hover: &str);
    /// What follows belongs to nothing.
    fn close(&mut self);
}

/// What a surface answers.
pub(crate) type Drawn<S> = Result<(), DrawingErrorKind<<S as DrawingBackend>::ErrorType>>;

/// How much a veil covers.
const VEIL: f64 = 0.15;

/// A colour and a width, in the units of the surface.
#[derive(Clone, Copy)]
pub(crate) struct Pen {
    role: Role,
    width: u32,
    alpha: f64,
}

impl BackendStyle for Pen {
    fn color(&self) -> BackendColor {
        BackendColor {
            alpha: self.alpha,
            rgb: self.role.light(),
        }
    }

    fn stroke_width(&self) -> u32 {
        self.width
    }
}

/// A rectangle in the units of a figure; y runs down.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rect {
    pub(crate) left: f64,
    /// Upper edge.
    pub(crate) top: f64,
    pub(crate) right: f64,
    pub(crate) bottom: f64,
}

impl Rect {
    pub(crate) fn width(self) -> f64 {
        self.right - self.left
    }

    pub(crate) fn height(self) -> f64 {
        self.bottom - self.top
    }
}

/// A surface with `scale` of its pixels to a unit of the figure.
pub(crate) struct Canvas<S> {
    surface: S,
    scale: f64,
}

impl<S: Surface> Canvas<S> {
    /// A canvas on `surface`.
    pub(crate) fn new(surface: S, scale: f64) -> Self {
        Self { surface, scale }
    }

    /// The surface with what was drawn.
    pub(crate) fn finish(self) -> S {
        self.surface
    }

    /// Everything that `shapes` draws belongs to `hover`.
    pub(crate) fn hover(&mut self, hover: Option<&str>, shapes: impl FnOnce(&mut Self) -> Drawn<S>) -> Drawn<S> {
        let Some(hover) = hover else {
            return shapes(self);
        };
        self.surface.open(hover);
        shapes(self)?;
        self.surface.close();
        Ok(())
    }

    /// A line through points.
    pub(crate) fn line(&mut self, points: &[[f64; 2]], role: Role, width: f64) -> Drawn<S> {
        let mut path: Vec<BackendCoord> = points.iter().map(|&point| self.at(point)).collect();
        path.dedup();
        if path.len() < 2 {
            return Ok(());
        }
        let pen = self.pen(role, width);
        self.surface.draw_path(path, &pen)
    }

    /// A line of dashes, `on` long with gaps of `off`.
    pub(crate) fn dashes(&mut self, points: &[[f64; 2]], role: Role, width: f64, [on, off]: [f64; 2]) -> Drawn<S> {
        for dash in cut(points, on, off) {
            self.line(&dash, role, width)?;
        }
        Ok(())
    }

    pub(crate) fn fill(&mut self, corners: &[[f64; 2]], role: Role) -> Drawn<S> {
        let corners: Vec<BackendCoord> = corners.iter().map(|&corner| self.at(corner)).collect();
        if corners.len() < 3 {
            return Ok(());
        }
        let pen = self.pen(role, 1.0);
        self.surface.fill_polygon(corners, &pen)
    }

    /// A ground through which what lies below is seen.
    pub(crate) fn veil(&mut self, corners: &[[f64; 2]], role: Role) -> Drawn<S> {
        let corners: Vec<BackendCoord> = corners.iter().map(|&corner| self.at(corner)).collect();
        if corners.len() < 3 {
            return Ok(());
        }
        let pen = Pen {
            alpha: VEIL,
            ..self.pen(role, 1.0)
        };
        self.surface.fill_polygon(corners, &pen)
    }

    pub(crate) fn disc(&mut self, centre: [f64; 2], radius: f64, role: Role) -> Drawn<S> {
        let centre = self.at(centre);
        let radius = (radius * self.scale).round() as u32;
        let pen = self.pen(role, 1.0);
        self.surface.draw_circle(centre, radius, &pen, true)
    }

    /// Words with their baseline at a point.
    pub(crate) fn words(&mut self, text: &str, at: [f64; 2], style: &Words) -> Drawn<S> {
        if text.is_empty() {
            return Ok(());
        }
        let at = self.at(at);
        let style = Type {
            em: style.em * self.scale,
            weight: style.weight,
            role: style.role,
            align: style.align,
        };
        self.surface.draw_text(text, &style, at)
    }

    fn at(&self, [x, y]: [f64; 2]) -> BackendCoord {
        let whole = |value: f64| (value * self.scale).round() as i32;
        (whole(x), whole(y))
    }

    fn pen(&self, role: Role, width: f64) -> Pen {
        Pen {
            role,
            width: ((width * self.scale).round() as u32).max(1),
            alpha: 1.0,
        }
    }
}

/// How words look, in the units of a figure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words {
    /// Size of the em.
    pub(crate) em: f64,
    pub(crate) weight: Weight,
    pub(crate) role: Role,
    /// Which end stands at the anchor.
    pub(crate) align: Align,
}

impl Words {
    /// Regular words that start at their anchor.
    pub(crate) fn new(em: f64, role: Role) -> Self {
        Self {
            em,
            weight: Weight::Regular,
            role,
            align: Align::Left,
        }
    }

    pub(crate) fn semi_bold(self) -> Self {
        Self {
            weight: Weight::SemiBold,
            ..self
        }
    }

    /// The same, aligned otherwise.
    pub(crate) fn aligned(self, align: Align) -> Self {
        Self { align, ..self }
    }
}

/// Cuts a line into dashes.
fn cut(points: &[[f64; 2]], on: f64, off: f64) -> Vec<Vec<[f64; 2]>> {
    let mut dashes = Vec::new();
    let mut dash: Vec<[f64; 2]> = points.first().copied().into_iter().collect();
    let (mut drawing, mut left) = (true, on);
    for pair in points.windows(2) {
        let ([mut x, mut y], [to_x, to_y]) = (pair[0], pair[1]);
        loop {
            let rest = (to_x - x).hypot(to_y - y);
            if rest < left {
                left -= rest;
                if drawing {
                    dash.push([to_x, to_y]);
                }
                break;
            }
            x += (to_x - x) / rest * left;
            y += (to_y - y) / rest * left;
            if drawing {
                dash.push([x, y]);
                dashes.push(std::mem::take(&mut dash));
            } else {
                dash.push([x, y]);
            }
            drawing = !drawing;
            left = if drawing { on } else { off };
        }
    }
    if drawing && dash.len() > 1 {
        dashes.push(dash);
    }
    dashes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_are_as_long_as_asked_and_stay_on_the_line() {
        let dashes = cut(&[[0.0, 0.0], [10.0, 0.0], [10.0, 3.0]], 4.0, 2.0);
        assert_eq!(dashes.len(), 3);
        assert_eq!(dashes[0], vec![[0.0, 0.0], [4.0, 0.0]]);
        assert_eq!(dashes[1], vec![[6.0, 0.0], [10.0, 0.0]]);
        assert_eq!(dashes[2], vec![[10.0, 2.0], [10.0, 3.0]]);
    }
}
