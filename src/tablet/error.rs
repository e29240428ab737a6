//! Failures of tablet calls.

use std::sync::OnceLock;

use regex::Regex;

use crate::error::{Code, Explain, Reason};

/// Why a tablet call failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The tablet answered with an error: its own text, which names method and tablet already.
    #[error("{message}")]
    Answered { alias: String, method: &'static str, code: Code, message: String },
    /// There is no answer.
    #[error("tablet {alias} at {address} cannot be reached for {method}: {detail}")]
    Unreachable { alias: String, address: String, method: &'static str, detail: String },
    /// The answer took too long.
    #[error("context deadline exceeded: tablet {alias} at {address} did not answer {method} within {seconds} s")]
    Slow { alias: String, address: String, method: &'static str, seconds: u64 },
}

/// What the system says of an address at which nothing runs.
const NOT_RUNNING: [&str; 4] =
    ["Connection refused", "No route to host", "failed to lookup address", "Name or service not known"];

impl Error {
    /// The tablet's alias.
    pub fn alias(&self) -> &str {
        match self {
            Self::Answered { alias, .. } | Self::Unreachable { alias, .. } | Self::Slow { alias, .. } => alias,
        }
    }

    /// Number and state of MySQL's error, if that is what the tablet passes on: Vitess carries them in the text only.
    pub fn mysql(&self) -> Option<(u16, &str)> {
        let Self::Answered { message, .. } = self else { return None };
        mysql_of(message)
    }

    /// True when MySQL said that a table is not there (errors 1146 and 1051).
    pub fn is_missing_table(&self) -> bool {
        matches!(self.mysql(), Some((1146 | 1051, _)))
    }

    /// True when MySQL said that a table is there already (error 1050).
    pub fn is_existing_table(&self) -> bool {
        matches!(self.mysql(), Some((1050, _)))
    }

    /// True when it is this table of which MySQL said that.
    pub fn says_exists(&self, table: &str) -> bool {
        self.says(&format!("Table '{table}' already exists"))
    }

    /// True when MySQL said that a key of that name is there already (error 1061).
    pub fn is_duplicate_key(&self) -> bool {
        matches!(self.mysql(), Some((1061, _)))
    }

    /// True when MySQL said that a column of a key is not there (error 1072).
    pub fn is_missing_key_column(&self) -> bool {
        matches!(self.mysql(), Some((1072, _)))
    }

    /// True when MySQL said no, whatever its reason.
    pub fn is_of_mysql(&self) -> bool {
        self.mysql().is_some()
    }

    /// True when MySQL said that it replicates from nobody (Vitess's own error 100).
    pub fn is_no_replica(&self) -> bool {
        matches!(self.mysql(), Some((100, _)))
    }

    /// True when the tablet says that it has no such diff. The text decides: of diffs tablets answer UNKNOWN for everything (Vitess
    /// 22.0.3).
    pub fn is_unknown_vdiff(&self) -> bool {
        self.says("no vdiff found for UUID") || (self.says("vdiff with UUID") && self.says("not found on tablet"))
    }

    /// True when the tablet says that it has the diff already.
    pub fn is_known_vdiff(&self) -> bool {
        self.says("already exists on tablet")
    }

    /// True when the tablet says that the diff is neither stopped nor completed.
    pub fn is_unresumable_vdiff(&self) -> bool {
        self.says("no completed or stopped vdiff found for UUID")
    }

    /// True when the tablet does not run diffs, or does not yet.
    pub fn is_closed_vdiff_engine(&self) -> bool {
        self.says("vdiff engine is")
    }

    fn says(&self, text: &str) -> bool {
        self.to_string().contains(text)
    }

    /// True when nothing listens at the tablet's address, or it has none any more: it does not run, and reads its records when
    /// it starts.
    pub fn is_not_running(&self) -> bool {
        matches!(self, Self::Unreachable { detail, .. } if NOT_RUNNING.iter().any(|text| detail.contains(text)))
    }

    /// True when the tablet gave no answer, so that it is unknown whether it acted.
    pub fn is_silent(&self) -> bool {
        !matches!(self, Self::Answered { .. })
    }
}

/// Number and state of MySQL's error in a tablet's text.
pub(super) fn mysql_of(message: &str) -> Option<(u16, &str)> {
    static PATTERN: OnceLock<Option<Regex>> = OnceLock::new();
    let pattern = PATTERN.get_or_init(|| Regex::new(r"\(errno ([0-9]+)\) \(sqlstate ([0-9A-Z]{5})\)").ok());
    let found = pattern.as_ref()?.captures(message)?;
    Some((found.get(1)?.as_str().parse().ok()?, found.get(2)?.as_str()))
}

impl Explain for Error {
    fn code(&self) -> Code {
        match self {
            // tablets before Vitess 23 answer UNKNOWN for everything, later ones a coarser code: MySQL's number says more
            Self::Answered { code, method, .. } => match self.mysql().map(mysql_code) {
                // a bad statement is the caller's fault only where statements are the caller's
                Some(Code::InvalidArgument) if !method.starts_with("Execute") && *method != "ApplySchema" => {
                    Code::Internal
                }
                Some(found) => found,
                None if *code == Code::Unknown => Code::Internal,
                None => *code,
            },
            Self::Unreachable { .. } => Code::Unavailable,
            Self::Slow { .. } => Code::DeadlineExceeded,
        }
    }

    fn reason(&self) -> Reason {
        match self {
            Self::Answered { .. } => Reason::TABLET_ERROR,
            Self::Unreachable { .. } => Reason::TABLET_UNREACHABLE,
            Self::Slow { .. } => Reason::TABLET_SLOW,
        }
    }

    fn help(&self) -> String {
        match self {
            Self::Answered { .. } => String::new(),
            _ => format!("check that vttablet {} is running, then run the command again", self.alias()),
        }
    }
}

/// What an error of MySQL means for the caller: number first, else the class of the SQL state.
fn mysql_code((number, state): (u16, &str)) -> Code {
    match number {
        // database, table, column, key, index, routine, thread, user that is not there
        1008 | 1032 | 1049 | 1051 | 1054 | 1072 | 1091 | 1094 | 1109 | 1141 | 1146 | 1147 | 1176 | 1305 => {
            Code::NotFound
        }
        1007 | 1022 | 1050 | 1060 | 1061 | 1062 | 1304 | 1359 | 1396 | 1537 => Code::AlreadyExists,
        1044 | 1045 | 1095 | 1142 | 1143 | 1211 | 1227 | 1370 | 1410 => Code::PermissionDenied,
        1021 | 1037 | 1038 | 1040 | 1041 | 1114 | 1135 | 1203 | 1226 => Code::ResourceExhausted,
        1205 | 3024 => Code::DeadlineExceeded,
        1213 | 3101 => Code::Aborted,
        1317 => Code::Cancelled,
        // the client's numbers, and a server that is ending
        1053 | 2002..=2006 | 2013 | 2055 => Code::Unavailable,
        _ => match state.get(..2) {
            Some("22" | "42") => Code::InvalidArgument,
            Some("28") => Code::PermissionDenied,
            Some("08") => Code::Unavailable,
            Some("40") => Code::Aborted,
            // MySQL has refused what was asked in the state that it is in: read only, foreign keys, wrong settings
            _ => Code::FailedPrecondition,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(message: &str) -> Error {
        Error::Answered { alias: "a".into(), method: "ExecuteFetchAsDba", code: Code::Unknown, message: message.into() }
    }

    #[test]
    fn errors_of_mysql_have_the_code_of_their_meaning() {
        for (text, code) in [
            ("Table 'a.b' doesn't exist (errno 1146) (sqlstate 42S02) during query: x", Code::NotFound),
            (
                "You have an error in your SQL syntax (errno 1064) (sqlstate 42000) during query: x",
                Code::InvalidArgument,
            ),
            ("Duplicate entry '1' (errno 1062) (sqlstate 23000)", Code::AlreadyExists),
            ("foreign key constraint fails (errno 1451) (sqlstate 23000)", Code::FailedPrecondition),
            ("running with the --read-only option (errno 1290) (sqlstate HY000)", Code::FailedPrecondition),
            ("Access denied (errno 1045) (sqlstate 28000)", Code::PermissionDenied),
            ("Lock wait timeout exceeded (errno 1205) (sqlstate HY000)", Code::DeadlineExceeded),
            ("Lost connection (errno 2013) (sqlstate HY000)", Code::Unavailable),
            ("something else", Code::Internal),
        ] {
            assert_eq!(answered(text).code(), code, "{text}");
        }
        assert!(answered("no replication status (errno 100) (sqlstate HY000)").is_no_replica());
        assert!(answered("x (errno 1051) (sqlstate 42S02)").is_missing_table());
        // the same from tablets that give a code
        for coded in [Code::FailedPrecondition, Code::AlreadyExists, Code::Aborted] {
            let error = |text: &str| match answered(text) {
                Error::Answered { alias, method, message, .. } => {
                    Error::Answered { alias, method, code: coded, message }
                }
                other => other,
            };
            assert_eq!(error("Table 't' doesn't exist (errno 1146) (sqlstate 42S02)").code(), Code::NotFound);
            assert_eq!(error("something else").code(), coded);
        }
        let number = "x (errno 99999999) (sqlstate 42S02)";
        assert_eq!((answered(number).mysql(), answered(number).code()), (None, Code::Internal));
    }
}
