//! `Publish`: how the control plane hands a new snapshot to the data plane without naming it.
//!
//! Two steps, so that nothing is stored or shown before it is known to work: [`Publish::prepare`] does all
//! that can fail, off the cores; [`Publish::commit`] is one pointer swap. The engine implements it.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::snapshot::Snapshot;

/// The data plane's side of a configuration change. One writer at a time calls it.
pub trait Publish: Send + Sync {
    /// Compiles `snapshot` into whatever the cores need. Nothing that runs is touched.
    fn prepare(&self, snapshot: Arc<Snapshot>) -> Result<Prepared, PublishError>;

    /// Makes a prepared snapshot the running one and wakes every core.
    fn commit(&self, prepared: Prepared);

    /// The snapshot that was committed last.
    fn current(&self) -> Arc<Snapshot>;
}

/// A snapshot that is ready to run, with the data plane's own compiled form of it.
pub struct Prepared {
    snapshot: Arc<Snapshot>,
    compiled: Box<dyn Any + Send>,
}

impl Prepared {
    /// Called by the data plane at the end of `prepare`; `compiled` is of its own type.
    pub fn new(snapshot: Arc<Snapshot>, compiled: Box<dyn Any + Send>) -> Self {
        Self { snapshot, compiled }
    }

    /// The snapshot that was prepared.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Called by the data plane at the start of `commit`.
    pub fn into_parts(self) -> (Arc<Snapshot>, Box<dyn Any + Send>) {
        (self.snapshot, self.compiled)
    }
}

/// Why the data plane cannot run a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishError {
    /// Key path of the part that is in the way; empty where it is not one part.
    pub key: String,
    /// The reason, for the operator.
    pub reason: String,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            return f.write_str(&self.reason);
        }
        write!(f, "{}: {}", self.key, self.reason)
    }
}

impl std::error::Error for PublishError {}
