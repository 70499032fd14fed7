//! A storm of TLS handshakes beside a measured load: in a thread of its own that yields to the thread that measures, on the
//! same processor, so that what the measured clients wait for is the proxy and not the clients of the storm.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use engine::io::{Choice, Options, Runtime, sleep, spawn};
use rustix::process::setpriority_process;

use super::answer::Fault;
use super::client;
use super::tally::Tally;
use super::tls::Secured;

/// Niceness of the storm: the lowest priority.
const NICENESS: i32 = 19;
/// How often the two threads tell each other something.
const NEWS_INTERVAL: Duration = Duration::from_millis(1);

/// A storm under way.
pub(crate) struct Storm {
    thread: JoinHandle<io::Result<Option<String>>>,
    news: Arc<News>,
}

#[derive(Default)]
struct News {
    finished: AtomicU64,
    ends: AtomicBool,
}

impl Storm {
    /// Begins with `at_once` connections.
    pub(crate) fn begin(target: Secured, at_once: usize) -> Result<Storm, Fault> {
        let news = Arc::new(News::default());
        let told = Arc::clone(&news);
        let thread = thread::Builder::new().name("storm".to_owned()).spawn(move || {
            // On Linux it is this thread alone that becomes nice.
            setpriority_process(None, NICENESS)?;
            let mut options = Options::default();
            options.driver = Choice::Uring;
            Runtime::new(options)?.block_on(blow(target, at_once, told))
        })?;
        Ok(Storm { thread, news })
    }

    /// Handshakes so far.
    pub(crate) fn finished(&self) -> u64 {
        self.news.finished.load(Ordering::Relaxed)
    }

    /// Ends it. A fault of one of its clients is a fault.
    pub(crate) fn end(self) -> Result<(), Fault> {
        self.news.ends.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(fault))) => Err(Fault::Storm(fault)),
            Ok(Err(error)) => Err(Fault::Io(error)),
            Err(_) => Err(Fault::Storm("its thread panicked".to_owned())),
        }
    }
}

/// Shakes hands until told to end; gives the first fault.
async fn blow(target: Secured, at_once: usize, news: Arc<News>) -> Option<String> {
    let tally = Rc::new(Tally::new());
    for _ in 0..at_once {
        spawn(client::keep_shaking_hands(target.clone(), false, Rc::clone(&tally)));
    }
    loop {
        sleep(NEWS_INTERVAL).await;
        news.finished.store(tally.finished(), Ordering::Relaxed);
        if news.ends.load(Ordering::Relaxed) {
            tally.stop();
            if tally.clients() == 0 {
                return tally.faults().1;
            }
        }
    }
}
