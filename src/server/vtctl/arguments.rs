//! What several commands take.

use vtmigrated_proto::topodata::{TabletAlias, TabletType};

use super::flags::Parsed;
use super::{Error, Result};

/// The one argument that a command takes.
pub fn only<'a>(args: &'a Parsed, what: &str, command: &str) -> Result<&'a str> {
    match args.rest.as_slice() {
        [only] => Ok(only),
        _ => Err(Error::usage(format!("the <{what}> argument is required for the {command} command"), see(command))),
    }
}

/// The two arguments that a command takes.
pub fn both<'a>(args: &'a Parsed, what: [&str; 2], command: &str) -> Result<(&'a str, &'a str)> {
    match args.rest.as_slice() {
        [first, second] => Ok((first, second)),
        _ => {
            let [first, second] = what;
            let text = format!("the <{first}> and <{second}> arguments are both required for the {command} command");
            Err(Error::usage(text, see(command)))
        }
    }
}

/// Refuses arguments.
pub fn none(args: &Parsed, command: &str) -> Result<()> {
    if args.rest.is_empty() {
        return Ok(());
    }
    Err(Error::usage(format!("{command} doesn't take any arguments"), see(command)))
}

/// The command that tells how another one is used.
pub fn see(command: &str) -> String {
    format!("see help {command}")
}

/// `<keyspace>.<workflow>`.
pub fn workflow(text: &str) -> Result<(String, String)> {
    let mut parts = text.split('.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(keyspace), Some(workflow), None) => Ok((keyspace.to_owned(), workflow.to_owned())),
        _ => Err(Error::usage(format!("invalid format for <keyspace.workflow>: {}", shown(text)), "")),
    }
}

/// `<keyspace>/<shard>`, or with a colon.
pub fn shard(text: &str) -> Result<(String, String)> {
    let parted = |by: char| text.split_once(by).filter(|(_, shard)| !shard.contains(by));
    let found = parted('/').or_else(|| parted(':'));
    let found = found.map(|(keyspace, shard)| (keyspace.to_owned(), shard.to_owned()));
    found.ok_or_else(|| Error::usage(format!("invalid shard path: {}", shown(text)), "such as commerce/-80"))
}

/// `<cell>-<uid>`.
pub fn alias(text: &str) -> Result<TabletAlias> {
    let parts = text.rsplit_once('-').filter(|(cell, _)| !cell.is_empty());
    let found = parts.and_then(|(cell, uid)| Some(TabletAlias { cell: cell.to_owned(), uid: uid.parse().ok()? }));
    found.ok_or_else(|| {
        let text = format!("invalid tablet alias: '{}', expecting format: '<cell>-<uid>'", shown(text));
        Error::usage(text, "such as zone1-0000000100")
    })
}

/// A tablet type by its name; the older words, too.
pub fn tablet_type(text: &str) -> Result<TabletType> {
    let unknown = || Error::usage(format!("unknown TabletType {}", shown(text)), "such as primary, replica or rdonly");
    vtmigrated_proto::tablet_type(text).ok_or_else(unknown)
}

/// Tablet types as a stream's picker takes them: `in_order:REPLICA,PRIMARY`. True when the order counts.
pub fn tablet_types(text: &str) -> Result<(Vec<TabletType>, bool)> {
    let (in_order, names) = match text.strip_prefix("in_order:") {
        Some(names) => (true, names),
        None => (false, text),
    };
    let names = names.split(',').filter(|name| !name.trim().is_empty());
    Ok((names.map(tablet_type).collect::<Result<_>>()?, in_order))
}

/// Text of the client for an error: short, one line.
pub fn shown(text: &str) -> String {
    text.chars().take(128).filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_as_stock_splits_them() {
        assert_eq!(workflow("customer.wf").unwrap(), ("customer".into(), "wf".into()));
        assert_eq!(workflow("Show").unwrap_err().to_string(), "invalid format for <keyspace.workflow>: Show");
        assert!(workflow("a.b.c").is_err());
        assert_eq!(shard("commerce/-80").unwrap(), ("commerce".into(), "-80".into()));
        assert_eq!(shard("commerce:0").unwrap(), ("commerce".into(), "0".into()));
        assert_eq!(shard("commerce").unwrap_err().to_string(), "invalid shard path: commerce");
        assert_eq!(alias("us-east-0000000100").unwrap(), TabletAlias { cell: "us-east".into(), uid: 100 });
        for bad in ["zone1", "-100", "zone1-x", ""] {
            assert!(alias(bad).unwrap_err().to_string().starts_with("invalid tablet alias: '"), "{bad}");
        }
    }

    #[test]
    fn tablet_types_may_have_an_order() {
        let types = tablet_types("in_order:REPLICA,primary").unwrap();
        assert_eq!(types, (vec![TabletType::Replica, TabletType::Primary], true));
        let older = tablet_types("master,batch").unwrap();
        assert_eq!(older, (vec![TabletType::Primary, TabletType::Rdonly], false));
        assert_eq!(tablet_types("").unwrap(), (vec![], false));
        assert_eq!(tablet_types("leader").unwrap_err().to_string(), "unknown TabletType leader");
    }
}
