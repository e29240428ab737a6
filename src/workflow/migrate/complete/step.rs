//! The steps of complete, as data: what a dry run prints is what the executor runs.

use std::fmt;

use crate::error::Reason;
use crate::tablet;
use crate::workflow::checks::absent;
use crate::workflow::reads::found::ExistingWorkflow;
use crate::workflow::record::way_back as back_record;
use crate::workflow::{Error, Result, names, streams};

/// A side effect of complete. The texts are stock's where stock has the step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The record tells that streams are being stopped for good.
    MarkCompleting,
    /// Stopped, with a message that makes tablets refuse to start them; seen so.
    Freeze {
        shards: Vec<String>,
    },
    /// Of the target's primaries: where the way back begins. Clients cannot write yet.
    NotePositions {
        shards: Vec<String>,
    },
    /// Streams made in the source, stopped; its tables denied to clients where that could not be done before.
    OpenWayBack {
        source: String,
    },
    AddToVSchema,
    RebuildServing {
        cells: Vec<String>,
    },
    /// In one transaction, in which the record says that the workflow can only be completed from there on; then the tablets
    /// of these shards read their records again.
    LiftDenied {
        shards: Vec<String>,
    },
    /// With their diffs.
    DeleteStreams {
        streams: Vec<String>,
    },
    /// The streams of the way back.
    StartWayBack {
        source: String,
    },
    DeleteRecord {
        workflow: String,
    },
}

/// The steps that are left of a complete behind the proof, and behind [`denial`].
///
/// # Errors
/// There is nothing to complete: no stream, and no complete that was interrupted. The streams disagree. A delete that keeps the data
/// has begun. The VSchema of the target cannot be decoded, and clients do not have the tables yet.
pub fn steps(found: &ExistingWorkflow, workflow: &str) -> Result<Vec<Step>> {
    let target = &found.target.keyspace;
    if found.record.as_ref().is_some_and(|stored| stored.facts.keeping) {
        let keyspace = &target.name;
        let text = format!(
            "cannot complete workflow {workflow} in keyspace {keyspace}: its delete with --keep-data has begun, and clients have its \
             tables, copied or not"
        );
        let help = format!("repeat that: Workflow --keyspace {keyspace} delete --workflow {workflow} --keep-data");
        return Err(Error::precondition(Reason::DELETE_HAS_BEGUN, text, help));
    }
    let completing = found.record.as_ref().is_some_and(|stored| stored.facts.completing);
    if found.rows.is_empty() && !completing {
        return Err(absent::missing(&target.name, workflow, found.record.is_some() || found.earlier.is_some()));
    }
    found.refuse_disagreement(workflow)?;
    found.refuse_way_back("complete", workflow)?;
    if !found.handed_over() {
        found.refuse_unread_vschema()?;
    }
    let mut steps = Vec::new();
    if !found.rows.is_empty() && !streams::all_frozen(&found.rows) {
        if found.record.is_some() {
            steps.push(Step::MarkCompleting);
        }
        steps.push(Step::Freeze { shards: with_streams(found) });
    }
    if !found.handed_over() && found.to_open().is_some() {
        let shards = target.shards.iter().map(|shard| shard.name.clone()).collect();
        steps.push(Step::NotePositions { shards });
    }
    let to_open = found.to_open().map(source);
    steps.extend(to_open.iter().map(|source| Step::OpenWayBack { source: source.clone() }));
    if found.vschema.as_ref().is_some_and(|record| !record.value.sharded) {
        steps.push(Step::AddToVSchema);
    }
    steps.push(Step::RebuildServing { cells: target.cells.names().map(str::to_owned).collect() });
    let denied = found.denied().into_iter().filter(|(_, tables)| !tables.is_empty());
    steps.push(Step::LiftDenied { shards: denied.map(|(shard, _)| shard).collect() });
    steps.push(Step::DeleteStreams { streams: streams(found, workflow) });
    // never beside those of the migration, which a diff may start again: they would bring older changes back
    steps.extend(to_open.map(|source| Step::StartWayBack { source }));
    if !found.keeps_earlier() {
        steps.push(Step::DeleteRecord { workflow: format!("{}.{workflow}", target.name) });
    }
    Ok(steps)
}

/// The text of what comes before the last proof of a workflow whose way back is to be opened: tables of the source denied to clients, and
/// transactions of theirs waited for.
pub fn denial(found: &ExistingWorkflow) -> Option<String> {
    let facts = found.to_open().filter(|_| !found.handed_over())?;
    Some(format!("Deny writes of clients to the tables of {}", source(facts)))
}

fn source(facts: &back_record::Facts) -> String {
    format!("{} of {}", facts.keyspace, facts.mount)
}

/// Shards that hold streams.
pub fn with_streams(found: &ExistingWorkflow) -> Vec<String> {
    let shards = found.target.keyspace.shards.iter().enumerate();
    let with = shards.filter(|(at, _)| found.rows.iter().any(|row| row.shard == *at));
    with.map(|(_, shard)| shard.name.clone()).collect()
}

/// The texts of all that is done with these steps, from the locks taken to the locks given back.
pub fn texts(found: &ExistingWorkflow, steps: &[Step]) -> Vec<String> {
    let keyspace = &found.target.keyspace.name;
    let mut texts = vec![format!("Lock keyspace {keyspace}")];
    texts.extend(denial(found));
    texts.extend(steps.iter().map(ToString::to_string));
    texts.push(format!("Unlock keyspace {keyspace}"));
    texts
}

fn streams(found: &ExistingWorkflow, workflow: &str) -> Vec<String> {
    let target = &found.target.keyspace;
    let mut streams = Vec::new();
    for row in &found.rows {
        if let Some((shard, primary)) = target.shards.get(row.shard).and_then(|s| Some((s, s.primary.as_ref()?))) {
            let uid = primary.alias.as_ref().map_or(0, |a| a.uid);
            let (keyspace, shard, db) = (&target.name, &shard.name, tablet::db_name(primary));
            streams
                .push((uid, format!("keyspace:{keyspace};shard:{shard};workflow:{workflow};dbname:{db};tablet:{uid}")));
        }
    }
    streams.sort();
    streams.into_iter().map(|(_, line)| line).collect()
}

/// As stock has them, without a space.
fn listed(things: &[String]) -> String {
    names::some(things, ",")
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MarkCompleting => f.write_str("Mark the record: complete has begun"),
            Self::Freeze { shards } => {
                write!(f, "Stop the vreplication streams for good on shards: {}", listed(shards))
            }
            Self::AddToVSchema => f.write_str("All source tables will be added to the target keyspace vschema"),
            Self::RebuildServing { cells } => write!(f, "Rebuild the SrvVSchema of cells: {}", listed(cells)),
            Self::LiftDenied { shards } => {
                write!(f, "Remove the denied tables of the workflow on shards: {}", listed(shards))
            }
            Self::NotePositions { shards } => {
                write!(f, "Note the positions of the primaries for the way back on shards: {}", listed(shards))
            }
            Self::OpenWayBack { source } => {
                write!(f, "Make the streams of the way back in {source}, where writes of clients are denied")
            }
            Self::DeleteStreams { streams } => {
                write!(f, "Delete vreplication streams on targets: [{}]", listed(streams))
            }
            Self::StartWayBack { source } => write!(f, "Start the streams of the way back into {source}"),
            Self::DeleteRecord { workflow } => write!(f, "Delete the record of workflow {workflow}"),
        }
    }
}
