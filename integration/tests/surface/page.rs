//! The status page in a real browser, during a whole migration on real etcd and MySQL. Its screenshots are in the folder
//! `screenshots` of the target folder.

mod browser;
mod way_back;

use std::time::Duration;

use browser::{Browser, Look};
use integration::{
    cluster::Cluster,
    life::{Life, WORKFLOW, migrate},
};
use serde_json::Value;
use vtmigrated_proto::{
    tabletmanagerdata::TabletSelectionPreference, topodata::TabletType, vtctldata::VDiffCreateRequest,
};

const TABLES: [(&str, u32); 8] = [
    ("account", 3000),
    ("customer", 16_000),
    ("corder", 30_000),
    ("invoice", 9000),
    ("line_item", 40_000),
    ("payment", 9000),
    ("product", 400),
    ("shipment", 12_000),
];
const SOURCE: [&str; 2] = ["-80", "80-"];
const TARGET: [&str; 4] = ["-40", "40-80", "80-c0", "c0-"];
/// Between two packets of rows: the copy takes some seconds.
const ROW_PAUSE: Duration = Duration::from_millis(600);

/// Tables whose rows are odd on the first source shard and even on the second one.
fn schema(shard: usize) -> String {
    let mut sql = "SET SESSION cte_max_recursion_depth = 1000000;".to_owned();
    for (table, rows) in TABLES {
        sql.push_str(&format!(
            "CREATE TABLE {table} (id BIGINT NOT NULL PRIMARY KEY, word VARCHAR(60), n INT, note VARCHAR(200)); \
             INSERT INTO {table} WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
             SELECT i * 2 - {shard}, CONCAT('word ', i), i % 97, REPEAT('x', 120) FROM n;"
        ));
    }
    sql
}

fn vschema(vindex: &str) -> String {
    let table = |(name, _): &(&str, u32)| {
        format!(r#""{name}": {{"columnVindexes": [{{"column": "id", "name": "{vindex}"}}]}}"#)
    };
    let tables: Vec<String> = TABLES.iter().map(table).collect();
    format!(
        r#"{{"sharded": true, "vindexes": {{"{vindex}": {{"type": "{vindex}"}}}}, "tables": {{{}}}}}"#,
        tables.join(", ")
    )
}

async fn start() -> Life {
    let source = Cluster::new("zone1").keyspace("commerce", &SOURCE).vschema(&vschema("hash")).row_pause(ROW_PAUSE);
    let target = Cluster::new("zone2").keyspace("customer", &TARGET).vschema(&vschema("xxhash")).first_uid(200);
    let life = Life::start_with(source, target, &["--watch-interval=1s"]).await.unwrap();
    for (number, name) in SOURCE.iter().enumerate() {
        life.source.shard("commerce", name).unwrap().run(&schema(number)).await.unwrap();
    }
    life
}

/// Waits until a step of the timeline is in that state.
async fn until_step(browser: &Browser, number: usize, state: &str) {
    browser.until(&format!("document.querySelector('#head .timeline li:nth-child({number}).{state}') !== null")).await;
}

/// The three looks of a moment.
async fn pictures(browser: &Browser, names: [&'static str; 3]) {
    let [light, dark, phone] = names;
    browser.screenshot(&Look { name: light, dark: false, width: 1280, phone: false }).await;
    browser.screenshot(&Look { name: dark, dark: true, width: 1280, phone: false }).await;
    browser.screenshot(&Look { name: phone, dark: false, width: 390, phone: true }).await;
    browser.ask("Emulation.clearDeviceMetricsOverride", serde_json::json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_is_seen_from_its_mount_to_its_end_without_a_reload() {
    let life = start().await;
    let root = format!("http://{}", life.server.http_address());
    let browser = Browser::start().await;
    browser.open(&format!("{root}/")).await;
    // the page that was opened here is the same until the end of this part
    browser.value("window.opened = true").await;
    browser.until_text("#live", "live").await;
    browser.until_text("#mounts", "ext1 reachable").await;
    browser.until_text("#mounts", "Used by nobody").await;
    browser.until_text("#migrations", "No migration yet.").await;
    keyboard(&browser).await;

    life.create(migrate("commerce", "customer")).await.unwrap();
    browser.until_text("#migrations .card h2", "customer.import").await;
    browser.until_text("#migrations .card .badge", "copying").await;
    browser.until_text("#mounts", "Used by customer.import").await;
    browser.until("document.querySelector('#migrations progress')?.value > 3").await;
    pictures(&browser, ["overview-light", "overview-dark", "overview-phone"]).await;
    assert_eq!(browser.value("window.opened").await, Value::Bool(true));

    copying(&browser, &root, &life).await;
    stopped_and_started(&browser, &life).await;
    compared(&browser, &life).await;
    way_back::prepare(&browser, &life).await;
    browser.value("document.querySelector('#streams details').open = true").await;
    life.complete("customer").await.unwrap();
    until_step(&browser, 5, "done").await;
    browser.until_text("#head", "completed").await;
    // what was opened stays so while parts are replaced
    assert_eq!(browser.value("document.querySelector('#streams details').open").await, Value::Bool(true));
    assert_eq!(browser.value("window.opened").await, Value::Bool(true));
    pictures(&browser, ["completed-light", "completed-dark", "completed-phone"]).await;
    way_back::run_and_go_back(&browser, &life).await;
    assert_eq!(browser.value("window.opened").await, Value::Bool(true));
    json_says_the_same(&browser, &root).await;
    assert_eq!(browser.complaints(), Vec::<String>::new());

    // a server that comes back is found again
    browser.open(&format!("{root}/")).await;
    browser.value("window.opened = true").await;
    browser.until_text("#live", "live").await;
    life.server.kill9().unwrap();
    browser.until_text("#live", "connection lost").await;
    life.server.restart().await.unwrap();
    browser.until_text("#live", "live").await;
    assert_eq!(browser.value("window.opened").await, Value::Bool(true));
    browser.close().await;
    life.finish().await.unwrap();
}

/// The first key leads past the head, the next ones through the links.
async fn keyboard(browser: &Browser) {
    browser.press("Tab").await;
    browser.until("document.activeElement.className === 'skip'").await;
    for _ in 0..3 {
        browser.press("Tab").await;
    }
    browser.until("document.activeElement.tagName === 'A' && document.activeElement.className !== 'skip'").await;
    for landmark in ["header", "main", "nav[aria-label]", "footer"] {
        browser.until(&format!("document.querySelectorAll('{landmark}').length >= 1")).await;
    }
}

/// Progress moves by itself.
async fn copying(browser: &Browser, root: &str, life: &Life) {
    let page = format!("{root}/app/customer/{WORKFLOW}");
    browser.open(&page).await;
    browser.value("window.opened = true").await;
    browser.until_text("#head h1", WORKFLOW).await;
    browser.until("document.querySelectorAll('#streams path.stream').length === 8").await;
    browser.until("document.querySelectorAll('#tables tbody tr').length === 8").await;
    browser.until("document.querySelector('#tables .num[data-label=Rate]')?.innerText.includes('rows/s')").await;
    pictures(browser, ["copying-light", "copying-dark", "copying-phone"]).await;
    let before = browser.value("document.querySelector('#head progress').value").await.as_f64().unwrap();
    assert!(before < 100.0);
    browser.until(&format!("(document.querySelector('#head progress')?.value ?? 100) > {before}")).await;
    life.until_running("customer").await.unwrap();
    until_step(browser, 3, "now").await;
    assert_eq!(browser.value("window.opened").await, Value::Bool(true));
}

/// What is wrong is told with a command.
async fn stopped_and_started(browser: &Browser, life: &Life) {
    life.stop_streams("customer").await.unwrap();
    browser.until_text("#trouble", "its state is Stopped").await;
    browser.until_text("#trouble code", "NOT_RUNNING").await;
    browser.until_text("#head .badge", "in trouble").await;
    browser.until_text("#trouble", "8 streams: ").await;
    browser.until_text("#trouble", &format!("Workflow --keyspace customer start --workflow {WORKFLOW}")).await;
    pictures(browser, ["trouble-light", "trouble-dark", "trouble-phone"]).await;
    life.start_streams("customer").await.unwrap();
    browser.until("!document.querySelector('#trouble .problem.bad')").await;
}

/// The rows are compared, and the page says so.
async fn compared(browser: &Browser, life: &Life) {
    let request = VDiffCreateRequest {
        workflow: WORKFLOW.to_owned(),
        target_keyspace: "customer".to_owned(),
        tablet_types: vec![TabletType::Primary.into()],
        tablet_selection_preference: TabletSelectionPreference::Any.into(),
        limit: i64::MAX,
        max_extra_rows_to_compare: 1000,
        auto_retry: true,
        ..VDiffCreateRequest::default()
    };
    life.client().v_diff_create(request).await.unwrap();
    browser.until_text("#vdiff", "rows compared").await;
    browser.until_text("#vdiff", "no difference").await;
    browser.until("!document.querySelector('#vdiff .facts b').innerText.startsWith('0')").await;
    until_step(browser, 4, "done").await;
    browser.until("document.querySelector('#lag path.area') !== null").await;
    browser.until_text("#head .tiles", "Complete GO").await;
    pictures(browser, ["diffed-light", "diffed-dark", "diffed-phone"]).await;
}

async fn json_says_the_same(browser: &Browser, root: &str) {
    let get = async |path: &str| {
        let text = browser.value(&format!("fetch('{path}').then((answer) => answer.text())")).await;
        serde_json::from_str::<Value>(text.as_str().unwrap()).unwrap()
    };
    let mounts = get("/api/mounts").await;
    assert_eq!((&mounts["mounts"][0]["name"], &mounts["mounts"][0]["reachable"]), (&"ext1".into(), &true.into()));
    let migrations = get("/api/migrations").await;
    assert_eq!(migrations["migrations"][0]["stage"], "completed", "{migrations}");
    let one = get(&format!("/api/migrations/customer/{WORKFLOW}")).await;
    assert_eq!(one["tables"].as_array().unwrap().len(), TABLES.len());
    // the last that was seen: complete may have deleted some of the eight by then
    assert!(!one["streams"].as_array().unwrap().is_empty(), "{one}");
    let first = format!(
        "new Promise((told) => {{ const source = new EventSource('{root}/api/events'); \
         source.addEventListener('snapshot', (event) => {{ source.close(); told(event.data); }}); }})"
    );
    let told: Value = serde_json::from_str(browser.value(&first).await.as_str().unwrap()).unwrap();
    assert_eq!(told["migrations"][0]["copy"]["percent"], 100.0, "{told}");
}
