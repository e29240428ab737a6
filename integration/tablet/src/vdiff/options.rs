//! Options of a diff, in the form in which its record keeps them: JSON, zero values left out.

use serde::{Deserialize, Serialize};
use vtmigrated_proto::tabletmanagerdata::VDiffOptions;

/// All options. Numbers of zero and less mean what stock makes of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Options {
    pub picker_options: Picker,
    pub core_options: Core,
    pub report_options: Report,
}

/// Which tablets are read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Picker {
    #[serde(skip_serializing_if = "is_zero")]
    pub tablet_types: String,
    /// Cells, separated by commas.
    #[serde(skip_serializing_if = "is_zero")]
    pub source_cell: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub target_cell: String,
}

/// What is compared, and how long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Core {
    /// Tables, separated by commas; all of them when empty.
    #[serde(skip_serializing_if = "is_zero")]
    pub tables: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub auto_retry: bool,
    /// Steps of the comparison per table and run.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_rows: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub checksum: bool,
    #[serde(skip_serializing_if = "is_zero")]
    pub sample_pct: i64,
    /// For each wait for a position.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout_seconds: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub max_extra_rows_to_compare: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub update_table_stats: bool,
    /// After so long a table's snapshots are opened anew; never when zero.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_diff_seconds: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub auto_start: Option<bool>,
}

/// What is told of the differences.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Report {
    #[serde(skip_serializing_if = "is_zero")]
    pub only_pks: bool,
    #[serde(skip_serializing_if = "is_zero")]
    pub debug_query: bool,
    #[serde(skip_serializing_if = "is_zero")]
    pub format: String,
    /// No bound when zero.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_sample_rows: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub row_diff_column_truncate_at: i64,
}

impl From<VDiffOptions> for Options {
    fn from(sent: VDiffOptions) -> Self {
        let picker = sent.picker_options.unwrap_or_default();
        let core = sent.core_options.unwrap_or_default();
        let report = sent.report_options.unwrap_or_default();
        Self {
            picker_options: Picker {
                tablet_types: picker.tablet_types,
                source_cell: picker.source_cell,
                target_cell: picker.target_cell,
            },
            core_options: Core {
                tables: core.tables,
                auto_retry: core.auto_retry,
                max_rows: core.max_rows,
                checksum: core.checksum,
                sample_pct: core.sample_pct,
                timeout_seconds: core.timeout_seconds,
                max_extra_rows_to_compare: core.max_extra_rows_to_compare,
                update_table_stats: core.update_table_stats,
                max_diff_seconds: core.max_diff_seconds,
                auto_start: core.auto_start,
            },
            report_options: Report {
                only_pks: report.only_pks,
                debug_query: report.debug_query,
                format: report.format,
                max_sample_rows: report.max_sample_rows,
                row_diff_column_truncate_at: report.row_diff_column_truncate_at,
            },
        }
    }
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use vtmigrated_proto::tabletmanagerdata::VDiffCoreOptions;

    use super::*;

    #[test]
    fn zero_values_are_left_out_but_a_false_auto_start_is_kept() {
        let core = VDiffCoreOptions {
            auto_start: Some(false),
            auto_retry: true,
            max_rows: i64::MAX,
            ..VDiffCoreOptions::default()
        };
        let options = Options::from(VDiffOptions { core_options: Some(core), ..VDiffOptions::default() });
        let text = serde_json::to_string(&options).unwrap();
        assert_eq!(
            text,
            r#"{"picker_options":{},"core_options":{"auto_retry":true,"max_rows":9223372036854775807,"auto_start":false},"report_options":{}}"#
        );
        assert_eq!(serde_json::from_str::<Options>(&text).unwrap(), options);
        assert_eq!(serde_json::from_str::<Options>("{}").unwrap(), Options::default());
    }
}
