//! A value that is made from files and made again when they change: certificates, passwords, roles.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// Why a certificate, password or role file cannot be used. Never holds what is in the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{} contains no usable {what}: {detail}", path.display())]
    Bad { path: PathBuf, what: &'static str, detail: String },
    #[error("{0}")]
    Flags(String),
}

/// What the functions of this module answer.
pub type Result<T> = std::result::Result<T, Error>;

/// How often the files are compared with what was read.
const PERIOD: Duration = Duration::from_secs(2);
/// Files that cannot be read within this time are on a server that does not answer.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// Makes a value of the contents of files.
type Make<T> = Box<dyn Fn(&[Vec<u8>]) -> Result<T> + Send + Sync>;

/// A value made from the contents of files.
pub struct Watched<T> {
    paths: Vec<PathBuf>,
    make: Make<T>,
    current: RwLock<(Vec<Vec<u8>>, Arc<T>)>,
    /// Held while the files are read: those that do not end hold one thread, not one for each who asks.
    reading: Arc<Mutex<()>>,
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads `paths` and makes the first value; `make` gets the contents in the same order.
    ///
    /// # Errors
    /// A file that cannot be read, or what `make` says of its contents.
    pub fn new(
        paths: Vec<PathBuf>,
        make: impl Fn(&[Vec<u8>]) -> Result<T> + Send + Sync + 'static,
    ) -> Result<Arc<Self>> {
        let contents = read(&paths)?;
        let value = Arc::new(make(&contents)?);
        let current = RwLock::new((contents, value));
        Ok(Arc::new(Self { paths, make: Box::new(make), current, reading: Arc::default() }))
    }

    /// The newest value.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).1)
    }

    /// Makes the value anew when a file has changed; true when it did.
    ///
    /// # Errors
    /// As [`Watched::new`]; the old value stays.
    pub fn refresh(&self) -> Result<bool> {
        let contents = read(&self.paths)?;
        if self.current.read().unwrap_or_else(PoisonError::into_inner).0 == contents {
            return Ok(false);
        }
        let value = Arc::new((self.make)(&contents)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = (contents, value);
        Ok(true)
    }

    /// The same on a thread where it may take long, as files on a dead server do.
    async fn refreshed(self: &Arc<Self>) -> Result<bool> {
        let reading = async {
            let turn = Arc::clone(&self.reading).lock_owned().await;
            let watched = Arc::clone(self);
            let read = move || {
                let _turn = turn;
                watched.refresh()
            };
            tokio::task::spawn_blocking(read).await
        };
        let late = |_| Err(Error::Flags(format!("{} cannot be read in time", self.names())));
        let failed = |error| Err(Error::Flags(format!("{}: {error}", self.names())));
        tokio::time::timeout(READ_TIMEOUT, reading).await.map_or_else(late, |read| read.unwrap_or_else(failed))
    }

    /// The value of the files as they are now. When they cannot be used, that is logged, and the value before is answered.
    pub async fn fresh(self: &Arc<Self>) -> Arc<T> {
        match self.refreshed().await {
            Ok(true) => tracing::info!("reloaded {}", self.names()),
            Ok(false) => {}
            Err(error) => tracing::error!("cannot reload changed files: {error}"),
        }
        self.get()
    }

    fn names(&self) -> String {
        self.paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
    }

    /// Looks at the files until `stopped`.
    pub async fn watch(self: Arc<Self>, stopped: CancellationToken) {
        let names = self.names();
        let mut failed = false;
        while stopped.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_some() {
            let refreshed = self.refreshed().await;
            match &refreshed {
                Ok(true) => tracing::info!("reloaded {names}"),
                Err(error) if !failed => tracing::error!("cannot reload changed files: {error}"),
                _ => {}
            }
            failed = refreshed.is_err();
        }
    }
}

fn read(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>> {
    let one = |path: &PathBuf| std::fs::read(path).map_err(|source| Error::Unreadable { path: path.clone(), source });
    paths.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_taken_up_and_a_bad_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("number");
        std::fs::write(&path, "1").unwrap();
        let parse = |contents: &[Vec<u8>]| {
            let text = String::from_utf8_lossy(&contents[0]).into_owned();
            text.parse::<u32>().map_err(|e| Error::Flags(e.to_string()))
        };
        let watched = Watched::new(vec![path.clone()], parse).unwrap();
        assert!(!watched.refresh().unwrap());
        std::fs::write(&path, "2").unwrap();
        assert!(watched.refresh().unwrap());
        assert_eq!(*watched.get(), 2);
        std::fs::write(&path, "x").unwrap();
        watched.refresh().unwrap_err();
        assert_eq!(*watched.get(), 2);
        std::fs::remove_file(&path).unwrap();
        assert!(watched.refresh().unwrap_err().to_string().starts_with("cannot read "));
    }

    #[test]
    fn files_that_cannot_be_read_to_their_end_hold_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("number");
        std::fs::write(&path, "1").unwrap();
        let watched = Watched::new(vec![path.clone()], |contents: &[Vec<u8>]| Ok(contents[0].clone())).unwrap();
        std::fs::remove_file(&path).unwrap();
        // nobody writes into it, and who reads waits
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let (done, told) = std::sync::mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let asking = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::spawn(Arc::clone(&watched).watch(CancellationToken::new()));
                let asked = [watched.fresh(), watched.fresh(), watched.fresh()];
                done.send(futures::future::join_all(asked).await).unwrap();
            });
            runtime.shutdown_background();
        });
        let values = told.recv_timeout(Duration::from_secs(60)).expect("the runtime stands still");
        assert!(values.iter().all(|value| **value == b"1"));
        asking.join().unwrap();
        // lets the reader go
        std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    }
}
