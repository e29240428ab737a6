//! The cells of a cluster, some of which may be out of reach.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;

use super::silence::while_serving;
use super::{Conn, Error, Lock, LockRequest, Node, Result, Write, paths};
use crate::deadline;

/// A cell that has said nothing for so long is asked whether it serves, ...
const QUIET: Duration = Duration::from_secs(4);
/// ... and left out when it does not say so within this.
const SILENCE: Duration = Duration::from_secs(1);
/// Bound of what one call asks of one cell that is slow and serves, where it can do without.
const LONGEST: Duration = Duration::from_secs(30);

/// The cells of a cluster as they were at one moment, with their connections.
///
/// A call can do without most cells: what it asks by [`Self::ask`] of one that does not answer is left out. It is not asked
/// again by the same call, and [`Self::left_out`] names it; [`Self::passed_over`] names what else a call went on without.
/// Clones share that.
#[derive(Clone, Default)]
pub struct Cells {
    root: String,
    cells: BTreeMap<String, Arc<dyn Conn>>,
    left_out: Arc<Mutex<BTreeMap<String, Error>>>,
    /// What besides cells, and why.
    passed_over: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Cells {
    /// The cells of the topology with the full key `root`.
    pub(super) fn new(root: String, cells: BTreeMap<String, Arc<dyn Conn>>) -> Self {
        Self { root, cells, ..Self::default() }
    }

    /// Names, ascending.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.cells.keys().map(String::as_str)
    }

    /// True when the cluster has no cell.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Names and connections, ascending by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<dyn Conn>)> {
        self.cells.iter().map(|(name, conn)| (name.as_str(), conn))
    }

    /// The connection to a cell.
    ///
    /// # Errors
    /// [`Error::NoNode`] naming the missing record, as stock does.
    pub fn conn(&self, name: &str) -> Result<&Arc<dyn Conn>> {
        self.cells.get(name).ok_or_else(|| Error::NoNode(paths::join(&self.root, &paths::cell_info(name))))
    }

    /// The same cells without those that are not named.
    ///
    /// # Errors
    /// [`Error::NoNode`] for a name that is not there.
    pub fn only(&self, names: &[String]) -> Result<Self> {
        let mut cells = BTreeMap::new();
        for name in names {
            cells.insert(name.clone(), Arc::clone(self.conn(name)?));
        }
        Ok(Self { cells, ..self.clone() })
    }

    /// Asks one cell, within five seconds, or longer as long as it goes on serving. One that fails is left out from now on.
    ///
    /// # Errors
    /// Those of `asking`, and the first one again when the cell was left out before.
    pub async fn ask<T>(&self, name: &str, asking: impl Future<Output = Result<T>>) -> Result<T> {
        if let Some(known) = self.known().get(name) {
            return Err(known.clone());
        }
        let late = || Error::Timeout(self.conn(name).map(|conn| conn.full("")).unwrap_or_default());
        let serves = || async move {
            match self.conn(name) {
                Ok(conn) => conn.probe().await.is_ok(),
                Err(_) => false,
            }
        };
        let bounds = (QUIET, SILENCE, deadline::remaining(LONGEST));
        let answer = while_serving(bounds, asking, serves).await.unwrap_or_else(|| Err(late()));
        if let Err(error) = &answer {
            tracing::warn!(vitess.cell = name, "skipping a cell: {error}");
            self.known().entry(name.to_owned()).or_insert_with(|| error.clone());
        }
        answer
    }

    /// Asks all cells in parallel; those that fail are left out. Ascending by name.
    pub async fn ask_all<'a, T, F>(&'a self, asking: impl Fn(&'a str, &'a Arc<dyn Conn>) -> F) -> Vec<(String, T)>
    where
        F: Future<Output = Result<T>>,
    {
        let asked = self.iter().map(|(name, conn)| {
            let asking = asking(name, conn);
            async move { Some((name.to_owned(), self.ask(name, asking).await.ok()?)) }
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// The cells that were left out so far, with the reasons.
    pub fn left_out(&self) -> Vec<(String, Error)> {
        self.known().iter().map(|(name, error)| (name.clone(), error.clone())).collect()
    }

    /// Notes that the call goes on without something that is no cell, and why.
    pub fn pass_over(&self, what: String, why: String) {
        tracing::warn!("skipping {what}: {why}");
        self.passed_over.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_insert(why);
    }

    /// What the call went on without so far besides cells: a sentence for each.
    pub fn passed_over(&self) -> Vec<String> {
        let known = self.passed_over.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().map(|(what, why)| format!("{what} was left out: {why}")).collect()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Error>> {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A cell whose record does not lead to a connection: every operation fails with the reason.
pub(super) struct NoConn {
    kind: String,
    server: String,
    root: String,
    why: Error,
}

impl NoConn {
    pub fn wrap(kind: &str, server: &str, root: &str, why: Error) -> Arc<dyn Conn> {
        Arc::new(Self { kind: kind.to_owned(), server: server.to_owned(), root: root.to_owned(), why })
    }

    fn fail<T>(&self) -> Result<T> {
        Err(self.why.clone())
    }
}

#[async_trait]
impl Conn for NoConn {
    fn endpoint(&self) -> (&str, &str, &str) {
        (&self.kind, &self.server, &self.root)
    }

    async fn get(&self, _: &str) -> Result<Node> {
        self.fail()
    }

    async fn get_many(&self, _: Vec<String>) -> Result<Vec<Option<Node>>> {
        self.fail()
    }

    async fn list(&self, _: &str) -> Result<Vec<Node>> {
        self.fail()
    }

    async fn list_dir(&self, _: &str) -> Result<Vec<String>> {
        self.fail()
    }

    async fn write(&self, _: Vec<Write>, _: Option<&Lock>) -> Result<Vec<i64>> {
        self.fail()
    }

    async fn lock(&self, _: LockRequest) -> Result<Lock> {
        self.fail()
    }

    async fn has_lease(&self, _: &str) -> Result<bool> {
        self.fail()
    }

    async fn probe(&self) -> Result<()> {
        self.fail()
    }
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::topodata::{CellInfo, TabletAlias};
    use vtmigrated_proto::vschema::{Keyspace, RoutingRule, RoutingRules};

    use super::super::{Dialer, EtcdOptions, Expect, Topo, cell, routing_rules, srv_vschema, tablet, vschema};
    use super::*;

    async fn cluster() -> Topo {
        let dialer = Arc::new(Dialer::new(EtcdOptions::default()));
        let topo = Topo::open(dialer, "memory", "cells", "/global").await.unwrap();
        let record = CellInfo { server_address: "zone1".into(), root: "/zone1".into() };
        cell::create(topo.global(), "zone1", &record, None).await.unwrap();
        topo.global().create("cells/zone9/CellInfo", vec![0xff, 0xff]).await.unwrap();
        topo
    }

    #[tokio::test]
    async fn a_record_that_leads_nowhere_costs_its_own_cell_only() {
        let cells = cluster().await.cells().await.unwrap();
        assert_eq!(cells.names().collect::<Vec<_>>(), ["zone1", "zone9"]);
        cells.conn("zone1").unwrap().probe().await.unwrap();
        let error = cells.conn("zone9").unwrap().probe().await.unwrap_err();
        assert!(error.to_string().contains("/global/cells/zone9/CellInfo"), "{error}");
        let alias = |cell: &str| TabletAlias { cell: cell.into(), uid: 1 };
        assert!(tablet::reachable(&cells, &[alias("zone1"), alias("zone9"), alias("zone7")]).await.tablets.is_empty());
        assert_eq!(tablet::replication(&cells, "ks", &["0"]).await["0"], []);
        assert_eq!(cells.left_out().len(), 1);
        assert_eq!(cells.left_out()[0].0, "zone9");
    }

    #[tokio::test]
    async fn serving_vschemas_are_written_where_cells_can_be_reached() {
        let topo = cluster().await;
        let cells = topo.cells().await.unwrap();
        srv_vschema::rebuild_reachable(topo.global(), &cells).await.unwrap();
        assert!(srv_vschema::get(cells.conn("zone1").unwrap()).await.is_ok());
        assert_eq!(cells.left_out().len(), 1);
        assert!(srv_vschema::rebuild(topo.global(), &topo.cells().await.unwrap()).await.is_err());
        // none at all is no success
        let dead = topo.cells().await.unwrap().only(&["zone9".to_owned()]).unwrap();
        assert!(srv_vschema::rebuild_reachable(topo.global(), &dead).await.is_err());
        let found = srv_vschema::reachable(&topo.cells().await.unwrap()).await;
        assert!(matches!(found.as_slice(), [(cell, Some(_))] if cell == "zone1"), "{found:?}");
    }

    #[tokio::test]
    async fn a_vschema_that_cannot_be_decoded_costs_its_own_keyspace_only() {
        let topo = cluster().await;
        let (global, cells) = (topo.global(), topo.cells().await.unwrap());
        let zone1 = cells.conn("zone1").unwrap();
        let served = async || {
            let served = srv_vschema::get(zone1).await.unwrap().value.keyspaces.into_iter();
            served.map(|entry| (entry.key, entry.value.unwrap().sharded)).collect::<BTreeMap<_, _>>()
        };
        let of = |known: &[(&str, bool)]| {
            known.iter().map(|(name, sharded)| ((*name).to_owned(), *sharded)).collect::<BTreeMap<_, _>>()
        };
        let sharded = Keyspace { sharded: true, ..Keyspace::default() };
        vschema::put(global, "legacy", &sharded, Expect::Any, None).await.unwrap();
        srv_vschema::rebuild_reachable(global, &cells).await.unwrap();
        let broken = |path: String| global.write_one(Write::put(path, vec![0xff_u8, 0xff], Expect::Any), None);
        broken(paths::vschema("legacy")).await.unwrap();
        vschema::put(global, "other", &sharded, Expect::Any, None).await.unwrap();
        assert!(cells.passed_over().is_empty());
        srv_vschema::rebuild_reachable(global, &cells).await.unwrap();
        assert_eq!(served().await, of(&[("legacy", true), ("other", true)]), "what it had before stays");
        let told = cells.passed_over().concat();
        assert!(
            told.starts_with("the VSchema of keyspace legacy was left out: bad topology data at /global/"),
            "{told}"
        );
        // who rebuilds for its own sake is told once that is done
        let only = topo.cells().await.unwrap().only(&["zone1".to_owned()]).unwrap();
        vschema::put(global, "other", &Keyspace::default(), Expect::Any, None).await.unwrap();
        let error = srv_vschema::rebuild(global, &only).await.unwrap_err();
        assert!(error.to_string().contains("/global/keyspaces/legacy/VSchema"), "{error}");
        assert_eq!(served().await, of(&[("legacy", true), ("other", false)]));
        // a cell that has nothing of it, or nothing that can be decoded
        for present in [None, Some(vec![0xff, 0xff])] {
            zone1.remove(paths::SRV_VSCHEMA).await.unwrap();
            if let Some(present) = present {
                zone1.create(paths::SRV_VSCHEMA, present).await.unwrap();
            }
            srv_vschema::rebuild_reachable(global, &cells).await.unwrap();
            assert_eq!(served().await, of(&[("other", false)]));
        }
    }

    #[tokio::test]
    async fn rules_that_cannot_be_decoded_stay_as_cells_have_them_and_keep_nothing_else_from_being_served() {
        let topo = cluster().await;
        let (global, cells) = (topo.global(), topo.cells().await.unwrap());
        let zone1 = cells.conn("zone1").unwrap();
        let served = async || srv_vschema::get(zone1).await.unwrap().value;
        let rule = RoutingRule { from_table: "t".into(), to_tables: vec!["legacy.t".into()] };
        let rules = RoutingRules { rules: vec![rule] };
        routing_rules::put(global, &rules, None).await.unwrap();
        srv_vschema::rebuild_reachable(global, &cells).await.unwrap();
        let all =
            [paths::ROUTING_RULES, paths::SHARD_ROUTING_RULES, paths::KEYSPACE_ROUTING_RULES, paths::MIRROR_RULES];
        for path in all {
            global.write_one(Write::put(path, vec![0xff_u8, 0xff], Expect::Any), None).await.unwrap();
        }
        vschema::put(global, "other", &Keyspace::default(), Expect::Any, None).await.unwrap();
        srv_vschema::rebuild_reachable(global, &cells).await.unwrap();
        let kept = served().await;
        assert_eq!((kept.keyspaces.len(), kept.routing_rules), (1, Some(rules.clone())));
        assert_eq!((kept.shard_routing_rules, kept.keyspace_routing_rules), (Some(Default::default()), None));
        let told = cells.passed_over();
        assert_eq!(told.len(), 4, "{told:?}");
        let routing = "the record of the routing rules was left out: bad topology data at /global/RoutingRules: ";
        assert!(told.iter().any(|text| text.starts_with(routing) && text.contains("ApplyRoutingRules")), "{told:?}");
        // who rebuilds for its own sake is told once that is done
        let only = topo.cells().await.unwrap().only(&["zone1".to_owned()]).unwrap();
        vschema::put(global, "another", &Keyspace::default(), Expect::Any, None).await.unwrap();
        let error = srv_vschema::rebuild(global, &only).await.unwrap_err();
        assert!(matches!(&error, Error::BadData { path, .. } if path == "/global/RoutingRules"), "{error}");
        assert_eq!((served().await.keyspaces.len(), served().await.routing_rules), (2, Some(rules)));
        // a cell that has nothing of them
        zone1.remove(paths::SRV_VSCHEMA).await.unwrap();
        srv_vschema::rebuild_reachable(global, &cells).await.unwrap();
        assert_eq!((served().await.keyspaces.len(), served().await.routing_rules), (2, Some(Default::default())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_cell_that_is_slow_and_serves_is_not_left_out() {
        let cells = cluster().await.cells().await.unwrap();
        let slowly = async {
            tokio::time::sleep(QUIET * 3).await;
            Ok(7)
        };
        assert_eq!(cells.ask("zone1", slowly).await.unwrap(), 7);
        assert!(cells.left_out().is_empty());
        // there is an end to it
        cells.ask("zone1", std::future::pending::<Result<()>>()).await.unwrap_err();
        assert_eq!(cells.left_out().len(), 1);
    }

    #[tokio::test]
    async fn a_silent_cell_is_asked_once() {
        let cells = cluster().await.cells().await.unwrap();
        let shared = cells.clone();
        let soon = Some(std::time::Instant::now() + Duration::from_millis(50));
        let silent = deadline::scope(soon, async { shared.ask("zone1", std::future::pending::<Result<()>>()).await });
        let late = silent.await.unwrap_err();
        assert_eq!(late, Error::Timeout("/zone1".into()));
        assert_eq!(cells.ask("zone1", async { Ok(()) }).await.unwrap_err(), late);
        let found = cells.ask_all(|_, conn| async move { conn.probe().await }).await;
        assert!(found.is_empty(), "{found:?}");
    }
}
