//! Memory and open files of this process, from `/proc`.

use std::fs;

/// Numbers of this process; `None` if `/proc` does not show them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) resident_bytes: Option<u64>,
    pub(super) open_fds: Option<u64>,
    pub(super) max_fds: Option<u64>,
}

impl Process {
    /// Reads a few lines of `/proc`; no disk is accessed.
    pub(super) fn read() -> Self {
        let text =
            |file: &str| fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
        // The folder itself is open while it is read.
        let open = fs::read_dir("/proc/self/fd").map(|entries| entries.count().saturating_sub(1));
        Self {
            resident_bytes: resident_bytes(&text("status")),
            open_fds: open.ok().and_then(|count| u64::try_from(count).ok()),
            max_fds: max_fds(&text("limits")),
        }
    }
}

/// `VmRSS:     13312 kB`
fn resident_bytes(status: &str) -> Option<u64> {
    let rest = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = rest.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024)
}

/// `Max open files            1024                 524288               files`; the first number counts.
fn max_fds(limits: &str) -> Option<u64> {
    let rest = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_are_read_and_others_are_ignored() {
        let status = "Name:\tjobtrackd\nVmHWM:\t   14000 kB\nVmRSS:\t   13312 kB\nThreads:\t4\n";
        assert_eq!(resident_bytes(status), Some(13_631_488));
        assert_eq!(resident_bytes("VmRSS:\t13312 MB\n"), None);
        let limits = "Max processes   1  2  processes\nMax open files            1024                 524288               files\n";
        assert_eq!(max_fds(limits), Some(1024));
        assert_eq!(max_fds("Max open files  unlimited  unlimited  files"), None);
    }

    #[test]
    fn this_process_has_memory_and_open_files_within_its_limit() {
        let here = Process::read();
        assert!(
            here.resident_bytes.is_some_and(|bytes| bytes > 1 << 20),
            "{here:?}"
        );
        assert!(here.open_fds.is_some_and(|open| open >= 3), "{here:?}");
        assert!(here.max_fds >= here.open_fds, "{here:?}");
    }
}
