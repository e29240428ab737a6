//! The programs that the other tests stand on really run and really end.

use std::path::Path;

use integration::mysqld::Mysqld;

#[tokio::test]
async fn mysqld_keeps_its_rows_over_a_kill_and_leaves_nothing_behind() {
    let server = Mysqld::start().await.unwrap();
    server
        .run("", "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY); INSERT INTO d.t VALUES (1), (2)")
        .await
        .unwrap();
    let variables = "SELECT @@gtid_mode, @@binlog_format, @@binlog_row_image, @@log_bin, @@server_id";
    let row = server.rows("", variables).await.unwrap().remove(0);
    let expected = ("ON".to_owned(), "ROW".to_owned(), "FULL".to_owned(), 1, server.port());
    assert_eq!(mysql_async::from_row::<(String, String, String, i32, u16)>(row), expected);

    server.kill().unwrap();
    assert!(server.connect("").await.is_err());
    server.restart().await.unwrap();
    let count: i32 = mysql_async::from_row(server.rows("d", "SELECT COUNT(*) FROM t").await.unwrap().remove(0));
    assert_eq!(count, 2);

    let pid = server.process().pid().unwrap();
    let folder = server.process().path().to_owned();
    assert!(folder.exists() && process_exists(pid));
    drop(server);
    assert!(!folder.exists() && !process_exists(pid));
}

fn process_exists(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}
