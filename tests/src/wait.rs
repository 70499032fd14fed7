//! Waiting for a condition with a deadline: the only place where a test spends time.
//!
//! Used by every file of the harness and by the tests. A wait that is not fulfilled ends the test with the
//! name of what it waited for.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that should happen at once. Generous, because test machines are busy.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Time between two looks at a condition that cannot wake us.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Waits until `condition` holds; ends the test after [`PATIENCE`].
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    until_within(PATIENCE, what, condition);
}

/// Waits until `condition` holds; ends the test after `patience`.
pub fn until_within(patience: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    some_within(patience, what, || condition().then_some(()));
}

/// Waits for a value; ends the test after [`PATIENCE`].
pub fn some<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    some_within(PATIENCE, what, look)
}

/// Waits for a value; ends the test after `patience`.
pub fn some_within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(begun.elapsed() < patience, "waited {patience:?} in vain: {what}");
        // Nobody unparks this thread: the call is a pause between two looks, bounded by the deadline above.
        thread::park_timeout(LOOK_AGAIN);
    }
}

/// A latch that one side opens and another waits for; clones are the same gate.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// A closed gate.
    pub fn new() -> Gate {
        Gate::default()
    }

    /// Lets every waiter through, now and later.
    pub fn open(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Whether it has been opened.
    pub fn is_open(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until someone opens the gate; ends the test (or the origin's script) after [`PATIENCE`].
    pub fn wait(&self) {
        let open = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (open, _) = self
            .0
            .1
            .wait_timeout_while(open, PATIENCE, |open| !*open)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(*open, "waited {PATIENCE:?} at a gate that nobody opened");
    }
}
