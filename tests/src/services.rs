//! Programs beside the proxy: an origin in its own process, so that a test can kill it as an accident would.
//!
//! Used by tests of backends that die. The program is `tests/src/bin/origin.rs`; its path comes from the test,
//! because only integration tests are told it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// An origin process.
pub struct OriginProcess {
    child: Child,
    addr: SocketAddr,
}

impl OriginProcess {
    /// Starts the program with a way to behave (see its file) and reads its port.
    pub fn start(program: &str, way: &str) -> OriginProcess {
        let mut child = Command::new(program)
            .arg(way)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the origin program can be started");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its output is ours");
        BufReader::new(stdout).read_line(&mut line).expect("the origin prints its address");
        let addr = line.trim().parse().expect("the origin prints its address first");
        OriginProcess { child, addr }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// As a backend's URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// SIGKILL; returns when the process is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for OriginProcess {
    fn drop(&mut self) {
        self.kill();
    }
}
