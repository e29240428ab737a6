use super::Spelling::{Dashes, Underscores};
use super::*;

fn set(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn merged(stored: &[(&str, &str)], wanted: &[(&str, &str)], spelling: Option<Spelling>) -> BTreeMap<String, String> {
    merge(&set(stored), &set(wanted).into_iter().collect(), spelling).into_iter().collect()
}

#[test]
fn a_tablet_is_told_in_its_spelling_by_override_and_by_flag() {
    assert_eq!(Underscores.flag_without_batching(), "--vreplication_experimental_flags=3");
    assert_eq!(Dashes.flag_without_batching(), "--vreplication-experimental-flags=3");
    assert_eq!(Underscores.without_batching(), r#"{"config":{"vreplication_experimental_flags":"3"}}"#);
}

#[test]
fn a_name_is_spelled_as_the_tablet_reads_it() {
    for name in RENAMED {
        let old = name.replace('-', "_");
        for either in [name, &old] {
            assert_eq!(Dashes.spell(either), name);
            assert_eq!(Underscores.spell(either), old);
        }
    }
    for spelling in [Dashes, Underscores] {
        assert_eq!(spelling.spell("vreplication_parallel_insert_workers"), "vreplication-parallel-insert-workers");
        assert_eq!(spelling.spell("vstream-binlog-rotation-threshold"), "vstream_binlog_rotation_threshold");
        // both are read everywhere
        assert_eq!(spelling.spell("relay_log_max_size"), "relay_log_max_size");
        assert_eq!(spelling.spell("relay-log-max-size"), "relay-log-max-size");
    }
}

#[test]
fn the_first_versions_without_the_fault_are_known() {
    for fine in ["23.0.6", "v23.0.7", "23.1.0", "24.0.3", "24.0.4", "25.0.0-SNAPSHOT", "26.1.2"] {
        assert!(batches_rightly(fine), "{fine}");
    }
    for faulty in ["22.0.9", "23.0.5", "24.0.2", "24.0.0-rc1", "24.0.3-SNAPSHOT", "19.0.10", "", "main"] {
        assert!(!batches_rightly(faulty), "{faulty}");
    }
    assert_eq!(Spelling::of_version("22.0.3"), Some(Underscores));
    assert_eq!(Spelling::of_version("23.0.0-rc1"), Some(Dashes));
    assert_eq!(Spelling::of_version("unknown"), None);
}

#[test]
fn both_spellings_are_one_override() {
    let stored = &[("vreplication_experimental_flags", "3"), ("relay_log_max_items", "9")];
    let wanted = &[("vreplication-experimental-flags", "7")];
    assert_eq!(
        merged(stored, wanted, Some(Dashes)),
        set(&[
            ("vreplication_experimental_flags", ""),
            ("vreplication-experimental-flags", "7"),
            ("relay_log_max_items", "9")
        ])
    );
    assert_eq!(
        merged(stored, wanted, Some(Underscores)),
        set(&[("vreplication_experimental_flags", "7"), ("relay_log_max_items", "9")])
    );
    // taking away takes both away
    assert_eq!(
        merged(stored, &[("vreplication-experimental-flags", "")], Some(Dashes)),
        set(&[
            ("vreplication_experimental_flags", ""),
            ("vreplication-experimental-flags", ""),
            ("relay_log_max_items", "9")
        ])
    );
}

#[test]
fn what_is_stored_is_spelled_anew_when_its_tablet_was_upgraded() {
    let stored = &[("vreplication_experimental_flags", "3")];
    assert_eq!(
        merged(stored, &[], Some(Dashes)),
        set(&[("vreplication_experimental_flags", ""), ("vreplication-experimental-flags", "3")])
    );
    assert_eq!(merged(stored, &[], Some(Underscores)), set(stored));
    assert_eq!(merged(stored, &[], None), set(stored));
    assert_eq!(unread(&set(stored), Dashes), ["vreplication_experimental_flags"]);
    assert!(unread(&set(stored), Underscores).is_empty());
    assert!(depend_on_spelling(&set(stored)));
    assert!(!depend_on_spelling(&set(&[("relay_log_max_items", "9"), ("vreplication-retry-delay", "")])));
}

#[test]
fn a_streams_options_tell_their_overrides() {
    let options = r#"{"config": {"vreplication-retry-delay": "5s", "relay_log_max_items": 7}, "tenant_id": "a"}"#;
    assert_eq!(super::stored(options), set(&[("vreplication-retry-delay", "5s"), ("relay_log_max_items", "7")]));
    assert!(super::stored("").is_empty());
    assert_eq!(Dashes.without_batching(), r#"{"config":{"vreplication-experimental-flags":"3"}}"#);
    assert_eq!(Underscores.without_batching(), r#"{"config":{"vreplication_experimental_flags":"3"}}"#);
}
