//! Finds out at start what this kernel grants of io_uring, from the full wish list down, and says so in one line.

use std::io;

use io_uring::{IoUring, Probe, opcode};

/// Submission entries; a fuller turn submits in between.
const SQ_ENTRIES: u32 = 1024;
/// Completion entries: room for a burst from every connection of a busy core. The kernel keeps what does not fit.
const CQ_ENTRIES: u32 = 8192;

/// One rung of the ladder: flags by name, and what going without the ones above costs.
struct Rung {
    defer_taskrun: bool,
    no_sqarray: bool,
    missing: &'static str,
}

const LADDER: [Rung; 3] = [
    Rung { defer_taskrun: true, no_sqarray: true, missing: "" },
    Rung {
        defer_taskrun: true,
        no_sqarray: false,
        missing: "NO_SQARRAY (kernel 6.6; one more cache line per submission)",
    },
    Rung {
        defer_taskrun: false,
        no_sqarray: false,
        missing: "DEFER_TASKRUN, NO_SQARRAY (kernel 6.1; completions interrupt the loop, more CPU per request)",
    },
];

/// What the cores run on, for the start line.
#[derive(Clone, Debug)]
pub struct Features {
    /// `io_uring` or `epoll`.
    pub driver: &'static str,
    /// As `uname -r` says.
    pub kernel: String,
    /// Set-up flags in use.
    pub used: &'static str,
    /// What was wished for and refused, and what that costs; empty when all was granted.
    pub missing: String,
}

impl Features {
    /// On epoll, and why not on io_uring.
    pub(super) fn epoll(why: &str) -> Features {
        let missing = format!("io_uring: {why}; more CPU per request");
        Features { driver: "epoll", kernel: kernel_release(), used: "", missing }
    }

    /// In a world of our own.
    #[cfg(feature = "simulation")]
    pub(super) fn simulated() -> Features {
        Features { driver: "simulation", kernel: "none".to_owned(), used: "", missing: String::new() }
    }
}

impl std::fmt::Display for Features {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (kernel {}", self.driver, self.kernel)?;
        for (word, text) in [("", self.used), ("without ", self.missing.as_str())] {
            if !text.is_empty() {
                write!(f, "; {word}{text}")?;
            }
        }
        f.write_str(")")
    }
}

/// Opens the best ring that the kernel grants.
///
/// # Errors
/// When io_uring is missing, forbidden (seccomp, `kernel.io_uring_disabled`) or older than kernel 6.0; the text says
/// which and what to do.
pub(super) fn open() -> io::Result<(IoUring, Features)> {
    let mut refused = io::Error::from_raw_os_error(libc::EINVAL);
    for rung in &LADDER {
        match build(rung) {
            Ok(ring) => {
                check_operations(&ring)?;
                let used = match (rung.defer_taskrun, rung.no_sqarray) {
                    (true, true) => "SINGLE_ISSUER, DEFER_TASKRUN, COOP_TASKRUN, NO_SQARRAY",
                    (true, false) => "SINGLE_ISSUER, DEFER_TASKRUN, COOP_TASKRUN",
                    (false, _) => "SINGLE_ISSUER, COOP_TASKRUN",
                };
                let features = Features {
                    driver: "io_uring",
                    kernel: kernel_release(),
                    used,
                    missing: rung.missing.to_owned(),
                };
                return Ok((ring, features));
            }
            Err(error) => refused = error,
        }
    }
    Err(explain(&refused))
}

fn build(rung: &Rung) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_coop_taskrun().setup_taskrun_flag().setup_submit_all();
    builder.setup_cqsize(CQ_ENTRIES).setup_clamp();
    if rung.defer_taskrun {
        builder.setup_defer_taskrun();
    }
    if rung.no_sqarray {
        builder.setup_no_sqarray();
    }
    builder.build(SQ_ENTRIES)
}

fn check_operations(ring: &IoUring) -> io::Result<()> {
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let needed = [
        (opcode::AcceptMulti::CODE, "ACCEPT"),
        (opcode::RecvMulti::CODE, "RECV"),
        (opcode::Send::CODE, "SEND"),
        (opcode::SendMsg::CODE, "SENDMSG"),
        (opcode::Connect::CODE, "CONNECT"),
        (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
        (opcode::Close::CODE, "CLOSE"),
        (opcode::PollAdd::CODE, "POLL_ADD"),
    ];
    match needed.iter().find(|(code, _)| !probe.is_supported(*code)) {
        Some((_, name)) => {
            Err(io::Error::other(format!("io_uring of kernel {} lacks {name}", kernel_release())))
        }
        None => Ok(()),
    }
}

fn explain(error: &io::Error) -> io::Error {
    let why = match error.raw_os_error() {
        Some(libc::ENOSYS) => "this kernel has no io_uring",
        Some(libc::EPERM) | Some(libc::EACCES) => {
            "io_uring is forbidden here: see sysctl kernel.io_uring_disabled, or the seccomp profile of the container"
        }
        Some(libc::EINVAL) => "this kernel's io_uring is older than 6.0",
        Some(libc::ENOMEM) => "no memory may be locked for io_uring: raise RLIMIT_MEMLOCK",
        _ => "io_uring could not be set up",
    };
    io::Error::new(error.kind(), format!("{why} (kernel {}): {error}", kernel_release()))
}

fn kernel_release() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rung_of_the_ladder_opens_on_a_kernel_that_has_the_first() {
        open().expect("the tests need io_uring");
        for rung in &LADDER {
            build(rung).expect("a lower rung asks for less");
        }
    }

    #[test]
    fn a_forbidden_ring_is_explained() {
        let text = explain(&io::Error::from_raw_os_error(libc::EPERM)).to_string();
        assert!(text.contains("seccomp"), "{text}");
    }
}
