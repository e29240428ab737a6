//! From which tablets the streams of a target tablet read, as its program tells on its status port.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use vtmigrated_proto::topodata::{Tablet, TabletAlias};

use super::address_of;
use super::vars::{self, Failure};
use crate::topo::paths::alias_text;

#[derive(Deserialize)]
struct Page {
    /// Ids of streams with aliases in prototext (Vitess 22.0.3); one that has picked no tablet yet has none.
    #[serde(rename = "VReplicationSourceTablet", default)]
    tablets: BTreeMap<String, String>,
}

/// Aliases of the source tablets that streams have picked, by the stream's id.
///
/// # Errors
/// A text: the record has no status port, nobody answers there within `limit`, or the page does not tell.
pub async fn source_tablets(tablet: &Tablet, limit: Duration) -> Result<BTreeMap<i32, String>, String> {
    if tablet.port_map.get("vt").is_none_or(|port| *port <= 0) {
        return Err("its record has no status port".to_owned());
    }
    let page: Page = vars::read(&address_of(tablet, "vt"), limit).await.map_err(Failure::into_text)?;
    let told = page.tablets.iter().filter_map(|(id, alias)| Some((id.parse().ok()?, alias_of(alias)?)));
    Ok(told.collect())
}

/// The alias in prototext, whose blanks are as they like.
pub fn alias_of(text: &str) -> Option<String> {
    let cell = text.split_once("cell:")?.1.trim_start().strip_prefix('"')?.split_once('"')?.0;
    let uid: String = text.rsplit_once("uid:")?.1.trim_start().chars().take_while(char::is_ascii_digit).collect();
    Some(alias_text(&TabletAlias { cell: cell.to_owned(), uid: uid.parse().ok()? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_read_leniently() {
        let read = |text: &str| alias_of(text).unwrap_or_default();
        assert_eq!(read(r#"cell:"zone1" uid:101"#), "zone1-0000000101");
        assert_eq!(read(r#"cell:"zone1"  uid: 101 "#), "zone1-0000000101");
        for text in ["", "cell:", r#"cell:"zone1""#, r#"uid:7"#, r#"cell:"a" uid:x"#, r#"cell:"a" uid:99999999999"#] {
            assert_eq!(read(text), "", "{text}");
        }
    }
}
