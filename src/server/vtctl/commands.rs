//! The commands by name, their usages, and how one is run.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::console::Console;
use super::flags::{self, Flag, Parsed};
use super::{Error, Result};
use super::{cells, keyspaces, migrate, mount, rules, schemas, serving, shards, tablets, vdiff, vschemas, workflow};
use crate::context::Context;
use crate::deadline;
use crate::server::audit::{Entry, Who};

/// What runs a command.
pub type Handler = fn(Arc<Context>, Console, Parsed) -> BoxFuture<'static, Result<()>>;

/// How a command ends.
pub enum Action {
    /// With its client.
    Read(Handler),
    /// When it is done.
    Change(Handler),
    /// Prints what is here.
    Help,
}

/// One command.
pub struct Command {
    pub name: &'static str,
    /// What stands behind the name.
    pub params: &'static str,
    pub help: &'static str,
    pub flags: &'static [Flag],
    pub action: Action,
}

/// An async function as a [`Handler`].
macro_rules! handler {
    ($function:path) => {
        |context, console, args| Box::pin($function(context, console, args))
    };
}
pub(super) use handler;

const HELP: Command = Command {
    name: "Help",
    params: "[command name]",
    help: "Lists the commands, or shows how to use one.",
    flags: &[],
    action: Action::Help,
};

/// Groups as the list of commands has them.
const GROUPS: &[(&str, &[&[Command]])] = &[
    ("Tablets", &[tablets::COMMANDS]),
    ("Shards", &[shards::COMMANDS]),
    ("Keyspaces", &[keyspaces::COMMANDS, migrate::COMMANDS, vdiff::COMMANDS, mount::COMMANDS]),
    ("Generic", &[tablets::LISTS]),
    ("Schema, Version, Permissions", &[schemas::COMMANDS, vschemas::COMMANDS, rules::COMMANDS]),
    ("Serving Graph", &[serving::COMMANDS]),
    ("Workflow", &[workflow::COMMANDS]),
    ("Cells", &[cells::COMMANDS]),
    ("Others", &[&[HELP]]),
];

/// Runs a line of arguments.
pub async fn run(context: Arc<Context>, console: &Console, who: &Who, args: Vec<String>) -> Result<()> {
    let Some((name, args)) = args.split_first() else {
        console.print(format!("No command specified. Please see the list below:\n\n{}", list()));
        return Err(Error::usage("no command was specified", ""));
    };
    let command = find(name)?;
    let parsed = match Parsed::parse(command.flags, args) {
        Ok(parsed) => parsed,
        Err(flags::Error::Help) => {
            console.print(usage(command));
            return Ok(());
        }
        Err(error) => {
            console.print(format!("{error}\n{}", usage(command)));
            return Err(error.into());
        }
    };
    tracing::info!(command = command.name, "legacy command");
    match command.action {
        Action::Read(handler) => {
            let work = deadline::scope(console.until(), handler(context, console.clone(), parsed));
            tokio::select! {
                done = work => done,
                () = console.gone() => Ok(()),
            }
        }
        Action::Change(handler) => {
            let line = Entry::command(who, command.name, &parsed.rest);
            let done = handler(context, console.clone(), parsed).await;
            line.end(&done);
            done
        }
        Action::Help => help(console, &parsed),
    }
}

fn find(name: &str) -> Result<&'static Command> {
    let found = all().find(|command| command.name.eq_ignore_ascii_case(name));
    found.ok_or_else(|| {
        let shown: String = name.chars().take(64).filter(|c| !c.is_control()).collect();
        Error::not_served(format!("unknown command: {shown}"))
    })
}

fn all() -> impl Iterator<Item = &'static Command> {
    GROUPS.iter().flat_map(|(_, files)| files.iter()).flat_map(|commands| commands.iter())
}

fn help(console: &Console, args: &Parsed) -> Result<()> {
    match args.rest.as_slice() {
        [] => console.print(format!("Available commands:\n\n{}", list())),
        [name] => console.print(usage(find(name)?)),
        _ => {
            let text = "when calling the Help command, either specify a single argument that identifies the name of \
                        the command to get help with or do not specify any additional arguments";
            return Err(Error::usage(text, ""));
        }
    }
    Ok(())
}

fn list() -> String {
    let mut text = String::new();
    for (group, files) in GROUPS {
        text.push_str(&format!("{group}:\n"));
        for command in files.iter().flat_map(|commands| commands.iter()) {
            text.push_str(&format!("  {} {}\n", command.name, command.params));
        }
        text.push('\n');
    }
    text
}

fn usage(command: &Command) -> String {
    let Command { name, params, help, flags, .. } = command;
    format!("Usage: {name} {params}\n\n{help}\n\n{}\n", flags::usages(flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_flags_are_there_once() {
        let mut names: Vec<String> = all().map(|command| command.name.to_ascii_lowercase()).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        for command in all() {
            let mut flags: Vec<String> = command.flags.iter().map(|flag| flag.name.replace('_', "-")).collect();
            flags.sort();
            flags.dedup();
            assert_eq!(flags.len(), command.flags.len(), "{}", command.name);
            // every default can be read
            for flag in command.flags {
                let given = [format!("--{}={}", flag.name, flag.default)];
                assert!(Parsed::parse(command.flags, &given).is_ok(), "{} {}", command.name, flag.name);
            }
        }
        assert!(find("mOuNt").is_ok());
        assert!(find("EmergencyReparentShard").is_err());
    }
}
