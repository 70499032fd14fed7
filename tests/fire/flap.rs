//! A backend that dies and comes back, over and over, while the others live.
//!
//! Runs on a thread of its own during a stage; when it is stopped, the backend is alive.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::backends::Backends;
use crate::dice::Dice;

/// A running killer.
pub(crate) struct Flapping {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Flapping {
    /// Begins to kill and restart the last backend.
    pub(crate) fn start(backends: &Arc<Mutex<Backends>>, seed: u64) -> Flapping {
        let (stop, stopped) = mpsc::channel();
        let backends = Arc::clone(backends);
        let thread = std::thread::spawn(move || {
            let mut dice = Dice::new(seed);
            let mut wait = |from, to| {
                let pause = Duration::from_millis(dice.between(from, to));
                stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout)
            };
            while wait(500, 1_500) {
                let lock = || backends.lock().unwrap_or_else(PoisonError::into_inner);
                let last = lock().last();
                lock().kill(last);
                let goes_on = wait(100, 700);
                lock().restart(last);
                if !goes_on {
                    return;
                }
            }
        });
        Flapping { stop, thread }
    }

    /// Ends it with the backend alive.
    pub(crate) fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}
