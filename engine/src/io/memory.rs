//! How the process's memory is paged, and given back.

use std::io;

/// Asks the kernel for small pages only. Allocators ask for huge ones, which here cost memory (each first touch takes
/// 2 MiB, and a session is under 1 KiB) and gain nothing measurable: `docs/decisions/0011-no-huge-pages.md`. Pages that
/// were touched before stay as they are, so call it first thing.
///
/// # Errors
/// As `prctl(PR_SET_THP_DISABLE)` reports; the process works all the same.
pub fn refuse_huge_pages() -> io::Result<()> {
    const UNUSED: libc::c_ulong = 0;
    // SAFETY: this option takes plain numbers; the arguments that it does not use must be 0.
    let outcome =
        unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1 as libc::c_ulong, UNUSED, UNUSED, UNUSED) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives the kernel what this thread freed a while ago. mimalloc does so by itself only with later work of the same thread, so
/// that an idle core would keep what a busy hour left behind. Takes about 10 us. Without the feature `mimalloc`, nothing.
pub(crate) fn give_back_freed() {
    #[cfg(feature = "mimalloc")]
    // SAFETY: may be called at any time on any thread; it touches free blocks only.
    unsafe {
        libmimalloc_sys::mi_collect(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_pages_are_refused_for_the_whole_process() {
        refuse_huge_pages().unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        assert!(status.lines().any(|line| line.split_whitespace().eq(["THP_enabled:", "0"])), "{status}");
    }
}
