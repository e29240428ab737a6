//! The options of a new diff: what the client may say, and what the tablets get.

use vtmigrated_proto::tabletmanagerdata::{
    TabletSelectionPreference, VDiffCoreOptions, VDiffOptions, VDiffPickerOptions, VDiffReportOptions,
};
use vtmigrated_proto::topodata::TabletType;
use vtmigrated_proto::vtctldata::VDiffCreateRequest;
use vtmigrated_proto::vttime::Duration;

use super::{ComparedWorkflow, uuids};
use crate::error::Reason;
use crate::failure::{Error, Result};
use crate::workflow::tablet_types;

/// Seconds that a position is waited for when the request says nothing.
const WAIT_SECONDS: i64 = 30;

/// A request, decoded and checked.
#[derive(Clone, Debug)]
pub struct Arguments {
    pub keyspace: String,
    pub workflow: String,
    pub uuid: String,
    /// Types to read from, on both sides; all that serve when empty.
    pub tablet_types: Vec<TabletType>,
    pub in_order: bool,
    pub source_cells: Vec<String>,
    pub target_cells: Vec<String>,
    /// Only these tables; all of the workflow when empty.
    pub tables: Vec<String>,
    pub auto_start: bool,
    /// As in [`ComparedWorkflow::known`].
    pub known: Option<Vec<String>>,
    core: VDiffCoreOptions,
    report: VDiffReportOptions,
}

impl Arguments {
    /// The workflow that is meant.
    pub fn whose(&self) -> ComparedWorkflow<'_> {
        ComparedWorkflow { keyspace: &self.keyspace, workflow: &self.workflow, known: self.known.as_deref() }
    }

    /// What the tablets get. They make the diff stopped in any case.
    pub fn options(&self, source_cells: &[String]) -> VDiffOptions {
        VDiffOptions {
            picker_options: Some(VDiffPickerOptions {
                tablet_types: self.types_text(),
                source_cell: source_cells.join(","),
                target_cell: self.target_cells.join(","),
            }),
            core_options: Some(self.core.clone()),
            report_options: Some(self.report.clone()),
        }
    }

    /// The types as tablets parse them. An order without types is a text that no tablet fits (Vitess 22.0.3): it means
    /// the tablets' own default in that order.
    fn types_text(&self) -> String {
        let types: Vec<String> = self.tablet_types.iter().map(|kind| tablet_types::name(*kind)).collect();
        match (self.in_order, types.is_empty()) {
            (true, true) => "in_order:replica,rdonly,primary".to_owned(),
            (true, false) => format!("in_order:{}", types.join(",")),
            (false, _) => types.join(","),
        }
    }
}

impl TryFrom<VDiffCreateRequest> for Arguments {
    type Error = Error;

    fn try_from(request: VDiffCreateRequest) -> Result<Self> {
        let uuid = uuids::given_or_new(&request.uuid)?;
        super::check_names(&request.target_keyspace, &request.workflow)?;
        not_negative("--limit must be a positive value", request.limit)?;
        not_negative("--max-report-sample-rows must not be a negative value", request.max_report_sample_rows)?;
        not_negative("--max-extra-rows-to-compare must not be a negative value", request.max_extra_rows_to_compare)?;
        let truncate_at = request.row_diff_column_truncate_at;
        not_negative("--row-diff-column-truncate-at must not be a negative value", truncate_at)?;
        let wait = seconds("--filtered-replication-wait-time", request.filtered_replication_wait_time)?;
        let max_diff_seconds = seconds("--max-diff-duration", request.max_diff_duration)?;
        let (source_cells, target_cells) = (list("cell", request.source_cells)?, list("cell", request.target_cells)?);
        let tables = list("table", request.tables)?;
        let mut tablet_types = Vec::new();
        for number in request.tablet_types {
            match TabletType::try_from(number) {
                Ok(kind) if kind != TabletType::Unknown => tablet_types.push(kind),
                _ => {
                    let text = format!("invalid tablet type passed {number}");
                    return Err(Error::invalid(Reason::BAD_TABLET_TYPE, text, "use primary, replica or rdonly"));
                }
            }
        }
        let preference = TabletSelectionPreference::try_from(request.tablet_selection_preference);
        Ok(Self {
            keyspace: request.target_keyspace,
            workflow: request.workflow,
            uuid,
            tablet_types,
            in_order: preference == Ok(TabletSelectionPreference::Inorder),
            source_cells,
            target_cells,
            auto_start: request.auto_start.unwrap_or(true),
            known: None,
            core: VDiffCoreOptions {
                tables: tables.join(","),
                auto_retry: request.auto_retry,
                max_rows: if request.limit == 0 { i64::MAX } else { request.limit },
                timeout_seconds: if wait == 0 { WAIT_SECONDS } else { wait },
                max_extra_rows_to_compare: request.max_extra_rows_to_compare,
                update_table_stats: request.update_table_stats,
                max_diff_seconds,
                auto_start: Some(false),
                ..VDiffCoreOptions::default()
            },
            report: VDiffReportOptions {
                only_pks: request.only_p_ks,
                debug_query: request.debug_query,
                max_sample_rows: request.max_report_sample_rows,
                row_diff_column_truncate_at: truncate_at,
                ..VDiffReportOptions::default()
            },
            tables,
        })
    }
}

fn not_negative(text: &str, value: i64) -> Result<()> {
    if value < 0 { Err(Error::invalid(Reason::BAD_NUMBER, text, "")) } else { Ok(()) }
}

/// Whole seconds, parts of one count as one; 0 when absent.
fn seconds(flag: &str, duration: Option<Duration>) -> Result<i64> {
    let duration = duration.unwrap_or_default();
    if duration.seconds < 0 || duration.nanos < 0 {
        return Err(Error::invalid(Reason::BAD_DURATION, format!("{flag} must not be a negative value"), ""));
    }
    Ok(duration.seconds.saturating_add(i64::from(duration.nanos > 0)))
}

/// Names that go into one text with commas between them.
fn list(what: &str, names: Vec<String>) -> Result<Vec<String>> {
    let names: Vec<String> = names.into_iter().map(|name| name.trim().to_owned()).collect();
    crate::workflow::names::check_list(what, &names)?;
    if let Some(bad) = names.iter().find(|name| name.contains(',')) {
        let help = "give one name in each element; a table with a comma in its name is compared when no table is named";
        return Err(Error::invalid(Reason::BAD_NAME, format!("bad {what} name {bad:?}"), help));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> VDiffCreateRequest {
        VDiffCreateRequest { workflow: "w".into(), target_keyspace: "k".into(), ..VDiffCreateRequest::default() }
    }

    fn options(request: VDiffCreateRequest) -> VDiffOptions {
        Arguments::try_from(request).unwrap().options(&["zone1".into(), "zone2".into()])
    }

    #[test]
    fn zero_values_become_the_defaults() {
        let options = options(request());
        let core = options.core_options.unwrap();
        let zero = VDiffCoreOptions {
            max_rows: i64::MAX,
            timeout_seconds: 30,
            auto_start: Some(false),
            ..VDiffCoreOptions::default()
        };
        assert_eq!(core, zero);
        assert_eq!(options.report_options, Some(VDiffReportOptions::default()));
        let picker = options.picker_options.unwrap();
        assert_eq!((picker.tablet_types.as_str(), picker.source_cell.as_str()), ("", "zone1,zone2"));
        assert_eq!(picker.target_cell, "");
    }

    #[test]
    fn types_keep_their_order_and_an_order_of_nothing_is_none() {
        let types = |types: &[TabletType], preference: TabletSelectionPreference| {
            let tablet_types = types.iter().map(|t| i32::from(*t)).collect();
            let request =
                VDiffCreateRequest { tablet_types, tablet_selection_preference: preference.into(), ..request() };
            options(request).picker_options.unwrap().tablet_types
        };
        use TabletSelectionPreference::{Any, Inorder, Unknown};
        let two = [TabletType::Rdonly, TabletType::Primary];
        assert_eq!(types(&two, Inorder), "in_order:rdonly,primary");
        assert_eq!(types(&two, Any), "rdonly,primary");
        assert_eq!(types(&two, Unknown), "rdonly,primary");
        assert_eq!(types(&[], Inorder), "in_order:replica,rdonly,primary");
        assert_eq!(types(&[], Unknown), "");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |change: fn(&mut VDiffCreateRequest)| {
            let mut request = request();
            change(&mut request);
            Arguments::try_from(request).unwrap_err().to_string()
        };
        assert_eq!(refused(|r| r.limit = -1), "--limit must be a positive value");
        assert!(refused(|r| r.max_report_sample_rows = -1).starts_with("--max-report-sample-rows must not"));
        assert!(refused(|r| r.max_extra_rows_to_compare = -1).starts_with("--max-extra-rows-to-compare must not"));
        assert!(refused(|r| r.row_diff_column_truncate_at = -1).starts_with("--row-diff-column-truncate-at"));
        assert!(refused(|r| r.max_diff_duration = Some(Duration { seconds: -1, nanos: 0 })).contains("duration"));
        assert_eq!(refused(|r| r.source_cells = vec!["a,b".into()]), "bad cell name \"a,b\"");
        assert_eq!(refused(|r| r.tables = vec![" ".into()]), "bad table name \"\"");
        assert_eq!(refused(|r| r.tablet_types = vec![0]), "invalid tablet type passed 0");
        assert_eq!(refused(|r| r.tablet_types = vec![99]), "invalid tablet type passed 99");
        assert!(refused(|r| r.uuid = "abc".into()).starts_with("invalid UUID provided: abc"));
        assert_eq!(seconds("", Some(Duration { seconds: 1, nanos: 1 })).unwrap(), 2);
    }
}
