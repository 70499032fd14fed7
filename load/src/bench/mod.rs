//! A bench of any HTTP/1.1 or WebSocket server: what `pinion bench` runs. [`Bench::start`] is the way in.
//!
//! ```text
//!  plan ──► one thread for each of plan.threads: open connections ► wait for all ► send ► let the last answers come
//!               │ counts its own; tells its progress               └──────────────► Figures, summed by Bench::finish
//! ```
//!
//! Unlike the [`crate::Generator`], which knows each byte of its origin's answers, this one takes what servers send.

mod counts;
mod http;
mod plan;
mod reader;
mod request;
mod worker;
mod ws;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

pub use counts::{Failure, Figures};
pub use plan::{Ask, BenchWork, Messages, Place, Plan};

/// A bench that runs.
pub struct Bench {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<io::Result<Figures>>>,
}

/// How far a bench is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// All connections are open, or were tried: requests are being sent.
    pub is_sending: bool,
    /// Requests answered so far.
    pub answered: u64,
    /// Failures so far.
    pub failures: u64,
}

/// What the threads of a bench share with whoever started it.
struct Shared {
    stopped: AtomicBool,
    /// Threads whose connections are open.
    ready: AtomicUsize,
    told: Vec<Told>,
    driver: OnceLock<String>,
}

/// What one thread tells; a cache line of its own.
#[derive(Default)]
#[repr(align(128))]
struct Told {
    answered: AtomicU64,
    failures: AtomicU64,
}

impl Shared {
    fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    fn tell_driver(&self, driver: String) {
        // Only the first thread tells.
        let _ = self.driver.set(driver);
    }
}

impl Bench {
    /// Starts the threads.
    ///
    /// # Errors
    /// When a thread cannot be started. What goes wrong inside of one is told by [`Bench::finish`].
    pub fn start(plan: &Plan) -> io::Result<Bench> {
        let shared = Arc::new(Shared {
            stopped: AtomicBool::new(false),
            ready: AtomicUsize::new(0),
            told: plan.threads.iter().map(|_| Told::default()).collect(),
            driver: OnceLock::new(),
        });
        let mut bench = Bench { shared, threads: Vec::new() };
        for (index, &processor) in plan.threads.iter().enumerate() {
            let (plan, shared) = (plan.clone(), Arc::clone(&bench.shared));
            let thread = std::thread::Builder::new().name(format!("bench-{index}"));
            let started = thread.spawn(move || {
                let outcome = pin_to(processor).and_then(|()| worker::run(&Rc::new(plan), &shared, index));
                if outcome.is_err() {
                    // The others would wait for this one.
                    shared.stopped.store(true, Relaxed);
                }
                outcome
            });
            match started {
                Ok(handle) => bench.threads.push(handle),
                Err(error) => {
                    bench.stop();
                    return Err(error);
                }
            }
        }
        Ok(bench)
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        let sum =
            |of: fn(&Told) -> &AtomicU64| self.shared.told.iter().map(|told| of(told).load(Relaxed)).sum();
        Progress {
            is_sending: self.shared.ready.load(Acquire) >= self.shared.told.len(),
            answered: sum(|told| &told.answered),
            failures: sum(|told| &told.failures),
        }
    }

    /// Ends it early: the figures so far are those of a shorter bench.
    pub fn stop(&self) {
        self.shared.stopped.store(true, Release);
    }

    /// True once [`Bench::finish`] would not wait.
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// What the event loop of the threads stands on; known once they run.
    pub fn driver(&self) -> Option<&str> {
        self.shared.driver.get().map(String::as_str)
    }

    /// Waits for all threads and sums up what they counted.
    ///
    /// # Errors
    /// When a thread could not be pinned, or its loop not opened, or that failed.
    pub fn finish(self) -> io::Result<Figures> {
        let mut sum = Figures::new();
        for thread in self.threads {
            let figures = thread.join().map_err(|_| io::Error::other("a thread of the bench panicked"))?;
            sum.add(&figures?);
        }
        Ok(sum)
    }
}

/// The first of `addresses` that takes a connection: a server that is not there is known before a bench begins.
///
/// # Errors
/// The last one's error.
pub fn probe(addresses: &[SocketAddr], timeout: Duration) -> io::Result<SocketAddr> {
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect_timeout(address, timeout) {
            Ok(_) => return Ok(*address),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// The processors that this process may run on.
pub fn processors() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
}

fn pin_to(processor: Option<usize>) -> io::Result<()> {
    let Some(id) = processor else { return Ok(()) };
    // Asked first: a number beyond what the kernel's set holds would abort.
    if processors().contains(&id) && core_affinity::set_for_current(core_affinity::CoreId { id }) {
        return Ok(());
    }
    Err(io::Error::other(format!("this process may not run on processor {id}")))
}

#[cfg(test)]
mod tests;
