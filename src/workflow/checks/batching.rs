//! Whether a target's tablets are told not to batch changes, and in which spelling (S16). Batches of a stream into one of
//! several shards end tablets of before 23.0.6 and 24.0.3. The override is read by the target's tablet and by the source's
//! that it picks, so both have to spell it in the same way; where they do not, it is left out.

use std::collections::BTreeMap;

use vtmigrated_proto::topodata::{Tablet, TabletType};

use super::answers::{ProbeAnswers, Version};
use crate::error::check;
use crate::tablet;
use crate::workflow::findings::Finding;
use crate::workflow::overrides::{self, Spelling};
use crate::workflow::streams::Keyspace;
use crate::workflow::tablet_types::is_one_of;

/// What the batching of streams depends on.
#[derive(Clone, Copy)]
pub struct Sides<'a> {
    pub target: &'a Keyspace,
    /// The source's tablets, by shard.
    pub tablets: &'a BTreeMap<String, Vec<Tablet>>,
    pub asked: &'a ProbeAnswers,
}

/// What becomes of a target shard's batching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batching {
    /// It is right, or wanted.
    Stays,
    /// Switched off.
    Off(Spelling),
    /// It would have to go, but no spelling is read on both sides.
    Clashes,
}

impl Batching {
    /// The `options` of the workflow on this shard.
    pub fn options(self) -> String {
        match self {
            Self::Off(spelling) => spelling.without_batching(),
            Self::Stays | Self::Clashes => "{}".into(),
        }
    }
}

/// The batching of a target shard by its primary, and by the tablets that its streams may pick.
pub fn of(primary: &Tablet, sides: Sides<'_>, types: &[TabletType], keep: bool) -> Batching {
    if keep || sides.target.shards.len() < 2 {
        return Batching::Stays;
    }
    let asked = sides.asked;
    let candidates = sides.tablets.values().flatten().filter(|tablet| is_one_of(tablet, types));
    decide(&tablet::alias(primary), candidates.map(tablet::alias), asked)
}

fn decide(primary: &str, candidates: impl Iterator<Item = String>, asked: &ProbeAnswers) -> Batching {
    let version = version(&asked.target_versions, primary);
    if version.is_some_and(overrides::batches_rightly) {
        return Batching::Stays;
    }
    let ours = spelling(&asked.target_spellings, &asked.target_versions, primary);
    // a tablet that does not answer does not serve either
    let theirs = candidates.filter_map(|alias| spelling(&asked.source_spellings, &asked.source_versions, &alias));
    let mut all: Vec<Spelling> = theirs.chain(ours).collect();
    all.dedup();
    match (ours, all.as_slice()) {
        (Some(_), [only]) => Batching::Off(*only),
        _ => Batching::Clashes,
    }
}

fn version<'a>(versions: &'a [Version], alias: &str) -> Option<&'a str> {
    let (_, version) = versions.iter().find(|(of, _)| of == alias)?;
    version.as_deref().ok()
}

fn spelling(asked: &BTreeMap<String, Spelling>, versions: &[Version], alias: &str) -> Option<Spelling> {
    asked.get(alias).copied().or_else(|| version(versions, alias).and_then(Spelling::of_version))
}

/// Whether all target primaries let reads pass though their tables are denied.
pub fn reads_pass(sides: Sides<'_>) -> bool {
    let primaries = sides.target.shards.iter().map(|shard| shard.primary.as_ref().map(tablet::alias));
    let version = |alias: &String| version(&sides.asked.target_versions, alias);
    primaries.map(|alias| alias.as_ref().and_then(version)).all(|told| told.is_some_and(overrides::denies_only_writes))
}

/// What clients of the target can do before complete, where that is less than the documentation of Vitess says.
pub fn reads_text(sides: Sides<'_>) -> String {
    if reads_pass(sides) {
        return String::new();
    }
    let keyspace = &sides.target.name;
    format!("\nUntil complete the moved tables can be read from replicas only: use {keyspace}@replica")
}

/// Shards where batching would have to go and stays.
pub fn findings(sides: Sides<'_>, types: &[TabletType], keep: bool) -> Vec<Finding> {
    let keyspace = sides.target;
    let shards = keyspace.shards.iter().filter_map(|shard| Some((&shard.name, shard.primary.as_ref()?)));
    let clashing = shards.filter(|(_, primary)| of(primary, sides, types, keep) == Batching::Clashes);
    let finding = |(shard, primary): (&String, &Tablet)| {
        let cause = format!(
            "tablet {} batches changes, which may end it before Vitess 23.0.6 and 24.0.3, and cannot be told not to: it and \
             the source's tablets are of before and after Vitess 23, or do not tell",
            tablet::alias(primary)
        );
        let flag = spelling(&sides.asked.target_spellings, &sides.asked.target_versions, &tablet::alias(primary))
            .unwrap_or(Spelling::Dashes)
            .flag_without_batching();
        let fix = format!("start the target's vttablets with {flag}, or upgrade both sides first");
        Finding::new(&check::BATCHING_STAYS, format!("shard {}/{shard}", keyspace.name), cause, fix)
    };
    clashing.map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::Spelling::{Dashes, Underscores};
    use super::*;

    fn asked(
        target: (Option<Spelling>, Option<&str>),
        source: &[(&str, Option<Spelling>, Option<&str>)],
    ) -> ProbeAnswers {
        let told = |version: Option<&str>| version.map(str::to_owned).ok_or_else(|| "silent".to_owned());
        let spelled = source.iter().filter_map(|(alias, spelling, _)| Some(((*alias).to_owned(), (*spelling)?)));
        ProbeAnswers {
            target_spellings: target.0.map(|spelling| ("target".to_owned(), spelling)).into_iter().collect(),
            target_versions: vec![("target".into(), told(target.1))],
            source_spellings: spelled.collect(),
            source_versions: source.iter().map(|(alias, _, version)| ((*alias).to_owned(), told(*version))).collect(),
            ..ProbeAnswers::default()
        }
    }

    fn decided(
        target: (Option<Spelling>, Option<&str>),
        source: &[(&str, Option<Spelling>, Option<&str>)],
    ) -> Batching {
        decide("target", source.iter().map(|(alias, ..)| (*alias).to_owned()), &asked(target, source))
    }

    #[test]
    fn both_sides_of_one_generation_are_told_in_its_spelling() {
        for spelling in [Dashes, Underscores] {
            let source = [("a", Some(spelling), None), ("b", Some(spelling), None)];
            assert_eq!(decided((Some(spelling), None), &source), Batching::Off(spelling));
        }
        // a tablet that is down has no say
        let source = [("a", Some(Underscores), None), ("b", None, None)];
        assert_eq!(decided((Some(Underscores), Some("22.0.3")), &source), Batching::Off(Underscores));
        // the version tells when the call does not
        assert_eq!(decided((None, Some("22.0.3")), &[("a", None, Some("21.0.5"))]), Batching::Off(Underscores));
    }

    #[test]
    fn mixed_and_unknown_generations_are_not_told() {
        assert_eq!(decided((Some(Dashes), None), &[("a", Some(Underscores), None)]), Batching::Clashes);
        assert_eq!(decided((Some(Underscores), None), &[("a", Some(Dashes), None)]), Batching::Clashes);
        let mixed = [("a", Some(Dashes), None), ("b", Some(Underscores), None), ("c", Some(Dashes), None)];
        assert_eq!(decided((Some(Dashes), None), &mixed), Batching::Clashes);
        assert_eq!(decided((None, None), &[("a", Some(Dashes), None)]), Batching::Clashes);
    }

    #[test]
    fn tablets_without_the_fault_keep_their_batching_whatever_the_source_is() {
        for version in ["23.0.6", "24.0.4", "25.0.0-SNAPSHOT"] {
            assert_eq!(decided((Some(Dashes), Some(version)), &[("a", Some(Underscores), None)]), Batching::Stays);
        }
        assert_eq!(decided((Some(Dashes), Some("24.0.2")), &[("a", Some(Dashes), None)]), Batching::Off(Dashes));
    }
}
