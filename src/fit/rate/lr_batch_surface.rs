//! Where loss is lowest over learning rate and batch: one valley for all groups of equal size and tokens, whose floor
//! moves as a power law.
//!
//! The valley is flat and one group alone places its floor badly, so the groups share the curvature. Refuses to call
//! the edge of a grid a minimum, and to know what a constant means.

use std::collections::BTreeMap;

use crate::fit::design::{SAME_SIZE, distinct};
use crate::fit::numeric::bootstrap::Draws;
use crate::fit::numeric::linear_algebra::{self, Normal};
use crate::fit::observation::Observation;

/// Points within this share of a group's lowest loss take part: further out the valley is no parabola (its walls at
/// large learning rates are steeper). On Step Law's grids shares from 0.5 to 1 % predict left-out groups best.
const WINDOW: f64 = 0.0075;
/// 1 − R² of ln N on ln D, below which their exponents cannot be told apart.
const DISTINCTNESS_MIN: f64 = 0.02;
/// Sizes, and token budgets, at least: a power law has two constants in each.
pub(super) const VALUES_MIN: usize = 3;
/// One group more than a law in size and tokens has constants.
pub(super) const GROUPS_MIN: usize = 4;
/// Curvature (three numbers), and where the floor lies in each of two directions (a constant and two exponents).
const COLUMNS: usize = 9;
/// Of these, the curvature.
const CURVATURE: usize = 3;
/// Of these, the place of the floor.
const PLACE: usize = 6;

/// Which of the six numbers of the place are fitted: of ln lr, then of ln batch, a constant and the exponents of N and
/// D. The others are zero.
pub(crate) type Free = [bool; PLACE];
/// Where the floor lies about the centre: those six numbers.
pub(crate) type Place = [f64; PLACE];

/// The valley that groups share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Valley {
    curvature: [[f64; 2]; 2],
    pub(crate) place: Place,
}
/// Learning rate and batch of a run, and its loss.
type Row = ([f64; 2], f64);

/// The mean loss at one learning rate and batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cell {
    /// ln of the peak learning rate and ln of the batch in tokens.
    pub(crate) at: [f64; 2],
    /// Mean loss, nats per token.
    pub(crate) loss: f64,
    runs: f64,
}

/// The runs of one size and number of tokens.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Group {
    /// Parameters: the smallest of those within [`SAME_SIZE`].
    pub(crate) params: f64,
    pub(crate) tokens: f64,
    /// The means of runs that share learning rate and batch.
    pub(crate) cells: Vec<Cell>,
    /// The cell with the lowest loss.
    pub(crate) lowest: Cell,
    /// Why its place is no minimum, where it is none.
    pub(crate) edge: Option<String>,
}

/// What the valley is fitted to: sums over the cells of each group, from which draws are fitted without the cells.
#[derive(Debug, Clone)]
pub(crate) struct Sums {
    /// The means of ln lr, ln batch, ln N and ln D over groups.
    pub(crate) centre: [f64; 4],
    groups: Vec<GroupSums>,
}

/// The sums of one group.
#[derive(Debug, Clone)]
struct GroupSums {
    /// ln(loss) = floor of the group + (x − x*)ᵀ·curvature·(x − x*), with x = (ln lr, ln batch), as a linear problem in
    /// the curvature and in the slopes −2·curvature·x*, with x* = place·position.
    valley: Normal<COLUMNS>,
    /// The sum of squares of ln(loss) about its mean, and the runs of the cells that take part.
    squares: f64,
    runs: f64,
    /// (1, ln N, ln D).
    position: [f64; 3],
}

/// Groups runs of equal size and tokens; runs without learning rate or batch have no place in a grid. Ordered by size,
/// then tokens, whatever the order of the runs.
pub(crate) fn groups(runs: &[Observation]) -> Vec<Group> {
    let mut placed: Vec<(&Observation, [f64; 2])> = runs
        .iter()
        .filter_map(|run| Some((run, [run.lr?, run.batch_tokens?])))
        .collect();
    // Sums depend on their order in the last bits.
    placed.sort_by(|a, b| a.0.full_order(b.0));
    let sizes = distinct(placed.iter().map(|(run, _)| run.params));
    let budgets = distinct(placed.iter().map(|(run, _)| run.tokens));
    let mut by_place: BTreeMap<(usize, usize), Vec<Row>> = BTreeMap::new();
    for (run, at) in placed {
        let place = (level(&sizes, run.params), level(&budgets, run.tokens));
        by_place.entry(place).or_default().push((at, run.loss));
    }
    by_place
        .into_iter()
        .filter_map(|((size, budget), rows)| Group::new(sizes[size], budgets[budget], &rows))
        .collect()
}

/// The number of the level to which a value belongs.
fn level(levels: &[f64], value: f64) -> usize {
    levels.partition_point(|&level| level <= value).saturating_sub(1)
}

impl Group {
    /// The group of these rows (learning rate and batch, and loss); none of no rows.
    fn new(params: f64, tokens: f64, rows: &[Row]) -> Option<Self> {
        // Labels of one level differ in rounding: 0.000345 and 0.0003453.
        let levels = [0, 1].map(|axis| distinct(rows.iter().map(|(at, _)| at[axis])));
        let mut by_level: BTreeMap<[usize; 2], Vec<f64>> = BTreeMap::new();
        for (at, loss) in rows {
            let key = [0, 1].map(|axis| level(&levels[axis], at[axis]));
            by_level.entry(key).or_default().push(*loss);
        }
        let cell = |key: &[usize; 2], losses: &[f64]| Cell {
            at: [0, 1].map(|axis| levels[axis][key[axis]].ln()),
            loss: losses.iter().sum::<f64>() / losses.len() as f64,
            runs: losses.len() as f64,
        };
        let cells: Vec<([usize; 2], Cell)> = by_level.iter().map(|(key, losses)| (*key, cell(key, losses))).collect();
        let (key, lowest) = *cells.iter().min_by(|a, b| a.1.loss.total_cmp(&b.1.loss))?;
        // A grid of one value has no inside.
        let edge = |axis: usize, name: &str| match (key[axis], levels[axis].len()) {
            (_, 1) => Some(format!("{name} (one value)")),
            (0, _) => Some(format!("{name} (low)")),
            (at, count) => (at + 1 == count).then(|| format!("{name} (high)")),
        };
        let edges: Vec<String> = [edge(0, "learning rate"), edge(1, "batch")]
            .into_iter()
            .flatten()
            .collect();
        Some(Self {
            params,
            tokens,
            lowest,
            edge: (!edges.is_empty()).then(|| {
                format!(
                    "the lowest loss lies at the edge of the grid in {}",
                    edges.join(" and ")
                )
            }),
            cells: cells.into_iter().map(|(_, cell)| cell).collect(),
        })
    }

    /// The loss of the grid point nearest (in logarithms) to a place, above the lowest and relative to it.
    pub(crate) fn regret(&self, at: [f64; 2]) -> f64 {
        let distance = |cell: &Cell| (cell.at[0] - at[0]).powi(2) + (cell.at[1] - at[1]).powi(2);
        let nearest = self
            .cells
            .iter()
            .min_by(|a, b| distance(a).total_cmp(&distance(b)))
            .unwrap_or(&self.lowest);
        nearest.loss / self.lowest.loss - 1.0
    }

    /// The sums over the cells near the lowest, about the centre. The floor of the group is a constant of its own:
    /// columns are taken about their means.
    fn sums(&self, centre: &[f64; 4]) -> GroupSums {
        let position = [1.0, self.params.ln() - centre[2], self.tokens.ln() - centre[3]];
        let near: Vec<(f64, [f64; COLUMNS], f64)> = self
            .cells
            .iter()
            .filter(|cell| cell.loss <= self.lowest.loss * (1.0 + WINDOW))
            .map(|cell| {
                let [x, y] = [cell.at[0] - centre[0], cell.at[1] - centre[1]];
                let [_, n, d] = position;
                let columns = [x * x, 2.0 * x * y, y * y, x, x * n, x * d, y, y * n, y * d];
                (cell.runs, columns, (cell.loss / self.lowest.loss).ln())
            })
            .collect();
        let total: f64 = near.iter().map(|(runs, _, _)| runs).sum();
        let mean = |pick: &dyn Fn(&[f64; COLUMNS], f64) -> f64| {
            near.iter().map(|(runs, x, y)| runs * pick(x, *y)).sum::<f64>() / total
        };
        let mean_y = mean(&|_, y| y);
        let mean_x: [f64; COLUMNS] = std::array::from_fn(|i| mean(&|x, _| x[i]));
        let mut valley = Normal::empty();
        let mut squares = 0.0;
        for (runs, x, y) in &near {
            let row = std::array::from_fn(|i| x[i] - mean_x[i]);
            valley.add_row(&row, y - mean_y, *runs);
            squares += runs * (y - mean_y).powi(2);
        }
        GroupSums {
            valley,
            squares,
            runs: total,
            position,
        }
    }
}

impl Sums {
    /// The sums of some groups.
    pub(crate) fn new(groups: &[&Group]) -> Self {
        let mean = |of: &dyn Fn(&Group) -> f64| groups.iter().map(|group| of(group)).sum::<f64>() / groups.len() as f64;
        let centre = [
            mean(&|group| group.lowest.at[0]),
            mean(&|group| group.lowest.at[1]),
            mean(&|group| group.params.ln()),
            mean(&|group| group.tokens.ln()),
        ];
        Self {
            centre,
            groups: groups.iter().map(|group| group.sums(&centre)).collect(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }

    /// The valley that fits all groups.
    pub(crate) fn fit(&self, free: Free) -> Option<Valley> {
        self.weighted(free, &vec![1.0; self.groups.len()])
    }

    /// By how much a valley misses the cells of a group, its level aside: the mean square in ln(loss).
    pub(crate) fn missed(&self, valley: &Valley, group: usize) -> f64 {
        let GroupSums {
            valley: sums,
            squares,
            runs,
            ..
        } = &self.groups[group];
        let [[xx, xy], [_, yy]] = valley.curvature;
        let slopes = valley.slopes();
        let solved: [f64; COLUMNS] = std::array::from_fn(|i| match i {
            0 => xx,
            1 => xy,
            2 => yy,
            _ => slopes[i - CURVATURE],
        });
        let fitted = linear_algebra::quadratic_form(&sums.gram, &solved);
        ((squares - 2.0 * dot(&sums.rhs, &solved) + fitted) / runs).max(0.0)
    }

    /// The valley that fits the groups for which that holds.
    pub(crate) fn of_some(&self, free: Free, holds: impl Fn(usize) -> bool) -> Option<Valley> {
        let weights: Vec<f64> = (0..self.groups.len()).map(|i| f64::from(u8::from(holds(i)))).collect();
        self.weighted(free, &weights)
    }

    /// The same of draws of groups.
    pub(crate) fn draws(&self, free: Free, draws: Draws) -> Vec<Valley> {
        draws.resample(self.groups.len(), |times| self.weighted(free, times))
    }

    /// Least squares with so much weight on each group. `None` where the groups do not tell the constants apart or show
    /// no valley.
    fn weighted(&self, free: Free, weights: &[f64]) -> Option<Valley> {
        let mut valley = Normal::empty();
        let mut spread = Normal::empty();
        for (group, &weight) in self.groups.iter().zip(weights) {
            valley.add(&group.valley, weight);
            spread.add_row(&group.position, 0.0, weight);
        }
        if linear_algebra::distinctness(&spread.gram) < DISTINCTNESS_MIN {
            return None;
        }
        let solved = valley.solve()?;
        let curvature = [[solved[0], solved[1]], [solved[1], solved[2]]];
        // Without a valley in every direction there is no floor.
        linear_algebra::inverse(&curvature)?;
        let place = place(&valley, &curvature, free)?;
        Some(Valley { curvature, place })
    }
}

impl Valley {
    /// How the best rate at a fixed batch moves with that batch: as batch^this.
    pub(crate) fn rate_over_batch(&self) -> f64 {
        -self.curvature[0][1] / self.curvature[0][0]
    }

    /// The slopes that the place makes.
    fn slopes(&self) -> Place {
        std::array::from_fn(|i| {
            let [along, across] = self.curvature[i / 3];
            -2.0 * (along * self.place[i % 3] + across * self.place[3 + i % 3])
        })
    }
}

/// The free part of the place, by least squares with the curvature as it is.
fn place(valley: &Normal<COLUMNS>, curvature: &[[f64; 2]; 2], free: Free) -> Option<Place> {
    let solved = [curvature[0][0], curvature[0][1], curvature[1][1]];
    // The slopes that one unit of each number of the place makes.
    let columns: [Place; PLACE] = std::array::from_fn(|i| {
        std::array::from_fn(|j| {
            if i % 3 == j % 3 {
                -2.0 * curvature[i / 3][j / 3]
            } else {
                0.0
            }
        })
    });
    let rest: Place = std::array::from_fn(|i| {
        let row = CURVATURE + i;
        valley.rhs[row] - dot(&valley.gram[row][..CURVATURE], &solved)
    });
    let mut normal = Normal::empty();
    for i in 0..PLACE {
        normal.rhs[i] = dot(&columns[i], &rest);
        for j in 0..PLACE {
            let image: Place = std::array::from_fn(|k| dot(&valley.gram[CURVATURE + k][CURVATURE..], &columns[j]));
            normal.gram[i][j] = dot(&columns[i], &image);
        }
    }
    linear_algebra::solve_free(&normal.gram, &normal.rhs, &free)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Sizes and budgets of groups, those within [`SAME_SIZE`] counted once.
pub(crate) fn sizes_and_budgets(groups: &[&Group]) -> [usize; 2] {
    [
        distinct(groups.iter().map(|group| group.params)).len(),
        distinct(groups.iter().map(|group| group.tokens)).len(),
    ]
}

/// The smallest size that counts as the largest.
pub(crate) fn largest(groups: &[&Group]) -> f64 {
    groups.iter().map(|group| group.params).fold(0.0, f64::max) / (1.0 + SAME_SIZE)
}
