//! What processes cost, as Linux tells it in `/proc`.

use std::{
    collections::BTreeMap,
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

/// Of Linux, whatever the processor.
const TICKS_PER_SECOND: u32 = 100;

/// Processor time of a process in all its threads, in and out of the kernel.
///
/// # Errors
/// It does not run.
pub fn cpu(pid: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // the name of the program, in parentheses, may have blanks
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    let ticks: u32 = fields.filter_map(|field| field.parse::<u32>().ok()).sum();
    Ok(Duration::from_secs(1) * ticks / TICKS_PER_SECOND)
}

/// Resident memory in bytes.
///
/// # Errors
/// It does not run.
pub fn resident(pid: u32) -> io::Result<u64> {
    memory(pid, "VmRSS:")
}

/// The most memory that was resident at once since [`forget_peak`], or since the start, in bytes.
///
/// # Errors
/// It does not run.
pub fn peak(pid: u32) -> io::Result<u64> {
    memory(pid, "VmHWM:")
}

/// From now on [`peak`] is about what comes.
///
/// # Errors
/// It does not run, or is another user's.
pub fn forget_peak(pid: u32) -> io::Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5")
}

fn memory(pid: u32, name: &str) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"));
    let kib: Option<u64> = line.and_then(|text| text.trim().parse().ok());
    Ok(kib.ok_or_else(|| io::Error::other(format!("no {name} in /proc")))? * 1024)
}

/// Files that it has open, connections included.
///
/// # Errors
/// It does not run, or is another user's.
pub fn open_files(pid: u32) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Sockets that it has open: connections, and those that it listens on.
///
/// # Errors
/// It does not run, or is another user's.
pub fn sockets(pid: u32) -> io::Result<usize> {
    let links = fs::read_dir(format!("/proc/{pid}/fd"))?.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    Ok(links.filter(|link| link.to_string_lossy().starts_with("socket:")).count())
}

/// The process that listens on a TCP port.
///
/// # Errors
/// Nobody does, or it is another user's.
pub fn listening(port: u16) -> io::Result<u32> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let inode = tables.iter().flat_map(|table| table.lines()).find_map(|line| socket(line, port));
    let nobody = || io::Error::other(format!("nobody whose files can be read listens on port {port}"));
    let link = format!("socket:[{}]", inode.ok_or_else(nobody)?);
    let mut pids = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let has = |pid: &u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|file| file == Path::new(&link))
    };
    pids.find(has).ok_or_else(nobody)
}

/// The inode of a line of `/proc/net/tcp` that is a listener's on a port.
fn socket(line: &str, port: u16) -> Option<&str> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let of_port = fields.get(1)?.rsplit(':').next().and_then(|text| u16::from_str_radix(text, 16).ok()) == Some(port);
    fields.get(9).copied().filter(|_| of_port && fields.get(3) == Some(&LISTEN))
}

/// Processes by what they are, with the processor time that they had.
#[derive(Clone, Debug)]
pub struct Watched(BTreeMap<String, (u32, Duration)>);

impl Watched {
    /// From now on.
    ///
    /// # Errors
    /// One of them does not run.
    pub fn start(pids: &BTreeMap<String, u32>) -> io::Result<Self> {
        pids.iter().map(|(name, pid)| Ok((name.clone(), (*pid, cpu(*pid)?)))).collect::<io::Result<_>>().map(Self)
    }

    /// Processor time since then.
    ///
    /// # Errors
    /// One of them does not run.
    pub fn spent(&self) -> io::Result<BTreeMap<String, Duration>> {
        let spent =
            |(name, (pid, then)): (&String, &(u32, Duration))| Ok((name.clone(), cpu(*pid)?.saturating_sub(*then)));
        self.0.iter().map(spent).collect()
    }
}

/// Processor time that processes have in each second while nobody calls, in seconds, by what they are, looked at for so long.
///
/// # Errors
/// One of them does not run.
pub async fn idle(pids: &BTreeMap<String, u32>, long: Duration) -> io::Result<BTreeMap<String, f64>> {
    let (watched, since) = (Watched::start(pids)?, Instant::now());
    tokio::time::sleep(long).await;
    let seconds = since.elapsed().as_secs_f64();
    Ok(watched.spent()?.into_iter().map(|(name, spent)| (name, spent.as_secs_f64() / seconds)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_found_by_its_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(listening(listener.local_addr().unwrap().port()).unwrap(), std::process::id());
        let line =
            "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 100 0";
        assert_eq!((socket(line, 8080), socket(line, 80)), (Some("4242"), None));
        assert_eq!(socket("  sl  local_address rem_address", 80), None);
    }

    #[test]
    fn this_process_costs_something() {
        let pid = std::process::id();
        assert!(resident(pid).unwrap() > 0 && open_files(pid).unwrap() > 0);
        forget_peak(pid).unwrap();
        assert!(peak(pid).unwrap() > 0);
        let _listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(sockets(pid).unwrap() > 0);
        let watched = Watched::start(&BTreeMap::from([("this".to_owned(), pid)])).unwrap();
        assert!(watched.spent().unwrap().contains_key("this"));
    }
}
