//! The life of a migration from `Mount register` to `Mount unregister`.

use std::time::{Duration, Instant};

use integration_tablet::vindex::KeyRange;
use vtmigrated::vdiff::report::Summary as Diff;

use super::{
    Error, Lab, SOURCE, TARGET,
    commands::Commands,
    compare::{self, Compared},
    data::{self, Sizes, TABLES},
    diff, progress,
    screen::{Screen, thousands},
    verdict,
    writer::{Writer, Written, in_range},
};
use crate::cluster::{self, member::Member, topology::GLOBAL_ROOT};

/// Statements that the writer still makes when copying is over.
const WHILE_RUNNING: u64 = 500;
const POLL: Duration = Duration::from_millis(50);

/// What came out.
pub struct Summary {
    pub tables: Vec<Compared>,
    pub diff: Diff,
    /// Its first line.
    pub verdict: String,
    pub written: Written,
    /// Rows on the source when the copy began.
    pub rows: u64,
    /// From create to the end of copying.
    pub copying: Duration,
    /// From create to the end of complete.
    pub migration: Duration,
}

/// Runs the whole life.
///
/// # Errors
/// A command fails, or the target takes or refuses writes when it must not.
pub async fn run(lab: &Lab, screen: &mut Screen, rows: u64) -> Result<Summary, Error> {
    let sizes = Sizes::of(rows);
    let source = lab.source.shard(SOURCE, "0")?;
    screen.step(&format!("{} rows for the source, keyspace {SOURCE}, one shard", thousands(rows)))?;
    data::fill(&lab.source, SOURCE, sizes).await?;
    let mut total = 0;
    for table in TABLES {
        let rows = data::count(source, table.name).await?;
        screen.answer(&format!("{:<9} {:>9} rows", table.name, thousands(rows)))?;
        total += rows;
    }
    let mut commands = Commands::new(&lab.server).await?;
    screen.step("Make the source's cluster known")?;
    commands.mount(screen, &lab.source.etcd().address(), GLOBAL_ROOT).await?;
    commands.show_mount(screen).await?;
    screen.step(&format!("Say how the target, keyspace {TARGET}, shards its tables"))?;
    commands.vschema(screen).await?;

    screen.step("Copy everything while an application writes to the source")?;
    let writer = Writer::start(source, sizes).await?;
    let begin = Instant::now();
    commands.create(screen).await?;
    commands.type_status(screen)?;
    progress::follow(screen, &mut commands, &writer).await?;
    let copying = begin.elapsed();
    screen.step("Compare all rows with VDiff while the application goes on writing")?;
    let diff = diff::run(screen, &mut commands).await?;
    screen.step("Follow the source")?;
    let written = follow_on(lab, screen, &mut commands, writer).await?;

    screen.step("Ask whether complete would be accepted")?;
    let verdict = verdict::ask(screen, &lab.server).await?;
    screen.step("Hand the tables over")?;
    commands.complete(screen).await?;
    let migration = begin.elapsed();
    write_through_target(lab, screen).await?;
    commands.unmount(screen).await?;

    screen.step("Compare both sides row by row")?;
    let tables = compare::all(&lab.source, &lab.target).await?;
    for table in &tables {
        screen.answer(&compared(table))?;
    }
    Ok(Summary { tables, diff, verdict, written, rows: total, copying, migration })
}

/// Lets the writer go on for a while after the copy, shows that the target refuses writes meanwhile, and stops the writer.
async fn follow_on(lab: &Lab, screen: &mut Screen, commands: &mut Commands, writer: Writer) -> Result<Written, Error> {
    let enough = writer.written()?.statements() + WHILE_RUNNING;
    while writer.written()?.statements() < enough {
        tokio::time::sleep(POLL).await;
    }
    commands.type_status(screen)?;
    let status = commands.status().await?;
    screen.answer(&super::commands::status_text(&status))?;
    let (tablet, sql) = (home_of(lab, CUSTOMER)?, insert());
    type_sql(screen, tablet, &sql)?;
    match tablet.execute(&sql).await {
        Ok(_) => return Err(Error::NotDenied),
        Err(cluster::Error::Status(status)) => screen.answer(status.message())?,
        Err(error) => return Err(error.into()),
    }
    screen.note("as it must be: the tables are not the target's yet")?;
    let written = writer.stop().await?;
    screen.note(&format!("the application stops; it made {written}"))?;
    Ok(written)
}

/// The customer and order of the row that is written through the target.
const CUSTOMER: u64 = 4_000_000_001;

fn insert() -> String {
    format!("INSERT INTO corder VALUES ({CUSTOMER}, {CUSTOMER}, 'SKU-1', 12.50, 'new')")
}

/// Writes a row through the tablet it belongs to, reads it back, and deletes it, so that both sides can be compared.
async fn write_through_target(lab: &Lab, screen: &mut Screen) -> Result<(), Error> {
    let tablet = home_of(lab, CUSTOMER)?;
    let which = format!("FROM corder WHERE order_id = {CUSTOMER}");
    for (sql, rows) in [(insert(), 1), (format!("SELECT sku {which}"), 1), (format!("DELETE {which}"), 1)] {
        type_sql(screen, tablet, &sql)?;
        let result = tablet.execute(&sql).await?;
        if result.rows_affected != rows {
            return Err(Error::NotWritten);
        }
        let read = result.rows.first().map(|row| String::from_utf8_lossy(&row.values).into_owned());
        screen.answer(&read.unwrap_or_else(|| format!("{} row affected", result.rows_affected)))?;
    }
    Ok(())
}

/// There is no vtgate here: statements go to the tablet's query service, where vtgate would send them.
fn type_sql(screen: &mut Screen, tablet: &Member, sql: &str) -> Result<(), Error> {
    let options = tablet.options();
    let place = format!("{}/{} ({})", options.keyspace, options.shard, options.alias_text());
    Ok(screen.command(&format!("{sql};  -- through the tablet of {place}"))?)
}

/// The primary of the shard that a customer belongs to.
fn home_of(lab: &Lab, customer: u64) -> Result<&Member, Error> {
    for shard in lab.target.shards(TARGET) {
        if in_range(&KeyRange::parse(&shard.name)?, customer)? {
            return Ok(lab.target.primary(TARGET, &shard.name)?);
        }
    }
    Err(Error::Missing("the shard of a customer"))
}

fn compared(table: &Compared) -> String {
    let count = |rows: usize| thousands(rows as u64);
    let shards: Vec<String> = table.shards.iter().map(|(name, rows)| format!("{name} {}", count(*rows))).collect();
    let text = format!("{:<9} {:>9} rows at the source; target: {}", table.table, count(table.rows), shards.join(", "));
    if table.differences.is_empty() {
        return format!("{text}; the same");
    }
    format!("{text}\n{}", table.differences.join("\n"))
}

impl Summary {
    /// True when both sides have the same rows.
    #[must_use]
    pub fn same(&self) -> bool {
        !self.diff.has_mismatch && self.tables.iter().all(|table| table.differences.is_empty())
    }

    /// The last lines of the demonstration; `took` is the whole of it, `page` is told if it is still there.
    ///
    /// # Errors
    /// The output is closed.
    pub fn print(&self, screen: &mut Screen, took: Duration, page: Option<&str>) -> Result<(), Error> {
        let rows: usize = self.tables.iter().map(|table| table.rows).sum();
        let rate = u128::from(self.rows) * 1000 / self.copying.as_millis().max(1);
        let rate = thousands(u64::try_from(rate).unwrap_or(u64::MAX));
        screen.step("Summary")?;
        screen.answer(&format!(
            "rows copied:     {} in {:.1} s, {rate} rows/s, while the application wrote",
            thousands(self.rows),
            self.copying.as_secs_f64()
        ))?;
        screen.answer(&format!("written besides: {}", self.written))?;
        let compared = u64::try_from(self.diff.rows_compared).unwrap_or_default();
        screen.answer(&format!(
            "VDiff:           {}, {} rows compared, {}",
            self.diff.state.as_str(),
            thousands(compared),
            diff::outcome(&self.diff)
        ))?;
        screen.answer(&format!("verdict:         {}", self.verdict))?;
        screen.answer(&format!("rows compared:   {}, one by one, after complete", thousands(rows as u64)))?;
        screen.answer(&format!(
            "time:            {:.1} s from create to the end of complete, {:.1} s in all",
            self.migration.as_secs_f64(),
            took.as_secs_f64()
        ))?;
        let different: Vec<&str> =
            self.tables.iter().filter(|table| !table.differences.is_empty()).map(|table| table.table).collect();
        let text = if different.is_empty() { "none".to_owned() } else { format!("in {}", different.join(", ")) };
        screen.result(self.same(), &format!("differences:     {text}"))?;
        if let Some(page) = page {
            screen.answer(&format!("status page:     {page}"))?;
        }
        Ok(())
    }
}
