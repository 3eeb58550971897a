//! What the shapes of plots share: colours for light and dark, axes, and strokes.

use svg::Document;
use svg::node::element::{Circle, Line, Rectangle, Style, Text, Title};

use crate::model::Role;

pub(super) const WIDTH: f64 = 880.0;

/// Colours by role, and again for readers whose system is dark.
const STYLE: &str = "
text { font: 12px system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #3d444d }
.title { font-size: 15px; font-weight: 600; fill: #1f2328 }
.card { fill: #ffffff; stroke: #d1d9e0 }
.grid { stroke: #e6eaef }
.one { stroke: #59636e; stroke-dasharray: 4 3 }
.small { font-size: 11px; fill: #59636e; stroke: #ffffff; stroke-width: 3px; paint-order: stroke }
.ours { fill: #0969da } line.ours, path.ours { stroke: #0969da; fill: none }
.system { fill: #6e7781 } line.system, path.system { stroke: #6e7781; fill: none }
.peer { fill: #bc4c00 } line.peer, path.peer { stroke: #bc4c00; fill: none }
@media (prefers-color-scheme: dark) {
text { fill: #c9d1d9 }
.title { fill: #f0f6fc }
.card { fill: #0d1117; stroke: #3d444d }
.grid { stroke: #262c36 }
.one { stroke: #9198a1 }
.small { fill: #9198a1; stroke: #0d1117 }
.ours { fill: #58a6ff } line.ours, path.ours { stroke: #58a6ff }
.system { fill: #9198a1 } line.system, path.system { stroke: #9198a1 }
.peer { fill: #f0883e } line.peer, path.peer { stroke: #f0883e }
}
";

pub(super) fn canvas(title: &str, height: f64) -> Document {
    let card = Rectangle::new().set("x", 0.5).set("y", 0.5).set("width", WIDTH - 1.0).set("height", height - 1.0);
    Document::new()
        .add(Title::new(title))
        .add(Style::new(STYLE))
        .add(card.set("rx", 8).set("class", "card"))
        .add(text(title, 20.0, 28.0, "start", "title"))
}

pub(super) fn text(words: impl Into<String>, x: f64, y: f64, anchor: &str, class: &str) -> Text {
    Text::new(words.into()).set("x", round(x)).set("y", round(y)).set("text-anchor", anchor).set("class", class)
}

pub(super) fn line(x1: f64, y1: f64, x2: f64, y2: f64, class: &str) -> Line {
    let line = Line::new().set("x1", round(x1)).set("y1", round(y1)).set("x2", round(x2)).set("y2", round(y2));
    line.set("class", class)
}

pub(super) fn dot(x: f64, y: f64, class: &str) -> Circle {
    Circle::new().set("cx", round(x)).set("cy", round(y)).set("r", 4).set("class", class)
}

/// Tenths of a pixel are fine enough.
fn round(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}

pub(super) fn class(role: Role) -> &'static str {
    match role {
        Role::Ours => "ours",
        Role::System => "system",
        Role::Peer => "peer",
    }
}

/// A logarithmic axis from one place to another.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// Covers the values with a little room, and at least a factor of `least`.
    pub(super) fn over(values: impl Iterator<Item = f64> + Clone, least: f64, from: f64, to: f64) -> Self {
        let low = values.clone().fold(f64::INFINITY, f64::min).ln();
        let high = values.fold(f64::NEG_INFINITY, f64::max).ln();
        let room = ((high - low) * 0.08).max((least.ln() - (high - low)) / 2.0);
        Self { low: low - room, high: high + room, from, to }
    }

    pub(super) fn at(&self, value: f64) -> f64 {
        self.from + (value.ln() - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// Round numbers inside, as many as there is room for: `room` for each.
    pub(super) fn ticks(&self, room: f64) -> Vec<f64> {
        let steps: [&[f64]; 5] = [
            &[1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0],
            &[1.0, 2.0, 3.0, 5.0],
            &[1.0, 2.0, 5.0],
            &[1.0, 3.0],
            &[1.0],
        ];
        let decades = (self.low / 10f64.ln()).floor() as i32..=(self.high / 10f64.ln()).ceil() as i32;
        let inside = |every: usize, steps: &[f64]| -> Vec<f64> {
            let decades = decades.clone().step_by(every);
            let ticks = decades.flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)));
            ticks.filter(|tick| (self.low..=self.high).contains(&tick.ln())).collect()
        };
        let fit = |ticks: &Vec<f64>| ticks.windows(2).all(|pair| (self.at(pair[1]) - self.at(pair[0])).abs() >= room);
        steps.iter().map(|steps| inside(1, steps)).find(fit).unwrap_or_else(|| inside(3, &[1.0]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_covers_its_values_and_has_round_ticks() {
        let axis = Axis::over([0.9, 2.1].into_iter(), 1.5, 0.0, 100.0);
        assert!(axis.at(0.9) > 0.0 && axis.at(2.1) < 100.0);
        assert_eq!(axis.ticks(60.0), [1.0, 2.0]);
        assert_eq!(axis.ticks(10.0), [1.0, 1.2, 1.5, 2.0]);
    }
}
