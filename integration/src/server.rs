//! The real `vtmigrated` program.

use std::{
    ffi::OsString,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::{Duration, SystemTime},
};

use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::{
    client::{self, Vtctld},
    load,
    ports::Port,
    process::{self, Process, Program},
};

const READY: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(30);

/// Why a server could not be started or asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Process(#[from] process::Error),
    #[error("vtmigrated: {0}")]
    Io(#[from] io::Error),
    #[error("vtmigrated: {0}")]
    Transport(#[from] tonic::transport::Error),
    #[error("no vtmigrated beside {}: run `cargo build -p vtmigrated` first", .0.display())]
    NotBuilt(PathBuf),
    #[error("{} is newer than {}: run `cargo build -p vtmigrated` first", source_file.display(), binary.display())]
    OutOfDate { binary: PathBuf, source_file: PathBuf },
}

/// A running `vtmigrated`. Dropping it kills the server, and panics if its log tells of a panic.
#[derive(Debug)]
pub struct Server {
    process: Process,
    grpc: Port,
    http: Port,
}

impl Server {
    /// Starts the program on free ports of 127.0.0.1 with `flags`, and waits until its health service says that it serves.
    ///
    /// The program is [`binary`].
    ///
    /// # Errors
    /// The program is not built or older than its source, or does not come up.
    pub async fn start<S: AsRef<str>>(flags: &[S]) -> Result<Self, Error> {
        Self::start_with_points(flags, "").await
    }

    /// The same with fail-points, in the words of `FAILPOINTS`: `effect=3*off->return` ends the server at the fourth place
    /// before or after a side effect. A program that was built without the feature `failpoints` ignores them.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_with_points<S: AsRef<str>>(flags: &[S], points: &str) -> Result<Self, Error> {
        Self::start_with_environment(flags, &[("FAILPOINTS", points)]).await
    }

    /// The same with variables of the environment.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_with_environment<S: AsRef<str>>(flags: &[S], variables: &[(&str, &str)]) -> Result<Self, Error> {
        Self::start_program(binary()?, flags, variables).await
    }

    /// The same of the program at a path.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn start_program<S: AsRef<str>>(
        path: PathBuf,
        flags: &[S],
        variables: &[(&str, &str)],
    ) -> Result<Self, Error> {
        Self::launch((path, Vec::new()), flags, variables).await
    }

    /// The same through another program, given by its path and arguments, that becomes it: it gets the path of the server and all
    /// flags as further arguments.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_through<S: AsRef<str>>(other: &[&str], flags: &[S]) -> Result<Self, Error> {
        let server = binary()?;
        let Some((path, before)) = other.split_first() else { return Self::start_program(server, flags, &[]).await };
        let before = before.iter().map(OsString::from).chain([server.into_os_string()]).collect();
        Self::launch((PathBuf::from(path), before), flags, &[]).await
    }

    async fn launch<S: AsRef<str>>(
        (path, mut args): (PathBuf, Vec<OsString>),
        flags: &[S],
        variables: &[(&str, &str)],
    ) -> Result<Self, Error> {
        let (grpc, http) = (Port::free()?, Port::free()?);
        let own = [
            format!("--grpc_port={}", grpc.number()),
            format!("--port={}", http.number()),
            "--grpc_bind_address=127.0.0.1".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            "--logtostderr=true".to_owned(),
        ];
        let flags = flags.iter().map(|flag| flag.as_ref().to_owned());
        args.extend(own.into_iter().chain(flags).map(OsString::from));
        let mut env = vec![("RUST_BACKTRACE".into(), "1".into())];
        env.extend(variables.iter().map(|(name, value)| (name.into(), value.into())));
        let program = Program { name: "vtmigrated".to_owned(), path, args, env };
        let server = Self { process: Process::start(program, process::folder("vtmigrated")?)?, grpc, http };
        server.ready().await?;
        Ok(server)
    }

    /// Where the gRPC services are.
    #[must_use]
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc.address()
    }

    /// Where the HTTP pages are.
    #[must_use]
    pub fn http_address(&self) -> SocketAddr {
        self.http.address()
    }

    /// A client on a connection of its own.
    ///
    /// # Errors
    /// The server does not run.
    pub async fn client(&self) -> Result<Vtctld, Error> {
        Ok(client::vtctld(&self.grpc_address().to_string()).await?)
    }

    /// Kills the server with SIGKILL.
    ///
    /// # Errors
    /// The process cannot be ended.
    pub fn kill9(&self) -> Result<(), Error> {
        Ok(self.process.kill()?)
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// It does not run, or does not end within 30 seconds.
    pub async fn term(&self) -> Result<ExitStatus, Error> {
        Ok(self.process.terminate(STOP).await?)
    }

    /// Starts the server again with the same flags and ports, killing it first if it runs, and waits until it serves.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn restart(&self) -> Result<(), Error> {
        self.process.start_again()?;
        self.ready().await
    }

    /// Resident memory in bytes.
    ///
    /// # Errors
    /// It does not run.
    pub fn resident_bytes(&self) -> Result<u64, Error> {
        Ok(load::process::resident(self.pid()?)?)
    }

    /// How many files the server has open, connections included.
    ///
    /// # Errors
    /// It does not run.
    pub fn open_files(&self) -> Result<usize, Error> {
        Ok(load::process::open_files(self.pid()?)?)
    }

    /// The process, for its id, folder and log.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    fn pid(&self) -> Result<u32, Error> {
        Ok(self.process.pid().ok_or(process::Error::NotRunning { name: "vtmigrated".to_owned() })?)
    }

    async fn ready(&self) -> Result<(), Error> {
        let probe = async || {
            let channel = client::channel(&self.grpc_address().to_string()).await.map_err(|e| e.to_string())?;
            let request = HealthCheckRequest { service: String::new() };
            let answer = HealthClient::new(channel).check(request).await.map_err(|e| e.to_string())?;
            match answer.into_inner().status() {
                ServingStatus::Serving => Ok(()),
                status => Err(format!("health is {}", status.as_str_name())),
            }
        };
        Ok(self.process.until_ready(READY, probe).await?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let log = fs::read(self.process.log_path()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        if std::thread::panicking() {
            eprintln!("the end of vtmigrated's log:\n{}", self.process.log_tail());
        } else if let Some(start) = log.find("panicked at") {
            panic!("vtmigrated {}", log[start..].chars().take(2000).collect::<String>());
        }
    }
}

/// The program to run: `VTMIGRATED_BIN`, or the one beside this program.
///
/// # Errors
/// It is not built, or older than its source.
pub fn binary() -> Result<PathBuf, Error> {
    if let Some(path) = std::env::var_os("VTMIGRATED_BIN") {
        return Ok(PathBuf::from(path));
    }
    let test = std::env::current_exe()?;
    let beside = test.ancestors().skip(1).take(2).map(|folder| folder.join("vtmigrated")).find(|path| path.is_file());
    let binary = beside.ok_or_else(|| Error::NotBuilt(test.clone()))?;
    let built = fs::metadata(&binary)?.modified()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("src");
    match newer_than(&root, built)? {
        Some(source_file) => Err(Error::OutOfDate { binary, source_file }),
        None => Ok(binary),
    }
}

/// A file below `folder` that was changed after `time`.
fn newer_than(folder: &Path, time: SystemTime) -> io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let newer = if metadata.is_dir() {
            newer_than(&entry.path(), time)?
        } else {
            (metadata.modified()? > time).then(|| entry.path())
        };
        if newer.is_some() {
            return Ok(newer);
        }
    }
    Ok(None)
}
