//! Every colour of the figures: a role, its colour on paper, its colour on a dark screen, its name in a style sheet.
//!
//! Sizes run along plasma (Smith and van der Walt 2015), kinds along Okabe and Ito 2008: both are told apart by
//! colour-blind readers. A size has one hue on both grounds, and a larger one always stands out more. Refuses to know
//! what is drawn.

use std::fmt::Write;

use crate::report::view::Ink;

/// A colour, red green blue.
pub(crate) type Rgb = (u8, u8, u8);

/// Steps of the ramp of sizes.
const STEPS: usize = 12;

/// Plasma at 0, 0.1, … 1.
const PLASMA: [Rgb; 11] = [
    (13, 8, 135),
    (65, 4, 157),
    (106, 0, 168),
    (143, 13, 164),
    (177, 42, 144),
    (204, 71, 120),
    (225, 100, 98),
    (242, 132, 75),
    (252, 166, 54),
    (252, 206, 37),
    (240, 249, 33),
];

/// Okabe and Ito's colours that carry on white, then on black.
const KINDS: [(Rgb, Rgb); 6] = [
    ((0, 114, 178), (86, 180, 233)),
    ((213, 94, 0), (240, 130, 60)),
    ((0, 135, 98), (40, 190, 145)),
    ((170, 80, 140), (214, 140, 180)),
    ((150, 110, 0), (230, 175, 40)),
    ((90, 90, 90), (180, 180, 180)),
];

/// What a colour is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Paper,
    /// Words and numbers that carry the message.
    Text,
    /// Names of axes, ticks.
    Muted,
    /// The line of an axis.
    Axis,
    /// Lines behind the data.
    Grid,
    /// A step of the ramp of sizes.
    Size(usize),
    /// The same, stepped back: one of many.
    SizeTint(usize),
    /// A kind without an order.
    Kind(usize),
    Quiet,
}

impl Role {
    /// The role of an ink.
    pub(crate) fn of(ink: Ink) -> Self {
        match ink {
            Ink::Size { rank, of } => Self::Size(step(rank, of)),
            Ink::Kind(kind) => Self::Kind(kind % KINDS.len()),
            Ink::Plain => Self::Text,
            Ink::Quiet => Self::Quiet,
        }
    }

    /// The role of an ink, stepped back.
    pub(crate) fn tint_of(ink: Ink) -> Self {
        match ink {
            Ink::Size { rank, of } => Self::SizeTint(step(rank, of)),
            Ink::Kind(_) | Ink::Plain | Ink::Quiet => Self::of(ink),
        }
    }

    /// The colour on white.
    pub(crate) fn light(self) -> Rgb {
        match self {
            Self::Paper => (255, 255, 255),
            Self::Text => (27, 31, 36),
            Self::Muted => (91, 99, 110),
            Self::Axis => (150, 157, 167),
            Self::Grid => (233, 236, 240),
            // The smallest is coral (contrast 3:1 with white), the largest dark blue.
            Self::Size(step) => plasma(0.64 - 0.64 * share(step)),
            Self::SizeTint(step) => mix(Self::Size(step).light(), Self::Paper.light(), 0.52),
            Self::Kind(kind) => KINDS[kind].0,
            Self::Quiet => (168, 175, 184),
        }
    }

    /// The colour on a dark ground.
    pub(crate) fn dark(self) -> Rgb {
        match self {
            Self::Paper => (21, 24, 29),
            Self::Text => (230, 233, 237),
            Self::Muted => (158, 167, 178),
            Self::Axis => (96, 104, 115),
            Self::Grid => (42, 47, 54),
            // The hues of paper, lightened: the smallest is coral, the largest pale blue.
            Self::Size(step) => mix(Self::Size(step).light(), (255, 255, 255), 0.05 + 0.62 * share(step)),
            Self::SizeTint(step) => mix(Self::Size(step).dark(), Self::Paper.dark(), 0.5),
            Self::Kind(kind) => KINDS[kind].1,
            Self::Quiet => (104, 112, 123),
        }
    }

    /// The name in the page's style sheet.
    pub(crate) fn class(self) -> String {
        match self {
            Self::Paper => "p".to_owned(),
            Self::Text => "t".to_owned(),
            Self::Muted => "m".to_owned(),
            Self::Axis => "a".to_owned(),
            Self::Grid => "g".to_owned(),
            Self::Size(step) => format!("s{step}"),
            Self::SizeTint(step) => format!("u{step}"),
            Self::Kind(kind) => format!("k{kind}"),
            Self::Quiet => "q".to_owned(),
        }
    }
}

pub(crate) fn roles() -> Vec<Role> {
    let mut roles = vec![
        Role::Paper,
        Role::Text,
        Role::Muted,
        Role::Axis,
        Role::Grid,
        Role::Quiet,
    ];
    roles.extend((0..STEPS).map(Role::Size));
    roles.extend((0..STEPS).map(Role::SizeTint));
    roles.extend((0..KINDS.len()).map(Role::Kind));
    roles
}

/// `.s3{--c:#cc4778}` for every role.
pub(crate) fn style_sheet(colour: impl Fn(Role) -> Rgb) -> String {
    roles().into_iter().fold(String::new(), |mut sheet, role| {
        let class = role.class();
        let hex = hex(colour(role));
        write!(sheet, "svg .{class}{{--c:{hex}}}").expect("a string takes every write");
        sheet
    })
}

/// `#cc4778`.
pub(crate) fn hex((red, green, blue): Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// The step of a rank; a single size takes the largest's.
fn step(rank: usize, of: usize) -> usize {
    if of < 2 {
        STEPS - 1
    } else {
        (rank * (STEPS - 1) + (of - 1) / 2) / (of - 1)
    }
}

fn share(step: usize) -> f64 {
    step as f64 / (STEPS - 1) as f64
}

fn plasma(position: f64) -> Rgb {
    let scaled = position.clamp(0.0, 1.0) * (PLASMA.len() - 1) as f64;
    let below = (scaled as usize).min(PLASMA.len() - 2);
    mix(PLASMA[below], PLASMA[below + 1], scaled - below as f64)
}

/// From the first colour, `share` of the way to the second.
fn mix(from: Rgb, to: Rgb, share: f64) -> Rgb {
    let channel = |from: u8, to: u8| (f64::from(from) + (f64::from(to) - f64::from(from)) * share).round() as u8;
    (channel(from.0, to.0), channel(from.1, to.1), channel(from.2, to.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance contrast (WCAG 2.1).
    fn contrast(a: Rgb, b: Rgb) -> f64 {
        let luminance = |(r, g, b): Rgb| {
            let linear = |channel: u8| {
                let share = f64::from(channel) / 255.0;
                if share <= 0.040_45 {
                    share / 12.92
                } else {
                    ((share + 0.055) / 1.055).powf(2.4)
                }
            };
            0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
        };
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn lines_stand_out_and_words_can_be_read_on_both_grounds() {
        for role in roles() {
            let least = match role {
                Role::Text | Role::Muted => 4.5,
                Role::Size(_) | Role::Kind(_) => 3.0,
                Role::Paper | Role::Axis | Role::Grid | Role::SizeTint(_) | Role::Quiet => 1.0,
            };
            let light = contrast(role.light(), Role::Paper.light());
            let dark = contrast(role.dark(), Role::Paper.dark());
            assert!(light >= least && dark >= least, "{role:?}: {light} {dark}");
        }
    }

    #[test]
    fn no_two_roles_share_a_colour_on_paper() {
        let mut colours: Vec<Rgb> = roles().into_iter().map(Role::light).collect();
        let count = colours.len();
        colours.sort_unstable();
        colours.dedup();
        assert_eq!(colours.len(), count);
    }

    #[test]
    fn few_sizes_are_as_far_apart_as_the_ramp_allows() {
        assert_eq!((step(0, 2), step(1, 2)), (0, STEPS - 1));
        assert_eq!(step(0, 1), STEPS - 1);
    }
}
