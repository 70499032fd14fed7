//! Runs a command in a process that may not use io_uring: `without_io_uring ERRNO COMMAND ARGS…`.
//!
//! A seccomp filter refuses the three system calls with the errno given, as the default profile of container engines
//! (`EPERM`) and old kernels (`ENOSYS`) do. Started by `tests/it/drivers.rs`.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::Command;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

/// `io_uring_setup`, `io_uring_enter`, `io_uring_register`: the same numbers on every architecture.
const IO_URING: [i64; 3] = [425, 426, 427];

fn main() {
    let mut args = std::env::args().skip(1);
    let errno = args.next().and_then(|errno| errno.parse().ok()).expect("the first argument is an errno");
    let program = args.next().expect("the second argument is a program");
    let rules: BTreeMap<_, _> = IO_URING.iter().map(|call| (*call, Vec::new())).collect();
    let architecture = std::env::consts::ARCH.try_into().expect("an architecture that seccomp knows");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), architecture);
    let filter: BpfProgram = filter.and_then(TryInto::try_into).expect("the filter is right");
    apply_filter(&filter).expect("the kernel takes the filter");
    let error = Command::new(program).args(args).exec();
    panic!("the program could not be started: {error}");
}
