//! The backend processes: started, killed with SIGKILL, started again on the same port, and what they heard of POSTs.
//!
//! Owned by `run.rs`; `flap.rs` kills and restarts one of them while the others live.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::judge::Kills;

/// Ports that the system gives to nobody by itself: a backend's port must be free again when it comes back.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// All backends of a run.
pub(crate) struct Backends {
    slots: Vec<Slot>,
    pub(crate) kills: Kills,
    posts: Posts,
}

struct Slot {
    addr: SocketAddr,
    /// How many processes there have been at this address.
    generation: u32,
    process: Option<Child>,
}

/// How often each POST arrived whole, over all backends, the killed ones included.
#[derive(Clone, Default)]
struct Posts(Arc<Mutex<HashMap<u64, u32>>>);

impl Backends {
    /// Starts `count` of them.
    pub(crate) fn start(count: usize) -> Backends {
        let mut backends = Backends { slots: Vec::new(), kills: Kills::default(), posts: Posts::default() };
        for index in 0..count {
            backends.slots.push(Slot { addr: free_addr(), generation: 0, process: None });
            backends.restart(index);
        }
        backends
    }

    /// Where they are.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.slots.iter().map(|slot| format!("http://{}", slot.addr)).collect()
    }

    /// The first of them, which is never killed.
    pub(crate) fn first(&self) -> SocketAddr {
        self.slots[0].addr
    }

    /// The last of them, which may be killed.
    pub(crate) fn last(&self) -> usize {
        self.slots.len() - 1
    }

    /// SIGKILL; returns when the process is gone.
    pub(crate) fn kill(&mut self, index: usize) {
        let name = self.name(index);
        if let Some(mut process) = self.slots[index].process.take() {
            self.kills.begin(&name);
            let _ = process.kill();
            let _ = process.wait();
            self.kills.end();
        }
    }

    /// A new process at the old address; returns when it listens.
    pub(crate) fn restart(&mut self, index: usize) {
        self.slots[index].generation += 1;
        let name = self.name(index);
        let slot = &mut self.slots[index];
        let own = std::env::current_exe().expect("a running program knows its file");
        let mut process = Command::new(own)
            .args(["origin", &name, &slot.addr.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this very program can be started");
        let mut lines = BufReader::new(process.stdout.take().expect("its output is ours"));
        let mut first = String::new();
        let read = lines.read_line(&mut first);
        assert!(read.is_ok() && first.trim() == slot.addr.to_string(), "backend {name} says {first:?}");
        slot.process = Some(process);
        let posts = self.posts.clone();
        thread::spawn(move || posts.follow(lines));
    }

    fn name(&self, index: usize) -> String {
        format!("b{index}.{}", self.slots[index].generation)
    }

    /// POSTs that arrived more than once: none, unless a request that is not safe to repeat was repeated.
    pub(crate) fn posts_repeated(&self) -> usize {
        let posts = self.posts.0.lock().unwrap_or_else(PoisonError::into_inner);
        posts.values().filter(|count| **count > 1).count()
    }

    /// POSTs that arrived at all.
    pub(crate) fn posts_arrived(&self) -> usize {
        self.posts.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Drop for Backends {
    fn drop(&mut self) {
        for process in self.slots.iter_mut().filter_map(|slot| slot.process.as_mut()) {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Posts {
    fn follow(&self, lines: impl BufRead) {
        for line in lines.lines().map_while(Result::ok) {
            let Some(id) = line.strip_prefix("post ").and_then(|id| id.parse().ok()) else { continue };
            *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_default() += 1;
        }
    }
}

/// An address that nobody listens on. Where to look first depends on the process, so that two runs at once do not
/// meet.
fn free_addr() -> SocketAddr {
    let count = PORTS.end - PORTS.start;
    let first = (std::process::id() % u32::from(count)) as u16;
    let ports = (0..count).map(|step| PORTS.start + (first + step) % count);
    let mut addrs = ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    addrs.find(|addr| TcpListener::bind(addr).is_ok()).expect("one of ten thousand ports is free")
}
