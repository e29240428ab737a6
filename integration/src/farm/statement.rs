//! The statements that vtctlds send to tablets in the life of a Migrate: ours, and stock's (Vitess 24.0.4). Recognised by
//! their words, not parsed; one that is not known is an error, so that the farm has to learn it.

/// A statement and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// Tables left to copy: `vrepl_id, table_name, lastpk`, of a workflow, of streams, or all.
    CopyStates {
        workflow: Option<String>,
        streams: Vec<i32>,
    },
    /// When each stream of a workflow, or of all, began to copy: `vrepl_id`, epoch seconds.
    CopyStarts(Option<String>),
    /// Rows of the log, of a workflow, of streams, or all.
    Logs {
        workflow: Option<String>,
        streams: Vec<i32>,
    },
    /// `workflow, source` of each stream.
    Sources,
    /// Ids of the streams of a workflow.
    Ids(Option<String>),
    /// Diffs whose workflow has no stream.
    OrphanedDiffs,
    /// Numbers of rows without an owner, for each of four tables.
    Orphans,
    /// Settings of the server as `'variable', name, value`, with what else is asked for in the same statement.
    Settings,
    /// Settings for binlogs as `name, value`.
    Binlogs,
    /// Columns of tables.
    Columns(Vec<String>),
    /// Which of these tables are there.
    Names(Vec<String>),
    /// The same, with the seconds in which they were made, and the time of now.
    Made(Vec<String>),
    /// Rows and bytes of all tables.
    Sizes,
    /// The numbers of those tables that have rows; a table that is not there is an error.
    Filled(Vec<(String, String)>),
    /// Number, lowest and highest key of each table.
    Bounds(Vec<(String, String)>),
    /// Number and greatest value of each table.
    Greatest(Vec<(String, String)>),
    /// A converted time.
    TimeZone,
    DeleteStreams(Which),
    /// Sets state and message, where given.
    SetStreams {
        which: Which,
        state: Option<String>,
        message: Option<String>,
    },
    Drop {
        tables: Vec<String>,
        if_exists: bool,
    },
    Truncate(Vec<String>),
    /// Reads what is always empty here, or changes what is not kept.
    Nothing,
}

/// Streams that a statement is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    Ids(Vec<i32>),
    Workflows(Vec<String>),
}

/// Recognises a statement; `None` for one that is not known.
#[must_use]
pub fn recognise(query: &str) -> Option<Statement> {
    let query = query.trim();
    let lower = query.to_ascii_lowercase();
    match lower.split_whitespace().next()? {
        "select" | "(select" => read(query, &lower),
        "delete" if lower.starts_with("delete from _vt.vreplication ") => {
            Some(Statement::DeleteStreams(which(query, &lower)?))
        }
        "delete" if lower.starts_with("delete from _vt.") => Some(Statement::Nothing),
        "update" if lower.starts_with("update _vt.vreplication set ") => {
            let head = &query[..lower.find(" where ")?];
            let (state, message) = (literal_after(head, "state"), literal_after(head, "message"));
            Some(Statement::SetStreams { which: which(query, &lower)?, state, message })
        }
        "drop" => {
            let rest = lower.strip_prefix("drop table ")?;
            let if_exists = rest.starts_with("if exists ");
            Some(Statement::Drop { tables: identifiers(query), if_exists })
        }
        "truncate" => Some(Statement::Truncate(identifiers(query))),
        "optimize" | "alter" if lower.contains(" table _vt.copy_state") => Some(Statement::Nothing),
        _ => None,
    }
}

fn read(query: &str, lower: &str) -> Option<Statement> {
    let has = |text: &str| lower.contains(text);
    Some(match () {
        () if lower.starts_with("select count(*) from _vt.copy_state") => Statement::Orphans,
        // no stream of a farm goes and leaves some
        () if lower.starts_with("select distinct vrepl_id, table_name from _vt.copy_state") => Statement::Nothing,
        () if has("performance_schema.global_variables") && lower.starts_with("select variable_name") => {
            Statement::Binlogs
        }
        () if has("performance_schema.global_variables") => Statement::Settings,
        () if has("from _vt.copy_state") => {
            let workflow = literal_after(query, "workflow");
            Statement::CopyStates { workflow, streams: ids_after(lower, "vrepl_id") }
        }
        () if has("from _vt.vreplication_log") && has("min(created_at)") => {
            Statement::CopyStarts(literal_after(query, "workflow"))
        }
        () if has("from _vt.vreplication_log") => {
            let workflow = literal_after(query, "workflow");
            Statement::Logs { workflow, streams: ids_after(lower, "vrepl_id") }
        }
        () if lower.starts_with("select workflow, source from _vt.vreplication") => Statement::Sources,
        () if lower.starts_with("select id from _vt.vreplication") => Statement::Ids(literal_after(query, "workflow")),
        () if lower.starts_with("select vdiff_uuid, workflow, state from _vt.vdiff") => Statement::OrphanedDiffs,
        // those under way, and here all have ended
        () if lower.starts_with("select vdiff_uuid from _vt.vdiff ") => Statement::Nothing,
        () if ["_vt.post_copy_action", "_vt.vdiff_log", "_vt.resharding_journal", "_vt.reparent_journal"]
            .iter()
            .any(|table| has(table)) =>
        {
            Statement::Nothing
        }
        () if has("information_schema.columns") => Statement::Columns(literals(query)),
        () if has("innodb_tablestats") => Statement::Nothing,
        () if has("information_schema.tables") && has("table_rows") => Statement::Sizes,
        () if has("information_schema.tables") && has("unix_timestamp(create_time)") => {
            Statement::Made(literals(query))
        }
        () if has("information_schema.tables") => Statement::Names(literals(query)),
        () if has("convert_tz(") => Statement::TimeZone,
        () if has(" as bounds") => Statement::Bounds(numbered(query)),
        () if has("max(") => Statement::Greatest(numbered(query)),
        () if has(" limit 1") => Statement::Filled(numbered(query)),
        () => return None,
    })
}

fn which(query: &str, lower: &str) -> Option<Which> {
    let at = lower.find(" where ")?;
    let (query, lower) = (&query[at..], &lower[at..]);
    match literals_after(query, "workflow") {
        names if names.is_empty() => Some(Which::Ids(ids_after(lower, "id"))),
        names => Some(Which::Workflows(names)),
    }
}

/// Number and table of each part of `select <number> … from <table> …` that a `union all` puts together.
fn numbered(query: &str) -> Vec<(String, String)> {
    let part = |part: &str| {
        let number = part[part.find("select ")? + "select ".len()..].split([' ', ',']).next()?.to_owned();
        // `select * from (select 0 …) as bounds`: the number is that of the innermost statement that has one
        let inner = part.rfind("(select ").map(|at| &part[at + "(select ".len()..]);
        let inner = inner.and_then(|inner| inner.split([' ', ',']).next()).filter(|_| number == "*");
        let number = inner.map_or(number, str::to_owned);
        Some((number, identifiers(&part[part.find("from `")?..]).pop()?))
    };
    query.split(" union all ").filter_map(part).collect()
}

/// Names in backquotes; of `` `a`.`b` `` the last.
fn identifiers(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut parts = text.split('`');
    let mut between = parts.next().unwrap_or_default();
    while let Some(name) = parts.next() {
        if between == "." {
            found.pop();
        }
        found.push(name.to_owned());
        between = parts.next().unwrap_or_default();
    }
    found
}

/// Texts in quotes, as MySQL and Vitess escape them.
fn literals(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut chars = text.chars();
    while chars.by_ref().any(|c| c == '\'') {
        let mut literal = String::new();
        while let Some(c) = chars.next().filter(|c| *c != '\'') {
            literal.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
        }
        found.push(literal);
    }
    found
}

/// Where a column is compared or set: what follows the operator, up to the next `and`.
fn after<'t>(text: &'t str, column: &str) -> Option<&'t str> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = text.match_indices(column).filter(|(at, _)| !text[..*at].ends_with(word));
    let rests = starts.map(|(at, _)| text[at + column.len()..].trim_start());
    let mut compared =
        rests.filter(|rest| rest.starts_with('=') || rest.starts_with("in (") || rest.starts_with("in("));
    compared.next().map(|rest| rest.split(" and ").next().unwrap_or(rest))
}

fn literals_after(text: &str, column: &str) -> Vec<String> {
    after(text, column).map(literals).unwrap_or_default()
}

fn literal_after(text: &str, column: &str) -> Option<String> {
    literals_after(text, column).into_iter().next()
}

/// Numbers of `column = 1` or `column in (1, 2)`; none when the list is a statement.
fn ids_after(lower: &str, column: &str) -> Vec<i32> {
    let Some(rest) = after(lower, column) else { return Vec::new() };
    let list = rest.trim_start_matches(['=', 'i', 'n', ' ', '(']);
    let list = list.split(')').next().unwrap_or_default();
    list.split(',').map_while(|id| id.split_whitespace().next()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests;
