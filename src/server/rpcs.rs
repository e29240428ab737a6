//! What is said of each RPC: who may call it, whether it is served here, and how callers may be answered. `table.rs` has a
//! line for each.

mod table;

use std::fmt;

use vtmigrated_proto::vtctlservice::{vtctl_rpcs, vtctld_rpcs};

use crate::guard::Role;
pub use table::{Advisor, Vtctl, Vtctld, WayBack};

/// Where an RPC is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Native,
    /// Native when this holds, which the request shows; else forwarded. Without a fallback the other cases are refused.
    Conditional(&'static str),
    Forwarded,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native => write!(f, "native"),
            Self::Conditional(condition) => write!(f, "native: {condition}; else forwarded"),
            Self::Forwarded => write!(f, "forwarded"),
        }
    }
}

/// What the table says of an RPC.
#[derive(Clone, Copy, Debug)]
struct Spec {
    name: &'static str,
    role: Role,
    route: Route,
    is_shared: bool,
    is_large: bool,
    is_shadowed: bool,
}

impl Spec {
    const fn new(name: &'static str, role: Role, route: Route) -> Self {
        let is_shadowed = matches!(role, Role::Read) && !matches!(route, Route::Forwarded);
        Self { name, role, route, is_shared: false, is_large: false, is_shadowed }
    }

    /// A read that tells all callers the same: of topologies, or of all tablets of a keyspace.
    const fn shared(self) -> Self {
        assert!(self.is_shadowed, "only reads that are served here can be shared");
        Self { is_shared: true, ..self }
    }

    /// One of these that asks all tablets of a keyspace, or for all records of a kind.
    const fn large(self) -> Self {
        assert!(self.is_shared, "only reads that are shared can be large");
        Self { is_large: true, ..self }
    }

    /// A read that is not asked in two places: whoever is asked counts.
    const fn unshadowed(self) -> Self {
        assert!(self.is_shadowed, "only reads that are served here can be shadowed");
        Self { is_shadowed: false, ..self }
    }

    fn is_native(&self) -> bool {
        self.route != Route::Forwarded
    }
}

/// Those of `vtctlservice.Vtctld`, ascending by name.
fn vtctld() -> impl Iterator<Item = Spec> {
    vtctld_rpcs::Rpc::ALL.iter().copied().map(Vtctld::spec)
}

/// The role that an RPC (`service/Method`) needs. One that is not known needs the highest.
pub fn role(rpc: &str) -> Role {
    let (service, method) = rpc.rsplit_once('/').unwrap_or_default();
    match table::spec(service, method) {
        Some(spec) => spec.role,
        None if service == "grpc.health.v1.Health" => Role::None,
        None if service.starts_with("grpc.reflection.") => Role::Read,
        None => Role::Admin,
    }
}

/// The route of an RPC of `vtctlservice.Vtctld`; RPCs of newer versions are forwarded.
pub fn route(rpc: &str) -> Route {
    table::spec(vtctld_rpcs::Rpc::SERVICE, rpc).map_or(Route::Forwarded, |spec| spec.route)
}

/// The route of an RPC of one of the vtctld's services; other services have none, and are served here.
pub fn route_in(service: &str, rpc: &str) -> Option<Route> {
    match service {
        vtctld_rpcs::Rpc::SERVICE => Some(route(rpc)),
        vtctl_rpcs::Rpc::SERVICE => table::spec(service, rpc).map(|spec| spec.route),
        _ => None,
    }
}

/// RPCs of `vtctlservice.Vtctld` that are served here, be it on a condition, ascending.
pub fn natives() -> impl Iterator<Item = &'static str> {
    vtctld().filter(Spec::is_native).map(|spec| spec.name)
}

/// True for one of these.
pub fn is_native(rpc: &str) -> bool {
    route(rpc) != Route::Forwarded
}

/// The RPCs that `--shadow-rpcs` may name.
pub fn shadowable() -> impl Iterator<Item = &'static str> {
    vtctld().filter(|spec| spec.is_shadowed).map(|spec| spec.name)
}

/// A read that callers may share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shareable {
    pub rpc: &'static str,
    /// It asks for much, and may take long.
    pub is_large: bool,
}

/// The read of `vtctlservice.Vtctld` of this name, if callers may share it.
pub fn shareable(rpc: &str) -> Option<Shareable> {
    let spec = table::spec(vtctld_rpcs::Rpc::SERVICE, rpc).filter(|spec| spec.is_shared)?;
    Some(Shareable { rpc: spec.name, is_large: spec.is_large })
}

/// All RPCs of the vtctld's services with their routes, as rows of a Markdown table.
pub fn markdown() -> String {
    let mut rows = String::from("| RPC | route |\n|---|---|\n");
    for Spec { name, route, .. } in vtctld() {
        rows.push_str(&format!("| {name} | {route} |\n"));
    }
    for Spec { name, route, .. } in vtctl_rpcs::Rpc::ALL.iter().copied().map(Vtctl::spec) {
        rows.push_str(&format!("| {name} (service Vtctl) | {route} |\n"));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_as_its_readers_need_it() {
        assert!(natives().is_sorted() && shadowable().is_sorted());
        assert_eq!(route("MountShow"), Route::Native);
        assert_eq!(route("MoveTablesComplete"), Route::Conditional("workflows of type Migrate"));
        assert_eq!(route("EmergencyReparentShard"), Route::Forwarded);
        assert_eq!(route("RpcOfTheFuture"), Route::Forwarded);
        let all = markdown();
        for rpc in natives() {
            assert!(all.contains(&format!("\n| {rpc} | ")), "{rpc}");
        }
        assert!(shadowable().any(|rpc| rpc == "MountShow") && shadowable().all(|rpc| rpc != "CheckThrottler"));
        assert!(shadowable().all(|rpc| is_native(rpc) && rpc != "MigrateCreate"));
        assert!(natives().filter(|rpc| shareable(rpc).is_some()).all(|rpc| shadowable().any(|read| read == rpc)));
        for large in ["GetKeyspaces", "GetWorkflows", "WorkflowStatus"] {
            assert!(shareable(large).is_some_and(|read| read.is_large && read.rpc == large), "{large}");
        }
        assert!(shareable("MountShow").is_some_and(|read| !read.is_large) && shareable("MountRegister").is_none());
    }

    #[test]
    fn what_reads_by_its_name_is_for_those_who_may_read() {
        for Spec { name, role, .. } in vtctld() {
            assert!(role == Role::Read || !(name.starts_with("Get") || name.starts_with("Validate")), "{name}");
        }
        assert_eq!(role("vtctlservice.Vtctld/GetBackups"), Role::Read);
        assert_eq!(role("vtctlservice.Vtctld/DeleteKeyspace"), Role::Admin);
        assert_eq!(role("vtctlservice.Vtctl/ExecuteVtctlCommand"), Role::Admin);
    }
}
