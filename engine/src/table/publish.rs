//! The one pointer to the running table, and how it changes: compile off the cores, swap once, wake every core.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use config_core::Snapshot;
use config_core::publish::{Prepared, Publish, PublishError};

use super::compile::Table;
use crate::core::shared::Shared;

/// The running table, and those before it that somebody still has. Cores look at it when told that it changed.
pub(crate) struct Tables {
    current: ArcSwap<Table>,
    /// A table of a hundred thousand routes takes its time to be freed. So that no core is the last to let go of one, each is
    /// kept here until nobody else has it. Off the cores only: who publishes, and the tick of the prober.
    graveyard: Mutex<Vec<Arc<Table>>>,
}

impl Tables {
    pub(crate) fn new(table: Table) -> Tables {
        Tables { current: ArcSwap::from_pointee(table), graveyard: Mutex::default() }
    }

    pub(crate) fn load(&self) -> Arc<Table> {
        self.current.load_full()
    }

    /// Makes `next` the running table; returns the one before, which is kept until [`Tables::sweep`] frees it.
    fn replace(&self, next: Arc<Table>) -> Arc<Table> {
        let before = self.current.swap(next);
        self.lock_graveyard().push(Arc::clone(&before));
        before
    }

    /// Frees the tables that nobody has any more. Not on a core.
    pub(crate) fn sweep(&self) {
        // Nobody can get hold of a table again that is here alone: the count only falls.
        let unused: Vec<_> =
            self.lock_graveyard().extract_if(.., |table| Arc::strong_count(table) == 1).collect();
        drop(unused);
    }

    fn lock_graveyard(&self) -> MutexGuard<'_, Vec<Arc<Table>>> {
        self.graveyard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The engine's side of a configuration change.
pub(crate) struct Publisher {
    shared: Arc<Shared>,
}

impl Publisher {
    pub(crate) fn new(shared: Arc<Shared>) -> Publisher {
        Publisher { shared }
    }
}

impl Publish for Publisher {
    fn prepare(&self, snapshot: Arc<Snapshot>) -> Result<Prepared, PublishError> {
        if !snapshot.header().verify() {
            return Err(PublishError {
                key: String::new(),
                reason: "the snapshot's header is damaged".to_owned(),
            });
        }
        let (cores, names) = (self.shared.cores.len(), &self.shared.names);
        // Already now: the new names are to be asked for where they are known.
        names.configure(&snapshot.model().dns);
        let table = Table::compile(Arc::clone(&snapshot), cores, names, Some(&self.shared.tables.load()))?;
        Ok(Prepared::new(snapshot, Box::new(Arc::new(table))))
    }

    fn commit(&self, prepared: Prepared) {
        let (_, compiled) = prepared.into_parts();
        let Ok(table) = compiled.downcast::<Arc<Table>>() else {
            debug_assert!(false, "prepared by another data plane");
            return;
        };
        self.shared.tables.sweep();
        let before = self.shared.tables.replace(*table);
        let now = self.shared.tables.load();
        now.take_effect(Some(&before), self.shared.prober.get());
        before.retire_for(&now);
        self.shared.broadcast(|| crate::local::with(|local| local.adopt_table()));
    }

    fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.shared.tables.load().snapshot)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use config_core::ProxyConfig;

    use super::super::compile::tests::dropped;
    use crate::ProxyServer;

    /// Epochs that no other test has.
    const EPOCHS: std::ops::Range<u32> = 70_001..70_006;

    #[test]
    fn tables_are_freed_soon_and_never_on_a_core() {
        let config = ProxyConfig::builder().target("http://127.0.0.1:9").port(0).cores("1").build().unwrap();
        let mut server = ProxyServer::new(config.snapshot(EPOCHS.start));
        server.start().unwrap();
        let publisher = server.publisher().unwrap();
        for epoch in EPOCHS.skip(1) {
            publisher.commit(publisher.prepare(config.snapshot(epoch)).unwrap());
            let begun = Instant::now();
            let status = server.status().unwrap();
            while status.status().cores_on_epoch() < 1 && begun.elapsed() < Duration::from_secs(20) {
                std::thread::yield_now();
            }
        }
        // The running one and the one before it are in use; nothing is published that would free the others.
        let begun = Instant::now();
        let ours = || -> Vec<(String, u32)> {
            dropped().into_iter().filter(|(_, epoch)| EPOCHS.contains(epoch)).collect()
        };
        while ours().len() < EPOCHS.len() - 2 && begun.elapsed() < Duration::from_secs(20) {
            let (_never, pause) = mpsc::channel::<()>();
            let _ = pause.recv_timeout(Duration::from_millis(10));
        }
        let ours = ours();
        let mut epochs: Vec<u32> = ours.iter().map(|(_, epoch)| *epoch).collect();
        epochs.sort_unstable();
        assert_eq!(epochs, EPOCHS.take(EPOCHS.len() - 2).collect::<Vec<_>>());
        assert!(!ours.iter().any(|(thread, _)| thread.starts_with("pinion-core")), "{ours:?}");
    }
}
