//! Locks that nobody will give back.

use std::collections::BTreeMap;

use super::{Action, CLEAN, Leftover};
use crate::context::Context;
use crate::error::check;
use crate::topo::Node;
use crate::workflow::findings::Finding;
use crate::workflow::{Result, streams};

/// Age from which on a lock is worth a word, in seconds.
const OLD: i64 = 3600;

/// Looks at the keys of locks among some nodes.
pub async fn judge<'n>(context: &Context, nodes: impl Iterator<Item = &'n Node>) -> Result<Vec<Leftover>> {
    // `…/locks/<lease>`; records are under other names
    let keys = nodes.filter(|node| node.path.rsplit('/').nth(1) == Some("locks"));
    let keys: BTreeMap<&str, &Node> = keys.map(|node| (node.path.as_str(), node)).collect();
    let mut found = Vec::new();
    for (path, node) in keys {
        let subject = format!("lock {path}");
        let (action, since) = told(&node.value);
        if !context.topo.global().has_lease(path).await? {
            let finding = Finding::new(&check::LOCK_WITHOUT_LEASE, subject, format!("{action} has left it"), CLEAN);
            found.push(Leftover::new(finding, Some(Action::Lock { path: path.to_owned(), version: node.version })));
            continue;
        }
        let age = since.map_or(0, |since| streams::now().saturating_sub(since));
        if age > OLD {
            let text = format!("{action} has held it for {} h", age / 3600);
            let fix =
                "if that process is gone, wait for the end of its lease (24 h for stock programs), or delete the key";
            found.push(Leftover::new(Finding::new(&check::LOCK_OLD, subject, text, fix), None));
        }
    }
    Ok(found)
}

/// What a lock is held for: stock's JSON.
pub fn action(value: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(value).ok()?;
    Some(json.get("Action")?.as_str()?.to_owned())
}

/// Who holds a lock, and since when (epoch seconds): stock's JSON.
pub fn told(value: &[u8]) -> (String, Option<i64>) {
    let json: serde_json::Value = serde_json::from_slice(value).unwrap_or_default();
    let text = |key: &str| json.get(key).and_then(serde_json::Value::as_str).unwrap_or("?").to_owned();
    let since = text("Time").parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second);
    (format!("{} of {} on {}", text("Action"), text("UserName"), text("HostName")), since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_are_read_from_stocks_json() {
        let value = br#"{"Action":"VDiff","HostName":"h","UserName":"u","Time":"2026-11-23T10:00:00+01:00"}"#;
        assert_eq!(told(value), ("VDiff of u on h".into(), Some(1_795_424_400)));
        assert_eq!(told(b"x"), ("? of ? on ?".into(), None));
        assert_eq!((action(value).as_deref(), action(b"x")), (Some("VDiff"), None));
    }
}
