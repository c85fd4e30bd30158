//! The forms of marks: strokes, dots, and what stands in the strip above a panel.
//!
//! Refuses to know where a mark stands.

use crate::draw::canvas::{Canvas, Drawn, Surface};
use crate::draw::palette::Role;
use crate::report::view::{Beyond, Ink, Shape, Stroke};

pub(crate) fn line<S: Surface>(canvas: &mut Canvas<S>, points: &[[f64; 2]], ink: Ink, stroke: Stroke) -> Drawn<S> {
    match stroke {
        Stroke::Thin => canvas.line(points, Role::tint_of(ink), 1.1),
        Stroke::Raw => canvas.line(points, Role::tint_of(ink), 0.7),
        Stroke::Strong => canvas.line(points, Role::of(ink), 2.0),
        Stroke::Law => canvas.line(points, Role::of(ink), 1.8),
        Stroke::Beyond => canvas.dashes(points, Role::of(ink), 1.6, [6.0, 4.0]),
    }
}

pub(crate) fn dot<S: Surface>(canvas: &mut Canvas<S>, at: [f64; 2], radius: f64, ink: Ink, shape: Shape) -> Drawn<S> {
    let role = Role::of(ink);
    match shape {
        Shape::Disc => {
            canvas.disc(at, radius + 1.0, Role::Paper)?;
            canvas.disc(at, radius, role)
        }
        Shape::Ring => {
            canvas.disc(at, radius, role)?;
            canvas.disc(at, radius - 1.2, Role::Paper)
        }
        Shape::Diamond => {
            canvas.fill(&diamond(at, radius + 4.6), Role::Paper)?;
            canvas.fill(&diamond(at, radius + 3.2), role)?;
            canvas.fill(&diamond(at, radius + 0.8), Role::Paper)
        }
    }
}

fn diamond([x, y]: [f64; 2], reach: f64) -> [[f64; 2]; 4] {
    [[x, y - reach], [x + reach, y], [x, y + reach], [x - reach, y]]
}

pub(crate) fn beyond<S: Surface>(canvas: &mut Canvas<S>, [x, y]: [f64; 2], role: Role, why: Beyond) -> Drawn<S> {
    const REACH: f64 = 3.4;
    match why {
        Beyond::Diverged => {
            let falling = [[x - REACH, y - REACH], [x + REACH, y + REACH]];
            let rising = [[x - REACH, y + REACH], [x + REACH, y - REACH]];
            canvas.line(&falling, role, 1.8)?;
            canvas.line(&rising, role, 1.8)
        }
        Beyond::Above => {
            let corners = [[x, y - 4.0], [x + 4.2, y + 3.2], [x - 4.2, y + 3.2]];
            canvas.fill(&corners, role)
        }
    }
}
