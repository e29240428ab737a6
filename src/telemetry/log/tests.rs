use std::fs;

use jiff::Zoned;
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::telemetry::trace_ids::TraceIds;

fn options(folder: Option<PathBuf>) -> Options {
    Options {
        format: Format::Glog,
        level: Level::INFO,
        verbosity: 0,
        modules: Vec::new(),
        only_stderr: false,
        also_stderr: false,
        stderr_threshold: Severity::Fatal,
        folder,
        links: None,
        max_size: 1 << 20,
        keep: None,
        keep_by_change: None,
        purge_interval: Duration::from_secs(3600),
        sanitize: false,
    }
}

fn record() -> Record {
    let trace = TraceIds { trace: "0af7651916cd43dd8448eb211c80319c".into(), span: "b7ad6b7169203331".into() };
    Record {
        time: "2026-11-23T09:08:07.000123[UTC]".parse::<Zoned>().unwrap(),
        level: Level::WARN,
        severity: Severity::Warning,
        file: "app.rs",
        line: 57,
        target: "vtmigrated::app".into(),
        message: "line one\nE1122 forged".into(),
        fields: vec![("tasks", 2.into()), ("why", "two words".into())],
        spans: vec![("rpc.method", "vtctlservice.Vtctld/MountShow".into())],
        trace: Some(trace),
    }
}

#[test]
fn a_line_in_glogs_form_is_one_line() {
    let pid = format!("{:7}", std::process::id());
    assert_eq!(
        glog::line(&record()),
        format!(
            "W1123 09:08:07.000123 {pid} app.rs:57] line one\\nE1122 forged tasks=2 why=\"two words\" \
             rpc.method=vtctlservice.Vtctld/MountShow trace_id=0af7651916cd43dd8448eb211c80319c span_id=b7ad6b7169203331\n"
        )
    );
}

#[test]
fn a_line_in_json_is_one_object() {
    let line = json::line(&record());
    assert_eq!(line.matches('\n').count(), 1);
    let object: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(object["level"], "warn");
    assert_eq!(object["time"], "2026-11-23T09:08:07.000123Z");
    assert_eq!(object["message"], "line one\nE1122 forged");
    assert_eq!(object["tasks"], 2);
    assert_eq!(object["rpc.method"], "vtctlservice.Vtctld/MountShow");
    assert_eq!(object["trace_id"], "0af7651916cd43dd8448eb211c80319c");
}

/// Runs `work` with a log in `folder` and answers the text that each severity's link leads to.
fn logged(options: &Options, work: impl FnOnce()) -> [String; 3] {
    let folder = options.folder.clone().unwrap();
    let lines = Lines::open(options).unwrap().with_filter(Levels::new(options));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), work);
    let mut texts = ["INFO", "WARNING", "ERROR"].map(|_| String::new());
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        for (at, severity) in ["INFO", "WARNING", "ERROR"].iter().enumerate() {
            if entry.file_type().unwrap().is_symlink() && name.ends_with(&format!(".{severity}")) {
                texts[at] = fs::read_to_string(entry.path()).unwrap();
            }
        }
    }
    texts
}

#[test]
fn each_file_has_its_severity_and_above() {
    let folder = tempfile::tempdir().unwrap();
    let [info, warning, error] = logged(&options(Some(folder.path().to_owned())), || {
        let span = tracing::info_span!("rpc", rpc.method = "X");
        let _entered = span.enter();
        tracing::info!("to info");
        tracing::warn!(code = 3, "to warning");
        tracing::debug!("nowhere");
    });
    assert!(info.starts_with("Log file created at: "), "{info}");
    assert!(info.contains("] to info rpc.method=X\n") && info.contains("] to warning code=3 rpc.method=X\n"), "{info}");
    assert!(!warning.contains("to info") && warning.contains("] to warning code=3"), "{warning}");
    assert!(!info.contains("nowhere"), "{info}");
    assert_eq!(error, "");
}

#[test]
fn verbosity_adds_debugging_by_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(Some(folder.path().to_owned()));
    let work = || {
        tracing::debug!("detail");
        tracing::trace!("everything");
    };
    options.modules = vec![("other".into(), 9)];
    assert!(!logged(&options, work)[0].contains("detail"));
    options.modules = vec![("te*".into(), 1)];
    let [info, ..] = logged(&options, work);
    assert!(info.contains("] detail\n") && !info.contains("everything"), "{info}");
}

#[test]
fn a_full_file_is_followed_by_another() {
    let folder = tempfile::tempdir().unwrap();
    let links = tempfile::tempdir().unwrap();
    let mut options = options(Some(folder.path().to_owned()));
    options.max_size = 700;
    options.links = Some(links.path().to_owned());
    let [info, ..] = logged(&options, || {
        for number in 0..20 {
            tracing::info!(number, "a line that takes its place");
        }
        // names tell seconds
        std::thread::sleep(Duration::from_millis(1100));
        tracing::info!("the last");
    });
    assert!(info.contains("the last") && !info.contains("number=0 "), "{info}");
    assert_eq!(fs::read_dir(links.path()).unwrap().count(), 1);
}

#[test]
fn what_errors_quote_can_be_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(Some(folder.path().to_owned()));
    let work = || tracing::warn!(detail = "near 'secret'", "call failed");
    assert!(logged(&options, work)[1].contains("] call failed: near 'secret'\n"));
    options.sanitize = true;
    let folder = tempfile::tempdir().unwrap();
    options.folder = Some(folder.path().to_owned());
    assert!(logged(&options, work)[1].contains("] call failed: (not logged)\n"));
}
