//! Errors of a stream: the text that lands in its message, and whether another attempt makes sense.

use tonic::Code;

/// Text and class of a failure. The text is what stock writes.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    text: String,
    code: Code,
    errno: Option<u16>,
}

/// Result of an engine operation.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    #[must_use]
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self { text: text.into(), code, errno: None }
    }

    #[must_use]
    pub fn unknown(text: impl Into<String>) -> Self {
        Self::new(Code::Unknown, text)
    }

    /// A failed statement, `<message> (errno N) (sqlstate S) during query: <sql>`.
    #[must_use]
    pub fn mysql(error: &mysql_async::Error, sql: &[u8]) -> Self {
        let mut text = match error {
            mysql_async::Error::Server(server) => {
                format!("{} (errno {}) (sqlstate {})", server.message, server.code, server.state)
            }
            mysql_async::Error::Io(_) => {
                format!("Lost connection to MySQL server during query: {error} (errno 2013) (sqlstate HY000)")
            }
            other => format!("{other} (errno 2000) (sqlstate HY000)"),
        };
        if !sql.is_empty() {
            text.push_str(" during query: ");
            text.push_str(&String::from_utf8_lossy(sql));
        }
        let errno = match error {
            mysql_async::Error::Server(server) => Some(server.code),
            _ => None,
        };
        Self { text, code: Code::Unknown, errno }
    }

    /// A failed connection attempt.
    #[must_use]
    pub fn connect(error: &mysql_async::Error, port: u16) -> Self {
        match error {
            mysql_async::Error::Server(_) => Self::mysql(error, b""),
            other => Self::unknown(format!(
                "net.Dial(127.0.0.1:{port}) to tcp failed: {other} (errno 2003) (sqlstate HY000)"
            )),
        }
    }

    /// What a call to another tablet's query service answered, as stock's client words it.
    #[must_use]
    pub fn from_tablet(status: &tonic::Status) -> Self {
        let text = format!("vttablet: rpc error: code = {} desc = {}", go_name(status.code()), status.message());
        Self::new(status.code(), text)
    }

    /// The same failure under a text that says what was being done.
    #[must_use]
    pub fn wrap(mut self, outer: impl std::fmt::Display) -> Self {
        self.text = format!("{outer}: {}", self.text);
        self
    }

    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The server's error number, when the server refused a statement.
    #[must_use]
    pub fn errno(&self) -> Option<u16> {
        self.errno
    }

    /// True for failures that stock does not try again (22.0.3): a failed precondition, except of a tablet that changed
    /// its type, and statements that the server will always refuse.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        if self.code == Code::FailedPrecondition {
            return !self.text.contains("wrong tablet type");
        }
        self.errno.is_some_and(|errno| TERMINAL.contains(&errno))
    }
}

/// Name of a code in the texts of Go's gRPC library.
#[must_use]
pub fn go_name(code: Code) -> String {
    match code {
        Code::Ok => "OK".to_owned(),
        Code::Cancelled => "Canceled".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Cuts the middle out of a text of more than 950 bytes.
#[must_use]
pub fn truncate_message(text: &str) -> String {
    truncate(text, 950)
}

/// Cuts the middle out of a text of more than `limit` bytes, as stock does for messages and log rows.
#[must_use]
pub fn truncate(text: &str, limit: usize) -> String {
    const MARK: &str = " ... [TRUNCATED] ... ";
    if text.len() <= limit {
        return text.to_owned();
    }
    let half = (limit - MARK.len()) / 2;
    let head = (0..=half).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    let tail = (text.len() - half..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    format!("{}{MARK}{}", &text[..head], &text[tail..])
}

/// MySQL error numbers that end a stream, ascending.
const TERMINAL: [u16; 79] = [
    1044, 1045, 1048, 1052, 1054, 1060, 1061, 1062, 1063, 1064, 1091, 1097, 1106, 1107, 1108, 1109, 1118, 1128, 1136,
    1139, 1146, 1148, 1149, 1169, 1171, 1221, 1227, 1230, 1235, 1239, 1264, 1265, 1273, 1288, 1289, 1290, 1292, 1305,
    1364, 1366, 1367, 1406, 1411, 1416, 1419, 1525, 1582, 1690, 3055, 3140, 3141, 3142, 3144, 3147, 3150, 3157, 3684,
    3685, 3686, 3687, 3688, 3689, 3690, 3691, 3692, 3693, 3694, 3695, 3696, 3697, 3698, 3699, 3700, 3704, 3705, 3706,
    3887, 3900, 6138,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_type_is_the_only_failed_precondition_that_is_tried_again() {
        let status = tonic::Status::failed_precondition("wrong tablet type: REPLICA, want: PRIMARY or []");
        assert!(!Error::from_tablet(&status).is_terminal());
        let status = tonic::Status::failed_precondition("disallowed due to rule");
        let error = Error::from_tablet(&status);
        assert!(error.is_terminal());
        assert_eq!(error.to_string(), "vttablet: rpc error: code = FailedPrecondition desc = disallowed due to rule");
    }

    #[test]
    fn long_messages_lose_their_middle() {
        let text = format!("{}{}", "a".repeat(700), "b".repeat(700));
        let cut = truncate_message(&text);
        assert!(
            cut.len() <= 950 && cut.starts_with("aaa") && cut.ends_with("bbb") && cut.contains(" ... [TRUNCATED] ... ")
        );
        assert_eq!(truncate_message("short"), "short");
    }
}
