//! How often a call allocates: counted by the allocator of a server that was built with the feature `allocation-stats`, as what a
//! run with calls has more than a run without.

use std::{fs, io, path::Path};

use super::{Error, call::Call};
use crate::{client, server::Server};

/// jemalloc's options: every allocation is counted as it happens, and the counts of all are printed at the end.
const COUNTING: (&str, &str) = ("_RJEM_MALLOC_CONF", "tcache:false,stats_print:true,stats_print_opts:Jgdablxeh");
/// Calls that open connections and fill caches.
const WARM: u32 = 100;

/// Allocations of the server for each call, over so many of them, one after the other. `undo` is made after each.
///
/// # Errors
/// The server does not come up, a call fails, or the program counts nothing.
pub async fn count(
    program: &Path,
    flags: &[String],
    (call, undo): (&Call, Option<&Call>),
    calls: u32,
) -> Result<f64, Error> {
    let without = run(program, flags, (call, undo), WARM).await?;
    let with = run(program, flags, (call, undo), WARM + calls).await?;
    #[allow(clippy::cast_precision_loss, reason = "counts of allocations are far below 2^52")]
    let more = with.saturating_sub(without) as f64;
    Ok(more / f64::from(calls.max(1)))
}

/// All allocations of a server that is started for so many calls.
async fn run(program: &Path, flags: &[String], (call, undo): (&Call, Option<&Call>), calls: u32) -> Result<u64, Error> {
    let started = Server::start_program(program.to_owned(), flags, &[COUNTING]).await;
    let server = started.map_err(io::Error::other)?;
    let channel = client::channel(&server.grpc_address().to_string()).await?;
    for _ in 0..calls {
        call.make(&channel).await?;
        if let Some(undo) = undo {
            undo.make(&channel).await?;
        }
    }
    drop(channel);
    server.term().await.map_err(io::Error::other)?;
    let log = fs::read(server.process().log_path())?;
    let nothing = || io::Error::other("the program counts nothing: build it with --features allocation-stats");
    Ok(allocations(&String::from_utf8_lossy(&log)).ok_or_else(nothing)?)
}

/// The allocations that jemalloc has counted, small and large ones.
fn allocations(log: &str) -> Option<u64> {
    let printed = &log[log.rfind(r#"{"jemalloc":"#)?..];
    let stats = serde_json::Deserializer::from_str(printed).into_iter::<serde_json::Value>().next()?.ok()?;
    let all = &stats["jemalloc"]["stats.arenas"]["merged"];
    Some(all["small"]["nmalloc"].as_u64()? + all["large"]["nmalloc"].as_u64()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_allocations_are_counted() {
        let log = r#"I1127 ready
{"jemalloc":{"stats":{"allocated":1},"stats.arenas":{"merged":{"small":{"nmalloc":40,"nrequests":40},"large":{"nmalloc":2}}}}} rest"#;
        assert_eq!(allocations(log), Some(42));
        assert_eq!(allocations("I1127 ready"), None);
    }
}
