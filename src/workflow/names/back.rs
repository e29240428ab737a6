//! The names that a way back has: of its workflow and its mount in the source, and of the commands that work on it.

use vtmigrated_proto::tabletmanagerdata::read_v_replication_workflow_response::Stream;

/// What the name of a workflow in the source ends with.
const BACK: &str = "_back";

/// Name of the workflow in the source.
pub fn name(workflow: &str) -> String {
    format!("{workflow}{BACK}")
}

/// The keyspace and the workflow whose way back a stream is, to a server of the cluster that it leads to: by the names that a way back
/// has there, and by its having copied nothing.
pub fn whose<'s>(stream: &'s Stream, back: &'s str) -> Option<(&'s str, &'s str)> {
    let (source, workflow) = (stream.bls.as_ref()?, back.strip_suffix(BACK)?);
    let is_one = stream.rows_copied == 0 && mounts(&source.keyspace, workflow).contains(&source.external_cluster);
    is_one.then_some((source.keyspace.as_str(), workflow))
}

/// Name of the target as a mount of the source: one for each way back, so that it goes with it. Where one of the names has a dot itself
/// the length of the keyspace's comes first, so that no two ways back have one mount.
pub fn mount(keyspace: &str, workflow: &str) -> String {
    let joined = joined(keyspace, workflow);
    if keyspace.contains('.') || workflow.contains('.') { format!("{}.{joined}", keyspace.len()) } else { joined }
}

/// The names that it may have: of this version, and of older ones.
pub fn mounts(keyspace: &str, workflow: &str) -> [String; 2] {
    [mount(keyspace, workflow), joined(keyspace, workflow)]
}

/// The keyspace of which a mount of this name may be, where it is one of a way back of a workflow of that name.
pub fn keyspace_of<'m>(name: &'m str, workflow: &str) -> Option<&'m str> {
    let joined = name.strip_suffix(workflow)?.strip_suffix('.')?;
    let after_length = joined.split_once('.').map(|(_, keyspace)| keyspace);
    let keyspace = after_length.filter(|keyspace| mount(keyspace, workflow) == name).unwrap_or(joined);
    (!keyspace.is_empty()).then_some(keyspace)
}

/// The same as older versions have named all of them.
fn joined(keyspace: &str, workflow: &str) -> String {
    format!("{keyspace}.{workflow}")
}

/// Whether a mount may be there for a way back, by its name.
pub fn may_be_mount(name: &str) -> bool {
    name.contains('.')
}

/// A command of ours, for people.
pub fn command(action: &str, (keyspace, workflow): (&str, &str)) -> String {
    format!("vtmigrated way-back {action} --target-keyspace {keyspace} --workflow {workflow}")
}

/// A command of ours for the VDiffs of a way back.
pub fn vdiff_command(action: &str, (keyspace, workflow): (&str, &str)) -> String {
    format!("vtmigrated way-back vdiff {action} --target-keyspace {keyspace} --workflow {workflow}")
}

/// The command that deletes the record of one, for people.
pub fn forget_command(names: (&str, &str)) -> String {
    format!("{} --forget-record", command("cancel", names))
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::binlogdata::BinlogSource;

    use super::*;

    #[test]
    fn a_way_back_is_told_by_its_name_its_mount_and_that_it_has_copied_nothing() {
        let bls = BinlogSource {
            keyspace: "customer".into(),
            external_cluster: "customer.import".into(),
            ..BinlogSource::default()
        };
        let stream = Stream { bls: Some(bls), ..Stream::default() };
        assert_eq!(whose(&stream, "import_back"), Some(("customer", "import")));
        assert_eq!((whose(&stream, "import"), whose(&stream, "other_back")), (None, None));
        assert_eq!(
            whose(&Stream { rows_copied: 1, ..stream }, "import_back"),
            None,
            "a migration that somebody called so"
        );
    }

    #[test]
    fn no_two_ways_back_have_one_mount_and_those_of_older_versions_are_known() {
        assert_eq!(mount("customer", "import"), "customer.import");
        let names = ["a", "a.b", "a.b.c", "b", "b.c", "c", "1", "1.a", "3.a", "a."];
        let all = names.iter().flat_map(|keyspace| names.iter().map(move |workflow| mount(keyspace, workflow)));
        let all: Vec<String> = all.collect();
        assert!(all.iter().all(|name| may_be_mount(name)));
        for (name, workflow, keyspace) in [
            ("customer.import", "import", Some("customer")),
            ("3.a.b.c", "c", Some("a.b")),
            ("3.a.b.c", "b.c", Some("3.a")),
            ("7.a.b.c", "c", Some("7.a.b")),
            ("customer.import", "other", None),
            (".import", "import", None),
            ("import", "import", None),
        ] {
            assert_eq!(keyspace_of(name, workflow), keyspace, "{name} {workflow}");
        }
        let different: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(different.len(), all.len());

        let from = |keyspace: &str, mount: &str| {
            let bls =
                BinlogSource { keyspace: keyspace.into(), external_cluster: mount.into(), ..BinlogSource::default() };
            Stream { bls: Some(bls), ..Stream::default() }
        };
        for mount in ["a.b.c", "3.a.b.c"] {
            assert_eq!(whose(&from("a.b", mount), "c_back"), Some(("a.b", "c")));
        }
        assert_eq!(whose(&from("a", "a.b.c"), "b.c_back"), Some(("a", "b.c")));
        assert_eq!(whose(&from("a", "3.a.b.c"), "b.c_back"), None);
    }
}
