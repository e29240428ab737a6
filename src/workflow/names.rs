//! Names of workflows and keyspaces in requests, and names in sentences.

pub mod back;

use std::fmt::Display;

use crate::error::Reason;
use crate::topo::paths;
use crate::workflow::{Error, Result};

/// Longest name of a new workflow.
const MAX_WORKFLOW: usize = 64;

/// Checks the name of a workflow that is to be made: it goes into topology paths, SQL and metric labels.
pub fn check_new_workflow(name: &str) -> Result<()> {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if !name.is_empty() && name.len() <= MAX_WORKFLOW && plain {
        return Ok(());
    }
    let shown: String = name.chars().take(MAX_WORKFLOW).filter(|c| !c.is_control()).collect();
    let text = format!("bad workflow name {shown:?}");
    Err(Error::invalid(Reason::BAD_NAME, text, "use 1 to 64 letters, digits, '-' and '_'"))
}

/// Checks the name of a workflow that may be there already, made by stock: anything that is safe in a topology path.
pub fn check_workflow(name: &str) -> Result<()> {
    let unsafe_path = name.is_empty() || name.len() > 1000 || name.contains('/') || matches!(name, "." | "..");
    if !unsafe_path && !name.chars().any(char::is_control) {
        return Ok(());
    }
    let shown: String = name.chars().take(MAX_WORKFLOW).filter(|c| !c.is_control()).collect();
    Err(Error::invalid(Reason::BAD_NAME, format!("bad workflow name {shown:?}"), "name the workflow with --workflow"))
}

/// Checks the name of a keyspace.
pub fn check_keyspace(which: &str, name: &str) -> Result<()> {
    paths::check_name(name).map_err(|e| Error::Topo(e).doing(format!("bad {which} keyspace")))
}

/// Longest name of a table, a column, an index in MySQL, in characters.
const MAX_IDENTIFIER: usize = 64;

/// Checks names of tables or cells in a request: what MySQL takes as a table's name.
pub fn check_list(what: &str, names: &[String]) -> Result<()> {
    let bad =
        |name: &&String| name.is_empty() || name.chars().count() > MAX_IDENTIFIER || name.chars().any(char::is_control);
    let Some(bad) = names.iter().find(bad) else { return Ok(()) };
    let shown: String = bad.chars().take(MAX_IDENTIFIER).filter(|c| !c.is_control()).collect();
    let text = format!("bad {what} name {shown:?}");
    Err(Error::invalid(Reason::BAD_NAME, text, "give one name of 1 to 64 characters in each element"))
}

/// Most things that one sentence names.
pub const NAMED: usize = 12;

/// Things with something between them; of many the first, and how many more there are.
pub fn some<T: Display>(things: &[T], between: &str) -> String {
    let mut named: Vec<String> = things.iter().take(NAMED).map(ToString::to_string).collect();
    if things.len() > NAMED {
        named.push(format!("and {} more", things.len() - NAMED));
    }
    named.join(between)
}

/// Lists by shard: `-80 (a, b); 80- (a)`; of many shards and of many things on one the first, and how many more there are.
pub fn by_shard<T: Display>(lists: &[(String, Vec<T>)]) -> String {
    let text = |(shard, things): &(String, Vec<T>)| format!("{shard} ({})", some(things, ", "));
    some(&lists.iter().map(text).collect::<Vec<_>>(), "; ")
}

/// Names as one argument of a command; for many a placeholder that says how many they are: some of them would be another
/// command.
pub fn argument<T: Display>(names: &[T]) -> String {
    match names.len() {
        0..=NAMED => names.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        many => format!("<these {many}>"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_names_some_of_many() {
        assert_eq!(some(&["a", "b"], ", "), "a, b");
        let numbers: Vec<usize> = (1..=15).collect();
        assert_eq!(some(&numbers, "; "), "1; 2; 3; 4; 5; 6; 7; 8; 9; 10; 11; 12; and 3 more");
        assert_eq!(some::<String>(&[], ", "), "");
    }

    #[test]
    fn of_many_shards_with_many_things_each_some_are_named() {
        let list = |shard: usize, things: usize| (shard.to_string(), (1..=things).collect::<Vec<_>>());
        assert_eq!(by_shard(&[list(1, 2), list(2, 1)]), "1 (1, 2); 2 (1)");
        let many: Vec<_> = (1..=64).map(|shard| list(shard, 10_000)).collect();
        let text = by_shard(&many);
        assert!(text.starts_with("1 (1, 2, 3") && text.ends_with("and 9988 more); and 52 more"), "{text}");
        assert!(text.len() < 1024, "{text}");
    }

    #[test]
    fn a_command_names_all_or_none() {
        assert_eq!(argument(&["a", "b"]), "a,b");
        let numbers: Vec<usize> = (1..=13).collect();
        assert_eq!(
            (argument(&numbers[..12]).as_str(), argument(&numbers).as_str()),
            ("1,2,3,4,5,6,7,8,9,10,11,12", "<these 13>")
        );
    }

    #[test]
    fn names_are_counted_in_characters() {
        let fits = |name: &str| check_list("table", &[name.to_owned()]).is_ok();
        assert!(fits(&"表".repeat(64)) && fits("a b,c-d.e`f%") && fits("signal"));
        assert!(!fits(&"表".repeat(65)) && !fits("") && !fits("a\0"));
    }
}
