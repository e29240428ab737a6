//! The machine that this program runs on.

/// The host's name as the kernel has it, without looking into `/proc`, which a unit may hide. `None` when it has none.
pub fn name() -> Option<String> {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy().trim().to_owned();
    (!name.is_empty() && name != "(none)").then_some(name)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_name_is_the_kernels() {
        let known = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(super::name().unwrap_or_default(), known.trim());
    }

    #[test]
    fn nothing_reads_the_name_from_proc() {
        // `ProcSubset=pid` of the unit hides it
        let mut open = vec![std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
        while let Some(at) = open.pop() {
            if at.is_dir() {
                open.extend(std::fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path()));
            } else if !at.ends_with("host.rs") {
                let text = std::fs::read_to_string(&at).unwrap_or_default();
                assert!(!text.contains("/proc/sys"), "{}", at.display());
            }
        }
    }
}
