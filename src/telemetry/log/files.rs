//! Log files as glog keeps them: one for each severity with the lines of that severity and above, named by time and
//! process, with a link to the current one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use jiff::Zoned;
use jiff::civil::DateTime;

use super::{Options, Severity};

const SEVERITIES: [Severity; 4] = [Severity::Info, Severity::Warning, Severity::Error, Severity::Fatal];

/// The current files, by severity.
pub(super) struct Files {
    names: Names,
    max_size: u64,
    open: Mutex<[Option<Current>; 4]>,
}

struct Current {
    file: File,
    written: u64,
}

/// What the names of this process's files are made of.
#[derive(Clone, Debug)]
struct Names {
    folder: PathBuf,
    links: Option<PathBuf>,
    program: String,
    host: String,
    user: String,
}

impl Files {
    pub(super) fn open(folder: PathBuf, options: &Options) -> io::Result<Self> {
        let names = Names::new(folder, options.links.clone());
        let first = Current::begin(&names, Severity::Info, &Zoned::now())?;
        if options.keep.is_some() || options.keep_by_change.is_some() {
            purge_for_ever(names.clone(), options.keep, options.keep_by_change, options.purge_interval);
        }
        Ok(Self { names, max_size: options.max_size, open: Mutex::new([Some(first), None, None, None]) })
    }

    /// Writes to the file of the severity and to those below. A full disk must not stop the program: what cannot be written
    /// is lost.
    pub(super) fn write(&self, severity: Severity, line: &str) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for (of, current) in SEVERITIES.iter().zip(open.iter_mut()).filter(|(of, _)| **of <= severity) {
            if current.as_ref().is_none_or(|current| current.written + line.len() as u64 > self.max_size) {
                *current = Current::begin(&self.names, *of, &Zoned::now()).ok();
            }
            if let Some(current) = current {
                current.file.write_all(line.as_bytes()).ok();
                current.written += line.len() as u64;
            }
        }
    }
}

impl Current {
    fn begin(names: &Names, severity: Severity, now: &Zoned) -> io::Result<Self> {
        fs::create_dir_all(&names.folder)?;
        let name = names.file(severity, now);
        let mut file = File::options().create(true).append(true).open(names.folder.join(&name))?;
        let header = format!(
            "Log file created at: {}\nRunning on machine: {}\nBinary: {}\nLog line format: [IWEF]mmdd hh:mm:ss.uuuuuu pid file:line] msg\n",
            now.strftime("%Y/%m/%d %H:%M:%S"),
            names.host,
            crate::telemetry::build::version(),
        );
        file.write_all(header.as_bytes())?;
        let link = names.link(severity);
        point(&names.folder.join(&link), Path::new(&name));
        if let Some(links) = &names.links {
            point(&links.join(&link), &names.folder.join(&name));
        }
        Ok(Self { file, written: header.len() as u64 })
    }
}

/// Links are a help for people: without one the log goes on.
fn point(link: &Path, target: &Path) {
    fs::remove_file(link).ok();
    std::os::unix::fs::symlink(target, link).ok();
}

impl Names {
    fn new(folder: PathBuf, links: Option<PathBuf>) -> Self {
        let program = std::env::args_os().next().map(PathBuf::from);
        let program = program.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        let host = crate::host::name().unwrap_or_default();
        let host = host.split('.').next().filter(|host| !host.is_empty()).unwrap_or("unknownhost").to_owned();
        let user = std::env::var("USER").ok().filter(|user| !user.is_empty());
        let safe = |text: String| text.replace(['/', '\\'], "_");
        Self {
            folder,
            links,
            program: safe(program.unwrap_or_else(|| "vtctld".into())),
            host,
            user: safe(user.unwrap_or_else(|| "unknownuser".into())),
        }
    }

    fn file(&self, severity: Severity, now: &Zoned) -> String {
        let Self { program, host, user, .. } = self;
        let (time, pid) = (now.strftime("%Y%m%d-%H%M%S"), std::process::id());
        format!("{program}.{host}.{user}.log.{}.{time}.{pid}", severity.name())
    }

    fn link(&self, severity: Severity) -> String {
        format!("{}.{}", self.program, severity.name())
    }

    /// Deletes files of this program that are older than `keep` by their names, or unchanged for `keep_by_change`. Files
    /// that a link points to stay.
    fn purge(&self, now: &Zoned, keep: Option<Duration>, keep_by_change: Option<Duration>) -> io::Result<()> {
        let current: Vec<_> =
            SEVERITIES.iter().filter_map(|s| fs::canonicalize(self.folder.join(self.link(*s))).ok()).collect();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_log = name.strip_prefix(&self.program).is_some_and(|rest| rest.starts_with('.'));
            let file = entry.file_type()?.is_file();
            if !is_log || !file || fs::canonicalize(entry.path()).is_ok_and(|path| current.contains(&path)) {
                continue;
            }
            let Some(begun) = begun(&name) else { continue };
            let age = now.datetime().duration_since(begun).unsigned_abs();
            let changed = entry.metadata()?.modified()?;
            let unchanged = SystemTime::now().duration_since(changed).unwrap_or_default();
            if keep.is_some_and(|keep| age > keep) || keep_by_change.is_some_and(|keep| unchanged > keep) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// When a log file was begun, local time, from its name.
fn begun(name: &str) -> Option<DateTime> {
    let parts: Vec<&str> = name.split('.').collect();
    if parts.len() < 6 {
        return None;
    }
    DateTime::strptime("%Y%m%d-%H%M%S", parts[parts.len() - 2]).ok()
}

fn purge_for_ever(names: Names, keep: Option<Duration>, keep_by_change: Option<Duration>, interval: Duration) {
    let work = move || {
        loop {
            if let Err(error) = names.purge(&Zoned::now(), keep, keep_by_change) {
                tracing::warn!("cannot delete old log files: {error}");
            }
            std::thread::sleep(interval.max(Duration::from_secs(1)));
        }
    };
    // it ends with the process
    std::thread::Builder::new().name("purge-logs".into()).spawn(work).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_files_of_this_program_are_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let names = Names {
            folder: folder.path().to_owned(),
            links: None,
            program: "vtctld".into(),
            host: "host".into(),
            user: "user".into(),
        };
        let old = "vtctld.host.user.log.INFO.20200101-000000.1";
        let linked = "vtctld.host.user.log.ERROR.20200101-000000.1";
        let new = names.file(Severity::Info, &Zoned::now());
        let other = "vttablet.host.user.log.INFO.20200101-000000.1";
        for name in [old, linked, &new, other, "vtctld.txt"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        point(&folder.path().join("vtctld.ERROR"), Path::new(linked));
        names.purge(&Zoned::now(), Some(Duration::from_secs(3600)), None).unwrap();
        let left = |name: &str| folder.path().join(name).exists();
        assert!(!left(old));
        assert!(left(linked) && left(&new) && left(other) && left("vtctld.txt") && left("vtctld.ERROR"));
    }
}
