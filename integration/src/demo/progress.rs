//! A bar for each table, from the answers of `Migrate status`.

use std::time::{Duration, Instant};

use vtmigrated_proto::vtctldata::{
    WorkflowStatusResponse,
    workflow_status_response::{ShardStreamState, TableCopyState},
};

use super::{
    Error,
    commands::Commands,
    screen::{Screen, thousands},
    writer::{Writer, Written},
};

/// Between two questions, when the answers are drawn in place and when each is a line.
const REDRAW: Duration = Duration::from_millis(200);
const LINE: Duration = Duration::from_secs(1);
/// Without any change for so long the demonstration gives up.
const PATIENCE: Duration = Duration::from_secs(60);
const WIDTH: u32 = 30;

/// Draws until all tables are copied and all streams run.
///
/// # Errors
/// The server's, or nothing has changed for a minute.
pub async fn follow(screen: &mut Screen, commands: &mut Commands, writer: &Writer) -> Result<(), Error> {
    let (mut before, mut changed) = (Vec::new(), Instant::now());
    loop {
        let status = commands.status().await?;
        let written = writer.written()?;
        if screen.terminal() {
            screen.draw(&bars(screen, &status, written))?;
        } else {
            screen.answer(&line(&status, written))?;
        }
        if running(&status) {
            return Ok(());
        }
        // not the totals: those move with what the application writes
        let copied: Vec<i64> = tables(&status).map(|(_, state)| state.rows_copied).collect();
        if copied != before {
            (before, changed) = (copied, Instant::now());
        } else if changed.elapsed() > PATIENCE {
            return Err(Error::Stuck { seconds: PATIENCE.as_secs(), last: info(&status) });
        }
        tokio::time::sleep(if screen.terminal() { REDRAW } else { LINE }).await;
    }
}

/// True when nothing is left to copy and every stream follows the source.
fn running(status: &WorkflowStatusResponse) -> bool {
    let mut streams = status.shard_streams.iter().filter_map(|entry| entry.value.as_ref()).flat_map(|v| &v.streams);
    let copied = tables(status).all(|(_, state)| state.rows_percentage >= 100.0);
    copied && !status.shard_streams.is_empty() && streams.all(|stream| stream.status == "Running")
}

fn bars(screen: &Screen, status: &WorkflowStatusResponse, written: Written) -> Vec<String> {
    let bar = |(name, state): (&str, &TableCopyState)| {
        let percent = f64::from(state.rows_percentage);
        let (done, total) = (count(state.rows_copied), count(state.rows_total));
        let bar = screen.bar(percent / 100.0, WIDTH);
        format!("{name:<9} {bar} {:>3} %  {done:>9} of {total:>9} rows", percent.floor())
    };
    let mut lines: Vec<String> = tables(status).map(bar).collect();
    let Written { inserts, updates, deletes, moved } = written;
    lines.push(short(&info(status)));
    lines.push(short(&format!("writer: {inserts} inserts, {updates} updates, {deletes} deletes, {moved} rows moved")));
    lines
}

/// A line that wraps would not be redrawn in place.
fn short(text: &str) -> String {
    text.chars().take(78).collect()
}

fn line(status: &WorkflowStatusResponse, written: Written) -> String {
    let table = |(name, state): (&str, &TableCopyState)| {
        let (done, total) = (count(state.rows_copied), count(state.rows_total));
        format!("{name} {} % ({done} of {total} rows)", state.rows_percentage.floor())
    };
    let tables = tables(status).map(table).collect::<Vec<_>>().join(", ");
    format!("{tables}; writer: {} statements", written.statements())
}

fn tables(status: &WorkflowStatusResponse) -> impl Iterator<Item = (&str, &TableCopyState)> {
    status.table_copy_state.iter().filter_map(|entry| Some((entry.key.as_str(), entry.value.as_ref()?)))
}

/// What the first stream that is not yet running says, else the first.
fn info(status: &WorkflowStatusResponse) -> String {
    let streams = status.shard_streams.iter().filter_map(|entry| entry.value.as_ref()).flat_map(|v| &v.streams);
    let waiting = streams.clone().find(|stream| stream.status != "Running");
    let stream = waiting.or_else(|| streams.clone().next());
    let text = |stream: &ShardStreamState| match stream.info.starts_with(&stream.status) {
        true => stream.info.clone(),
        false => format!("{}: {}", stream.status, stream.info),
    };
    stream.map(text).unwrap_or_default()
}

fn count(rows: i64) -> String {
    thousands(u64::try_from(rows).unwrap_or_default())
}
