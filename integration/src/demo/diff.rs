//! `VDiff create --wait` and `VDiff show`: what the stock client asks, printed as it prints the answers.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use vtmigrated::vdiff::report::{State, Summary, text};
use vtmigrated_proto::{
    tabletmanagerdata::TabletSelectionPreference,
    topodata::TabletType,
    vtctldata::{VDiffCreateRequest, VDiffShowRequest},
    vttime,
};

use super::{
    Error, TARGET,
    commands::{Commands, WORKFLOW},
    screen::Screen,
};

/// Seconds between two looks, the flag of the stock client; its default is a minute.
const INTERVAL: u32 = 1;
/// Without any change for so long the demonstration gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Compares all rows of the workflow's tables and shows the end, table by table.
///
/// # Errors
/// The server's, or nothing has changed for a minute.
pub async fn run(screen: &mut Screen, commands: &mut Commands) -> Result<Summary, Error> {
    commands.typed(screen, &format!("{} create --wait --wait-update-interval {INTERVAL}s", vdiff()))?;
    let created = commands.client.v_diff_create(request()).await.map_err(Box::new)?;
    wait(screen, commands, &created.into_inner().uuid).await?;
    commands.typed(screen, &format!("{} show last --verbose", vdiff()))?;
    let summary = show(commands, "last").await?;
    screen.answer(&text(TARGET, WORKFLOW, &summary, true))?;
    Ok(summary)
}

/// What the stock client does after `create --wait`, but that the summaries are drawn one over the other on a terminal.
async fn wait(screen: &mut Screen, commands: &mut Commands, uuid: &str) -> Result<(), Error> {
    let (mut before, mut changed) = (None, Instant::now());
    loop {
        tokio::time::sleep(Duration::from_secs(INTERVAL.into())).await;
        let summary = show(commands, uuid).await?;
        let shown = text(TARGET, WORKFLOW, &summary, summary.has_mismatch);
        if screen.terminal() {
            let lines: Vec<String> = shown.trim_end().lines().map(str::to_owned).collect();
            screen.draw(&lines)?;
        } else {
            screen.answer(&shown)?;
        }
        if summary.state == State::Completed {
            return Ok(());
        }
        let now = Some((summary.state, summary.rows_compared));
        if now != before {
            (before, changed) = (now, Instant::now());
        } else if changed.elapsed() > PATIENCE {
            return Err(Error::Stuck { seconds: PATIENCE.as_secs(), last: last(&summary) });
        }
    }
}

async fn show(commands: &mut Commands, argument: &str) -> Result<Summary, Error> {
    let request = VDiffShowRequest {
        workflow: WORKFLOW.to_owned(),
        target_keyspace: TARGET.to_owned(),
        arg: argument.to_owned(),
    };
    let response = commands.client.v_diff_show(request).await.map_err(Box::new)?.into_inner();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Ok(Summary::of(&response, i64::try_from(now).unwrap_or(i64::MAX)))
}

/// What the stock client sends when its other flags are absent. The UUID that it makes is made by the server here.
fn request() -> VDiffCreateRequest {
    let seconds = |seconds: u32| Some(vttime::Duration { seconds: seconds.into(), nanos: 0 });
    VDiffCreateRequest {
        workflow: WORKFLOW.to_owned(),
        target_keyspace: TARGET.to_owned(),
        tablet_types: [TabletType::Rdonly, TabletType::Replica, TabletType::Primary].map(Into::into).to_vec(),
        tablet_selection_preference: TabletSelectionPreference::Inorder.into(),
        limit: i64::MAX,
        filtered_replication_wait_time: seconds(30),
        max_extra_rows_to_compare: 1000,
        wait: true,
        wait_update_interval: seconds(INTERVAL),
        auto_retry: true,
        max_report_sample_rows: 10,
        max_diff_duration: seconds(0),
        row_diff_column_truncate_at: 128,
        auto_start: Some(true),
        ..VDiffCreateRequest::default()
    }
}

fn last(summary: &Summary) -> String {
    let errors: Vec<String> = summary.errors.iter().map(|(shard, error)| format!("shard {shard}: {error}")).collect();
    format!("VDiff {} is {} ({})", summary.uuid, summary.state.as_str(), errors.join(", "))
}

/// The end of a diff in a few words.
#[must_use]
pub fn outcome(summary: &Summary) -> String {
    if !summary.has_mismatch {
        return "no difference".to_owned();
    }
    let differing = summary.tables.iter().filter(|(_, table)| table.has_mismatch).map(|(name, _)| name.as_str());
    format!("rows differ in {}", differing.collect::<Vec<_>>().join(", "))
}

fn vdiff() -> String {
    format!("VDiff --workflow {WORKFLOW} --target-keyspace {TARGET}")
}

#[cfg(test)]
mod tests {
    use vtmigrated::vdiff::report::TableSummary;

    use super::*;

    #[test]
    fn tables_whose_rows_differ_are_named() {
        let table = |has_mismatch| TableSummary { has_mismatch, ..TableSummary::default() };
        let tables = [("corder".to_owned(), table(false)), ("product".to_owned(), table(false))].into();
        let mut summary = Summary { tables, ..Summary::default() };
        assert_eq!(outcome(&summary), "no difference");
        summary.tables.insert("corder".to_owned(), table(true));
        summary.has_mismatch = true;
        assert_eq!(outcome(&summary), "rows differ in corder");
    }
}
