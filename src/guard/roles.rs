//! What a caller may do: read, operate migrations, or everything.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::{Caller, Error, Result, Watched};

/// What a caller may do; each role includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Nothing.
    None,
    /// Calls that change nothing.
    Read,
    /// Also what a migration needs from mount to complete.
    Operate,
    /// Everything.
    Admin,
}

impl Role {
    /// As the roles file has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

/// RPCs that change nothing on any cluster, ascending.
const READS: &[&str] = &[
    "CheckThrottler",
    "FindAllShardsInKeyspace",
    "GetBackups",
    "GetCellInfo",
    "GetCellInfoNames",
    "GetCellsAliases",
    "GetFullStatus",
    "GetKeyspace",
    "GetKeyspaceRoutingRules",
    "GetKeyspaces",
    "GetMirrorRules",
    "GetPermissions",
    "GetRoutingRules",
    "GetSchema",
    "GetSchemaMigrations",
    "GetShard",
    "GetShardReplication",
    "GetShardRoutingRules",
    "GetSrvKeyspaceNames",
    "GetSrvKeyspaces",
    "GetSrvVSchema",
    "GetSrvVSchemas",
    "GetTablet",
    "GetTablets",
    "GetThrottlerStatus",
    "GetTopologyPath",
    "GetTransactionInfo",
    "GetUnresolvedTransactions",
    "GetVSchema",
    "GetVersion",
    "GetWorkflows",
    "MountList",
    "MountShow",
    "PingTablet",
    "ShardReplicationPositions",
    "VDiffShow",
    "Validate",
    "ValidateKeyspace",
    "ValidatePermissionsKeyspace",
    "ValidateSchemaKeyspace",
    "ValidateShard",
    "ValidateVSchema",
    "ValidateVersionKeyspace",
    "ValidateVersionShard",
    "WorkflowStatus",
];

/// RPCs of a migration's life that change something.
const OPERATES: &[&str] = &[
    "ApplyVSchema",
    "MigrateCreate",
    "MountRegister",
    "MountUnregister",
    "MoveTablesComplete",
    "RebuildVSchemaGraph",
    "ReloadSchema",
    "ReloadSchemaKeyspace",
    "ReloadSchemaShard",
    "RefreshState",
    "RefreshStateByShard",
    "RunHealthCheck",
    "VDiffCreate",
    "VDiffDelete",
    "VDiffResume",
    "VDiffStop",
    "WorkflowDelete",
    "WorkflowMirrorTraffic",
    "WorkflowSwitchTraffic",
    "WorkflowUpdate",
];

/// Advice that only reads the own cluster and mounts that are registered.
const ADVISES: &[&str] = &["DryRunCancel", "DryRunComplete", "DryRunCreate", "FindLeftovers", "Verdict"];

/// Advice that removes something, or that connects to wherever a request says.
const OPERATES_ADVICE: &[&str] = &["CleanLeftovers", "PreflightMount"];

/// What only tells of the way back of a migration.
const READS_WAY_BACK: &[&str] = &["Status", "VDiffShow"];

/// What changes it.
const OPERATES_WAY_BACK: &[&str] =
    &["Cancel", "Complete", "Prepare", "VDiffCreate", "VDiffDelete", "VDiffResume", "VDiffStop"];

/// The role that an RPC (`service/Method`) needs. What is in no table needs the highest.
pub fn class(rpc: &str) -> Role {
    let (service, method) = rpc.rsplit_once('/').unwrap_or_default();
    match service {
        "vtctlservice.Vtctld" if READS.binary_search(&method).is_ok() => Role::Read,
        "vtctlservice.Vtctld" if OPERATES.contains(&method) => Role::Operate,
        "vtmigrated.Advisor" if ADVISES.contains(&method) => Role::Read,
        "vtmigrated.Advisor" if OPERATES_ADVICE.contains(&method) => Role::Operate,
        "vtmigrated.WayBack" if READS_WAY_BACK.contains(&method) => Role::Read,
        "vtmigrated.WayBack" if OPERATES_WAY_BACK.contains(&method) => Role::Operate,
        "grpc.health.v1.Health" => Role::None,
        service if service.starts_with("grpc.reflection.") => Role::Read,
        _ => Role::Admin,
    }
}

/// The `--grpc-roles-file`: `{"default": "read", "callers": {"ann": "admin", "CN=ops,O=x": "operate"}}`. A caller is looked up by
/// its certificate's whole subject, then by name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roles {
    /// Of callers that are not listed.
    #[serde(default = "nothing")]
    default: Role,
    #[serde(default)]
    callers: BTreeMap<String, Role>,
}

fn nothing() -> Role {
    Role::None
}

impl Roles {
    /// # Errors
    /// A file that cannot be read or says something else.
    pub fn load(file: PathBuf) -> Result<Arc<Watched<Self>>> {
        let path = file.clone();
        let make = move |contents: &[Vec<u8>]| {
            serde_json::from_slice(contents.first().map_or(&[][..], Vec::as_slice)).map_err(|error| Error::Bad {
                path: path.clone(),
                what: "roles",
                detail: error.to_string(),
            })
        };
        Watched::new(vec![file], make)
    }

    /// The role of a caller.
    pub fn of(&self, caller: &Caller) -> Role {
        let listed = |key: &String| (!key.is_empty()).then(|| self.callers.get(key)).flatten().copied();
        listed(&caller.subject).or_else(|| listed(&caller.name)).unwrap_or(self.default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(name: &str, subject: &str) -> Caller {
        Caller { name: name.into(), subject: subject.into() }
    }

    #[test]
    fn callers_have_the_role_that_the_file_gives() {
        let text = r#"{"default":"read","callers":{"ann":"admin","CN=ops,O=x":"operate","nobody":"none"}}"#;
        let roles: Roles = serde_json::from_str(text).unwrap();
        assert_eq!(roles.of(&caller("ann", "")), Role::Admin);
        assert_eq!(roles.of(&caller("ops", "CN=ops,O=x")), Role::Operate);
        assert_eq!(roles.of(&caller("ops", "CN=ops,O=y")), Role::Read);
        assert_eq!(roles.of(&caller("nobody", "")), Role::None);
        assert_eq!(roles.of(&caller("", "")), Role::Read);
        assert_eq!(serde_json::from_str::<Roles>("{}").unwrap().of(&caller("ann", "")), Role::None);
        serde_json::from_str::<Roles>(r#"{"callers":{"ann":"root"}}"#).unwrap_err();
    }

    #[test]
    fn every_rpc_has_a_class_and_no_table_names_one_that_is_not_there() {
        let pool = prost_reflect::DescriptorPool::decode(vtmigrated_proto::DESCRIPTORS).unwrap();
        let service = pool.get_service_by_name("vtctlservice.Vtctld").unwrap();
        let methods: Vec<String> = service.methods().map(|m| m.name().to_owned()).collect();
        assert!(READS.is_sorted());
        for named in READS.iter().chain(OPERATES) {
            assert!(methods.iter().any(|m| m == named), "{named} is no RPC");
        }
        for method in methods.iter().filter(|m| m.starts_with("Get") || m.starts_with("Validate")) {
            assert_eq!(class(&format!("vtctlservice.Vtctld/{method}")), Role::Read, "{method}");
        }
        assert_eq!(class("vtctlservice.Vtctld/DeleteKeyspace"), Role::Admin);
        assert_eq!(class("vtctlservice.Vtctl/ExecuteVtctlCommand"), Role::Admin);
    }
}
