//! What pages must not show.

const MASK: &str = "***";

/// The value of a flag without secrets: whole values of flags that are named after one, and passwords in addresses.
pub fn mask(flag: &str, value: &str) -> String {
    let name = flag.trim_start_matches('-').replace('_', "-").to_lowercase();
    let named = ["password", "secret", "token", "credential", "headers"].iter().any(|word| name.contains(word));
    let is_path = name.ends_with("-file") || name.ends_with("-creds");
    if named && !is_path && !value.is_empty() { MASK.to_owned() } else { without_passwords(value) }
}

/// The command line without secrets.
pub fn mask_args(args: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut flag = String::new();
    let mask_one = |arg: String| match arg.strip_prefix("--").and_then(|rest| rest.split_once('=')) {
        Some((name, value)) => format!("--{name}={}", mask(name, value)),
        None if arg.starts_with("--") => {
            flag.clone_from(&arg);
            arg
        }
        None => mask(&std::mem::take(&mut flag), &arg),
    };
    args.into_iter().map(mask_one).collect()
}

/// `scheme://user:password@host` becomes `scheme://***@host`, everywhere in a text.
fn without_passwords(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        let end = after.find(['/', '?', '#', ',', ' ']).unwrap_or(after.len());
        rest = match after[..end].rfind('@') {
            Some(sign) => {
                shown.push_str(MASK);
                &after[sign..]
            }
            None => after,
        };
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_masked_wherever_they_are() {
        assert_eq!(mask("opentsdb-uri", "http://u:p@h:1/x,http://a:b@c"), "http://***@h:1/x,http://***@c");
        assert_eq!(mask("topo-global-server-address", "etcd:2379"), "etcd:2379");
        assert_eq!(mask("some-token", "abc"), "***");
        assert_eq!(mask("grpc-auth-static-password-file", "/etc/x.json"), "/etc/x.json");
    }

    #[test]
    fn the_command_line_keeps_its_shape() {
        let args = ["vtctld", "--my_secret", "abc", "--x=http://u:p@h", "--port", "1"].map(str::to_owned);
        assert_eq!(mask_args(args), ["vtctld", "--my_secret", "***", "--x=http://***@h", "--port", "1"]);
    }
}
