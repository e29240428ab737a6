//! A real MySQL server: a copy of the data folder that `integration/setup` has initialised, on a free port of 127.0.0.1.

use std::{ffi::OsString, os::unix::fs::MetadataExt, path::Path, time::Duration};

use mysql_async::{Conn, Opts, OptsBuilder, Row, prelude::Queryable};
use tempfile::TempDir;

use crate::{
    ports::Port,
    process::{self, Process, Program},
};

const READY: Duration = Duration::from_secs(60);
/// As `integration/setup` makes them.
const USERS: &str = "CREATE USER 'root'@'%' IDENTIFIED BY '';\nGRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;\n";

/// Why a MySQL server could not be started or asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Process(#[from] process::Error),
    #[error("mysqld: {0}")]
    Io(#[from] std::io::Error),
    #[error("mysqld: {0}")]
    Sql(#[from] mysql_async::Error),
}

/// Which of the MySQL servers that `integration/setup` has made ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Release {
    /// 8.0: the one that most tests run on. It knows no semi-synchronous replication.
    #[default]
    V8,
    /// 9, the newest that Debian has.
    V9,
}

impl Release {
    /// What the names of this release's files in `.integration` end with, and where its program is.
    fn files(self) -> (&'static str, &'static str) {
        match self {
            Self::V8 => ("", "bin/mysqld"),
            Self::V9 => ("-9", "mysql-9/bin/mysqld"),
        }
    }

    /// The newest that is here: the demonstration needs one only, and takes whichever there is.
    #[must_use]
    pub fn installed() -> Self {
        let (suffix, program) = Self::V9.files();
        let files = [format!("template{suffix}/.ready"), format!("my{suffix}.cnf"), program.to_owned()];
        if files.iter().all(|file| process::installed(file).is_ok()) { Self::V9 } else { Self::V8 }
    }
}

/// A running `mysqld` with row binlogs and GTIDs. `root` has no password. Dropping it kills the server and removes its data.
#[derive(Debug)]
pub struct Mysqld {
    process: Process,
    port: Port,
}

impl Mysqld {
    /// Starts a server with fresh data and waits until it answers.
    ///
    /// # Errors
    /// `integration/setup` has not been run, or the server does not come up.
    pub async fn start() -> Result<Self, Error> {
        Self::start_release(Release::V8).await
    }

    /// The same with a server of another release.
    ///
    /// # Errors
    /// As [`Mysqld::start`].
    pub async fn start_release(release: Release) -> Result<Self, Error> {
        let (suffix, program) = release.files();
        let folder = process::folder("mysqld")?;
        let data = folder.path().join("data");
        copy(&process::installed(&format!("template{suffix}"))?, &data).await?;
        Self::start_in(folder, (suffix, program), &[]).await
    }

    /// The same with a server that spells the names of tables in small letters. It does so from its birth on, so its data are
    /// made here, which takes seconds.
    ///
    /// # Errors
    /// As [`Mysqld::start`].
    pub async fn start_in_small_letters() -> Result<Self, Error> {
        let small = "lower-case-table-names=1";
        let (suffix, program) = Release::V8.files();
        let folder = process::folder("mysqld")?;
        let users = folder.path().join("users.sql");
        std::fs::write(&users, USERS)?;
        let mut command = tokio::process::Command::new(process::installed(program)?);
        command.arg(flag("defaults-file", process::installed(&format!("my{suffix}.cnf"))?));
        command.arg(flag("user", user_name()?)).arg(flag("datadir", folder.path().join("data")));
        command.arg(flag("init-file", &users)).arg(format!("--{small}"));
        command.args(["--initialize-insecure", "--skip-log-bin"]);
        succeed(command).await?;
        Self::start_in(folder, (suffix, program), &[small]).await
    }

    async fn start_in(
        folder: TempDir,
        (suffix, program): (&'static str, &'static str),
        more: &[&str],
    ) -> Result<Self, Error> {
        let port = Port::free()?;
        let mut args: Vec<OsString> = vec![
            flag("defaults-file", process::installed(&format!("my{suffix}.cnf"))?),
            flag("user", user_name()?),
            flag("datadir", folder.path().join("data")),
            flag("port", port.number().to_string()),
            flag("server-id", port.number().to_string()),
            flag("socket", "mysql.sock"),
            flag("pid-file", "mysqld.pid"),
            flag("tmpdir", folder.path()),
        ];
        args.extend(more.iter().map(|more| format!("--{more}").into()));
        let program = Program { name: "mysqld".to_owned(), path: process::installed(program)?, args, env: Vec::new() };
        let server = Self { process: Process::start(program, folder)?.watched(), port };
        server.ready().await?;
        Ok(server)
    }

    /// The TCP port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// How to connect as root, to `database` if that is not empty.
    #[must_use]
    pub fn opts(&self, database: &str) -> Opts {
        let database = (!database.is_empty()).then_some(database);
        let builder = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(self.port()).prefer_socket(false);
        builder.user(Some("root")).db_name(database).into()
    }

    /// A new connection as root, to `database` if that is not empty.
    ///
    /// # Errors
    /// The server does not answer or the database does not exist.
    pub async fn connect(&self, database: &str) -> Result<Conn, Error> {
        Ok(Conn::new(self.opts(database)).await?)
    }

    /// Runs `sql`, which may be several statements, and drops what it returns.
    ///
    /// # Errors
    /// The server's.
    pub async fn run(&self, database: &str, sql: &str) -> Result<(), Error> {
        let mut conn = self.connect(database).await?;
        conn.query_drop(sql).await?;
        Ok(conn.disconnect().await?)
    }

    /// Runs one query and returns all rows.
    ///
    /// # Errors
    /// The server's.
    pub async fn rows(&self, database: &str, sql: &str) -> Result<Vec<Row>, Error> {
        let mut conn = self.connect(database).await?;
        let rows = conn.query(sql).await?;
        conn.disconnect().await?;
        Ok(rows)
    }

    /// Kills the server with SIGKILL; its data stays for [`Mysqld::restart`].
    ///
    /// # Errors
    /// The process cannot be ended.
    pub fn kill(&self) -> Result<(), Error> {
        Ok(self.process.kill()?)
    }

    /// Starts the server again on the same data and port, killing it first if it runs, and waits until it answers.
    ///
    /// # Errors
    /// The server does not come up.
    pub async fn restart(&self) -> Result<(), Error> {
        self.process.start_again()?;
        self.ready().await
    }

    /// The process, for its id, folder and log.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    async fn ready(&self) -> Result<(), Error> {
        let probe = async || self.run("", "SELECT 1").await;
        Ok(self.process.until_ready(READY, probe).await?)
    }
}

fn flag(name: &str, value: impl AsRef<std::ffi::OsStr>) -> OsString {
    let mut flag = OsString::from(format!("--{name}="));
    flag.push(value);
    flag
}

/// The name of the user that this process runs as: mysqld runs as root only when told so.
fn user_name() -> Result<String, Error> {
    let uid = std::fs::metadata("/proc/self")?.uid().to_string();
    let users = std::fs::read_to_string("/etc/passwd")?;
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    Ok(name.unwrap_or(uid))
}

/// Copies a folder with `cp`, which leaves out holes and shares blocks where the file system can.
async fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let mut command = tokio::process::Command::new("cp");
    command.args(["-a", "--sparse=always", "--reflink=auto"]).arg(from).arg(to);
    succeed(command).await
}

async fn succeed(mut command: tokio::process::Command) -> Result<(), Error> {
    let output = command.output().await?;
    if !output.status.success() {
        return Err(std::io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()).into());
    }
    Ok(())
}
