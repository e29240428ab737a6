//! Names of tables where the MySQL of one side does not keep letter case.

use integration::{
    cluster::Cluster,
    life::{Life, migrate, until},
};
use tonic::Code;
use vtmigrated_proto::vtctldata::MigrateCreateRequest;

use super::{context, dry};

const MIXED: &str = "
    CREATE TABLE Big (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(20));
    CREATE TABLE small (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(20));
    INSERT INTO Big VALUES (1, 'one'), (2, 'two');
    INSERT INTO small VALUES (1, 'one'), (2, NULL);";

#[tokio::test(flavor = "multi_thread")]
async fn letter_case_is_compared_where_it_matters() {
    tokio::join!(into_small_letters(), from_small_letters());
}

async fn into_small_letters() {
    let life = Life::start(
        Cluster::new("zone1").keyspace("commerce", &["0"]).vschema("{}"),
        Cluster::new("zone2").keyspace("customer", &["0"]).vschema("{}").first_uid(200).small_letters(),
    )
    .await
    .unwrap();
    life.source.run("commerce", MIXED).await.unwrap();
    let mut request = migrate("commerce", "customer");
    let refused = dry(&context(&life).await, &request).await;
    let blocking: Vec<_> =
        refused.report.blocking().map(|finding| (finding.id.as_str(), finding.subject.as_str())).collect();
    assert_eq!(blocking, [("LETTER_CASE", "table Big")], "{refused:?}");
    let error = life.create(request.clone()).await.unwrap_err();
    let text = "has lower_case_table_names=1 and would spell these tables in small letters";
    assert!(error.code() == Code::FailedPrecondition && error.message().contains(text), "{error:?}");
    request.exclude_tables = vec!["Big".to_owned()];
    moves(life, request, &["small"]).await;
}

async fn from_small_letters() {
    let life = Life::start(
        Cluster::new("zone3").keyspace("commerce", &["0"]).vschema("{}").first_uid(300).small_letters(),
        Cluster::new("zone4").keyspace("customer", &["0"]).vschema("{}").first_uid(400),
    )
    .await
    .unwrap();
    life.source.run("commerce", MIXED).await.unwrap();
    moves(life, migrate("commerce", "customer"), &["big", "small"]).await;
}

async fn moves(life: Life, request: MigrateCreateRequest, tables: &[&str]) {
    life.create(request).await.unwrap();
    life.until_running("customer").await.unwrap();
    life.until_same("commerce", "customer", tables).await.unwrap();
    until("a migration that has caught up", async || life.complete("customer").await.map(drop)).await.unwrap();
    life.expect_same("commerce", "customer", tables).await.unwrap();
    life.finish().await.unwrap();
}
