//! What a shard's log says about its diffs.

use std::collections::{BTreeMap, BTreeSet};

use vtmigrated_proto::query::QueryResult;

use super::FAILURE;
use crate::sql::{quote, rows};
use crate::workflow::vdiff_summary::State;

/// Most rows of a shard's log, grouped, that are read.
pub const MAX_LINES: u64 = 100_000;
/// Log line of a stop.
const STOPPED: &str = "State changed to: stopped";
/// What a value ends with that a tablet has cut for a sample.
const CUT: &str = "...[TRUNCATED]";
/// Tries after which a shard is stopped although tables are left: this many, and two for each table.
const PATIENCE: i64 = 8;

/// One diff whose log has the error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// As stored.
    pub uuid: String,
    pub auto_retry: bool,
    pub max_extra_rows_to_compare: i64,
    pub max_sample_rows: i64,
    /// Samples hold columns of the key only.
    only_pks: bool,
    /// Long values of samples are cut.
    cuts_values: bool,
    /// Tables that the shard compares.
    pub tables: Vec<String>,
    /// Distinct log lines; each stop is one of its own.
    lines: Vec<Line>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Line {
    message: String,
    count: i64,
    /// Id of the last one.
    last: i64,
    /// UTC, `YYYY-MM-DD hh:mm:ss`, of the last one.
    at: String,
}

/// What the log means in a state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Tables whose comparison ended in the error since the diff was last resumed, with the number of tries that did, ever.
    pub failed: BTreeMap<String, i64>,
    /// Tables that have been compared since then, these among them.
    pub compared: BTreeSet<String>,
    /// Tables that have not.
    pub left: Vec<String>,
    /// When the last of them was compared.
    pub at: String,
    /// Nothing more is to be expected of the tablet.
    given_up: bool,
}

impl Judged {
    /// True when the shard's part is over.
    pub fn ended(&self) -> bool {
        !self.failed.is_empty() && (self.left.is_empty() || self.given_up)
    }
}

/// Reads the log, grouped, and the tables of those diffs of a workflow that have the error; nothing for all others. Lines
/// that an older diff of the same id left behind are not read.
pub fn query(keyspace: &str, workflow: &str) -> String {
    let (keyspace, workflow) = (quote::literal(keyspace), quote::literal(workflow));
    // a quote is any one character for LIKE
    let failure = quote::literal(&format!("Error: {}%", FAILURE.replace('\'', "_")));
    let of = format!(
        "d.keyspace = {keyspace} and d.workflow = {workflow} and exists (select 1 from _vt.vdiff_log as e \
         where e.vdiff_id = d.id and e.created_at >= d.created_at and e.message like {failure})"
    );
    format!(
        "select d.vdiff_uuid as vdiff_uuid, max(cast(d.options as char)) as options, cast(l.message as binary) as message, \
         count(*) as times, max(l.id) as last_id, \
         max(unix_timestamp(l.created_at)) as at \
         from _vt.vdiff as d join _vt.vdiff_log as l on l.vdiff_id = d.id and l.created_at >= d.created_at where {of} \
         group by d.vdiff_uuid, cast(l.message as binary), if(l.message like '{STOPPED}%', l.id, 0) \
         union all select d.vdiff_uuid, '', concat('table ', t.table_name), 0, 0, 0 \
         from _vt.vdiff as d join _vt.vdiff_table as t on t.vdiff_id = d.id where {of}"
    )
}

/// Decodes the answer to [`query`]: facts by lower-case UUID.
pub fn parse(result: &QueryResult) -> BTreeMap<String, Facts> {
    let mut found: BTreeMap<String, Facts> = BTreeMap::new();
    for row in rows::texts(result) {
        let mut row = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || row.next().unwrap_or_default();
        let (uuid, options, message) = (next(), next(), next());
        let (count, last, at): (i64, i64, i64) = (number(&next()), number(&next()), number(&next()));
        let facts = found.entry(uuid.to_lowercase()).or_default();
        facts.uuid = uuid;
        match message.strip_prefix("table ").filter(|_| count == 0) {
            Some(table) => facts.tables.push(table.to_owned()),
            None => {
                facts.read_options(&options);
                facts.lines.push(Line { message, count, last, at: civil(at) });
            }
        }
    }
    found.values_mut().for_each(|facts| facts.tables.sort());
    found
}

impl Facts {
    fn read_options(&mut self, json: &str) {
        let options: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
        let number = |place: &str| options.pointer(place).and_then(serde_json::Value::as_i64).unwrap_or_default();
        let is_on = |place: &str| options.pointer(place).and_then(serde_json::Value::as_bool) == Some(true);
        self.auto_retry = is_on("/core_options/auto_retry");
        self.only_pks = is_on("/report_options/only_pks");
        self.cuts_values = number("/report_options/row_diff_column_truncate_at") > 0;
        self.max_extra_rows_to_compare = number("/core_options/max_extra_rows_to_compare");
        self.max_sample_rows = number("/report_options/max_sample_rows");
    }

    /// Whether a sample holds a whole row. Tablets of 24.0.4 say so of those that do; of all others it must neither be of the key
    /// only, nor have a value that may have been cut.
    pub fn is_whole(&self, sample: &serde_json::Value) -> bool {
        if sample.get("LosslessValues").and_then(serde_json::Value::as_bool) == Some(true) {
            return true;
        }
        let mut values =
            sample.get("Row").and_then(serde_json::Value::as_object).into_iter().flat_map(|row| row.values());
        let is_cut = |value: &serde_json::Value| value.as_str().is_some_and(|text| text.ends_with(CUT));
        let may_be_cut = self.cuts_values && values.any(is_cut);
        !self.only_pks && !may_be_cut
    }

    /// What the log means for a shard in this state that compares these tables.
    pub fn judge(&self, state: State, tables: &[&str]) -> Judged {
        let since = self.resumed_at(state);
        let mut judged = Judged::default();
        let mut last_compared = 0;
        for table in tables {
            let failure = format!("Table {table} Error: {FAILURE}");
            let failures = || self.lines.iter().filter(|line| line.message.starts_with(&failure));
            let failed = failures().max_by_key(|line| line.last).filter(|line| line.last > since);
            let completion = format!("completed: table {}", quote::literal(table));
            let completed = self.lines.iter().find(|line| line.message == completion).filter(|line| line.last > since);
            let last = failed.into_iter().chain(completed).max_by_key(|line| line.last);
            let Some(last) = last else {
                judged.left.push((*table).to_owned());
                continue;
            };
            judged.compared.insert((*table).to_owned());
            if last.last > last_compared {
                last_compared = last.last;
                judged.at.clone_from(&last.at);
            }
            if last.message.starts_with(&failure) {
                judged.failed.insert((*table).to_owned(), failures().map(|line| line.count).sum());
            }
        }
        judged.given_up = self.given_up(state, tables.len());
        judged
    }

    /// Id of the stop that the present run came after: the last one, or the one before when the diff is stopped now.
    fn resumed_at(&self, state: State) -> i64 {
        let mut stops: Vec<i64> =
            self.lines.iter().filter(|line| line.message.starts_with(STOPPED)).map(|line| line.last).collect();
        stops.sort_unstable();
        if state == State::Stopped {
            stops.pop();
        }
        stops.last().copied().unwrap_or_default()
    }

    /// True when the tablet stands in the error and does not try again, or has tried often enough.
    fn given_up(&self, state: State, tables: usize) -> bool {
        let errors = || self.lines.iter().filter(|line| line.message.starts_with("Error: "));
        let is_failure = |line: &&Line| line.message.strip_prefix("Error: ").is_some_and(|e| e.starts_with(FAILURE));
        let tries: i64 = errors().filter(is_failure).map(|line| line.count).sum();
        let bound = i64::try_from(tables).unwrap_or(i64::MAX / 4).saturating_mul(2).saturating_add(PATIENCE);
        let last_is_failure = errors().max_by_key(|line| line.last).is_some_and(|line| is_failure(&line));
        let stands = matches!(state, State::Error | State::Stopped) && last_is_failure;
        stands && (!self.auto_retry || tries >= bound)
    }
}

fn number(text: &str) -> i64 {
    text.split('.').next().and_then(|whole| whole.parse().ok()).unwrap_or_default()
}

/// A time in UTC as MySQL spells it.
fn civil(epoch: i64) -> String {
    let time = jiff::Timestamp::from_second(epoch).unwrap_or_default();
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}
