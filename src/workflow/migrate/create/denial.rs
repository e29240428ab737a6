//! What create sees to, so that its denied tables are denied indeed.

use futures::future::join_all;
use vtmigrated_proto::tabletmanagerdata::ReloadSchemaRequest;

use super::apply::Creation;
use crate::error::Reason;
use crate::workflow::reads::denial;
use crate::workflow::record::Facts;
use crate::workflow::streams::TargetShard;
use crate::workflow::{Error, Result};

impl Creation<'_> {
    /// Makes primaries read their schemas again: they deny no table that they do not know yet. One that cannot is told by
    /// [`Self::see_denied`] if that matters.
    pub async fn reload_schemas(&self, shards: &[String]) -> Result<()> {
        let wanted = self.situation.target.keyspace.shards.iter().filter(|shard| shards.contains(&shard.name));
        let reloads = wanted.map(|shard| async move {
            let reloaded = self.context.tablets.reload_schema(shard.primary()?, ReloadSchemaRequest::default()).await;
            if let Err(error) = reloaded {
                tracing::warn!(vitess.shard = shard.name, "a primary did not read its schema again: {error}");
            }
            Ok(())
        });
        Error::all(join_all(reloads).await)
    }

    /// Sees that clients are denied the tables. A primary that does not tell has told, when it was refreshed, that it has put its shard's
    /// record in force.
    ///
    /// # Errors
    /// `DENIAL_NOT_IN_FORCE`.
    pub async fn see_denied(&self, facts: &Facts) -> Result<()> {
        let asked = self.situation.target.keyspace.shards.iter().map(|shard| async move {
            let tables: Vec<&String> = facts.denied_on(&shard.name).iter().chain(&facts.tables).collect();
            match denial::is_in_force(self.context, shard.primary()?, &tables).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(self.not_in_force(shard)),
                Err(error) => {
                    tracing::warn!(vitess.shard = shard.name, "a primary does not tell what it denies: {error}");
                    Ok(())
                }
            }
        });
        Error::all(join_all(asked).await)
    }

    fn not_in_force(&self, shard: &TargetShard) -> Error {
        let text = format!(
            "the primary of shard {}/{} lets clients write to tables that its shard's record denies, and says that it has read that",
            self.arguments.target_keyspace, shard.name
        );
        let help = "see its log; restart it, or make another tablet the primary (PlannedReparentShard), then run the command again";
        Error::precondition(Reason::DENIAL_NOT_IN_FORCE, text, help)
    }
}
