//! Settings of the tablet throttler.

use tonic::Code;
use vtmigrated::topo::{self, paths};
use vtmigrated_proto::topodata::{ThrottledAppRule, ThrottlerConfig};
use vtmigrated_proto::vtctldata::*;
use vtmigrated_proto::vttime::Time;

use crate::support::{Lab, assert_refused};

async fn stored(lab: &Lab, cell: &str) -> [ThrottlerConfig; 2] {
    let keyspace = topo::keyspace::get(lab.topo.global(), "ks").await.unwrap().value.throttler_config;
    let serving = topo::srv_keyspace::find(&lab.cell(cell).await, "ks").await.unwrap().unwrap().value.throttler_config;
    [keyspace, serving].map(Option::unwrap_or_default)
}

#[tokio::test]
async fn settings_are_changed_in_the_keyspace_and_in_every_cell_that_serves_it() {
    let mut lab = Lab::with_keyspace("ks", &["0"]).await;
    let rebuild =
        RebuildKeyspaceGraphRequest { keyspace: "ks".into(), cells: vec!["zone1".into()], ..Default::default() };
    lab.client.rebuild_keyspace_graph(rebuild).await.unwrap();
    let rule = ThrottledAppRule {
        name: "app".into(),
        ratio: 0.25,
        expires_at: Some(Time { seconds: i64::MAX / 2, nanoseconds: 0 }),
        exempt: false,
    };
    let request = UpdateThrottlerConfigRequest {
        keyspace: "ks".into(),
        enable: true,
        metric_name: "lag".into(),
        threshold: 7.5,
        app_name: "app".into(),
        app_checked_metrics: vec!["lag".into(), "shard/loadavg".into()],
        throttled_app: Some(rule.clone()),
        ..UpdateThrottlerConfigRequest::default()
    };
    lab.client.update_throttler_config(request.clone()).await.unwrap();
    for config in stored(&lab, "zone1").await {
        assert_eq!((config.enabled, config.threshold, config.metric_thresholds["lag"]), (true, 0.0, 7.5));
        assert_eq!(config.throttled_apps[0].value, Some(rule.clone()));
        let names = config.app_checked_metrics[0].value.clone().unwrap().names;
        assert_eq!((config.app_checked_metrics[0].key.as_str(), names.len()), ("app", 2));
    }
    assert!(topo::srv_keyspace::find(&lab.cell("zone2").await, "ks").await.unwrap().is_none());
    let query = UpdateThrottlerConfigRequest {
        keyspace: "ks".into(),
        disable: true,
        custom_query: "select 1".into(),
        custom_query_set: true,
        threshold: -1.0,
        ..UpdateThrottlerConfigRequest::default()
    };
    lab.client.update_throttler_config(query).await.unwrap();
    for config in stored(&lab, "zone1").await {
        assert_eq!((config.enabled, config.threshold, config.custom_query.as_str()), (false, -1.0, "select 1"));
        assert_eq!(config.metric_thresholds["lag"], 7.5);
    }
    let locks = lab.topo.global().list(&format!("{}/locks", paths::keyspace_dir("ks"))).await.unwrap();
    assert_eq!(locks, vec![]);
}

#[tokio::test]
async fn bad_settings_change_nothing() {
    let mut lab = Lab::with_keyspace("ks", &["0"]).await;
    let before = lab.stored().await;
    let base = UpdateThrottlerConfigRequest { keyspace: "ks".into(), ..UpdateThrottlerConfigRequest::default() };
    let strings = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    for (request, text) in [
        (
            UpdateThrottlerConfigRequest { enable: true, disable: true, ..base.clone() },
            "--enable and --disable are mutually exclusive",
        ),
        (UpdateThrottlerConfigRequest { metric_name: "x".into(), ..base.clone() }, "unknown metric name: x"),
        (
            UpdateThrottlerConfigRequest { app_checked_metrics: strings(&["host/lag"]), ..base.clone() },
            "invalid metric name: host/lag",
        ),
        (
            UpdateThrottlerConfigRequest { app_checked_metrics: strings(&["self/lag", "lag"]), ..base.clone() },
            "duplicate metric name: lag",
        ),
        (UpdateThrottlerConfigRequest { threshold: f64::NAN, ..base.clone() }, "bad throttler setting: "),
        (
            UpdateThrottlerConfigRequest { custom_query: "x".repeat(5000), custom_query_set: true, ..base.clone() },
            "bad ",
        ),
        (UpdateThrottlerConfigRequest { keyspace: "a/b".into(), ..base.clone() }, "GetKeyspace: invalid character"),
    ] {
        assert_refused(lab.client.update_throttler_config(request).await, Code::InvalidArgument, text);
    }
    let missing = UpdateThrottlerConfigRequest { keyspace: "nope".into(), ..base };
    assert_refused(lab.client.update_throttler_config(missing).await, Code::NotFound, "node doesn't exist: ");
    assert_eq!(lab.stored().await, before);
}
