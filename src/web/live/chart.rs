//! Lag over time.

use std::fmt::Write;

use maud::{Markup, html};

use super::text;
use crate::watch::{Point, Stream};

/// Streams with a line of their own.
const LINES: usize = 6;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 200.0;
/// Space for the numbers on the left and below.
const LEFT: f64 = 46.0;
const BELOW: f64 = 22.0;
const ABOVE: f64 = 10.0;

/// What is drawn where.
struct Frame {
    from: i64,
    to: i64,
    top: i64,
    left: f64,
    width: f64,
    above: f64,
    height: f64,
}

impl Frame {
    #[allow(clippy::cast_precision_loss, reason = "pixels")]
    fn place(&self, point: Point) -> (f64, f64) {
        let span = (self.to - self.from).max(1) as f64;
        let x = self.left + self.width * (point.at - self.from) as f64 / span;
        let y = self.above + self.height * (1.0 - point.lag.min(self.top) as f64 / self.top.max(1) as f64);
        ((x * 10.0).round() / 10.0, (y * 10.0).round() / 10.0)
    }

    fn line(&self, points: &[Point]) -> String {
        let mut path = String::new();
        for (at, point) in points.iter().enumerate() {
            let (x, y) = self.place(*point);
            write!(path, "{}{x} {y}", if at == 0 { "M" } else { " L" }).ok();
        }
        path
    }

    fn area(&self, points: &[Point]) -> String {
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return String::new() };
        let bottom = self.above + self.height;
        let ((start, _), (end, _)) = (self.place(*first), self.place(*last));
        format!("{} L{end} {bottom} L{start} {bottom} Z", self.line(points))
    }
}

/// The gravest lag of all streams at each moment.
fn gravest(streams: &[Stream]) -> Vec<Point> {
    let mut all: std::collections::BTreeMap<i64, i64> = std::collections::BTreeMap::new();
    for point in streams.iter().flat_map(|stream| &stream.history) {
        let lag = all.entry(point.at).or_default();
        *lag = (*lag).max(point.lag);
    }
    all.into_iter().map(|(at, lag)| Point { at, lag }).collect()
}

/// The next round number of seconds.
fn round_up(lag: i64) -> i64 {
    const ROUND: [i64; 16] =
        [4, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 43_200, 86_400, 604_800];
    ROUND.into_iter().find(|round| *round >= lag).unwrap_or(lag)
}

/// A small line without numbers.
pub fn spark(streams: &[Stream]) -> Markup {
    let points = gravest(streams);
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return html! {} };
    let top = round_up(points.iter().map(|point| point.lag).max().unwrap_or_default());
    let frame = Frame { from: first.at, to: last.at, top, left: 1.0, width: 158.0, above: 2.0, height: 34.0 };
    html! {
        svg.spark viewBox="0 0 160 38" role="img" aria-label={ "Lag now " (text::duration(last.lag)) ", at most " (text::duration(top)) } {
            @if points.len() > 1 {
                path.area d=(frame.area(&points)) {}
                path.line d=(frame.line(&points)) {}
            }
        }
        span.lag { "lag " b { (text::duration(last.lag)) } }
    }
}

/// The section with the chart; empty while nothing was replicated.
pub fn lag(streams: &[Stream]) -> Markup {
    let all = gravest(streams);
    let (Some(first), Some(last)) = (all.first(), all.last()) else { return html! {} };
    let most = all.iter().map(|point| point.lag).max().unwrap_or_default();
    let top = round_up(most);
    let frame = Frame {
        from: first.at,
        to: last.at,
        top,
        left: LEFT,
        width: WIDTH - LEFT - 6.0,
        above: ABOVE,
        height: HEIGHT - ABOVE - BELOW,
    };
    let mut worst: Vec<&Stream> = streams.iter().filter(|stream| !stream.history.is_empty()).collect();
    let peak = |stream: &Stream| stream.history.iter().map(|point| point.lag).max();
    worst.sort_by_key(|stream| std::cmp::Reverse(peak(stream)));
    let left_out = worst.len().saturating_sub(LINES);
    worst.truncate(LINES);
    let label = format!("Lag now {}, at most {} in the time shown", text::duration(last.lag), text::duration(most));
    html! {
        section aria-labelledby="lag-title" {
            h2 id="lag-title" { "Lag" }
            svg.chart viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(label) {
                @for (part, value) in [(0.0, 0), (0.5, top / 2), (1.0, top)] {
                    @let y = ABOVE + frame.height * (1.0 - part);
                    line.grid x1=(LEFT) x2=(WIDTH - 6.0) y1=(y) y2=(y) {}
                    text.tick x=(LEFT - 6.0) y=(y + 4.0) { (text::duration(value)) }
                }
                text.time x=(LEFT) y=(HEIGHT - 5.0) { (text::duration(last.at - first.at)) " ago" }
                text.time.end x=(WIDTH - 6.0) y=(HEIGHT - 5.0) { "now" }
                path.area d=(frame.area(&all)) {}
                @for (number, stream) in worst.iter().enumerate() {
                    path class={ "line line" (number) } d=(frame.line(&stream.history)) { title { (stream.source_shard) " → " (stream.shard) } }
                }
            }
            p.legend {
                @for (number, stream) in worst.iter().enumerate() {
                    span class={ "line" (number) } { (text::short(&stream.source_shard, 20)) " → " (text::short(&stream.shard, 20)) @if let Some(lag) = stream.lag { " " b { (text::duration(lag)) } } }
                }
                @if left_out > 0 { span.rest { "and " (left_out) " with less" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_in_their_frame() {
        let frame = Frame { from: 100, to: 200, top: 10, left: 0.0, width: 100.0, above: 0.0, height: 50.0 };
        let points = [Point { at: 100, lag: 0 }, Point { at: 150, lag: 5 }, Point { at: 200, lag: i64::MAX }];
        assert_eq!(frame.line(&points), "M0 50 L50 25 L100 0");
        assert_eq!(frame.area(&points), "M0 50 L50 25 L100 0 L100 50 L0 50 Z");
        assert_eq!(frame.line(&[]), "");
        assert_eq!([round_up(0), round_up(5), round_up(61), round_up(i64::MAX)], [4, 10, 120, i64::MAX]);
    }
}
