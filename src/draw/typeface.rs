//! The type of the figures: Inter, cut down to what figures and page write (see `fonts/LICENSE.txt`), and how wide
//! its words are.
//!
//! The same bytes draw the PNG and travel in the page, so that words are equally wide everywhere. Refuses to know
//! where words go.

use std::convert::Infallible;
use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, PxScale, ScaleFont};
use plotters_backend::text_anchor::{HPos, Pos, VPos};
use plotters_backend::{BackendColor, BackendCoord, BackendTextStyle, FontFamily, FontStyle};

use crate::draw::palette::Role;

pub(crate) const REGULAR: &[u8] = include_bytes!("fonts/Inter-Regular.ttf");
pub(crate) const SEMIBOLD: &[u8] = include_bytes!("fonts/Inter-SemiBold.ttf");
/// The family and what stands in for it where it is missing.
pub(crate) const FAMILY: &str = "Inter,'Helvetica Neue',Arial,sans-serif";

static FONTS: LazyLock<[FontRef<'static>; 2]> = LazyLock::new(|| {
    [REGULAR, SEMIBOLD].map(|bytes| FontRef::try_from_slice(bytes).expect("the fonts in the repository are whole"))
});

/// The weight of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    Regular,
    /// Titles and labels of lines.
    SemiBold,
}

impl Weight {
    fn font(self) -> &'static FontRef<'static> {
        match self {
            Self::Regular => &FONTS[0],
            Self::SemiBold => &FONTS[1],
        }
    }
}

/// How wide a line of text is, in the units of `em`, its size.
pub(crate) fn width(text: &str, em: f64, weight: Weight) -> f64 {
    let font = weight.font();
    let units = font.units_per_em().unwrap_or(1000.0);
    let advance: f32 = text
        .chars()
        .map(|letter| font.h_advance_unscaled(font.glyph_id(letter)))
        .sum();
    f64::from(advance / units) * em
}

/// Breaks words into lines no wider than `limit`; a longer word stands alone.
pub(crate) fn wrap(text: &str, em: f64, limit: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width(&format!("{line} {word}"), em, Weight::Regular) <= limit => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A line of text on a surface: its anchor is its baseline. Sizes are in the surface's units.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Type {
    /// Size of the em.
    pub(crate) em: f64,
    pub(crate) weight: Weight,
    pub(crate) role: Role,
    /// Which end stands at the anchor.
    pub(crate) align: Align,
}

/// Which part of a line of text stands at its anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Centre,
    Right,
}

impl BackendTextStyle for Type {
    type FontError = Infallible;

    fn color(&self) -> BackendColor {
        BackendColor {
            alpha: 1.0,
            rgb: self.role.light(),
        }
    }

    fn size(&self) -> f64 {
        self.em
    }

    fn style(&self) -> FontStyle {
        match self.weight {
            Weight::Regular => FontStyle::Normal,
            Weight::SemiBold => FontStyle::Bold,
        }
    }

    fn anchor(&self) -> Pos {
        let horizontal = match self.align {
            Align::Left => HPos::Left,
            Align::Centre => HPos::Center,
            Align::Right => HPos::Right,
        };
        Pos::new(horizontal, VPos::Top)
    }

    fn family(&self) -> FontFamily<'_> {
        FontFamily::Name(FAMILY)
    }

    /// As wide as the words and without height: the anchor is the baseline.
    fn layout_box(&self, text: &str) -> Result<((i32, i32), (i32, i32)), Infallible> {
        let width = width(text, self.em, self.weight).round() as i32;
        Ok(((0, 0), (width, 0)))
    }

    fn draw<E, DrawFunc: FnMut(i32, i32, BackendColor) -> Result<(), E>>(
        &self,
        text: &str,
        (left, baseline): BackendCoord,
        mut draw: DrawFunc,
    ) -> Result<Result<(), E>, Infallible> {
        let font = self.weight.font();
        let units = font.units_per_em().unwrap_or(1000.0);
        // ab_glyph scales by the height of a line, not by the em.
        let scale = PxScale::from(self.em as f32 * font.height_unscaled() / units);
        let scaled = font.as_scaled(scale);
        let mut pen = left as f32;
        let mut result = Ok(());
        for letter in text.chars() {
            let id = scaled.glyph_id(letter);
            let glyph = id.with_scale_and_position(scale, ab_glyph::point(pen, baseline as f32));
            pen += scaled.h_advance(id);
            let Some(outline) = scaled.outline_glyph(glyph) else {
                continue;
            };
            let bounds = outline.px_bounds();
            outline.draw(|x, y, coverage| {
                if result.is_ok() && coverage > 0.0 {
                    let x = bounds.min.x as i32 + x.cast_signed();
                    let y = bounds.min.y as i32 + y.cast_signed();
                    let colour = self.color().mix(f64::from(coverage.min(1.0)));
                    result = draw(x, y, colour);
                }
            });
        }
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_that_figures_write_is_in_both_cuts() {
        let letters = "abcxyzABCXYZ0123456789 .,:;+-−–×%()/·≤≥±αβ∞\u{2009}";
        for weight in [Weight::Regular, Weight::SemiBold] {
            for letter in letters.chars() {
                assert_ne!(weight.font().glyph_id(letter).0, 0, "{letter}");
            }
        }
    }

    #[test]
    fn wrapped_lines_keep_every_word_and_their_limit() {
        let text = "losses on the held-out set at the end of a finished schedule";
        let lines = wrap(text, 10.0, 120.0);
        assert!(lines.len() > 1);
        assert_eq!(lines.join(" "), text);
        assert!(lines.iter().all(|line| width(line, 10.0, Weight::Regular) <= 120.0));
    }
}
