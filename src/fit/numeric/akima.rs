//! A smooth curve through points: Akima's (1970) piecewise cubic, which one bad point bends in its neighbourhood only.
//!
//! Refuses to say anything beyond its ends.

/// A curve through at least three points.
#[derive(Debug, Clone)]
pub(crate) struct Akima {
    points: Vec<(f64, f64)>,
    slopes: Vec<f64>,
}

impl Akima {
    /// The curve through points of strictly ascending x; `None` of fewer than three.
    pub(crate) fn through(points: Vec<(f64, f64)>) -> Option<Self> {
        if points.len() < 3 || points.windows(2).any(|pair| pair[1].0 <= pair[0].0) {
            return None;
        }
        let chords: Vec<f64> = points
            .windows(2)
            .map(|pair| (pair[1].1 - pair[0].1) / (pair[1].0 - pair[0].0))
            .collect();
        // Two chords beyond each end, in arithmetic progression.
        let last = chords.len() - 1;
        let [first_step, last_step] = [chords[0] - chords[1], chords[last] - chords[last - 1]];
        let mut extended = vec![chords[0] + 2.0 * first_step, chords[0] + first_step];
        extended.extend(&chords);
        extended.extend([chords[last] + last_step, chords[last] + 2.0 * last_step]);
        let slopes = extended.windows(4).map(slope).collect();
        Some(Self { points, slopes })
    }

    /// The value at x; `None` beyond the ends.
    pub(crate) fn value(&self, x: f64) -> Option<f64> {
        let (first, last) = (self.points.first()?.0, self.points.last()?.0);
        if !(first..=last).contains(&x) {
            return None;
        }
        let piece = self.points.partition_point(|point| point.0 <= x).saturating_sub(1);
        let piece = piece.min(self.points.len() - 2);
        Some(self.in_piece(piece, x - self.points[piece].0))
    }

    /// The lowest place and value between two of the points.
    pub(crate) fn lowest_between(&self, from: usize, to: usize) -> Option<(f64, f64)> {
        let mut candidates: Vec<(f64, f64)> = self.points[from..=to].to_vec();
        for piece in from..to {
            let [_, c1, c2, c3] = self.cubic(piece);
            let width = self.points[piece + 1].0 - self.points[piece].0;
            candidates.extend(
                roots(3.0 * c3, 2.0 * c2, c1)
                    .into_iter()
                    .filter(|t| (0.0..=width).contains(t))
                    .map(|t| (self.points[piece].0 + t, self.in_piece(piece, t))),
            );
        }
        candidates.into_iter().min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// The coefficients of a piece in the distance from its left end.
    fn cubic(&self, piece: usize) -> [f64; 4] {
        let ((x0, y0), (x1, y1)) = (self.points[piece], self.points[piece + 1]);
        let width = x1 - x0;
        let chord = (y1 - y0) / width;
        let (left, right) = (self.slopes[piece], self.slopes[piece + 1]);
        [
            y0,
            left,
            (3.0 * chord - 2.0 * left - right) / width,
            (left + right - 2.0 * chord) / (width * width),
        ]
    }

    fn in_piece(&self, piece: usize, t: f64) -> f64 {
        self.cubic(piece).iter().rev().fold(0.0, |sum, c| sum * t + c)
    }
}

/// Akima's slope between the second and the third of four chords: each counts by how little its other neighbour bends.
fn slope(chords: &[f64]) -> f64 {
    let (right, left) = ((chords[3] - chords[2]).abs(), (chords[1] - chords[0]).abs());
    let scale = chords.iter().fold(0.0, |max: f64, chord| max.max(chord.abs()));
    if right + left <= 1e-12 * scale {
        return 0.5 * (chords[1] + chords[2]);
    }
    (right * chords[1] + left * chords[2]) / (right + left)
}

/// The real roots of a·t² + b·t + c, in the form that does not cancel.
fn roots(a: f64, b: f64, c: f64) -> Vec<f64> {
    let discriminant = b * b - 4.0 * a * c;
    if discriminant < 0.0 {
        return Vec::new();
    }
    let q = -0.5 * (b + discriminant.sqrt().copysign(b));
    [(q, a), (c, q)]
        .into_iter()
        .filter(|&(_, divisor)| divisor.abs() > 0.0)
        .map(|(dividend, divisor)| dividend / divisor)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parabola_on_even_steps_is_reproduced() {
        let parabola = |x: f64| 2.0 + (x - 1.3).powi(2);
        let points = (0..6).map(|i| (f64::from(i), parabola(f64::from(i)))).collect();
        let curve = Akima::through(points).unwrap();
        for x in [0.0, 0.4, 1.7, 4.9, 5.0] {
            assert!((curve.value(x).unwrap() - parabola(x)).abs() < 1e-12, "{x}");
        }
        let (x, y) = curve.lowest_between(0, 2).unwrap();
        assert!((x - 1.3).abs() < 1e-12 && (y - 2.0).abs() < 1e-12);
        assert_eq!(curve.value(5.1), None);
    }

    #[test]
    fn a_straight_line_stays_one_beside_a_jump() {
        let points = [(0.0, 0.0), (1.0, 1.0), (2.0, 2.0), (3.0, 3.0), (4.0, 9.0), (5.0, 9.0)];
        let curve = Akima::through(points.to_vec()).unwrap();
        assert!((curve.value(1.5).unwrap() - 1.5).abs() < 1e-12);
        assert!(Akima::through(points[..2].to_vec()).is_none());
        assert!(Akima::through(vec![(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)]).is_none());
    }
}
