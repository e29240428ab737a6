//! Whether a mounted cluster answers.

use std::time::Duration;

use futures::future::try_join;
use vtmigrated_proto::topodata::ExternalVitessCluster;

use super::snapshot::{Mount, Problem};
use crate::context::Context;
use crate::error::Reason;
use crate::topo::{self, keyspace};

/// Bound of what is asked of it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Looks at a mount: one wave.
pub async fn look(context: &Context, name: String, record: ExternalVitessCluster, now: i64) -> Mount {
    let config = record.topo_config.clone().unwrap_or_default();
    let mut mount = Mount {
        topo_type: config.topo_type,
        server: config.server,
        root: config.root,
        checked_at: now,
        ..Mount::default()
    };
    let asked = async {
        let topo = context.mounts.open(&name, &record).await?;
        let cells = async { Ok::<_, topo::Error>(topo.cells().await?.names().map(str::to_owned).collect()) };
        try_join(cells, keyspace::names(topo.global())).await
    };
    match tokio::time::timeout(TIMEOUT, asked).await {
        Ok(Ok((cells, keyspaces))) => {
            (mount.cells, mount.keyspaces) = (cells, keyspaces);
            if mount.cells.is_empty() && mount.keyspaces.is_empty() {
                mount.problem = Some(Problem {
                    reason: Reason::MOUNT_ROOT_MISSING,
                    cause: format!("the root {} holds neither keyspaces nor cells", mount.root),
                    fix: "check --topo-root: unregister the mount and register it again".into(),
                });
            }
        }
        Ok(Err(error)) => mount.problem = Some(Problem::of(&error)),
        Err(_) => mount.problem = Some(Problem::late(TIMEOUT.as_secs())),
    }
    mount.reachable = mount.problem.is_none();
    mount.last_success = mount.reachable.then_some(now);
    mount.name = name;
    mount
}
