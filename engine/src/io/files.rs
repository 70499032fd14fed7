//! Descriptors of the process: how many it may have open, and how many it has.
//!
//! Read once at start, so that admission knows for how many clients they suffice.

use std::io;

/// Raises the soft limit of open files to the hard one: the soft one is small for the sake of programs that call
/// `select`, and this one does not. Returns the limit that holds now.
///
/// # Errors
/// As `getrlimit` and `setrlimit` report; the limit stays as it was.
pub fn raise_open_files() -> io::Result<u64> {
    let limit = limit()?;
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max };
    // SAFETY: the pointer is to a value of the right type that outlives the call.
    let outcome = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) };
    if outcome == 0 { Ok(raised.rlim_cur) } else { Err(io::Error::last_os_error()) }
}

/// How many descriptors the process may have open.
///
/// # Errors
/// As `getrlimit` reports.
pub fn open_files_max() -> io::Result<u64> {
    limit().map(|limit| limit.rlim_cur)
}

/// How many descriptors the process has open; the one that counts them is not counted.
///
/// # Errors
/// Where `/proc` cannot be read, or no descriptor is left for it.
pub fn open_files() -> io::Result<u64> {
    let entries = std::fs::read_dir("/proc/self/fd")?;
    Ok((entries.count() as u64).saturating_sub(1))
}

fn limit() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a value of the right type that outlives the call.
    let outcome = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if outcome == 0 { Ok(limit) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_are_counted_and_the_limit_is_raised() {
        let before = open_files().unwrap();
        let opened = std::fs::File::open("/proc/self/status").unwrap();
        assert!(open_files().unwrap() > 0);
        drop(opened);
        assert!(before > 0);
        let limit = raise_open_files().unwrap();
        assert_eq!(open_files_max().unwrap(), limit);
        assert!(limit > before);
    }
}
