//! A snapshot in the order and the bounds of the gauges: pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use opentelemetry::KeyValue;

use crate::watch::{BackStage, Migration, Mount, Snapshot, Stage, Stream, WayBack};

/// Migrations with series of their own. Each has some fifteen.
const MOST_WORKFLOWS: usize = 500;
/// Target shards of migrations with series of their own, all migrations together. Below the 2,000 series that OpenTelemetry's
/// meters take for one instrument.
const MOST_SHARDS: usize = 1000;
/// The same of ways back and of the source shards that they lead into.
const MOST_WAYS_BACK: usize = 500;
const MOST_BACK_SHARDS: usize = 1000;
/// Mounts with series of their own.
const MOST_MOUNTS: usize = 500;

/// States of streams, the worst first.
const STATES: &[&str] = &["Error", "Stopped", "Init", "Lagging", "Copying", "Running"];

/// Something with the labels of its keyspace and workflow.
type Labelled<T> = (Vec<KeyValue>, Arc<T>);

/// What the gauges show of a snapshot.
pub struct Figures {
    pub(super) snapshot: Arc<Snapshot>,
    /// Those that have not ended and are not left out, with their labels.
    pub(super) migrations: Vec<Labelled<Migration>>,
    pub(super) shards: Vec<Shard>,
    /// Ways back that have not ended and are not left out, with the labels of their migrations.
    pub(super) ways_back: Vec<Labelled<WayBack>>,
    /// Source shards that they lead into.
    pub(super) back_shards: Vec<Shard>,
    /// Ways back by stage, all of them.
    pub(super) back_stages: Vec<(&'static str, usize)>,
    /// Migrations by stage, all of them.
    pub(super) stages: Vec<(&'static str, usize)>,
    /// Streams by state, all of them.
    pub(super) states: BTreeMap<String, usize>,
    pub(super) left_out: OmittedCounts,
    /// When the own topology was last read, as far as somebody looked.
    last_success: Option<i64>,
}

/// Numbers of what has no series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OmittedCounts {
    pub workflows: usize,
    pub shards: usize,
    pub mounts: usize,
    pub ways_back: usize,
    pub back_shards: usize,
}

/// All streams into one shard.
pub(super) struct Shard {
    pub labels: Vec<KeyValue>,
    /// The worst.
    pub state: String,
    /// The highest, in seconds.
    pub lag: Option<i64>,
    pub rows_copied: i64,
    /// Tables that the stream with the most of them has left to copy.
    pub tables_left: usize,
    /// Streams with a problem.
    pub in_trouble: usize,
}

impl Figures {
    /// Sorts a snapshot. Of too many migrations and shards those in trouble are shown first, then by name.
    pub fn of(snapshot: Arc<Snapshot>, last_success: Option<i64>) -> Self {
        Self::bounded(snapshot, last_success, (MOST_WORKFLOWS, MOST_SHARDS))
    }

    pub(super) fn bounded(
        snapshot: Arc<Snapshot>,
        last_success: Option<i64>,
        (most_workflows, most_shards): (usize, usize),
    ) -> Self {
        let count = |stage: Stage| snapshot.migrations.iter().filter(|migration| migration.stage == stage).count();
        let stages = Stage::ALL.into_iter().map(|stage| (stage.as_str(), count(stage))).collect();
        let count = |stage: BackStage| snapshot.ways_back.iter().filter(|known| known.stage == stage).count();
        let back_stages = BackStage::ALL.into_iter().map(|stage| (stage.as_str(), count(stage))).collect();
        let live = snapshot.migrations.iter().filter(|migration| !migration.stage.is_over());
        let (mut migrations, mut shards) =
            ranked(live, |m: &Migration| (m.keyspace.as_str(), m.workflow.as_str(), m.streams.as_slice()));
        let mut states: BTreeMap<String, usize> = STATES.iter().map(|state| ((*state).to_owned(), 0)).collect();
        for stream in migrations.iter().flat_map(|(_, migration)| &migration.streams) {
            *states.entry(stream.state.clone()).or_default() += 1;
        }
        let live = snapshot.ways_back.iter().filter(|known| !known.stage.is_over());
        let (mut ways_back, mut back_shards) =
            ranked(live, |w: &WayBack| (w.keyspace.as_str(), w.workflow.as_str(), w.streams.as_slice()));
        let left_out = OmittedCounts {
            workflows: bound(&mut migrations, most_workflows),
            shards: bound(&mut shards, most_shards),
            mounts: snapshot.mounts.len().saturating_sub(MOST_MOUNTS),
            ways_back: bound(&mut ways_back, MOST_WAYS_BACK),
            back_shards: bound(&mut back_shards, MOST_BACK_SHARDS),
        };
        let well = snapshot.sequence > 0 && snapshot.problem.is_none();
        let last_success = if well { Some(snapshot.taken_at) } else { last_success };
        Self {
            snapshot,
            migrations,
            shards,
            ways_back,
            back_shards,
            back_stages,
            stages,
            states,
            left_out,
            last_success,
        }
    }

    /// True when it was made of this very snapshot.
    pub(super) fn is_of(&self, snapshot: &Arc<Snapshot>) -> bool {
        Arc::ptr_eq(&self.snapshot, snapshot)
    }

    /// True when somebody watches and has looked.
    pub(super) fn is_something(&self) -> bool {
        self.snapshot.sequence > 0
    }

    pub(super) fn last_success(&self) -> Option<i64> {
        self.last_success
    }

    /// Mounts with series of their own.
    pub(super) fn mounts(&self) -> impl Iterator<Item = &Mount> {
        self.snapshot.mounts.iter().take(MOST_MOUNTS)
    }
}

/// All of them with their labels, and the shards that their streams lead into; of both those in trouble first. `told`: keyspace,
/// workflow and streams of one.
fn ranked<'a, T: 'a>(
    live: impl Iterator<Item = &'a Arc<T>>,
    told: impl Fn(&T) -> (&str, &str, &[Stream]),
) -> (Vec<Labelled<T>>, Vec<Shard>) {
    let mut live: Vec<&Arc<T>> = live.collect();
    live.sort_by_key(|one| !told(one).2.iter().any(is_in_trouble));
    let mut labelled: Vec<Labelled<T>> = Vec::with_capacity(live.len());
    let mut led_into: Vec<Shard> = Vec::new();
    for one in live {
        let (keyspace, workflow, streams) = told(one);
        let labels =
            vec![KeyValue::new("keyspace", keyspace.to_owned()), KeyValue::new("workflow", workflow.to_owned())];
        led_into.extend(shards(&labels, streams));
        labelled.push((labels, Arc::clone(one)));
    }
    led_into.sort_by_key(|shard| shard.in_trouble == 0);
    (labelled, led_into)
}

/// Leaves out what is beyond so many, and tells how many those are.
fn bound<T>(list: &mut Vec<T>, most: usize) -> usize {
    let left_out = list.len().saturating_sub(most);
    list.truncate(most);
    left_out
}

fn is_in_trouble(stream: &Stream) -> bool {
    stream.problem.is_some()
}

/// The shards that streams lead into, ascending; `of` labels what the streams are of.
fn shards(of: &[KeyValue], streams: &[Stream]) -> Vec<Shard> {
    let mut by_shard: BTreeMap<&str, Vec<&Stream>> = BTreeMap::new();
    for stream in streams {
        by_shard.entry(stream.shard.as_str()).or_default().push(stream);
    }
    let gravity = |state: &str| STATES.iter().position(|known| *known == state).unwrap_or(STATES.len());
    let shard = |(name, streams): (&str, Vec<&Stream>)| {
        let mut labels = of.to_vec();
        labels.push(KeyValue::new("shard", name.to_owned()));
        let worst = streams.iter().map(|stream| stream.state.as_str()).min_by_key(|state| gravity(state));
        Shard {
            labels,
            state: worst.unwrap_or_default().to_owned(),
            lag: streams.iter().filter_map(|stream| stream.lag).max(),
            rows_copied: streams.iter().map(|stream| stream.rows_copied).fold(0, i64::saturating_add),
            tables_left: streams.iter().map(|stream| stream.tables_left).max().unwrap_or_default(),
            in_trouble: streams.iter().filter(|stream| is_in_trouble(stream)).count(),
        }
    };
    by_shard.into_iter().map(shard).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::Problem;

    fn stream(shard: &str, state: &str, lag: Option<i64>) -> Stream {
        Stream {
            shard: shard.into(),
            state: state.into(),
            lag,
            rows_copied: 10,
            problem: (state == "Error").then(Problem::default),
            ..Stream::default()
        }
    }

    fn migration(workflow: &str, stage: Stage, streams: Vec<Stream>) -> Arc<Migration> {
        Arc::new(Migration {
            keyspace: "customer".into(),
            workflow: workflow.into(),
            stage,
            streams,
            ..Migration::default()
        })
    }

    fn snapshot(migrations: Vec<Arc<Migration>>) -> Arc<Snapshot> {
        Arc::new(Snapshot { sequence: 1, taken_at: 1000, migrations, ..Snapshot::default() })
    }

    fn names(figures: &Figures) -> Vec<String> {
        let name = |labels: &[KeyValue]| labels.iter().map(|l| l.value.to_string()).collect::<Vec<_>>().join(".");
        let migrations = figures.migrations.iter().map(|(labels, _)| name(labels));
        migrations.chain(figures.shards.iter().map(|shard| name(&shard.labels))).collect()
    }

    #[test]
    fn streams_into_one_shard_are_one_series_of_the_gravest() {
        let streams = vec![
            stream("-80", "Running", Some(1)),
            stream("-80", "Error", Some(7)),
            stream("80-", "Copying", None),
            stream("80-", "Running", Some(3)),
        ];
        let figures = Figures::of(snapshot(vec![migration("a", Stage::Copying, streams)]), None);
        let [low, high] = figures.shards.as_slice() else { panic!("two shards") };
        assert_eq!((low.state.as_str(), low.lag, low.rows_copied, low.in_trouble), ("Error", Some(7), 20, 1));
        assert_eq!((high.state.as_str(), high.lag, high.in_trouble), ("Copying", Some(3), 0));
        assert_eq!((figures.states["Running"], figures.states["Error"], figures.states["Stopped"]), (2, 1, 0));
    }

    #[test]
    fn what_has_ended_has_no_series() {
        let running = || vec![stream("0", "Running", Some(0))];
        let over = [Stage::Completed, Stage::Cancelled, Stage::Ended];
        let mut migrations: Vec<_> = over.iter().map(|stage| migration(stage.as_str(), *stage, running())).collect();
        migrations.push(migration("lives", Stage::Running, running()));
        let figures = Figures::of(snapshot(migrations), None);
        assert_eq!(names(&figures), ["customer.lives", "customer.lives.0"]);
        assert_eq!(figures.states["Running"], 1);
        assert_eq!(figures.stages.iter().map(|(_, count)| count).sum::<usize>(), 4);
    }

    #[test]
    fn of_too_many_those_in_trouble_are_shown_and_the_rest_is_counted() {
        let streams = |state| vec![stream("-80", "Running", Some(1)), stream("80-", state, Some(1))];
        let migrations = ["a", "b", "c"].map(|name| migration(name, Stage::Running, streams("Running")));
        let mut migrations = migrations.to_vec();
        migrations.push(migration("z", Stage::Running, streams("Error")));
        let figures = Figures::bounded(snapshot(migrations), None, (2, 3));
        let expected = ["customer.z", "customer.a", "customer.z.80-", "customer.z.-80", "customer.a.-80"];
        assert_eq!(names(&figures), expected);
        assert_eq!(figures.left_out, OmittedCounts { workflows: 2, shards: 5, ..OmittedCounts::default() });
    }

    #[test]
    fn ways_back_have_series_until_they_end_and_those_in_trouble_come_first() {
        let way_back = |workflow: &str, stage, state| {
            let (keyspace, workflow) = ("customer".to_owned(), workflow.to_owned());
            Arc::new(WayBack {
                keyspace,
                workflow,
                stage,
                streams: vec![stream("0", state, Some(9))],
                ..WayBack::default()
            })
        };
        let ways_back = vec![
            way_back("a", BackStage::Running, "Running"),
            way_back("b", BackStage::Back, "Running"),
            way_back("c", BackStage::Running, "Error"),
        ];
        let figures = Figures::of(Arc::new(Snapshot { sequence: 1, ways_back, ..Snapshot::default() }), None);
        let names: Vec<&str> = figures.ways_back.iter().map(|(_, known)| known.workflow.as_str()).collect();
        assert_eq!(names, ["c", "a"]);
        let shards: Vec<_> = figures.back_shards.iter().map(|shard| (shard.state.as_str(), shard.lag)).collect();
        assert_eq!(shards, [("Error", Some(9)), ("Running", Some(9))]);
        assert_eq!(figures.back_stages.iter().map(|(_, count)| count).sum::<usize>(), 3);
        assert_eq!(figures.states["Running"], 0, "streams of migrations");
    }

    #[test]
    fn the_last_success_is_remembered_while_the_topology_is_silent() {
        let good = Figures::of(snapshot(Vec::new()), None);
        assert_eq!(good.last_success(), Some(1000));
        let silent = Snapshot { sequence: 2, taken_at: 2000, problem: Some(Problem::default()), ..Snapshot::default() };
        assert_eq!(Figures::of(Arc::new(silent), good.last_success()).last_success(), Some(1000));
        assert!(!Figures::of(Arc::new(Snapshot::default()), None).is_something());
    }
}
