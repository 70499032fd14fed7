//! A proxy that runs: its processes, and the promise that they end.
//!
//! Made by `Proxy::start`, ended by the turn that started it or by `Drop`. Only processes started here are
//! ever signalled.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::cores::PROXY_CORE;
use load::measure::process::tree;

/// How long a proxy may take to accept.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take to end after it was asked to.
const END_PATIENCE: Duration = Duration::from_secs(3);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// One proxy, alive until dropped.
pub(crate) struct Running {
    child: Option<Child>,
    address: SocketAddr,
}

impl Running {
    /// Stands for "no proxy": clients go to `origin`.
    pub(crate) fn nothing(origin: SocketAddr) -> Running {
        Running { child: None, address: origin }
    }

    /// Starts `command` on the proxy core and waits until `address` accepts. What it prints goes to `log`.
    pub(crate) fn start(command: &[String], address: SocketAddr, log: &Path) -> io::Result<Running> {
        let core = PROXY_CORE.to_string();
        let pinned = ["taskset", "--cpu-list", &core].map(str::to_owned);
        Running::start_anywhere(&[&pinned, command].concat(), address, log)
    }

    /// The same on whatever cores it chooses.
    pub(crate) fn start_anywhere(command: &[String], address: SocketAddr, log: &Path) -> io::Result<Running> {
        let log_file = File::create(log)?;
        // The proxy gets a signal if this program is killed, so that none is left behind.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .args(command)
            .stdin(Stdio::null())
            .stdout(log_file.try_clone()?)
            .stderr(log_file)
            .spawn()?;
        let mut running = Running { child: Some(child), address };
        running.wait_for_accept().map_err(|error| {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            io::Error::other(format!("{}: {error}; it said: {}", command.join(" "), said.trim()))
        })?;
        Ok(running)
    }

    /// The proxy's first process; it may have started others.
    pub(crate) fn process(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the proxy: asked first, forced after [`END_PATIENCE`].
    pub(crate) fn end(mut self) {
        self.end_processes();
    }

    fn wait_for_accept(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            if TcpStream::connect(self.address).is_ok() {
                return Ok(());
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().transpose()).transpose()?;
            if let Some(status) = ended {
                return Err(io::Error::other(format!("ended with {status}")));
            }
            if Instant::now() > deadline {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            }
            pause();
        }
    }

    fn end_processes(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // A worker outlives a master that is killed, so the whole tree is looked up while it still hangs
        // together.
        let pids = tree(child.id());
        let _ = kill_process(Pid::from_child(&child), Signal::TERM);
        let deadline = Instant::now() + END_PATIENCE;
        while Instant::now() < deadline {
            if matches!(child.try_wait(), Ok(Some(_))) {
                return;
            }
            pause();
        }
        for pid in pids.into_iter().filter_map(|pid| Pid::from_raw(pid.cast_signed())) {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = child.wait();
    }
}

/// Lets a little time pass. The proxies offer nothing to wait on, and nothing else runs on this thread meanwhile.
#[expect(clippy::disallowed_methods, reason = "not a core of the engine, and no async is running here")]
fn pause() {
    sleep(POLL_INTERVAL);
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end_processes();
    }
}
