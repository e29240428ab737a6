//! All checks of a way back, and what its streams will be. What create asks of two clusters is asked with their parts
//! exchanged: the texts of these checks call the target the source.

mod tables;

use super::{plan, side};
use crate::context::Context;
use crate::error::check;
use crate::workflow::checks::cells::left_out;
use crate::workflow::checks::mount::{self as mount_checks, versions};
use crate::workflow::checks::workflows::{denied_already, others_on_tables};
use crate::workflow::checks::{
    batching, definitions, keyspaces, names as name_checks, streaming, tables as table_checks, unstreamed,
};
use crate::workflow::findings::{Finding, Report, Severity};
use crate::workflow::plan::arguments::Arguments;
use crate::workflow::reads::situation::ClusterState;
use crate::workflow::reads::{clusters, found};
use crate::workflow::record::Phase;
use crate::workflow::record::way_back::Facts;
use crate::workflow::{Result, plan as migrate_plan};

/// What create could be told instead, and prepare could not.
const INSTEAD: [&str; 4] =
    [", or use --cells", "; or use --tablet-types", "; or leave the table out with", "; or leave it out with"];

/// What is known before anything is written.
pub struct Examined {
    pub arguments: Arguments,
    /// The source is the target in it.
    pub situation: ClusterState,
    /// The streams of each source shard; empty when the plan is refused.
    pub sources: migrate_plan::Sources,
    /// Cells of the target in which they look for a tablet.
    pub cells: Vec<String>,
    pub report: Report,
}

impl Examined {
    /// Tables of the way back that nobody denies on each source shard yet.
    pub fn to_deny(&self) -> Vec<(String, Vec<String>)> {
        self.situation.target.keyspace.not_denied(&self.arguments.include_tables)
    }
}

/// Reads both clusters and runs all checks that do not depend on how far the migration is: five waves. `mirror` is the
/// source's cluster, see [`super::mirror`].
///
/// # Errors
/// What keeps the clusters from being read; everything else is in the report.
pub async fn examine(context: &Context, mirror: &Context, names: (&str, &str), facts: &Facts) -> Result<Examined> {
    let arguments = plan::arguments(names.0, names.1, facts);
    let situation = ClusterState::read(mirror, &arguments, &context.topo).await?;
    let mut back = Report::default();
    let (from, to) = (&situation.source.keyspace, &situation.target.keyspace);
    back.extend(keyspaces::same_keyspace(from, to));
    let (source_shards, target_shards) = (clusters::ranges(from), clusters::ranges(to));
    let input = situation.input(&arguments, &arguments.include_tables, (&source_shards, &target_shards));
    let problems = migrate_plan::problems(&input);
    let mut sources = migrate_plan::Sources::new();
    if problems.is_empty() {
        sources = plan::with_zone(migrate_plan::streams(&input)?, &facts.time_zone);
    }
    back.extend(problems.iter().map(|(subject, error)| Finding::of(error, subject)));
    back.extend(left_out(&to.cells, "target"));
    back.extend(left_out(&from.cells, "source"));
    let cells = back.absorb(situation.cells(&arguments), format!("keyspace {}", from.name))?.unwrap_or_default();
    at_servers(context, &situation, &arguments, &cells, &mut back);
    at_definitions(&situation, &arguments, &mut back);
    let mut report = Report::default();
    report.extend(back.findings.into_iter().map(|finding| turned(finding, &from.name, &to.name)));
    report.extend(tables::judge(&situation, &arguments));
    if !matches!(side::are_ours(&situation.rows, &arguments.workflow, facts), Ok(true)) {
        let taken = side::taken(&arguments.workflow, facts);
        report.extend([Finding::of(&taken, format!("workflow {}.{}", facts.keyspace, arguments.workflow))]);
    }
    Ok(Examined { arguments, situation, sources, cells, report })
}

/// A finding of a check that takes the target for the source.
fn turned(finding: Finding, from: &str, to: &str) -> Finding {
    let cause = format!("on the way back, for which {from} is the source and {to} the target: {}", finding.cause);
    // no table of the way back is empty, nor made by create
    let unstreamed = [check::FUNCTIONAL_KEY.id, check::MULTI_VALUED_KEY.id];
    let fix = match finding.id {
        id if id == check::COLUMN_MISSING_ON_TARGET.id => format!("add them to the tables of {to}"),
        id if id == check::DEFINITION_DIFFERS.id => {
            format!("if that is not meant: bring the tables of {from} and {to} to one definition with ApplySchema")
        }
        id if unstreamed.contains(&id) => {
            format!("drop the key in {from}, and make it again when the way back has ended")
        }
        _ => {
            let cut = INSTEAD.iter().filter_map(|instead| finding.fix.find(instead)).min();
            finding.fix.get(..cut.unwrap_or(finding.fix.len())).unwrap_or_default().to_owned()
        }
    };
    Finding { cause, fix, ..finding }
}

fn at_servers(
    context: &Context,
    situation: &ClusterState,
    arguments: &Arguments,
    cells: &[String],
    report: &mut Report,
) {
    let asked = &situation.asked;
    let (candidates, types) = (situation.candidates(), arguments.tablet_types.as_slice());
    for own in situation.own_cells() {
        let looked = candidates.looked_at(cells, own);
        let found = streaming::serving(candidates.keyspace, candidates.tablets, &asked.health, types, &looked);
        report.extend(found.into_iter().filter(|finding| finding.severity == Severity::Blocks));
    }
    report.extend(streaming::binlogs(&asked.servers.source).into_iter().map(whole_rows));
    report.extend(streaming::row_images(&asked.servers.target));
    report.extend(streaming::answers(asked));
    report.extend(versions("the source", asked.source_versions.iter().cloned()));
    report.extend(versions("the target", asked.target_versions.iter().cloned()));
    report.extend(mount_checks::too_old(asked.target_versions.iter()));
    report.extend(batching::findings(situation.sides(), types, context.options.keep_vplayer_batching));
}

/// Rows go to another shard of the source when their vindex says so: then all of a row is needed, blobs that did not change, too.
fn whole_rows(finding: Finding) -> Finding {
    if ![check::ROW_IMAGE_MINIMAL.id, check::ROW_IMAGE_NOBLOB.id].contains(&finding.id) {
        return finding;
    }
    let fix = "set global binlog_row_image = 'FULL' on its MySQL; then let the applications connect again".to_owned();
    Finding { severity: Severity::Blocks, fix, ..finding }
}

fn at_definitions(situation: &ClusterState, arguments: &Arguments, report: &mut Report) {
    let (from, to) = (&situation.source.keyspace, &situation.target.keyspace);
    let tables = &arguments.include_tables;
    let named = |keyspace: &str, shard: &str| format!("{keyspace}/{shard}");
    let read = from.shards.iter().zip(&situation.source_tables);
    let on_source: Vec<_> =
        read.filter_map(|(shard, read)| Some((named(&from.name, &shard.name), read.as_ref().ok()?))).collect();
    let there = to.shards.iter().zip(&situation.target_tables);
    let there: Vec<_> = there.map(|(shard, tables)| (named(&to.name, &shard.name), tables)).collect();
    report.extend(name_checks::unreadable(&to.name, &situation.target_tables));
    report.extend(definitions::on_target(tables, &on_source, &there, false));
    report.extend(others_on_tables(to, &situation.others, &arguments.workflow, tables));
    report.extend(denied_already(to, tables, &situation.facts(arguments, &[])));
    let shapes = table_checks::shapes(tables, situation.first_source());
    let blocking = |finding: Finding| Finding { severity: Severity::Blocks, ..finding };
    report.extend(table_checks::without_key(tables, &shapes).map(blocking));
    // clients will write to these: of others nobody knows
    let own: std::collections::BTreeSet<String> = tables.iter().map(|table| format!("table {table}")).collect();
    let written = |finding: Finding| if own.contains(&finding.subject) { blocking(finding) } else { finding };
    report.extend(unstreamed::keys(tables, &on_source).into_iter().map(written));
}

/// Whether the migration is at a point where its way back can be prepared: it was made by this program, is whole, and
/// nobody can write to the target yet.
pub fn migration(found: &found::ExistingWorkflow, workflow: &str) -> Vec<Finding> {
    let target = &found.target.keyspace;
    let subject = format!("workflow {}.{workflow}", target.name);
    let bad = |cause: &str, fix: &str| Finding::new(&check::WAY_BACK_TOO_LATE, &subject, cause, fix);
    let Some(stored) = &found.record else {
        let cause = "the migration has no record of this program: it was made by a stock vtctld";
        return vec![bad(cause, "create it with vtmigrated to have a way back")];
    };
    let facts = &stored.facts;
    if facts.handed_over {
        return vec![bad("the target was handed over already", "a way back is prepared before complete")];
    }
    if facts.phase == Phase::Creating || facts.taken_back || facts.cancelling || found.rows.is_empty() {
        return vec![bad("the migration is not whole", "finish its create first, or cancel it")];
    }
    let missing = crate::workflow::checks::complete::denied(target, &found.origin.tables, Some(facts));
    let missing = missing.into_iter().filter(|finding| finding.id == check::DENIED_MISSING.id);
    let finding = |finding: Finding| {
        let cause = format!("{}: what clients have written to the target would not come back", finding.cause);
        Finding::new(&check::WAY_BACK_TARGET_WRITTEN, finding.subject, cause, finding.fix)
    };
    let unaware = found.unaware_primary().map(|shard| {
        let cause = "its primary, or one since create, did not read that the tables are denied: what clients may have written to it would \
                     not come back";
        let fix = "compare the rows with VDiff; to have a way back all the same, cancel the migration and create it again";
        let subject = format!("shard {}/{shard}", target.name);
        Finding::new(&check::WAY_BACK_TARGET_WRITTEN, subject, cause, fix)
    });
    missing.map(finding).chain(unaware).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_to_drop_what_lives_or_to_give_flags_that_prepare_lacks() {
        let told = |check, fix: &str| turned(Finding::new(check, "table t", "c", fix), "customer", "commerce").fix;
        let differs = told(&check::DEFINITION_DIFFERS, "if that is not meant: drop the empty table");
        assert!(differs.contains("ApplySchema") && !differs.contains("drop"), "{differs}");
        let silent = &check::SOURCE_TABLET_NOT_SERVING;
        assert_eq!(told(silent, "fix them, or use --cells zone1 --tablet-types replica"), "fix them");
        let other = &check::TABLE_IN_OTHER_WORKFLOW;
        assert_eq!(told(other, "end it first: x; or leave the table out with --exclude-tables"), "end it first: x");
        assert_eq!(told(other, "RebuildVSchemaGraph --cells zone1"), "RebuildVSchemaGraph --cells zone1");
    }
}
