//! Diffs of a shard, asked of its tablet.

use std::{collections::BTreeMap, sync::Mutex};

use integration::{
    client::TabletManager,
    cluster::Cluster,
    life::{Life, WORKFLOW, until},
};
use mysql_async::prelude::{FromRow, Queryable};
use serde_json::Value;
use tonic::Status;
use vtmigrated_proto::{
    query::QueryResult,
    tabletmanagerdata::{
        TabletSelectionPreference, VDiffCoreOptions, VDiffOptions, VDiffPickerOptions, VDiffReportOptions,
        VDiffRequest, VDiffResponse,
    },
    topodata::TabletType,
    vtctldata::{VDiffCreateRequest, VDiffShowRequest},
};

/// One shard of the target keyspace `customer`.
pub struct Shard<'a> {
    cluster: &'a Cluster,
    pub name: &'static str,
}

/// A row of an answer by its columns; NULL is not there.
pub type Row = BTreeMap<String, String>;

impl<'a> Shard<'a> {
    pub fn both(cluster: &'a Cluster) -> [Self; 2] {
        ["-80", "80-"].map(|name| Self { cluster, name })
    }

    pub async fn manager(&self) -> TabletManager {
        self.cluster.primary("customer", self.name).unwrap().manager().await.unwrap()
    }

    pub async fn ask(&self, request: VDiffRequest) -> Result<VDiffResponse, Status> {
        let request = VDiffRequest { keyspace: "customer".to_owned(), workflow: WORKFLOW.to_owned(), ..request };
        self.manager().await.v_diff(request).await.map(tonic::Response::into_inner)
    }

    pub async fn act(&self, action: &str, uuid: &str) -> Result<VDiffResponse, Status> {
        let (action, vdiff_uuid) = (action.to_owned(), uuid.to_owned());
        self.ask(VDiffRequest { action, vdiff_uuid, ..VDiffRequest::default() }).await
    }

    /// `show` and `delete` have their UUID elsewhere.
    pub async fn act_on(&self, action: &str, argument: &str) -> Result<VDiffResponse, Status> {
        let (action, action_arg) = (action.to_owned(), argument.to_owned());
        self.ask(VDiffRequest { action, action_arg, ..VDiffRequest::default() }).await
    }

    pub async fn create(&self, uuid: &str, options: VDiffOptions) {
        let (action, vdiff_uuid) = ("create".to_owned(), uuid.to_owned());
        let request = VDiffRequest { action, vdiff_uuid, options: Some(options), ..VDiffRequest::default() };
        let created = self.ask(request).await.unwrap();
        assert_eq!(created.vdiff_uuid, uuid);
        assert!(created.id > 0 && created.output.is_none());
    }

    pub async fn show(&self, uuid: &str) -> Vec<Row> {
        rows(&self.act_on("show", uuid).await.unwrap().output.unwrap())
    }

    /// Waits until the diff is in a state, and answers what is shown of it then.
    pub async fn until(&self, uuid: &str, state: &str) -> Vec<Row> {
        let found = Mutex::new(Vec::new());
        until(&format!("{state} on {}", self.name), async || {
            let shown = self.show(uuid).await;
            if shown[0]["vdiff_state"] != state {
                return Err(format!("{shown:?}"));
            }
            *found.lock().unwrap() = shown;
            Ok(())
        })
        .await
        .unwrap();
        found.into_inner().unwrap()
    }

    pub async fn query<T: FromRow + Send + 'static>(&self, sql: &str) -> Vec<T> {
        let mut conn = self.cluster.shard("customer", self.name).unwrap().connect().await.unwrap();
        let sidecar = &self.cluster.primary("customer", self.name).unwrap().options().sidecar_db;
        let rows = conn.query(sql.replace("_vt.", &format!("{sidecar}."))).await.unwrap();
        conn.disconnect().await.unwrap();
        rows
    }

    pub async fn run(&self, sql: &str) {
        self.cluster.shard("customer", self.name).unwrap().run(sql).await.unwrap();
    }

    /// State, message and stop position of the workflow's streams.
    pub async fn streams(&self) -> Vec<(String, String, String)> {
        self.query("select state, ifnull(message, ''), ifnull(stop_pos, '') from _vt.vreplication order by id").await
    }

    pub async fn until_streams_run(&self) {
        until("running streams", async || {
            let streams = self.streams().await;
            let run = streams
                .iter()
                .all(|(state, message, stop)| state == "Running" && !message.contains("vdiff") && stop.is_empty());
            if run { Ok(()) } else { Err(format!("{streams:?}")) }
        })
        .await
        .unwrap();
    }
}

/// What the stock client sends, for these tables.
pub fn options(tables: &str) -> VDiffOptions {
    VDiffOptions {
        picker_options: Some(VDiffPickerOptions {
            tablet_types: "in_order:rdonly,replica,primary".to_owned(),
            ..VDiffPickerOptions::default()
        }),
        core_options: Some(VDiffCoreOptions {
            tables: tables.to_owned(),
            auto_retry: true,
            max_rows: i64::MAX,
            timeout_seconds: 30,
            max_extra_rows_to_compare: 1000,
            auto_start: Some(true),
            ..VDiffCoreOptions::default()
        }),
        report_options: Some(VDiffReportOptions {
            max_sample_rows: 10,
            row_diff_column_truncate_at: 128,
            ..VDiffReportOptions::default()
        }),
    }
}

pub fn rows(result: &QueryResult) -> Vec<Row> {
    let row = |row: &vtmigrated_proto::query::Row| {
        let mut at = 0;
        let mut named = Row::new();
        for (field, &length) in result.fields.iter().zip(&row.lengths) {
            let Ok(length) = usize::try_from(length) else { continue };
            named.insert(field.name.clone(), String::from_utf8(row.values[at..at + length].to_vec()).unwrap());
            at += length;
        }
        named
    };
    result.rows.iter().map(row).collect()
}

/// The report of a table.
pub fn report(shown: &[Row], table: &str) -> Value {
    let row = shown.iter().find(|row| row.get("table_name").is_some_and(|name| name == table)).unwrap();
    serde_json::from_str(&row["report"]).unwrap()
}

/// Processed, matching, mismatched, extra on the source, extra on the target.
pub fn counts(report: &Value) -> [i64; 5] {
    ["ProcessedRows", "MatchingRows", "MismatchedRows", "ExtraRowsSource", "ExtraRowsTarget"]
        .map(|name| report[name].as_i64().unwrap())
}

/// The answers of both shards, ascending.
#[derive(Debug)]
pub struct Shown(pub Vec<Vec<Row>>);

impl Shown {
    pub fn all(&self, column: &str, value: &str) -> bool {
        self.0.iter().flatten().all(|row| row.get(column).is_some_and(|found| found == value))
    }

    pub fn sums(&self, table: &str) -> [i64; 5] {
        self.0.iter().fold([0; 5], |mut sums, shard| {
            let found = counts(&report(shard, table));
            sums.iter_mut().zip(found).for_each(|(sum, count)| *sum += count);
            sums
        })
    }

    pub fn mismatches(&self) -> Vec<String> {
        let differing = self.0.iter().flatten().filter(|row| row["has_mismatch"] == "1");
        differing.map(|row| row["table_name"].clone()).collect()
    }
}

pub fn request(tables: &[&str]) -> VDiffCreateRequest {
    VDiffCreateRequest {
        workflow: WORKFLOW.to_owned(),
        target_keyspace: "customer".to_owned(),
        tablet_types: [TabletType::Rdonly, TabletType::Replica, TabletType::Primary].map(Into::into).to_vec(),
        tablet_selection_preference: TabletSelectionPreference::Inorder.into(),
        tables: tables.iter().map(|table| (*table).to_owned()).collect(),
        limit: i64::MAX,
        max_extra_rows_to_compare: 1000,
        auto_retry: true,
        max_report_sample_rows: 10,
        row_diff_column_truncate_at: 128,
        ..VDiffCreateRequest::default()
    }
}

pub async fn show(life: &Life, uuid: &str) -> Result<Shown, Status> {
    let request = VDiffShowRequest {
        workflow: WORKFLOW.to_owned(),
        target_keyspace: "customer".to_owned(),
        arg: uuid.to_owned(),
    };
    let mut answers = life.client().v_diff_show(request).await?.into_inner().tablet_responses;
    answers.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(answers.iter().map(|answer| answer.key.as_str()).collect::<Vec<_>>(), ["-80", "80-"]);
    let output = answers.into_iter().map(|answer| rows(&answer.value.unwrap().output.unwrap_or_default()));
    Ok(Shown(output.collect()))
}

pub async fn until_shown(life: &Life, uuid: &str, what: &str, enough: impl Fn(&Shown) -> bool) -> Shown {
    until(what, async || {
        let shown = show(life, uuid).await.map_err(|e| e.to_string())?;
        if enough(&shown) { Ok(()) } else { Err(format!("{:?}", shown.0)) }
    })
    .await
    .unwrap();
    show(life, uuid).await.unwrap()
}

pub async fn completed(life: &Life, uuid: &str) -> Shown {
    until_shown(life, uuid, "a completed diff", |shown| shown.all("vdiff_state", "completed")).await
}
