//! A record that cannot be read: nobody knows any more what it was about, and how far that was.

use super::{Answer, cancel, check_names, end, is_gone, unknown};
use crate::context::{Context, End};
use crate::error::Reason;
use crate::topo::Lock;
use crate::workflow::names::back::{self, command as of};
use crate::workflow::record::way_back as back_record;
use crate::workflow::{Error, Result};

/// The name under which locks are taken.
const ACTION: &str = "WayBackForget";

/// Deletes a record that cannot be read. Nothing else is changed on either side: the answer tells what may have been left there.
///
/// # Errors
/// `WAY_BACK_UNKNOWN`; `WAY_BACK_READABLE` for one that can be read.
pub async fn forget(context: &Context, names: (&str, &str)) -> Result<Answer> {
    check_names(names)?;
    let gone = is_gone(context, names.0).await?;
    let lock = cancel::held(context, names, ACTION, gone).await?;
    let forgotten = locked(context, names, &lock).await;
    lock.give_back("a way back").await;
    context.changes.make();
    forgotten
}

async fn locked(context: &Context, names: (&str, &str), lock: &Lock) -> Result<Answer> {
    let (keyspace, workflow) = names;
    let why = match back_record::look(context.topo.global(), keyspace, workflow).await? {
        None => return Err(unknown(names)),
        Some(Ok(facts)) => {
            let phase = facts.phase.word();
            let text =
                format!("the record of the way back of workflow {keyspace}.{workflow} can be read: it is {phase}");
            return Err(Error::precondition(Reason::WAY_BACK_READABLE, text, format!("see {}", of("status", names))));
        }
        Some(Err(why)) => why,
    };
    end(context, names, End::Cancelled, lock).await?;
    let left = left(names);
    tracing::warn!("the record of the way back of workflow {keyspace}.{workflow} is forgotten ({why}){left}");
    let summary = format!("the record of the way back of workflow {keyspace}.{workflow} is gone{left}");
    Ok(Answer { clear: true, summary, ..Answer::default() })
}

/// What a way back of this name may have left, with the commands that show it and take it away.
fn left((keyspace, workflow): (&str, &str)) -> String {
    let (back, mount) = (back::name(workflow), back::mount(keyspace, workflow));
    format!(
        "; what it may have left stays. In the source's cluster, see Workflow --keyspace <keyspace> show --workflow {back}, GetShard \
         <keyspace>/<shard> for tables that are denied, and Mount show --name {mount}; take it away with Workflow --keyspace <keyspace> \
         delete --workflow {back} --keep-data --keep-routing-rules, SetShardTabletControl --remove --denied-tables <tables> \
         <keyspace>/<shard> primary, and Mount unregister --name {mount}. In this cluster, see GetShard {keyspace}/<shard>: tables that \
         are denied on the side that is to serve are to be lifted in the same way"
    )
}
