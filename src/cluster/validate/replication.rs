//! Do the tablets of a shard answer, and are exactly its replicas connected to its primary?

use std::collections::BTreeSet;
use std::net::IpAddr;

use futures::future::{join, join_all};
use vtmigrated_proto::tabletmanagerdata as manager;
use vtmigrated_proto::topodata::Tablet;

use super::fleet::{Fleet, View};
use crate::cluster::replication::replicates;
use crate::context::Context;
use crate::topo::paths;

/// Asks all tablets of a shard at once.
pub(super) async fn ask(context: &Context, fleet: &Fleet, view: &View) -> Vec<String> {
    let tablets: Vec<&Tablet> =
        view.aliases.iter().filter_map(|alias| fleet.tablets.get(&paths::alias_text(alias))).collect();
    let pings = tablets.iter().map(|tablet| async move {
        let request = manager::PingRequest { payload: "payload".into() };
        let error = context.tablets.ping(tablet, request).await.err()?;
        let alias = crate::tablet::alias(tablet);
        Some(format!("Ping({alias}) failed: {error} tablet hostname: {}", tablet.hostname))
    });
    let (mut results, pings) = join(replication(context, view, &tablets), join_all(pings)).await;
    results.extend(pings.into_iter().flatten());
    results
}

async fn replication(context: &Context, view: &View, tablets: &[&Tablet]) -> Vec<String> {
    let full_name = view.full_name();
    let Some(alias) = &view.record.primary_alias else {
        return vec![format!("no primary in shard record {full_name}")];
    };
    let Some(primary) = tablets.iter().find(|tablet| tablet.alias.as_ref() == Some(alias)) else {
        return vec![format!("primary {} not in tablet map", paths::alias_text(alias))];
    };
    let resolve = join_all(tablets.iter().map(|tablet| mysql_ip(tablet)));
    let (replicas, addresses) =
        join(context.tablets.get_replicas(primary, manager::GetReplicasRequest {}), resolve).await;
    let replicas = match replicas {
        Ok(answer) if answer.addrs.is_empty() => {
            return vec![format!("no replicas of tablet {} found", paths::alias_text(alias))];
        }
        Ok(answer) => answer.addrs,
        Err(error) => return vec![format!("GetReplicas({}) failed: {error}", paths::alias_text(alias))],
    };
    let mut results = Vec::new();
    let known: BTreeSet<String> = addresses.iter().flatten().map(|address| normal(address)).collect();
    for replica in replicas.iter().filter(|replica| !known.contains(&normal(replica))) {
        results.push(format!(
            "replica {replica} not in replication graph for shard {full_name} (mysql instance without vttablet?)"
        ));
    }
    let connected: BTreeSet<String> = replicas.iter().map(|replica| normal(replica)).collect();
    for (tablet, address) in tablets.iter().zip(addresses) {
        match address {
            Err(error) => results.push(format!("could not resolve IP for tablet {}: {error}", tablet.mysql_hostname)),
            Ok(address) if replicates(tablet) && !connected.contains(&normal(&address)) => {
                let replica = crate::tablet::alias(tablet);
                let list: Vec<String> = replicas.iter().map(|replica| format!("{replica:?}")).collect();
                let list = list.join(" ");
                results.push(format!("replica {replica} not replicating: {address} replica list: [{list}]"));
            }
            Ok(_) => {}
        }
    }
    results
}

async fn mysql_ip(tablet: &Tablet) -> Result<String, String> {
    let host = tablet.mysql_hostname.as_str();
    let found = tokio::net::lookup_host((host, 0)).await.map_err(|error| error.to_string())?;
    found.map(|address| address.ip().to_string()).next().ok_or_else(|| format!("lookup {host}: no such host"))
}

/// All addresses of the own host are one.
fn normal(address: &str) -> String {
    match address.parse::<IpAddr>() {
        Ok(ip) if ip.is_loopback() => "127.0.0.1".to_owned(),
        _ => address.to_owned(),
    }
}
