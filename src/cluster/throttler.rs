//! The tablet throttler: asking it, and its settings in a keyspace.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::{join_all, try_join};
use vtmigrated_proto::tabletmanagerdata as manager;
use vtmigrated_proto::topodata::throttler_config::{AppCheckedMetricsEntry, MetricNames, ThrottledAppsEntry};
use vtmigrated_proto::topodata::{Keyspace, SrvKeyspace, TabletAlias, ThrottledAppRule, ThrottlerConfig};
use vtmigrated_proto::vttime::Time;

use super::keyspace::{finish, lock};
use super::{Error, Result, now, tablet};
use crate::context::Context;
use crate::error::{Code, Reason};
use crate::topo::{self, Conn, Lock, keyspace, paths, srv_keyspace, wire};

/// Metrics of Vitess 22.0.3.
const METRICS: &[&str] = &[
    "custom",
    "default",
    "history_list_length",
    "lag",
    "loadavg",
    "mysqld-datadir-used-ratio",
    "mysqld-loadavg",
    "threads_running",
];
/// Where a metric may be measured.
const SCOPES: &[&str] = &["self", "shard"];
/// Longest name or query, in bytes.
const MAX_TEXT: usize = 4096;
/// Where a Keyspace, a SrvKeyspace have their `throttler_config`, and where that has its `throttled_apps`.
const OF_KEYSPACE: u32 = 9;
const OF_SRV_KEYSPACE: u32 = 6;
const THROTTLED_APPS: u32 = 5;

/// A change of a keyspace's settings.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub enable: bool,
    pub disable: bool,
    pub threshold: f64,
    /// `None` leaves the query as it is.
    pub custom_query: Option<String>,
    /// The metric that the threshold is for; the default one when empty.
    pub metric: String,
    /// The app whose metrics are set.
    pub app: String,
    pub app_metrics: Vec<String>,
    /// Throttled until its time; freed when that is over.
    pub throttled_app: Option<ThrottledAppRule>,
    /// The same as it was sent: what is not known of it is stored, too.
    pub sent_app: Option<Bytes>,
}

/// Asks a tablet's throttler whether an app may go on.
pub async fn check(
    context: &Context,
    alias: &TabletAlias,
    request: manager::CheckThrottlerRequest,
) -> Result<manager::CheckThrottlerResponse> {
    let tablet = tablet::get(context, alias).await?;
    Ok(context.tablets.check_throttler(&tablet, request).await?)
}

/// What a tablet's throttler knows.
pub async fn status(context: &Context, alias: &TabletAlias) -> Result<manager::GetThrottlerStatusResponse> {
    let tablet = tablet::get(context, alias).await?;
    Ok(context.tablets.get_throttler_status(&tablet, manager::GetThrottlerStatusRequest {}).await?)
}

/// Changes the settings in the keyspace's record and in its serving graphs, under the keyspace's lock.
///
/// # Errors
/// Everything that is wrong with the change is told before anything is written.
pub async fn update(context: &Context, name: &str, change: Change) -> Result<()> {
    check_change(&change)?;
    paths::check_name(name).map_err(|error| error.wrap("GetKeyspace"))?;
    let lock = lock(context, name, "UpdateThrottlerConfig").await?;
    let updated = update_locked(context, name, &change, &lock).await;
    finish(updated, lock).await
}

async fn update_locked(context: &Context, name: &str, change: &Change, lock: &Lock) -> Result<()> {
    let global = context.topo.global();
    let (old, cells) = try_join(keyspace::get(global, name), context.topo.cells()).await?;
    let changed = |config: Option<&ThrottlerConfig>| Some(change.applied(config.cloned().unwrap_or_default()));
    let record = Keyspace { throttler_config: changed(old.value.throttler_config.as_ref()), ..old.value.clone() };
    keyspace::update_sent(global, &old, &record, change.sent(OF_KEYSPACE).as_ref(), lock).await?;
    lock.check().await?;
    let writes = cells.iter().map(|(_, conn)| write_serving(conn, name, change));
    let failed: Vec<String> =
        join_all(writes).await.into_iter().filter_map(Result::err).map(|error| error.to_string()).collect();
    if failed.is_empty() { Ok(()) } else { Err(topo::Error::PartialResult(failed.join("\n")).into()) }
}

async fn write_serving(conn: &Arc<dyn Conn>, name: &str, change: &Change) -> Result<()> {
    loop {
        let Some(old) = srv_keyspace::find(conn, name).await? else { return Ok(()) };
        let config = change.applied(old.value.throttler_config.clone().unwrap_or_default());
        let graph = SrvKeyspace { throttler_config: Some(config), ..old.value.clone() };
        let write = old.over_sent(conn, "topodata.SrvKeyspace", &graph, change.sent(OF_SRV_KEYSPACE).as_ref())?;
        match conn.write_one(write, None).await {
            Err(error) if error.is_conflict() => {}
            other => return other.map(|_| ()).map_err(Error::from),
        }
    }
}

fn check_change(change: &Change) -> Result<()> {
    if change.enable && change.disable {
        return Err(Error::bad_argument("--enable and --disable are mutually exclusive"));
    }
    let rule = change.throttled_app.as_ref();
    let texts =
        [&change.metric, &change.app].into_iter().chain(&change.custom_query).chain(rule.map(|rule| &rule.name));
    if texts.into_iter().chain(&change.app_metrics).any(|text| text.len() > MAX_TEXT) {
        return Err(Error::bad_argument("bad throttler setting: names and queries are at most 4096 bytes"));
    }
    if !change.threshold.is_finite() || rule.is_some_and(|rule| !rule.ratio.is_finite()) {
        return Err(Error::bad_argument("bad throttler setting: thresholds and ratios are finite numbers"));
    }
    if !change.metric.is_empty() && !METRICS.contains(&change.metric.as_str()) {
        let help = format!("metrics: {}", METRICS.join(", "));
        let text = format!("unknown metric name: {}", change.metric);
        return Err(Error::refused(Code::InvalidArgument, Reason::METRIC, text, help));
    }
    let mut seen = Vec::new();
    for name in &change.app_metrics {
        let metric = metric(name).ok_or_else(|| Error::bad_argument(format!("invalid metric name: {name}")))?;
        if seen.contains(&metric) {
            return Err(Error::bad_argument(format!("duplicate metric name: {metric}")));
        }
        seen.push(metric);
    }
    Ok(())
}

/// The metric of a name such as `lag`, `self/loadavg`, or `shard`, which is the default metric there.
fn metric(name: &str) -> Option<&str> {
    if SCOPES.contains(&name) {
        return Some("default");
    }
    let metric = match name.split_once('/') {
        Some((scope, metric)) if SCOPES.contains(&scope) && metric != "default" => metric,
        Some(_) => return None,
        None => name,
    };
    METRICS.contains(&metric).then_some(metric)
}

impl Change {
    /// What was sent, as settings in the field `number` of a record.
    fn sent(&self, number: u32) -> Option<Bytes> {
        let (rule, sent) = self.throttled_app.as_ref().zip(self.sent_app.as_ref())?;
        let apps = wire::message(THROTTLED_APPS, &wire::map_entry(&rule.name, sent));
        Some(wire::message(number, &apps))
    }

    /// The settings after the change; entries are ascending by name.
    fn applied(&self, mut config: ThrottlerConfig) -> ThrottlerConfig {
        if !self.metric.is_empty() {
            if self.threshold > 0.0 {
                config.metric_thresholds.insert(self.metric.clone(), self.threshold);
            } else {
                config.metric_thresholds.remove(&self.metric);
            }
        } else if let Some(query) = &self.custom_query {
            config.custom_query.clone_from(query);
            config.threshold = self.threshold;
        } else if self.threshold > 0.0 {
            config.threshold = self.threshold;
        }
        if !self.app.is_empty() {
            config.app_checked_metrics.retain(|entry| entry.key != self.app);
            if !self.app_metrics.is_empty() {
                let value = Some(MetricNames { names: self.app_metrics.clone() });
                config.app_checked_metrics.push(AppCheckedMetricsEntry { key: self.app.clone(), value });
                config.app_checked_metrics.sort_by(|a, b| a.key.cmp(&b.key));
            }
        }
        config.enabled = (config.enabled || self.enable) && !self.disable;
        if let Some(rule) = self.throttled_app.as_ref().filter(|rule| !rule.name.is_empty()) {
            config.throttled_apps.retain(|entry| entry.key != rule.name);
            if is_future(rule.expires_at.as_ref()) {
                let entry = ThrottledAppsEntry { key: rule.name.clone(), value: Some(rule.clone()) };
                config.throttled_apps.push(entry);
                config.throttled_apps.sort_by(|a, b| a.key.cmp(&b.key));
            }
        }
        config
    }
}

fn is_future(time: Option<&Time>) -> bool {
    let now = now();
    time.is_some_and(|time| (time.seconds, time.nanoseconds) > (now.seconds, now.nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_metrics_may_carry_a_scope() {
        let found: Vec<_> = ["lag", "self/loadavg", "shard", "shard/default", "host/lag", "nope"].map(metric).into();
        assert_eq!(found, [Some("lag"), Some("loadavg"), Some("default"), None, None, None]);
    }

    #[test]
    fn a_change_touches_only_what_it_names() {
        let rule = |seconds| ThrottledAppRule {
            name: "app".into(),
            ratio: 0.5,
            expires_at: Some(Time { seconds, nanoseconds: 0 }),
            exempt: false,
        };
        let one = Change { enable: true, threshold: 2.0, throttled_app: Some(rule(i64::MAX)), ..Change::default() };
        let config = one.applied(ThrottlerConfig { custom_query: "select 1".into(), ..ThrottlerConfig::default() });
        assert_eq!((config.enabled, config.threshold, config.custom_query.as_str()), (true, 2.0, "select 1"));
        assert_eq!(config.throttled_apps.len(), 1);
        let two = Change { metric: "lag".into(), threshold: 7.0, throttled_app: Some(rule(1)), ..Change::default() };
        let config = two.applied(config);
        assert_eq!((config.threshold, config.metric_thresholds["lag"], config.throttled_apps.len()), (2.0, 7.0, 0));
        let three = Change { metric: "lag".into(), disable: true, app: "x".into(), ..Change::default() };
        let config = Change { app_metrics: vec!["lag".into()], ..three.clone() }.applied(config);
        assert_eq!((config.enabled, config.metric_thresholds.len(), config.app_checked_metrics.len()), (false, 0, 1));
        assert_eq!(three.applied(config).app_checked_metrics, vec![]);
        let query = Change { custom_query: Some(String::new()), ..Change::default() };
        assert_eq!(query.applied(ThrottlerConfig { threshold: 3.0, ..Default::default() }).threshold, 0.0);
    }
}
