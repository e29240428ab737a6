use super::*;

/// All tests of the process share the meters: cells tell them apart.
fn installed() {
    let options = Options { dropped: vec!["buildnumber".into()], ..Options::default() };
    install(options, &otlp::Options::default(), Instant::now()).unwrap();
}

#[test]
fn stocks_names_are_in_both_forms() {
    installed();
    let cell: Arc<str> = "zone-a".into();
    topology_operation("Get", &cell, Duration::from_millis(2), true);
    topology_operation("Get", &cell, Duration::from_secs(60), false);
    topology_read_wait("Get", &cell, Duration::ZERO);
    tablet_connection(true);
    mounted_tablet("source:1".into());
    for address in ["source:1", "target:1"] {
        tablet_call("tabletmanagerservice.TabletManager/Ping", address, "OK", Duration::from_millis(1));
    }
    rpc("vtctlservice.Vtctld/MountShow".into(), "NOT_FOUND", Duration::from_millis(1));
    let text = prometheus_text();
    for line in [
        "vtctld_topology_conn_errors{Cell=\"zone-a\",Operation=\"Get\"} 1",
        "vtctld_topology_conn_operations_bucket{Cell=\"zone-a\",Operation=\"Get\",le=\"0.005\"} 1",
        "vtctld_topology_conn_operations_count{Cell=\"zone-a\",Operation=\"Get\"} 2",
        "vtctld_topology_conn_read_waits_count{Cell=\"zone-a\",Operation=\"Get\"} 1",
        "rpc_server_call_duration_seconds_count{rpc_method=\"vtctlservice.Vtctld/MountShow\",rpc_response_status_code=\"NOT_FOUND\"} 1",
        "rpc_client_call_duration_seconds_count{rpc_method=\"tabletmanagerservice.TabletManager/Ping\",rpc_response_status_code=\"OK\",vitess_cluster=\"local\"} 1",
        "rpc_client_call_duration_seconds_count{rpc_method=\"tabletmanagerservice.TabletManager/Ping\",rpc_response_status_code=\"OK\",vitess_cluster=\"mount\"} 1",
        "vtmigrated_rpc_errors_total{rpc_method=\"vtctlservice.Vtctld/MountShow\",rpc_response_status_code=\"NOT_FOUND\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    for name in ["vtctld_build_information{", "vtctld_build_timestamp ", "vtctld_uptime ", "process_open_fds "] {
        assert!(text.contains(name), "{name} is not in\n{text}");
    }
    let found = variables();
    assert_eq!(found["TopologyConnErrors"]["Get.zone-a"], 1);
    let timings = &found["TopologyConnOperations"]["Histograms"]["Get.zone-a"];
    assert_eq!((&timings["5000000"], &timings["inf"], &timings["Count"]), (&1.into(), &1.into(), &2.into()));
    assert_eq!(timings["Time"], 60_002_000_000_i64);
    assert!(found["Uptime"].as_i64().unwrap() > 0);
    assert!(found["MaxFds"].as_i64().unwrap() > 0);
    assert_eq!(found["BuildVersion"], format!("24.0.4-vtmigrated-{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(found["GRPCServerErrors"]["vtctlservice_Vtctld/MountShow.NOT_FOUND"], 1);
}

#[test]
fn dropped_variables_are_in_neither() {
    installed();
    assert!(!prometheus_text().contains("vtctld_build_number"));
    assert!(!variables().contains_key("BuildNumber"));
}
