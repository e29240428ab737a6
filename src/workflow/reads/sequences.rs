//! Sequences, as the tablets that hold them tell.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt};
use vtmigrated_proto::topodata::Tablet;

use crate::context::Context;
use crate::sql::{quote, rows};
use crate::topo;
use crate::workflow::checks::sequences::{Sequence, State, resolve};
use crate::workflow::streams::Keyspace;

/// Sequences asked at once.
const AT_ONCE: usize = 8;

/// Looks for sequences: four waves, none when there are none.
pub async fn look(context: &Context, sequences: &[Sequence]) -> Vec<(Sequence, State)> {
    if sequences.is_empty() {
        return Vec::new();
    }
    let unknown = || sequences.iter().map(|sequence| (sequence.clone(), State::Unknown)).collect();
    let (vschemas, unread) = match topo::vschema::all(context.topo.global()).await {
        Ok(vschemas) => vschemas,
        Err(error) => {
            tracing::debug!("the vschemas were not read: {error}");
            return unknown();
        }
    };
    let places: Vec<_> = sequences.iter().map(|sequence| resolve(&sequence.name, &vschemas)).collect();
    let keyspaces: BTreeSet<&String> =
        places.iter().filter_map(|place| place.as_ref().ok()).map(|(keyspace, _)| keyspace).collect();
    let loads = keyspaces.into_iter().map(|keyspace| primaries_of(context, keyspace)).collect::<Vec<_>>();
    let primaries: Vec<_> = stream::iter(loads).buffer_unordered(AT_ONCE).collect().await;
    let primaries: BTreeMap<String, Vec<Tablet>> = primaries.into_iter().flatten().collect();
    let asks: Vec<_> = sequences
        .iter()
        .zip(&places)
        .map(|(sequence, place)| {
            let hidden = place.is_err() && may_be_in(&unread, &sequence.name);
            state(context, sequence, if hidden { None } else { Some(place) }, &primaries)
        })
        .collect();
    stream::iter(asks).buffered(AT_ONCE).collect().await
}

/// Whether a sequence that was not found, or not rightly, may be in one of these keyspaces, whose vschemas nobody can read.
fn may_be_in(unread: &BTreeSet<String>, sequence: &str) -> bool {
    match quote::table_name(sequence) {
        Some((Some(keyspace), _)) => unread.contains(&keyspace),
        _ => !unread.is_empty(),
    }
}

async fn primaries_of(context: &Context, keyspace: &str) -> Option<(String, Vec<Tablet>)> {
    let loaded = Keyspace::load(&context.topo, keyspace).await.ok()?;
    Some((keyspace.to_owned(), loaded.shards.into_iter().filter_map(|shard| shard.primary).collect()))
}

async fn state(
    context: &Context,
    sequence: &Sequence,
    place: Option<&Result<(String, String), String>>,
    primaries: &BTreeMap<String, Vec<Tablet>>,
) -> (Sequence, State) {
    let state = match place {
        None => State::Unknown,
        Some(Err(why)) => State::Missing(why.clone()),
        Some(Ok((keyspace, table))) => match primaries.get(keyspace).map(Vec::as_slice) {
            Some([only]) => ask(context, only, keyspace, table).await,
            // a pinned one: which shard has it is vtgate's to know
            _ => State::Unknown,
        },
    };
    (sequence.clone(), state)
}

async fn ask(context: &Context, on: &Tablet, keyspace: &str, table: &str) -> State {
    let query = format!("select next_id from {} where id = 0", quote::identifier(table));
    match context.tablets.read(on, query, 1).await {
        Ok(result) => {
            let next = rows::texts(&result).into_iter().flatten().next().flatten();
            let next = next.and_then(|next| next.parse().ok());
            next.map_or_else(
                || State::Missing(format!("table {table} of keyspace {keyspace} has no row with id 0")),
                State::Next,
            )
        }
        Err(error) if error.is_missing_table() => State::Missing(format!("keyspace {keyspace} has no table {table}")),
        Err(error) => {
            tracing::debug!("sequence {table} of keyspace {keyspace} was not read: {error}");
            State::Unknown
        }
    }
}
