//! How commands print: JSON as Go's printers write it, lines for awk, tables.

use prost::Message;
use serde::Serialize;
use serde_json::ser::PrettyFormatter;
use vtmigrated_proto::topodata::{Tablet, TabletType};

use crate::tablet;
use crate::topo::json::{self, Ordered, Style};

/// Fields by their names in the definition, enums as numbers, unset fields too.
const RECORD: Style = Style { proto_names: true, enum_numbers: true, unpopulated: true, plain_numbers: false };
/// As Go prints a struct of a message.
const STRUCT: Style = Style { proto_names: true, enum_numbers: true, unpopulated: false, plain_numbers: true };

/// A record as stock's commands print records, with a line end.
pub fn record<M: Message>(name: &str, message: &M) -> String {
    pretty(&json::ordered(name, &message.encode_to_vec(), RECORD), b"  ")
}

/// The same for an object of records by name.
pub fn records<M: Message>(name: &str, messages: Vec<(String, M)>) -> String {
    let entry = |(key, message): (String, M)| Some((key, json::ordered(name, &message.encode_to_vec(), RECORD)?));
    pretty(&Ordered::Object(messages.into_iter().filter_map(entry).collect()), b"  ")
}

/// A VSchema or rules: fields in camel case, only those that are set.
pub fn document<M: Message>(name: &str, message: &M) -> String {
    pretty(&json::ordered(name, &message.encode_to_vec(), Style::default()), b"  ")
}

/// A message inside of something that [`pretty`] prints.
pub fn embedded<M: Message>(name: &str, message: &M) -> Option<Ordered> {
    json::ordered(name, &message.encode_to_vec(), STRUCT)
}

/// JSON as Go prints it: indented, `<`, `>` and `&` escaped, with a line end.
pub fn pretty(value: &impl Serialize, indent: &[u8]) -> String {
    let mut json = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut json, PrettyFormatter::with_indent(indent));
    value.serialize(&mut serializer).ok();
    let text = String::from_utf8_lossy(&json);
    format!("{}\n", text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"))
}

/// `zone1-0000000100 commerce 0 primary host:15100 host:17100 [tag: "value"] 2026-01-01T00:00:00Z`.
pub fn tablet_line(tablet: &Tablet) -> String {
    let or_null = |text: &str| if text.is_empty() { "<null>".to_owned() } else { text.to_owned() };
    let kind = TabletType::try_from(tablet.r#type);
    let kind = kind.map_or_else(|_| "unknown".to_owned(), |kind| kind.as_str_name().to_ascii_lowercase());
    let address = |host: &str, port: i32| match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    let mut tags: Vec<String> = tablet.tags.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
    tags.sort();
    let term = tablet.primary_term_start_time.as_ref().filter(|time| time.seconds > 0);
    let term = term.and_then(|time| jiff::Timestamp::from_second(time.seconds).ok());
    format!(
        "{} {} {} {kind} {} {} [{}] {}\n",
        tablet::alias(tablet),
        or_null(&tablet.keyspace),
        or_null(&tablet.shard),
        address(&tablet.hostname, tablet.port_map.get("vt").copied().unwrap_or_default()),
        address(&tablet.mysql_hostname, tablet.mysql_port),
        tags.join(" "),
        term.map_or_else(|| "<null>".to_owned(), |time| time.to_string()),
    )
}

/// A table with borders; the header is in the middle, numbers are at the right.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([header.get(column).map_or(0, |name| name.chars().count())]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let rule = format!("+{}\n", widths.iter().map(|width| format!("{}+", "-".repeat(width + 2))).collect::<String>());
    let line = |cells: Vec<String>| format!("|{}\n", cells.iter().map(|cell| format!(" {cell} |")).collect::<String>());
    let mut text = rule.clone();
    text.push_str(&line(header.iter().zip(&widths).map(|(name, width)| format!("{name:^width$}")).collect()));
    text.push_str(&rule);
    for row in rows {
        let aligned = |(cell, width): (&String, &usize)| match cell.parse::<f64>() {
            Ok(_) => format!("{cell:>width$}"),
            Err(_) => format!("{cell:<width$}"),
        };
        text.push_str(&line(row.iter().zip(&widths).map(aligned).collect()));
    }
    text.push_str(&rule);
    text
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::topodata::TabletAlias;
    use vtmigrated_proto::vttime::Time;

    use super::*;

    #[test]
    fn tablets_are_lines_for_awk() {
        let mut tablet = Tablet {
            alias: Some(TabletAlias { cell: "zone1".into(), uid: 100 }),
            hostname: "host".into(),
            port_map: [("vt".to_owned(), 15100), ("grpc".to_owned(), 16100)].into(),
            mysql_hostname: "::1".into(),
            mysql_port: 17100,
            keyspace: "commerce".into(),
            r#type: TabletType::Primary.into(),
            tags: [("b".to_owned(), "x\"y".to_owned()), ("a".to_owned(), "1".to_owned())].into(),
            ..Tablet::default()
        };
        let line = "zone1-0000000100 commerce <null> primary host:15100 [::1]:17100 [a: \"1\" b: \"x\\\"y\"] <null>\n";
        assert_eq!(tablet_line(&tablet), line);
        tablet.primary_term_start_time = Some(Time { seconds: 1_795_313_400, nanoseconds: 5 });
        assert!(tablet_line(&tablet).ends_with(" 2026-11-22T02:10:00Z\n"), "{}", tablet_line(&tablet));
    }

    #[test]
    fn tables_have_borders() {
        let rows = [vec!["zone1-0000000100".to_owned(), "1".to_owned()]];
        let text = "+------------------+--------------+\n\
                    |      Tablet      | RowsAffected |\n\
                    +------------------+--------------+\n\
                    | zone1-0000000100 |            1 |\n\
                    +------------------+--------------+\n";
        assert_eq!(table(&["Tablet", "RowsAffected"], &rows), text);
    }

    #[test]
    fn json_is_escaped_as_go_escapes_it() {
        assert_eq!(
            pretty(&serde_json::json!({"a": ["<&>"]}), b"\t"),
            "{\n\t\"a\": [\n\t\t\"\\u003c\\u0026\\u003e\"\n\t]\n}\n"
        );
    }
}
