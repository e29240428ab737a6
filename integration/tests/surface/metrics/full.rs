//! A page with every metric that there can be: the meters of this process, told of one of everything.

use std::{
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use tokio::sync::watch::channel;
use vtmigrated::{
    meters,
    telemetry::{metrics, otlp},
    watch::{BackStage, Copy, Migration, Mount, Problem, Snapshot, Stage, Stream, VDiff, WayBack},
};

/// The page.
pub static PAGE: LazyLock<String> = LazyLock::new(page);

fn page() -> String {
    metrics::install(metrics::Options::default(), &otlp::Options::default(), Instant::now()).unwrap();
    let (_sender, seen) = channel(Arc::new(snapshot()));
    meters::observe(seen);
    let moment = Duration::from_millis(3);
    let cell: Arc<str> = "global".into();
    metrics::topology_operation("Get", &cell, moment, true);
    metrics::topology_read_wait("Get", &cell, moment);
    metrics::tablet_connection(true);
    metrics::tablet_connection(false);
    metrics::tablet_call("tabletmanagerservice.TabletManager/Ping", "tablet:1", "UNAVAILABLE", moment);
    metrics::rpc_active(1);
    metrics::hung_up("flood");
    metrics::rpc("vtctlservice.Vtctld/GetWorkflows".into(), "INTERNAL", moment);
    metrics::prometheus_text()
}

fn snapshot() -> Snapshot {
    let mount = Mount {
        name: "ext1".into(),
        reachable: true,
        checked_at: 1,
        last_success: Some(1),
        used_by: vec!["customer.import".into()],
        ..Mount::default()
    };
    Snapshot {
        sequence: 1,
        taken_at: 1,
        interval: 10,
        mounts: vec![mount],
        migrations: vec![Arc::new(migration())],
        ways_back: vec![Arc::new(way_back())],
        ..Snapshot::default()
    }
}

fn stream() -> Stream {
    Stream {
        shard: "-80".into(),
        source_shard: "0".into(),
        state: "Error".into(),
        lag: Some(7),
        rows_copied: 10,
        problem: Some(Problem::default()),
        ..Stream::default()
    }
}

fn way_back() -> WayBack {
    WayBack {
        keyspace: "customer".into(),
        workflow: "import".into(),
        mount: "ext1".into(),
        stage: BackStage::Running,
        last_success: Some(1),
        prepared_at: Some(1),
        opened_at: Some(1),
        streams: vec![stream()],
        ..WayBack::default()
    }
}

fn migration() -> Migration {
    let diff = VDiff {
        state: "completed".into(),
        rows_compared: 100,
        rows: 100,
        started_at: Some(1),
        completed_at: Some(2),
        ..VDiff::default()
    };
    Migration {
        keyspace: "customer".into(),
        workflow: "import".into(),
        mount: "ext1".into(),
        stage: Stage::Copying,
        last_success: Some(1),
        copy: Copy { rows_per_second: Some(1.5), seconds_left: Some(60), tables: 1, ..Copy::default() },
        streams: vec![stream()],
        vdiff: Some(diff),
        ..Migration::default()
    }
}
