//! Which of the rows that are on one side only count: rows that only came in another place do not, and whole copies of
//! reference tables do not.

use vtmigrated::topo::{self, Topo};

use super::report::{Report, RowDiff};
use crate::engine::error::{Error, Result};

/// Takes off the report what is no difference. The vschema of both keyspaces is read from the tablet's own topology, as
/// stock does: for a mounted source it is not there.
///
/// # Errors
/// A vschema cannot be read.
pub(super) async fn reconcile(
    report: &mut Report,
    topo: &Topo,
    source_keyspace: &str,
    target_keyspace: &str,
    max_compared: i64,
    max_sample: i64,
) -> Result<()> {
    if report.mismatched_rows == 0 && report.matching_rows > 0 {
        let failed = |error: topo::Error| Error::unknown(error.to_string());
        let source = topo::vschema::get(topo.global(), source_keyspace).await.map_err(failed)?;
        let target = topo::vschema::get(topo.global(), target_keyspace).await.map_err(failed)?;
        let is_reference = |keyspace: &vtmigrated_proto::vschema::Keyspace| {
            let entry = keyspace.tables.iter().find(|entry| entry.key == report.table_name);
            entry.and_then(|entry| entry.value.as_ref()).is_some_and(|table| table.r#type == "reference")
        };
        let (of_source, of_target) = (is_reference(&source.value), is_reference(&target.value));
        forgive_copies(report, of_source, of_target);
    }
    pair_up(report, max_compared, max_sample);
    Ok(())
}

fn forgive_copies(report: &mut Report, of_source: bool, of_target: bool) {
    if of_source && report.extra_rows_source % report.matching_rows == 0 {
        report.extra_rows_source = 0;
        report.extra_rows_source_sample.clear();
    }
    if of_target && report.extra_rows_target % report.matching_rows == 0 {
        report.extra_rows_target = 0;
        report.extra_rows_target_sample.clear();
    }
}

fn pair_up(report: &mut Report, max_compared: i64, max_sample: i64) {
    if report.extra_rows_source == 0 || report.extra_rows_target == 0 {
        return;
    }
    let keep = usize::try_from(report.extra_rows_source.min(max_compared)).unwrap_or_default();
    let mut target: Vec<Option<RowDiff>> = report.extra_rows_target_sample.drain(..).map(Some).collect();
    let mut source = Vec::new();
    let mut pairs = 0;
    for row in report.extra_rows_source_sample.drain(..) {
        match target.iter_mut().find(|other| other.as_ref() == Some(&row)) {
            Some(other) => {
                *other = None;
                pairs += 1;
            }
            None => source.push(row),
        }
    }
    let mut target: Vec<RowDiff> = target.into_iter().flatten().collect();
    if pairs > 0 {
        // stock keeps one even of none
        source.truncate(keep.max(1));
        target.truncate(keep.max(1));
        report.extra_rows_source -= pairs;
        report.extra_rows_target -= pairs;
        report.matching_rows += pairs;
    }
    for sample in [&mut source, &mut target] {
        // one less than asked for, as in stock
        if let Ok(limit) = usize::try_from(max_sample)
            && limit > 0
            && sample.len() > limit
        {
            sample.truncate(limit - 1);
        }
    }
    report.extra_rows_source_sample = source;
    report.extra_rows_target_sample = target;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(ids: &[i64]) -> Vec<RowDiff> {
        let row = |id: &i64| RowDiff { row: [("id".to_owned(), id.to_string())].into(), query: String::new() };
        ids.iter().map(row).collect()
    }

    fn report(source: &[i64], target: &[i64]) -> Report {
        Report {
            matching_rows: 10,
            extra_rows_source: i64::try_from(source.len()).unwrap(),
            extra_rows_target: i64::try_from(target.len()).unwrap(),
            extra_rows_source_sample: rows(source),
            extra_rows_target_sample: rows(target),
            ..Report::default()
        }
    }

    #[test]
    fn rows_in_another_place_are_no_difference() {
        let mut found = report(&[1, 2, 3], &[3, 4]);
        pair_up(&mut found, 1000, 10);
        assert_eq!((found.extra_rows_source, found.extra_rows_target, found.matching_rows), (2, 1, 11));
        assert_eq!((found.extra_rows_source_sample, found.extra_rows_target_sample), (rows(&[1, 2]), rows(&[4])));
    }

    #[test]
    fn too_long_a_sample_loses_one_more_than_it_has_to() {
        let mut found = report(&[1, 2, 3], &[7]);
        pair_up(&mut found, 1000, 2);
        assert_eq!((found.extra_rows_source, found.extra_rows_source_sample), (3, rows(&[1])));
        let mut one_side = report(&[1, 2, 3], &[]);
        pair_up(&mut one_side, 1000, 2);
        assert_eq!(one_side.extra_rows_source_sample, rows(&[1, 2, 3]));
    }

    #[test]
    fn whole_copies_of_a_reference_table_are_forgiven() {
        let mut found = report(&[], &[]);
        found.extra_rows_source = 20;
        forgive_copies(&mut found, true, true);
        assert_eq!(found.extra_rows_source, 0);
        found.extra_rows_source = 21;
        forgive_copies(&mut found, true, true);
        assert_eq!(found.extra_rows_source, 21);
    }
}
