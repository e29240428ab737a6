//! Addresses of servers: hosts and ports, nothing else, whoever gave them. A request, a record of another cluster, a setting: none
//! makes this program ask for a path, show a user's name, or speak to something that is no server.

use super::{Error, Result};

/// Kinds of topology whose addresses may have a scheme.
const WITH_SCHEME: &[&str] = &["etcd2", "consul"];

/// Checks the addresses of a topology, separated by commas (ZooKeeper's observers stand behind `|`).
///
/// # Errors
/// [`Error::Unreachable`] naming the first that is none.
pub fn check(kind: &str, servers: &str) -> Result<()> {
    let addresses = servers.split([',', '|']).map(str::trim).filter(|address| !address.is_empty());
    for address in addresses {
        let rest = ["http://", "https://"].iter().find_map(|scheme| address.strip_prefix(scheme));
        let rest = rest.filter(|_| WITH_SCHEME.contains(&kind)).unwrap_or(address);
        if !is_host_and_port(rest.strip_suffix('/').unwrap_or(rest)) {
            let detail = format!("bad address {address}: a host and a port are expected, nothing else");
            return Err(Error::Unreachable { kind: kind.to_owned(), server: servers.to_owned(), detail });
        }
    }
    Ok(())
}

/// True for `host:port` or a host alone; IPv6 stands in brackets.
pub fn is_host_and_port(address: &str) -> bool {
    let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => {
            let in_brackets = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '.' | '%' | '-' | '_');
            if host.is_empty() || !host.chars().all(in_brackets) {
                return false;
            }
            match rest {
                "" => return true,
                rest => ("v6", rest.strip_prefix(':')),
            }
        }
        None => address.split_once(':').map_or((address, Some("0")), |(host, port)| (host, Some(port))),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let named = !host.is_empty() && host.chars().all(plain);
    named
        && port.is_some_and(|port| {
            !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_addresses_and_nothing_else_is() {
        for good in
            ["e1:2379", "e1:2379,http://e2:2379/ , https://[::1]:2379", "10.0.0.1:1", "a_b.c-d", "[fe80::1%eth0]"]
        {
            check("etcd2", good).unwrap();
            check("consul", good).unwrap();
        }
        check("zk2", "z1:2181,z2:2181|z3:2181").unwrap();
        let hostile = [
            "http://169.254.169.254/latest/meta-data",
            "169.254.169.254/latest?x=:80",
            "a:1/v1/kv",
            "a:1?b",
            "a:1#b",
            "user@a:1",
            "http://user:pass@a:1",
            "unix:///var/run/x",
            "file:///etc/passwd",
            "a:b",
            "a:",
            "a:65536",
            "a:1:2",
            "[::1",
            "[]:1",
            "a b:1",
            "a\n:1",
            "ä:1",
            ":1",
        ];
        for bad in hostile {
            for kind in ["etcd2", "zk2", "consul"] {
                let error = check(kind, bad).unwrap_err().to_string();
                assert!(error.contains(&format!("bad address {bad}")), "{error}");
            }
        }
        check("zk2", "http://z1:2181").unwrap_err();
    }
}
