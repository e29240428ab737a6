//! The demonstration with few rows runs to its end, and its comparison finds what is wrong.

use std::process::Stdio;

use integration::{
    cluster::Cluster,
    demo::{
        SOURCE, TARGET, compare,
        data::{self, Sizes},
    },
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::Command,
};

/// The demonstration with few rows, and more arguments.
fn demonstration(more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_integration-demo"));
    command.args(["--rows", "500"]).args(more).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// The lines of the last summary, from its title on.
fn summary(text: &str) -> Vec<&str> {
    text.split("\n== Summary\n").last().unwrap_or_default().lines().collect()
}

fn expect_good_summary(text: &str) {
    let lines = summary(text);
    let told = |label: &str| {
        let line = lines.iter().find_map(|line| line.strip_prefix(label));
        line.unwrap_or_else(|| panic!("no {label} in {text}")).trim()
    };
    let diff = told("VDiff:");
    assert!(diff.starts_with("completed, ") && diff.ends_with(" rows compared, no difference"), "{diff}");
    assert_eq!((told("verdict:"), told("differences:")), ("GO", "none"), "{text}");
}

#[tokio::test]
async fn the_demonstration_ends_without_differences() {
    let output = demonstration(&[]).output().await.unwrap();
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{text}{errors}");
    expect_good_summary(&text);
    assert_eq!(text.lines().last(), Some("differences:     none"), "{text}{errors}");
    assert!(!text.contains('\x1b'), "escape sequences without a terminal: {text}");
    // each step comes after the one that it needs, with what its client answers
    let mut rest = &*text;
    for step in [
        " Migrate --workflow import --target-keyspace customer create ",
        " VDiff --workflow import --target-keyspace customer create --wait ",
        " VDiff --workflow import --target-keyspace customer show last --verbose\n",
        "\nVDiff Summary for customer.import (",
        "\nState:        completed\n",
        "\nHasMismatch:  false\n",
        "\nTable corder:\n",
        "$ vtmigrated advise verdict --server localhost:",
        "\nGO\n",
        "last VDiff: equal, ",
        " Migrate --workflow import --target-keyspace customer complete\n",
    ] {
        let (_, after) =
            rest.split_once(step).unwrap_or_else(|| panic!("no {step:?} where it belongs: {text}{errors}"));
        // lines end where the next ones begin
        rest = &text[text.len() - after.len() - usize::from(step.ends_with('\n'))..];
    }
}

#[tokio::test]
async fn a_demonstration_that_is_kept_serves_its_page_until_it_is_interrupted() {
    let mut child = demonstration(&["--keep"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut text = String::new();
    let page = loop {
        let line = lines.next_line().await.unwrap().unwrap_or_else(|| panic!("it ended: {text}"));
        if let Some(page) = line.strip_prefix("status page:     ") {
            break page.to_owned();
        }
        text.push_str(&format!("{line}\n"));
    };
    expect_good_summary(&text);
    let (host, path) = page.strip_prefix("http://").and_then(|page| page.split_once('/')).unwrap();
    let (status, body) = vtmigrated::http_get::page(host, host, &format!("/{path}"), 1 << 20).await.unwrap();
    assert_eq!(status, 200, "{page}");
    assert!(String::from_utf8_lossy(&body).contains("customer"), "{page}");
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    lines.into_inner().read_to_string(&mut text).await.unwrap();
    assert!(child.wait().await.unwrap().success(), "{text}");
}

#[tokio::test]
async fn lost_doubled_changed_and_misplaced_rows_are_found() {
    let (source, target) = tokio::try_join!(
        Cluster::new("zone1").keyspace(SOURCE, &["0"]).start(),
        Cluster::new("zone2").keyspace(TARGET, &["-80", "80-"]).first_uid(200).start(),
    )
    .unwrap();
    let sizes = Sizes::of(100);
    data::fill(&source, SOURCE, sizes).await.unwrap();
    // all rows on both shards: right for a reference table only
    data::fill(&target, TARGET, sizes).await.unwrap();
    let product = |sql: &'static str| async {
        target.shard(TARGET, "80-").unwrap().run(sql).await.unwrap();
        let compared = compare::all(&source, &target).await.unwrap();
        compared.into_iter().find(|table| table.table == "product").unwrap().differences
    };
    let compared = compare::all(&source, &target).await.unwrap();
    let of = |name: &str| compared.iter().find(|table| table.table == name).unwrap();
    assert_eq!(of("product").differences, Vec::<String>::new());
    for table in ["corder", "customer"] {
        let differences = &of(table).differences;
        assert!(differences[0].ends_with("rows of shard -80 belong to another shard"), "{differences:?}");
        assert!(differences[1].ends_with("rows of shard 80- belong to another shard"), "{differences:?}");
        assert!(differences[2].starts_with("0 rows only on the source:"), "{differences:?}");
        assert_eq!(differences.len(), 3);
    }
    let changed = product("UPDATE product SET price = 7 WHERE sku = 'SKU-1'").await;
    assert!(changed[0].starts_with("shard 80-: 1 rows only on the source:"), "{changed:?}");
    let lost = product("DELETE FROM product WHERE sku = 'SKU-1'").await;
    assert!(lost[0].contains("0 rows only on the target:"), "{lost:?}");
    target.finish().await.unwrap();
    source.finish().await.unwrap();
}
