//! What the operating system and the build know of the process.

use std::fs;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use crate::telemetry::build;

/// Bytes of a page, and ticks of a second, on all Linux systems that we build for.
const PAGE: u64 = 4096;
const TICKS: f64 = 100.0;

/// Registers the gauges; they are read when somebody looks.
pub(super) fn observe(meter: &Meter, started: Instant) {
    let gauge = |name: &'static str, text: &'static str, read: fn() -> u64| {
        meter.u64_observable_gauge(name).with_description(text).with_callback(move |o| o.observe(read(), &[])).build()
    };
    gauge("vtctld_max_fds", "File descriptor limit", || limit("Max open files"));
    gauge("process_max_fds", "Maximum number of open file descriptors.", || limit("Max open files"));
    gauge("process_open_fds", "Number of open file descriptors.", open_files);
    gauge("process_resident_memory_bytes", "Resident memory size in bytes.", || statm(1) * PAGE);
    gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", || statm(0) * PAGE);
    let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() - started.elapsed();
    meter
        .f64_observable_gauge("process_start_time_seconds")
        .with_description("Start time of the process since unix epoch in seconds.")
        .with_callback(move |o| o.observe(epoch.as_secs_f64(), &[]))
        .build();
    meter
        .f64_observable_counter("process_cpu_seconds_total")
        .with_description("Total user and system CPU time spent in seconds.")
        .with_callback(|o| o.observe(cpu_seconds(), &[]))
        .build();
    meter
        .u64_observable_gauge("vtctld_uptime")
        .with_description("Uptime in nanoseconds")
        .with_callback(move |o| o.observe(u64::try_from(started.elapsed().as_nanos()).unwrap_or_default(), &[]))
        .build();
    meter
        .i64_observable_gauge("vtctld_build_number")
        .with_description("build number")
        .with_callback(|o| o.observe(build::number(), &[]))
        .build();
    meter
        .i64_observable_gauge("vtctld_build_timestamp")
        .with_description("build timestamp")
        .with_callback(|o| o.observe(build::timestamp(), &[]))
        .build();
    let facts = super::vars::build_labels().map(|(name, value)| KeyValue::new(name, value));
    meter
        .u64_observable_gauge("vtctld_build_information")
        .with_description("build information exposed via label")
        .with_callback(move |o| o.observe(1, &facts))
        .build();
}

fn limit(name: &str) -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|soft| soft.parse().ok()).unwrap_or_default()
}

fn open_files() -> u64 {
    fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}

fn statm(at: usize) -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split_whitespace().nth(at).and_then(|field| field.parse().ok()).unwrap_or_default()
}

fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // the second field is a name in parentheses, which may hold blanks; user and system time are the 14th and 15th
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / TICKS
}
