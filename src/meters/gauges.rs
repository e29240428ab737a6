//! The gauges: what they are called, what they say, where they read it.

use opentelemetry::KeyValue;

use super::Figures;
use super::figures::Shard;
use crate::watch::{Migration, Mount, VDiff, WayBack};

/// Takes the value of one series.
pub type Put<'a> = &'a mut dyn FnMut(&[KeyValue], f64);

/// A gauge. Prometheus's name is `name` with `_` for dots, and the unit in words.
pub struct Gauge {
    pub name: &'static str,
    /// As UCUM writes it: `s`, `By`; words in braces are for people.
    pub unit: &'static str,
    pub help: &'static str,
    /// Puts every series; the number is the time in epoch seconds.
    pub read: fn(&Figures, i64, Put),
}

/// All of them, by subject.
pub const GAUGES: &[Gauge] = &[
    gauge(
        "vtmigrated.watch.success.age",
        "s",
        "Time since the topology of this cluster was last read for these gauges",
        |f, now, put| {
            one(put, &[], f.last_success().map(|at| age(now, at)));
        },
    ),
    gauge(
        "vtmigrated.watch.keyspaces.unread",
        "",
        "Keyspaces that could not be read in the last round",
        |f, _, put| {
            put(&[], count(f.snapshot.keyspaces.len()));
        },
    ),
    gauge(
        "vtmigrated.series.left_out",
        "",
        "What has no series of its own because there are too many, by kind",
        left_out,
    ),
    gauge("vtmigrated.workflows", "", "Migrations by stage, those that ended within a day among them", |f, _, put| {
        for (stage, number) in &f.stages {
            put(&[KeyValue::new("stage", *stage)], count(*number));
        }
    }),
    gauge("vtmigrated.streams", "", "Streams of migrations by state", |f, _, put| {
        for (state, number) in &f.states {
            put(&[KeyValue::new("state", state.clone())], count(*number));
        }
    }),
    gauge("vtmigrated.workflow.stage", "", "1 for the stage that the migration is in", |f, _, put| {
        for (labels, migration) in &f.migrations {
            put(&with(labels, "stage", migration.stage.as_str()), 1.0);
        }
    }),
    gauge("vtmigrated.workflow.ready", "", "1 when complete would be accepted", |f, _, put| {
        workflows(f, put, |m| Some(truth(m.go)));
    }),
    gauge(
        "vtmigrated.workflow.success.age",
        "s",
        "Time since the migration was last read as a whole",
        |f, now, put| {
            workflows(f, put, |m| m.last_success.map(|at| age(now, at)));
        },
    ),
    gauge(
        "vtmigrated.workflow.rows.copied",
        "{row}",
        "Rows copied, an estimate, never more than those expected",
        |f, _, put| {
            workflows(f, put, |m| Some(float(m.copy.rows_copied)));
        },
    ),
    gauge("vtmigrated.workflow.rows.expected", "{row}", "Rows of the source's tables, an estimate", |f, _, put| {
        workflows(f, put, |m| Some(float(m.copy.rows_total)));
    }),
    gauge(
        "vtmigrated.workflow.data.copied",
        "By",
        "Size of what is copied, an estimate, never more than expected",
        |f, _, put| {
            workflows(f, put, |m| Some(float(m.copy.bytes_copied)));
        },
    ),
    gauge("vtmigrated.workflow.data.expected", "By", "Size of the source's tables, an estimate", |f, _, put| {
        workflows(f, put, |m| Some(float(m.copy.bytes_total)));
    }),
    gauge("vtmigrated.workflow.tables.copied", "{table}", "Tables whose copy is done on all shards", |f, _, put| {
        workflows(f, put, |m| Some(count(m.copy.tables_done)));
    }),
    gauge("vtmigrated.workflow.tables", "{table}", "Tables of the migration", |f, _, put| {
        workflows(f, put, |m| Some(count(m.copy.tables)));
    }),
    gauge(
        "vtmigrated.workflow.copy.rows",
        "{row}/s",
        "Rows copied in a second; absent when nothing is copied",
        |f, _, put| {
            workflows(f, put, |m| m.copy.rows_per_second);
        },
    ),
    gauge(
        "vtmigrated.workflow.copy.time_left",
        "s",
        "Estimated time until the copy is done; absent while it is unknown",
        |f, _, put| {
            workflows(f, put, |m| m.copy.seconds_left.map(float));
        },
    ),
    gauge("vtmigrated.shard.state", "", "1 for the worst state of the streams into the target shard", |f, _, put| {
        shard_states(&f.shards, put);
    }),
    gauge(
        "vtmigrated.shard.lag",
        "s",
        "Highest lag of the streams into the target shard; absent before replication",
        |f, _, put| {
            shards(&f.shards, put, |shard| shard.lag.map(float));
        },
    ),
    gauge("vtmigrated.shard.errors", "{stream}", "Streams into the target shard with a problem", |f, _, put| {
        shards(&f.shards, put, |shard| Some(count(shard.in_trouble)));
    }),
    gauge(
        "vtmigrated.shard.rows.copied",
        "{row}",
        "Rows that the shard's tablet has copied, as it counts them",
        |f, _, put| {
            shards(&f.shards, put, |shard| Some(float(shard.rows_copied)));
        },
    ),
    gauge("vtmigrated.shard.tables.left", "{table}", "Tables that the shard has left to copy", |f, _, put| {
        shards(&f.shards, put, |shard| Some(count(shard.tables_left)));
    }),
    gauge("vtmigrated.ways_back", "", "Ways back by stage, those that ended within a day among them", |f, _, put| {
        for (stage, number) in &f.back_stages {
            put(&[KeyValue::new("stage", *stage)], count(*number));
        }
    }),
    gauge("vtmigrated.way_back.stage", "", "1 for the stage that the way back is in", |f, _, put| {
        for (labels, way_back) in &f.ways_back {
            put(&with(labels, "stage", way_back.stage.as_str()), 1.0);
        }
    }),
    gauge("vtmigrated.way_back.ready", "", "1 when going back would be accepted", |f, _, put| {
        ways_back(f, put, |known| Some(truth(known.go)));
    }),
    gauge("vtmigrated.way_back.success.age", "s", "Time since the way back was last read as a whole", |f, now, put| {
        ways_back(f, put, |known| Some(age(now, known.last_success.unwrap_or(known.first_seen))));
    }),
    gauge("vtmigrated.way_back.prepared.age", "s", "Time since the way back was prepared", |f, now, put| {
        ways_back(f, put, |known| known.prepared_at.map(|at| age(now, at)));
    }),
    gauge(
        "vtmigrated.way_back.open.age",
        "s",
        "Time since complete handed the target over; absent before",
        |f, now, put| {
            ways_back(f, put, |known| known.opened_at.map(|at| age(now, at)));
        },
    ),
    gauge(
        "vtmigrated.way_back.shard.state",
        "",
        "1 for the worst state of the way back's streams into the source shard",
        |f, _, put| {
            shard_states(&f.back_shards, put);
        },
    ),
    gauge(
        "vtmigrated.way_back.shard.lag",
        "s",
        "Highest lag of the way back's streams into the source shard; absent before they ran",
        |f, _, put| {
            shards(&f.back_shards, put, |shard| shard.lag.map(float));
        },
    ),
    gauge(
        "vtmigrated.way_back.shard.errors",
        "{stream}",
        "Streams of the way back into the source shard with a problem",
        |f, _, put| {
            shards(&f.back_shards, put, |shard| Some(count(shard.in_trouble)));
        },
    ),
    gauge("vtmigrated.mount.reachable", "", "1 when the mounted topology answered", |f, _, put| {
        mounts(f, put, |mount| Some(truth(mount.reachable)));
    }),
    gauge("vtmigrated.mount.check.age", "s", "Time since the mounted topology was last asked", |f, now, put| {
        mounts(f, put, |mount| Some(age(now, mount.checked_at)));
    }),
    gauge(
        "vtmigrated.mount.success.age",
        "s",
        "Time since the mounted topology last answered; absent when it never did",
        |f, now, put| {
            mounts(f, put, |mount| mount.last_success.map(|at| age(now, at)));
        },
    ),
    gauge(
        "vtmigrated.mount.workflows",
        "",
        "Migrations that read from the mount, or whose way back leads there, and have not ended",
        |f, _, put| {
            mounts(f, put, |mount| Some(count(mount.used_by.len())));
        },
    ),
    gauge("vtmigrated.vdiff.state", "", "1 for the state of the last VDiff, the worst of all shards", |f, _, put| {
        for (labels, diff) in diffs(f) {
            let state = if diff.state.is_empty() { "unknown" } else { diff.state.as_str() };
            put(&with(labels, "state", state), 1.0);
        }
    }),
    gauge("vtmigrated.vdiff.mismatch", "", "1 when the last VDiff found rows that differ", |f, _, put| {
        vdiffs(f, put, |diff| Some(truth(diff.has_mismatch)));
    }),
    gauge("vtmigrated.vdiff.errors", "{shard}", "Shards whose part of the last VDiff failed", |f, _, put| {
        vdiffs(f, put, |diff| Some(count(diff.errors.len())));
    }),
    gauge("vtmigrated.vdiff.rows.compared", "{row}", "Rows that the last VDiff has compared", |f, _, put| {
        vdiffs(f, put, |diff| Some(float(diff.rows_compared)));
    }),
    gauge(
        "vtmigrated.vdiff.rows.expected",
        "{row}",
        "Rows that the last VDiff has to compare, an estimate",
        |f, _, put| {
            vdiffs(f, put, |diff| Some(float(diff.rows)));
        },
    ),
    gauge("vtmigrated.vdiff.rows.differing", "{row}", "Rows that differ or are on one side only", |f, _, put| {
        vdiffs(f, put, |diff| Some(float(diff.differing)));
    }),
    gauge("vtmigrated.vdiff.duration", "s", "Time that the last VDiff took, or has taken so far", |f, now, put| {
        vdiffs(f, put, |diff| diff.started_at.map(|from| age(diff.completed_at.unwrap_or(now), from)));
    }),
    gauge(
        "vtmigrated.vdiff.age",
        "s",
        "Time since the last VDiff was completed on all shards; absent before",
        |f, now, put| {
            vdiffs(f, put, |diff| diff.completed_at.map(|at| age(now, at)));
        },
    ),
];

const fn gauge(name: &'static str, unit: &'static str, help: &'static str, read: fn(&Figures, i64, Put)) -> Gauge {
    Gauge { name, unit, help, read }
}

fn left_out(figures: &Figures, _now: i64, put: Put) {
    let left = figures.left_out;
    let numbers = [
        ("mounts", left.mounts),
        ("shards", left.shards),
        ("workflows", left.workflows),
        ("ways_back", left.ways_back),
        ("way_back_shards", left.back_shards),
    ];
    for (of, number) in numbers {
        put(&[KeyValue::new("kind", of)], count(number));
    }
}

fn workflows(figures: &Figures, put: Put, value: impl Fn(&Migration) -> Option<f64>) {
    for (labels, migration) in &figures.migrations {
        one(put, labels, value(migration));
    }
}

fn shards(shards: &[Shard], put: Put, value: impl Fn(&Shard) -> Option<f64>) {
    for shard in shards {
        one(put, &shard.labels, value(shard));
    }
}

fn shard_states(shards: &[Shard], put: Put) {
    for shard in shards {
        put(&with(&shard.labels, "state", &shard.state), 1.0);
    }
}

fn ways_back(figures: &Figures, put: Put, value: impl Fn(&WayBack) -> Option<f64>) {
    for (labels, way_back) in &figures.ways_back {
        one(put, labels, value(way_back));
    }
}

fn mounts(figures: &Figures, put: Put, value: impl Fn(&Mount) -> Option<f64>) {
    for mount in figures.mounts() {
        one(put, &[KeyValue::new("mount", mount.name.clone())], value(mount));
    }
}

fn diffs(figures: &Figures) -> impl Iterator<Item = (&[KeyValue], &VDiff)> {
    figures.migrations.iter().filter_map(|(labels, migration)| Some((labels.as_slice(), migration.vdiff.as_ref()?)))
}

fn vdiffs(figures: &Figures, put: Put, value: impl Fn(&VDiff) -> Option<f64>) {
    for (labels, diff) in diffs(figures) {
        one(put, labels, value(diff));
    }
}

fn one(put: Put, labels: &[KeyValue], value: Option<f64>) {
    if let Some(value) = value {
        put(labels, value);
    }
}

fn with(labels: &[KeyValue], name: &'static str, value: &str) -> Vec<KeyValue> {
    let mut labels = labels.to_vec();
    labels.push(KeyValue::new(name, value.to_owned()));
    labels
}

fn truth(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

/// Seconds; zero when clocks disagree.
fn age(now: i64, at: i64) -> f64 {
    float(now.saturating_sub(at).max(0))
}

fn count(number: usize) -> f64 {
    float(i64::try_from(number).unwrap_or(i64::MAX))
}

#[allow(clippy::cast_precision_loss, reason = "an estimate, or far below 2^53")]
fn float(number: i64) -> f64 {
    number as f64
}
