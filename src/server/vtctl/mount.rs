//! `Mount`.

use std::sync::Arc;

use serde::Serialize;
use vtmigrated_proto::vtctldata::*;

use super::commands::{Action, Command, handler};
use super::console::Console;
use super::flags::{Kind, Parsed, flag};
use super::{Error, Result};
use crate::context::Context;
use crate::server::mount as rpc;

/// What the usage says of the kind of a topology: those of [`KINDS`](crate::topo::KINDS).
const TOPO_TYPE: &str = match (cfg!(feature = "topo-zk2"), cfg!(feature = "topo-consul")) {
    (true, true) => "Kind of the cluster's topology: etcd2, zk2 or consul",
    (true, false) => "Kind of the cluster's topology: etcd2 or zk2",
    (false, true) => "Kind of the cluster's topology: etcd2 or consul",
    (false, false) => "Kind of the cluster's topology: etcd2",
};

pub const COMMANDS: &[Command] = &[Command {
    name: "Mount",
    params: "[--type=vitess] [--topo_type=<type>] [--topo_server=<address>] [--topo_root=<root>] [--unmount] [--list] [--show] [<cluster_name>]",
    help: "Registers, shows, lists or unmounts clusters that keyspaces can be brought from.",
    flags: &[
        flag(Kind::Text, "type", "vitess", "Kind of the cluster: vitess"),
        flag(Kind::Bool, "unmount", "false", "Unregister the cluster"),
        flag(Kind::Bool, "show", "false", "Show what is stored about the cluster"),
        flag(Kind::Bool, "list", "false", "List the names of all clusters"),
        flag(Kind::Text, "topo_type", "", TOPO_TYPE),
        flag(Kind::Text, "topo_server", "", "Addresses of its global topology servers"),
        flag(Kind::Text, "topo_root", "", "Root of its global topology, such as /vitess/global"),
    ],
    action: Action::Change(handler!(mount)),
}];

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(rename = "ClusterName")]
    name: &'a str,
    topo_config: TopoConfig<'a>,
}

#[derive(Serialize)]
struct TopoConfig<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    topo_type: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    server: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    root: &'a str,
}

async fn mount(context: Arc<Context>, console: Console, args: Parsed) -> Result<()> {
    if args.is_on("list") {
        let names = rpc::list(&context, MountListRequest {}).await?.names;
        console.print(format!("{}\n", names.join(",")));
        return Ok(());
    }
    let [name] = args.rest.as_slice() else {
        return Err(Error::usage("cluster name needs to be provided", "as the last argument; see help Mount"));
    };
    match args.text("type") {
        "vitess" => {}
        "mysql" => return Err(Error::usage("mysql cluster type not yet supported", "")),
        _ => return Err(Error::usage("cluster type can be only one of vitess or mysql", "")),
    }
    let name = name.clone();
    if args.is_on("unmount") {
        rpc::unregister(context, MountUnregisterRequest { name }).await?;
        return Ok(());
    }
    if args.is_on("show") {
        let found = rpc::show(&context, MountShowRequest { name }).await?;
        let topo_config =
            TopoConfig { topo_type: &found.topo_type, server: &found.topo_server, root: &found.topo_root };
        let shown = Shown { name: &found.name, topo_config };
        console.print(format!("{}\n", serde_json::to_string(&shown).unwrap_or_default()));
        return Ok(());
    }
    let request = MountRegisterRequest {
        topo_type: args.text("topo_type").to_owned(),
        topo_server: args.text("topo_server").to_owned(),
        topo_root: args.text("topo_root").to_owned(),
        name,
    };
    rpc::register(context, request).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usage_names_each_kind_of_topology_that_is_built_in() {
        let (_, named) = TOPO_TYPE.split_once(": ").unwrap();
        assert_eq!(named.replace(" or ", ", "), crate::topo::KINDS.join(", "));
    }
}
