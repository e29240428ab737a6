//! Streams, from the shards that they read on the left to those that they write to on the right.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::text;
use super::widgets;
use crate::watch::Stream;

/// Shards on a side, and streams, that are drawn.
const SHARDS: usize = 128;
const STREAMS: usize = 512;
/// From so many shards on they are drawn closer together.
const MANY: usize = 12;

/// Width of the picture, of a shard, and the space above the first one.
const WIDTH: f64 = 560.0;
const SHARD: f64 = 150.0;
const TOP: f64 = 26.0;

/// Where shards are.
struct Side<'a> {
    /// Middle of each shard, by its name, in drawing order.
    places: Vec<(&'a str, f64)>,
    left_out: usize,
}

impl<'a> Side<'a> {
    fn of(names: &[&'a str], height: f64) -> Self {
        let shown = names.len().min(SHARDS);
        #[allow(clippy::cast_precision_loss, reason = "at most 128")]
        let step = height / shown.max(1) as f64;
        #[allow(clippy::cast_precision_loss, reason = "at most 128")]
        let place = |(at, name): (usize, &&'a str)| (*name, TOP + step * (at as f64 + 0.5));
        Self { places: names.iter().take(shown).enumerate().map(place).collect(), left_out: names.len() - shown }
    }

    fn at(&self, name: &str) -> Option<f64> {
        self.places.iter().find(|(known, _)| *known == name).map(|(_, y)| *y)
    }
}

/// A keyspace, and the mount that it is reached through; that is empty for the own cluster.
pub type Place<'a> = (&'a str, &'a str);

/// The picture of streams from one keyspace into another.
pub fn draw(streams: &[Stream], (from, to): (Place<'_>, Place<'_>)) -> Markup {
    let mut of_target: BTreeMap<&str, Vec<&Stream>> = BTreeMap::new();
    let mut sources: Vec<&str> = Vec::new();
    for stream in streams {
        of_target.entry(&stream.shard).or_default().push(stream);
        sources.push(&stream.source_shard);
    }
    sources.sort_by_key(|name| order(name));
    sources.dedup();
    let mut targets: Vec<&str> = of_target.keys().copied().collect();
    targets.sort_by_key(|name| order(name));
    let rows = sources.len().max(targets.len()).min(SHARDS);
    let row = if rows > MANY { 22.0 } else { 46.0 };
    #[allow(clippy::cast_precision_loss, reason = "at most 128")]
    let height = rows as f64 * row;
    let (left, right) = (Side::of(&sources, height), Side::of(&targets, height));
    let mut drawn: Vec<&Stream> = streams.iter().collect();
    // what is in trouble is drawn last, on top, and never left out
    drawn.sort_by_key(|stream| stream.problem.is_none());
    drawn.truncate(STREAMS);
    drawn.reverse();
    let label = format!(
        "{} from {} to {}, {} in trouble",
        text::several(streams.len(), "stream"),
        text::several(sources.len(), "source shard"),
        text::several(targets.len(), "target shard"),
        streams.iter().filter(|stream| stream.problem.is_some()).count()
    );
    let compact = rows > MANY;
    html! {
        div.picture tabindex=[compact.then_some("0")] role=[compact.then_some("region")] aria-label=[compact.then_some("Diagram of the streams")] {
            svg viewBox={ "0 0 " (WIDTH) " " (height + TOP + 4.0) } role="img" aria-label=(label) class=[compact.then_some("compact")] {
                text.side x="0" y="14" { (place(from, 20)) }
                text.side.end x=(WIDTH) y="14" { (place(to, 30)) }
                @for stream in &drawn { (curve(stream, &left, &right)) }
                @for (name, y) in &left.places { (shard(name, 0.0, *y, row, "", "")) }
                @for (name, y) in &right.places {
                    @let (tone, note) = summary(of_target.get(name).map(Vec::as_slice).unwrap_or_default());
                    (shard(name, WIDTH - SHARD, *y, row, &note, tone))
                }
            }
        }
        @if left.left_out + right.left_out > 0 || streams.len() > STREAMS {
            p.note { "Not all streams are drawn: see the list below, or JSON." }
        }
        (legend())
    }
}

fn place((keyspace, mount): Place<'_>, most: usize) -> Markup {
    html! {
        (text::short(keyspace, most))
        @if !mount.is_empty() { tspan.at { " @" (text::short(mount, 14)) } }
    }
}

/// Shards in the order of their key ranges: `-40` before `40-80`.
fn order(name: &str) -> (String, String) {
    (name.split_once('-').map_or(name, |(start, _)| start).to_owned(), name.to_owned())
}

fn curve(stream: &Stream, left: &Side<'_>, right: &Side<'_>) -> Markup {
    let (Some(from), Some(to)) = (left.at(&stream.source_shard), right.at(&stream.shard)) else { return html! {} };
    let (start, end) = (SHARD, WIDTH - SHARD);
    let middle = f64::midpoint(start, end);
    let tone = widgets::state_tone(&stream.state, stream.problem.is_some());
    let lag = stream.lag.map(|lag| format!(", lag {}", text::duration(lag))).unwrap_or_default();
    html! {
        path class={ "stream " (tone.class()) } d={ "M" (start) " " (tenth(from)) " C" (middle) " " (tenth(from)) " " (middle) " " (tenth(to)) " " (end) " " (tenth(to)) } {
            title { (stream.source_shard) " → " (stream.shard) ": " (stream.state) (lag) }
        }
    }
}

fn shard(name: &str, x: f64, y: f64, row: f64, note: &str, tone: &str) -> Markup {
    let height = if row > 30.0 { 34.0 } else { 18.0 };
    let two = row > 30.0 && !note.is_empty();
    html! {
        g class={ "shard " (tone) } {
            rect x=(x + 0.5) y=(tenth(y - height / 2.0)) width=(SHARD - 1.0) height=(height) rx="6" {}
            @if two {
                text.name x=(x + SHARD / 2.0) y=(tenth(y - 2.0)) { (text::short(name, 18)) }
                text.note x=(x + SHARD / 2.0) y=(tenth(y + 12.0)) { (note) }
            } @else if note.is_empty() {
                text.name x=(x + SHARD / 2.0) y=(tenth(y + 4.0)) { (text::short(name, 18)) }
            } @else {
                text.name x=(x + SHARD / 2.0) y=(tenth(y + 4.0)) { (text::short(name, 11)) " · " tspan.note { (note) } }
            }
        }
    }
}

/// How the streams into one shard are, together.
fn summary(streams: &[&Stream]) -> (&'static str, String) {
    let troubled = streams.iter().filter(|stream| stream.problem.is_some()).count();
    let left: usize = streams.iter().map(|stream| stream.tables_left).max().unwrap_or_default();
    let lag = streams.iter().filter_map(|stream| stream.lag).max();
    let first = streams.first().map(|stream| stream.state.as_str()).unwrap_or_default();
    match (troubled, left, lag) {
        (0, 0, Some(lag)) if streams.iter().all(|stream| stream.state == "Running") => {
            ("good", format!("lag {}", text::duration(lag)))
        }
        (0, 1.., _) => ("busy", format!("{} left", text::several(left, "table"))),
        (0, _, _) => ("quiet", first.to_lowercase()),
        _ => ("bad", "in trouble".into()),
    }
}

fn legend() -> Markup {
    html! {
        p.legend aria-hidden="true" {
            @for (tone, word) in [("busy", "copying"), ("good", "running"), ("warn", "stopped or behind"), ("bad", "error")] {
                span class=(tone) { (word) }
            }
        }
    }
}

/// Rounded for the drawing.
fn tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
