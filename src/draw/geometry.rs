//! Lines cut to a rectangle, labels moved apart.
//!
//! Refuses to know what lines and labels stand for.

use crate::draw::canvas::Rect;

/// The parts of a polyline inside a rectangle (Liang and Barsky 1984, segment by segment).
pub(crate) fn clip(points: &[[f64; 2]], plot: Rect) -> Vec<Vec<[f64; 2]>> {
    let mut parts: Vec<Vec<[f64; 2]>> = Vec::new();
    let mut open = false;
    for pair in points.windows(2) {
        let ([x, y], [to_x, to_y]) = (pair[0], pair[1]);
        let (dx, dy) = (to_x - x, to_y - y);
        let edges = [
            (-dx, x - plot.left),
            (dx, plot.right - x),
            (-dy, y - plot.top),
            (dy, plot.bottom - y),
        ];
        let (mut enter, mut leave) = (0.0_f64, 1.0_f64);
        for (towards, room) in edges {
            if towards == 0.0 {
                if room < 0.0 {
                    leave = -1.0;
                }
            } else if towards < 0.0 {
                enter = enter.max(room / towards);
            } else {
                leave = leave.min(room / towards);
            }
        }
        if enter > leave {
            open = false;
            continue;
        }
        let at = |share: f64| [x + share * dx, y + share * dy];
        match parts.last_mut() {
            Some(part) if open => part.push(at(leave)),
            Some(_) | None => parts.push(vec![at(enter), at(leave)]),
        }
        open = leave >= 1.0;
    }
    parts
}

/// The part of a polygon inside a rectangle (Sutherland and Hodgman 1974, side by side).
pub(crate) fn clip_ground(corners: &[[f64; 2]], plot: Rect) -> Vec<[f64; 2]> {
    // How far inside a corner lies, for each side.
    let sides: [&dyn Fn([f64; 2]) -> f64; 4] = [
        &|[x, _]| x - plot.left,
        &|[x, _]| plot.right - x,
        &|[_, y]| y - plot.top,
        &|[_, y]| plot.bottom - y,
    ];
    sides.into_iter().fold(corners.to_vec(), |corners, inside| {
        let mut kept = Vec::with_capacity(corners.len() + 4);
        let before = corners.iter().cycle().skip(corners.len().saturating_sub(1));
        for (&from, &to) in before.zip(&corners) {
            let (start, end) = (inside(from), inside(to));
            if (start < 0.0) != (end < 0.0) {
                let share = start / (start - end);
                kept.push([from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1])]);
            }
            if end >= 0.0 {
                kept.push(to);
            }
        }
        kept
    })
}

/// Moves sorted values apart until no two are nearer than `gap`, all within `from..=to`, as little as possible.
pub(crate) fn spread(wanted: &[f64], gap: f64, from: f64, to: f64) -> Vec<f64> {
    // Groups of neighbours that touch: the sum of where their first members want to be, and how many they are.
    let mut groups: Vec<(f64, usize)> = Vec::new();
    let start = |&(sum, count): &(f64, usize)| {
        let length = gap * (count - 1) as f64;
        (sum / count as f64).min(to - length).max(from)
    };
    for &value in wanted {
        groups.push((value, 1));
        while groups.len() > 1 {
            let last = groups[groups.len() - 1];
            let before = groups[groups.len() - 2];
            if start(&before) + gap * before.1 as f64 <= start(&last) {
                break;
            }
            groups.pop();
            groups.pop();
            let shift = gap * (before.1 * last.1) as f64;
            groups.push((before.0 + last.0 - shift, before.1 + last.1));
        }
    }
    groups
        .iter()
        .flat_map(|group| {
            let start = start(group);
            (0..group.1).map(move |at| start + gap * at as f64)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLOT: Rect = Rect {
        left: 0.0,
        top: 0.0,
        right: 10.0,
        bottom: 10.0,
    };

    #[test]
    fn a_line_that_leaves_and_returns_is_two_parts() {
        let parts = clip(&[[1.0, 5.0], [3.0, -5.0], [5.0, 5.0], [20.0, 5.0]], PLOT);
        assert_eq!(
            parts,
            vec![vec![[1.0, 5.0], [2.0, 0.0]], vec![[4.0, 0.0], [5.0, 5.0], [10.0, 5.0]]]
        );
        assert!(clip(&[[-5.0, -1.0], [20.0, -1.0]], PLOT).is_empty());
    }

    #[test]
    fn a_ground_that_reaches_out_is_cut_at_the_sides() {
        let square = [[-5.0, 2.0], [5.0, 2.0], [5.0, 12.0], [-5.0, 12.0]];
        let mut cut = clip_ground(&square, PLOT);
        cut.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
        assert_eq!(cut, vec![[0.0, 2.0], [0.0, 10.0], [5.0, 2.0], [5.0, 10.0]]);
        assert!(clip_ground(&[[20.0, 1.0], [30.0, 1.0], [30.0, 2.0]], PLOT).is_empty());
        assert!(clip_ground(&[], PLOT).is_empty());
    }

    #[test]
    fn labels_that_touch_move_apart_around_their_middle() {
        assert_eq!(spread(&[5.0, 5.0], 2.0, 0.0, 10.0), vec![4.0, 6.0]);
        assert_eq!(spread(&[0.0, 0.0], 2.0, 0.0, 10.0), vec![0.0, 2.0]);
        assert_eq!(spread(&[1.0, 9.0], 2.0, 0.0, 10.0), vec![1.0, 9.0]);
    }

    proptest! {
        #[test]
        fn labels_never_touch(mut wanted in proptest::collection::vec(0.0f64..100.0, 1..12)) {
            wanted.sort_by(f64::total_cmp);
            let placed = spread(&wanted, 8.0, 0.0, 100.0);
            prop_assert_eq!(placed.len(), wanted.len());
            prop_assert!(placed.windows(2).all(|pair| pair[1] - pair[0] > 8.0 - 1e-9));
            prop_assert!(placed.iter().all(|y| (-1e-9..=100.0 + 1e-9).contains(y)));
        }
    }
}
