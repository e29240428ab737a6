//! Arguments of commands as Go's flag packages read them, of every age: one dash or two, `_` or `-` in names, values
//! behind `=` or as the next argument, flags before and behind what is no flag.

use std::collections::BTreeMap;
use std::time::Duration;

/// What a flag's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Alone, or with `=true` and Go's other words.
    Bool,
    Text,
    /// Names separated by commas; several flags add up.
    List,
    Whole,
    /// Such as `30s`.
    Time,
}

/// A flag that a command takes.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    pub name: &'static str,
    pub kind: Kind,
    pub default: &'static str,
    pub help: &'static str,
}

/// Declares a flag.
pub const fn flag(kind: Kind, name: &'static str, default: &'static str, help: &'static str) -> Flag {
    Flag { name, kind, default, help }
}

/// Why arguments cannot be read, in the words of Go's pflag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("flag: help requested")]
    Help,
    #[error("unknown flag: --{0}")]
    Unknown(String),
    #[error("flag needs an argument: --{0}")]
    NoValue(&'static str),
    #[error("invalid argument \"{value}\" for \"--{flag}\" flag: {why}")]
    Invalid { flag: &'static str, value: String, why: &'static str },
}

/// Arguments of one command.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    flags: &'static [Flag],
    set: BTreeMap<&'static str, String>,
    /// What is no flag, in order.
    pub rest: Vec<String>,
}

impl Parsed {
    /// Reads what stands behind a command's name.
    ///
    /// A first `--` is what clients of v14 and later put between their own flags and those of the command; a further one
    /// ends the flags. What begins with a dash and a digit is no flag but a shard.
    pub fn parse(flags: &'static [Flag], args: &[String]) -> Result<Self, Error> {
        let args = args.strip_prefix(&["--".to_owned()]).unwrap_or(args);
        let mut parsed = Self { flags, ..Self::default() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let Some((name, value)) = split(arg) else {
                if arg == "--" {
                    parsed.rest.extend(args.cloned());
                    break;
                }
                parsed.rest.push(arg.clone());
                continue;
            };
            let Some(flag) = flags.iter().find(|flag| same_name(flag.name, name)) else {
                return Err(match name {
                    "help" | "h" => Error::Help,
                    _ => Error::Unknown(name.chars().take(64).collect()),
                });
            };
            let value = match (value, flag.kind) {
                (Some(value), _) => value.to_owned(),
                (None, Kind::Bool) => "true".to_owned(),
                (None, _) => args.next().cloned().ok_or(Error::NoValue(flag.name))?,
            };
            parsed.put(flag, value)?;
        }
        Ok(parsed)
    }

    fn put(&mut self, flag: &'static Flag, value: String) -> Result<(), Error> {
        let why = match flag.kind {
            Kind::Bool if boolean(&value).is_none() => "it is neither true nor false",
            Kind::Whole if value.parse::<i64>().is_err() => "it is not a whole number",
            Kind::Time if humantime::parse_duration(&value).is_err() => "it is not a duration such as 30s",
            Kind::List => {
                let list = self.set.entry(flag.name).or_default();
                if !list.is_empty() {
                    list.push(',');
                }
                list.push_str(&value);
                return Ok(());
            }
            _ => {
                self.set.insert(flag.name, value);
                return Ok(());
            }
        };
        let value = value.chars().take(64).collect();
        Err(Error::Invalid { flag: flag.name, value, why })
    }

    /// True when the flag was given.
    pub fn is_set(&self, name: &str) -> bool {
        self.set.contains_key(name)
    }

    /// The value, or the default.
    pub fn text(&self, name: &str) -> &str {
        match self.set.get(name) {
            Some(value) => value,
            None => self.flags.iter().find(|flag| flag.name == name).map_or("", |flag| flag.default),
        }
    }

    /// True when the flag is on.
    pub fn is_on(&self, name: &str) -> bool {
        boolean(self.text(name)).unwrap_or_default()
    }

    /// The names of a list, without blanks around them.
    pub fn list(&self, name: &str) -> Vec<String> {
        let names = self.text(name).split(',').map(str::trim);
        names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    /// A whole number.
    pub fn number(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or_default()
    }

    /// A span of time.
    pub fn time(&self, name: &str) -> Duration {
        humantime::parse_duration(self.text(name)).unwrap_or_default()
    }
}

/// Name and value of an argument that is a flag.
fn split(arg: &str) -> Option<(&str, Option<&str>)> {
    let name = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-'))?;
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    Some(name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value))))
}

fn same_name(known: &str, given: &str) -> bool {
    let dashes = |c: char| if c == '_' { '-' } else { c };
    known.chars().map(dashes).eq(given.chars().map(dashes))
}

/// Go's words for true and false.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// The lines that tell of a command's flags, ascending.
pub fn usages(flags: &[Flag]) -> String {
    let mut flags: Vec<&Flag> = flags.iter().collect();
    flags.sort_by_key(|flag| flag.name);
    let head = |flag: &Flag| {
        let kind = match flag.kind {
            Kind::Bool => "",
            Kind::Text => " string",
            Kind::List => " strings",
            Kind::Whole => " int",
            Kind::Time => " duration",
        };
        format!("      --{}{kind}", flag.name)
    };
    let width = flags.iter().map(|flag| head(flag).len()).max().unwrap_or_default();
    let mut lines = String::new();
    for flag in flags {
        let default = match (flag.default, flag.kind) {
            ("" | "false", _) => String::new(),
            (text, Kind::Text) => format!(" (default \"{text}\")"),
            (other, _) => format!(" (default {other})"),
        };
        lines.push_str(&format!("{:width$}   {}{default}\n", head(flag), flag.help));
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FLAGS: &[Flag] = &[
        flag(Kind::Bool, "all", "false", "everything"),
        flag(Kind::Bool, "auto_start", "true", "at once"),
        flag(Kind::Text, "source", "", "where from"),
        flag(Kind::Text, "tablet_types", "in_order:REPLICA,PRIMARY", "who"),
        flag(Kind::List, "cells", "", "where"),
        flag(Kind::Time, "timeout", "30s", "how long"),
        flag(Kind::Whole, "limit", "7", "how many"),
    ];

    fn parse(line: &str) -> Result<Parsed, Error> {
        Parsed::parse(FLAGS, &line.split(' ').filter(|arg| !arg.is_empty()).map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn clients_of_every_age_are_understood() {
        for line in [
            "-all -source ext1.load Create commerce.wf",
            "--all --source ext1.load Create commerce.wf",
            "-- --all --source ext1.load Create commerce.wf",
            "-- -all=true -source=ext1.load Create commerce.wf",
            "Create --source=ext1.load commerce.wf --all=T",
            "-- Create commerce.wf --all --source ext1.load",
            "--all --source ext1.load -- Create commerce.wf",
        ] {
            let parsed = parse(line).unwrap();
            assert!(parsed.is_on("all") && parsed.is_on("auto_start"), "{line}");
            assert_eq!((parsed.text("source"), parsed.rest.join(" ").as_str()), ("ext1.load", "Create commerce.wf"));
        }
        let parsed =
            parse("--tablet-types=replica --auto-start=0 -timeout 1m30s --cells a,b --cells c -80 x --limit -1");
        let parsed = parsed.unwrap();
        assert_eq!((parsed.text("tablet_types"), parsed.is_on("auto_start")), ("replica", false));
        assert_eq!((parsed.time("timeout").as_secs(), parsed.number("limit")), (90, -1));
        assert_eq!((parsed.list("cells").join(" ").as_str(), parsed.rest.join(" ").as_str()), ("a b c", "-80 x"));
        assert!(parsed.is_set("cells") && !parsed.is_set("source") && parsed.list("source").is_empty());
        assert_eq!(parse("--source= x -- -all -- y").unwrap().rest.join(" "), "x -all -- y");
    }

    #[test]
    fn refusals_are_worded_as_pflag_words_them() {
        for (line, text) in [
            ("--nope", "unknown flag: --nope"),
            ("-nope=1", "unknown flag: --nope"),
            ("--source", "flag needs an argument: --source"),
            ("--timeout 5", "invalid argument \"5\" for \"--timeout\" flag: it is not a duration such as 30s"),
            ("--limit x", "invalid argument \"x\" for \"--limit\" flag: it is not a whole number"),
            ("--all=maybe", "invalid argument \"maybe\" for \"--all\" flag: it is neither true nor false"),
            ("-- --help", "flag: help requested"),
            ("-h", "flag: help requested"),
        ] {
            assert_eq!(parse(line).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn usages_are_aligned_and_tell_defaults() {
        let lines = usages(FLAGS);
        assert!(lines.starts_with("      --all                   everything\n"), "{lines}");
        assert!(
            lines.contains("      --tablet_types string   who (default \"in_order:REPLICA,PRIMARY\")\n"),
            "{lines}"
        );
        assert!(lines.contains("      --timeout duration      how long (default 30s)\n"), "{lines}");
    }

    proptest! {
        #[test]
        fn spellings_of_a_value_are_the_same(value in "[ -~]{0,20}", dashes in 1usize..3, name in "tablet[_-]types") {
            let dashes = "-".repeat(dashes);
            let joined = Parsed::parse(FLAGS, &[format!("{dashes}{name}={value}"), "x".into()]).unwrap();
            let apart = Parsed::parse(FLAGS, &[format!("{dashes}{name}"), value.clone(), "x".into()]).unwrap();
            prop_assert_eq!(joined.text("tablet_types"), &value);
            prop_assert_eq!(apart.text("tablet_types"), &value);
            prop_assert_eq!((joined.rest, apart.rest), (vec!["x".to_owned()], vec!["x".to_owned()]));
        }

        #[test]
        fn any_arguments_are_read_or_refused(args in proptest::collection::vec("\\PC{0,12}|-{0,3}[a-z]{0,4}(=.{0,3})?", 0..8)) {
            if let Ok(parsed) = Parsed::parse(FLAGS, &args) {
                prop_assert!(parsed.rest.len() <= args.len());
            }
        }
    }
}
