//! Programs that a test starts: each has a folder of its own, a log, and an end.
//!
//! A program dies with the test process, however that dies: it is started through `setpriv --pdeathsig KILL` (util-linux).
//! Linux sends that signal when the *thread* that started the program ends, so one thread that never ends starts them all.

mod ended;

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, WaitId, WaitIdOptions, getrlimit, kill_process, setrlimit, waitid};
use tempfile::TempDir;

/// How long one probe of a program that starts may take.
const PROBE: Duration = Duration::from_secs(10);
/// How long a program that is told to stand may go on.
const STANDING: Duration = Duration::from_secs(1);

pub use rustix::process::Signal;

/// Why a program of the test cluster could not be started, reached or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{path} is missing: run integration/setup")]
    NotSetUp { path: PathBuf },
    #[error("{name}: {source}")]
    Io { name: String, source: io::Error },
    #[error("{name} ended by itself ({status}); the end of its log:\n{log}")]
    Ended { name: String, status: ExitStatus, log: String },
    #[error("{name} was not ready within {limit:?} ({last}); the end of its log:\n{log}")]
    NotReady { name: String, limit: Duration, last: String, log: String },
    #[error("{name} did not end within {limit:?} of the signal")]
    NotEnded { name: String, limit: Duration },
    #[error("{name} is not running")]
    NotRunning { name: String },
}

/// What to start. Its standard output and error go to the file `log` in the process's folder.
#[derive(Clone, Debug)]
pub struct Program {
    pub name: String,
    pub path: PathBuf,
    pub args: Vec<OsString>,
    pub env: Vec<(OsString, OsString)>,
}

/// A program with its folder. Dropping it kills the program, and panics if the process or the folder is still there then.
#[derive(Debug)]
pub struct Process {
    program: Program,
    child: Arc<Mutex<Option<Child>>>,
    folder: Option<TempDir>,
    path: PathBuf,
}

/// The folder that `integration/setup` fills, `VTMIGRATED_INTEGRATION_DIR` or `.integration` of the repository.
#[must_use]
pub fn home() -> PathBuf {
    match std::env::var_os("VTMIGRATED_INTEGRATION_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(".integration"),
    }
}

/// A file or folder that `integration/setup` has made, its links resolved.
///
/// # Errors
/// It is not there.
pub fn installed(name: &str) -> Result<PathBuf, Error> {
    let path = home().join(name);
    path.canonicalize().map_err(|_| Error::NotSetUp { path })
}

/// A fresh folder for one program, named so that `integration/setup` can tell whose it was.
///
/// # Errors
/// The folder cannot be made.
pub fn folder(name: &str) -> Result<TempDir, Error> {
    let fail = |source| Error::Io { name: name.to_owned(), source };
    let run = home().join("run");
    std::fs::create_dir_all(&run).map_err(fail)?;
    tempfile::Builder::new().prefix(&format!("{}-{name}-", std::process::id())).tempdir_in(run).map_err(fail)
}

/// Lets this process, and those that it starts from now on, open as many files as it may allow itself.
///
/// # Errors
/// The system's.
pub fn raise_file_limit() -> rustix::io::Result<()> {
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files })
}

/// Removes the folders of this process's programs once it is gone, however it ends: for programs that are kept in a `static`,
/// which is never dropped. Holds until then.
///
/// # Errors
/// The shell that waits for the end cannot be started.
pub fn remove_folders_at_exit() -> Result<Child, Error> {
    // The pipe ends with this process. Programs may take a moment to die, and go on writing.
    let wait = "cat; until rm -rf \"$0\"-*; do sleep 1; done";
    let folders = home().join("run").join(std::process::id().to_string());
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(wait).arg(folders).process_group(0);
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.spawn().map_err(|source| Error::Io { name: "sh".to_owned(), source })
}

impl Process {
    /// Starts `program`, which will own `folder`.
    ///
    /// # Errors
    /// The program is missing or cannot be started.
    pub fn start(program: Program, folder: TempDir) -> Result<Self, Error> {
        let path = folder.path().to_owned();
        let process = Self { program, child: Arc::default(), folder: Some(folder), path };
        process.start_again()?;
        Ok(process)
    }

    /// Has the log of the program kept, and its end shown by the next test that fails, if it ends by itself.
    #[must_use]
    pub fn watched(self) -> Self {
        ended::watch(&self.program.name, &self.path, &self.child);
        self
    }

    /// Starts the program once more in the same folder, after killing it if it runs.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start_again(&self) -> Result<(), Error> {
        self.kill()?;
        if !self.program.path.exists() {
            return Err(Error::NotSetUp { path: self.program.path.clone() });
        }
        let log = File::options().create(true).append(true).open(self.log_path()).map_err(|e| self.io(e))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(&self.program.path).args(&self.program.args);
        command.envs(self.program.env.iter().map(|(k, v)| (k, v))).current_dir(&self.path);
        // Ctrl-C is for the test: it ends its programs itself, in order.
        command.process_group(0);
        command.stdin(Stdio::null()).stderr(log.try_clone().map_err(|e| self.io(e))?).stdout(log);
        *self.child() = Some(spawn(command).map_err(|e| self.io(e))?);
        Ok(())
    }

    /// Calls `probe` until it succeeds.
    ///
    /// # Errors
    /// The program ended, or `limit` is over; the text has the probe's last error and the end of the log.
    pub async fn until_ready<E: std::fmt::Display>(
        &self,
        limit: Duration,
        probe: impl AsyncFn() -> Result<(), E>,
    ) -> Result<(), Error> {
        let start = Instant::now();
        loop {
            // a connection that was taken too early may never be answered
            let last = match tokio::time::timeout(PROBE, probe()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {PROBE:?}"),
            };
            let ended = match self.child().as_mut() {
                Some(child) => child.try_wait().map_err(|e| self.io(e))?,
                None => return Err(Error::NotRunning { name: self.program.name.clone() }),
            };
            let name = self.program.name.clone();
            if let Some(status) = ended {
                return Err(Error::Ended { name, status, log: self.log_tail() });
            }
            if start.elapsed() > limit {
                return Err(Error::NotReady { name, limit, last, log: self.log_tail() });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The process id, while the program has not been ended.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child().as_ref().map(Child::id)
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// The program does not run.
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        kill_process(self.running()?, signal).map_err(|e| self.io(e.into()))
    }

    fn running(&self) -> Result<Pid, Error> {
        let pid = self.pid().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        pid.ok_or_else(|| Error::NotRunning { name: self.program.name.clone() })
    }

    /// Stops the program from running (SIGSTOP): its connections stay open and nothing answers. Returns when all of its threads
    /// stand.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(&self) -> Result<(), Error> {
        self.signal(Signal::STOP)?;
        let (pid, look) = (self.running()?, WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT);
        let until = Instant::now() + STANDING;
        while waitid(WaitId::Pid(pid), look).map_err(|e| self.io(e.into()))?.is_none() && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Lets a paused program go on.
    ///
    /// # Errors
    /// It does not run.
    pub fn resume(&self) -> Result<(), Error> {
        self.signal(Signal::CONT)
    }

    /// Sends SIGKILL, if the program runs, and waits until it is gone.
    ///
    /// # Errors
    /// The process could not be ended.
    pub fn kill(&self) -> Result<(), Error> {
        let Some(mut child) = self.child().take() else { return Ok(()) };
        child.kill().and_then(|()| child.wait()).map_err(|e| self.io(e))?;
        Ok(())
    }

    /// Sends SIGTERM and waits until the program is gone.
    ///
    /// # Errors
    /// The program does not run, or does not end within `limit`.
    pub async fn terminate(&self, limit: Duration) -> Result<ExitStatus, Error> {
        self.signal(Signal::TERM)?;
        let start = Instant::now();
        while start.elapsed() < limit {
            let status = match self.child().as_mut() {
                Some(child) => child.try_wait().map_err(|e| self.io(e))?,
                None => return Err(Error::NotRunning { name: self.program.name.clone() }),
            };
            if let Some(status) = status {
                self.child().take();
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Err(Error::NotEnded { name: self.program.name.clone(), limit })
    }

    /// How the program ended by itself; `None` while it runs.
    ///
    /// # Errors
    /// It was ended by [`Process::kill`] or [`Process::terminate`], or cannot be asked.
    pub fn ended(&self) -> Result<Option<ExitStatus>, Error> {
        match self.child().as_mut() {
            Some(child) => child.try_wait().map_err(|e| self.io(e)),
            None => Err(Error::NotRunning { name: self.program.name.clone() }),
        }
    }

    /// The program's folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file that the program's output goes to.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.path.join("log")
    }

    /// The last 4,000 bytes of the program's output.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.log_path())
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn io(&self, source: io::Error) -> Error {
        Error::Io { name: self.program.name.clone(), source }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let pid = self.pid();
        let killed = self.kill();
        let removed = self.folder.take().map_or(Ok(()), TempDir::close);
        if thread::panicking() {
            return;
        }
        assert!(killed.is_ok(), "{killed:?}");
        assert!(removed.is_ok(), "{}: {removed:?}", self.program.name);
        let left = pid.is_some_and(|pid| Path::new("/proc").join(pid.to_string()).exists());
        assert!(!left, "{} ({pid:?}) is still there", self.program.name);
    }
}

/// The last 4,000 bytes of a log.
fn tail(log: &Path) -> String {
    let log = std::fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&log[log.len().saturating_sub(4000)..]).into_owned()
}

type Order = (Command, mpsc::Sender<io::Result<Child>>);

static STARTER: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
    let (orders, inbox) = mpsc::channel::<Order>();
    thread::spawn(move || {
        for (mut command, answer) in inbox {
            let _ = answer.send(command.spawn());
        }
    });
    orders
});

fn spawn(command: Command) -> io::Result<Child> {
    let (answer, child) = mpsc::channel();
    STARTER.send((command, answer)).map_err(io::Error::other)?;
    child.recv().map_err(io::Error::other)?
}
