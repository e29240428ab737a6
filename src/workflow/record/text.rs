//! How a record is written: JSON in which equal lists of several shards stand once, in gzip when it is large. Topologies bound
//! their values (etcd 1.5 MiB for a transaction, ZooKeeper 1 MB, Consul 512 KiB), and lists of tables grow with the shards.
//!
//! Fields that a reader does not know are passed over, and are gone when it writes the record. So a field that is new has to mean
//! the same as none where it is missing. A version that writes one which must not be passed over names it in the list `needs`; this
//! one knows of no such field, and reads no record that names any.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Records from this size on are compressed, in bytes.
const LARGE: usize = 64 << 10;
/// Largest record that is read, in bytes.
const LARGEST: u64 = 256 << 20;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The bytes of a record.
pub fn write<T: Serialize>(facts: &T) -> Result<Vec<u8>, String> {
    let json = serde_json::to_vec(facts).map_err(|e| e.to_string())?;
    if json.len() < LARGE {
        return Ok(json);
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&json).map_err(|e| e.to_string())?;
    gzip.finish().map_err(|e| e.to_string())
}

/// The facts of a record.
///
/// # Errors
/// A text: what keeps it from being read, or that a newer version says so.
pub fn read<T: DeserializeOwned>(value: &[u8]) -> Result<T, String> {
    if !value.starts_with(&GZIP) {
        return parsed(value);
    }
    let mut json = Vec::new();
    GzDecoder::new(value).take(LARGEST).read_to_end(&mut json).map_err(|e| e.to_string())?;
    parsed(&json)
}

/// What a newer version wants a reader to know.
#[derive(Deserialize)]
struct Needs {
    #[serde(default)]
    needs: Vec<String>,
}

fn parsed<T: DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    let facts: T = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    let Needs { needs } = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    if needs.is_empty() {
        return Ok(facts);
    }
    Err(format!("a newer version wrote it, and wants a reader to know of: {}", needs.join(", ")))
}

/// Lists by shard: a list with the names of all shards that have it.
pub mod by_shard {
    use std::collections::HashMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// One shard, as older records have it, or several.
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Entry {
        One(String, Vec<String>),
        Several(Vec<String>, Vec<String>),
    }

    pub fn serialize<S: Serializer>(lists: &[(String, Vec<String>)], to: S) -> Result<S::Ok, S::Error> {
        let mut groups: Vec<(Vec<&str>, &[String])> = Vec::new();
        let mut known: HashMap<&[String], usize> = HashMap::new();
        for (shard, list) in lists {
            let at = *known.entry(list.as_slice()).or_insert(groups.len());
            match groups.get_mut(at) {
                Some((shards, _)) => shards.push(shard),
                None => groups.push((vec![shard.as_str()], list.as_slice())),
            }
        }
        groups.serialize(to)
    }

    pub fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Vec<(String, Vec<String>)>, D::Error> {
        let mut lists = Vec::new();
        for entry in Vec::<Entry>::deserialize(from)? {
            match entry {
                Entry::One(shard, list) => lists.push((shard, list)),
                Entry::Several(shards, list) => lists.extend(shards.into_iter().map(|shard| (shard, list.clone()))),
            }
        }
        Ok(lists)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::record::made_at::{self, Since, Then};
    use crate::workflow::record::{Facts, Phase};

    fn facts(shards: usize, tables: usize) -> Facts {
        let tables: Vec<String> = (0..tables).map(|number| format!("a_table_of_this_name_{number:05}")).collect();
        let names = (0..shards).map(|number| format!("{number:02x}-{:02x}", number + 1));
        let lists: Vec<(String, Vec<String>)> = names.map(|name| (name, tables.clone())).collect();
        let json = serde_json::json!({
            "phase": "creating", "mount": "ext1", "arguments": "", "tables": tables, "created_tables": lists,
            "vschema_tables": [], "denied_tables": lists,
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn lists_of_many_shards_stand_once() {
        let mut facts = facts(4, 3);
        facts.created_tables[2].1.pop();
        let text = String::from_utf8(write(&facts).unwrap()).unwrap();
        let expected = r#""created_tables":[[["00-01","01-02","03-04"],["a_table"#;
        assert!(text.contains(expected), "{text}");
        let read: Facts = read(text.as_bytes()).unwrap();
        for shard in ["00-01", "01-02", "02-03", "03-04"] {
            assert_eq!(read.created_on(shard), facts.created_on(shard));
            assert_eq!(read.denied_on(shard), facts.denied_on(shard));
        }
        assert_eq!(read.phase, Phase::Creating);
    }

    #[test]
    fn thousands_of_tables_on_hundreds_of_shards_fit_into_every_topology() {
        let facts = facts(250, 10_000);
        let bytes = write(&facts).unwrap();
        assert!(bytes.len() < 300_000, "{} bytes", bytes.len());
        assert_eq!(read::<Facts>(&bytes).unwrap(), facts);
    }

    #[test]
    fn when_they_were_made_fits_too() {
        let mut facts = facts(250, 10_000);
        let then = |shard: i64| (0..10_000).map(|table| Then::Made(1_700_000_000 + shard * 31 + table / 50)).collect();
        let shards: Vec<(String, Vec<Then>)> = (0..250).map(|shard| (format!("{shard:02x}-"), then(shard))).collect();
        facts.made_at = made_at::note(&shards);
        let bytes = write(&facts).unwrap();
        assert!(bytes.len() < 330_000, "{} bytes", bytes.len());
        let read = read::<Facts>(&bytes).unwrap();
        assert_eq!(read, facts);
        let noted = read.noted_on("07-");
        assert_eq!(noted.compare("a_table_of_this_name_00049", Some(1_700_000_000 + 7 * 31)), Since::Same);
        assert_eq!(noted.compare("a_table_of_this_name_00049", Some(1_700_001_000)), Since::Another);
    }

    #[test]
    fn a_field_of_a_newer_version_is_passed_over_unless_it_is_needed() {
        let mut json = serde_json::to_value(facts(1, 1)).unwrap();
        json["colour"] = "blue".into();
        assert_eq!(read::<Facts>(json.to_string().as_bytes()).unwrap(), facts(1, 1));
        json["needs"] = serde_json::json!([]);
        assert!(read::<Facts>(json.to_string().as_bytes()).is_ok());
        for (needs, why) in
            [(serde_json::json!(["colour", "shape"]), "colour, shape"), (serde_json::json!(2), "invalid type")]
        {
            json["needs"] = needs;
            let error = read::<Facts>(json.to_string().as_bytes()).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn garbage_is_told() {
        assert!(read::<Facts>(b"garbage").is_err());
        assert!(read::<Facts>(&[0x1f, 0x8b, 1, 2, 3]).is_err());
    }
}
